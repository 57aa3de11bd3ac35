//! What may become of traffic at some point of the order of policies: a set, because of what is not known several
//! things may. The decision is undecidable only if the set holds both ends.

use std::ops::BitOr;

use super::Decision;
use crate::truth::Truth;

/// A set of the things that may become of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcomes(u8);

impl Outcomes {
    /// Nothing: the set that a union starts with.
    pub(super) const NOTHING: Self = Self(0);
    /// It is admitted for good.
    pub(super) const ACCEPT: Self = Self(1);
    /// It is denied for good.
    pub(super) const DENY: Self = Self(1 << 1);
    /// It goes on to the next stage.
    pub(super) const PASS: Self = Self(1 << 2);
    /// Nothing here speaks of it: the next policy of the same stage is asked.
    pub(super) const UNMATCHED: Self = Self(1 << 3);

    /// One of these may happen.
    pub(super) const fn may(self, one: Self) -> bool {
        self.0 & one.0 != 0
    }

    const fn without(self, one: Self) -> Self {
        Self(self.0 & !one.0)
    }

    /// A list of rules, of which the first that matches decides.
    pub(super) fn first_match(rules: impl IntoIterator<Item = (Truth, Self)>) -> Self {
        let mut outcomes = Self::NOTHING;
        for (matches, action) in rules {
            match matches {
                Truth::Yes => return outcomes | action,
                Truth::Unknown => outcomes = outcomes | action,
                Truth::No => {}
            }
        }
        outcomes | Self::UNMATCHED
    }

    /// What is asked next where this did not match.
    pub(super) fn or_else(self, next: Self) -> Self {
        if self.may(Self::UNMATCHED) { self.without(Self::UNMATCHED) | next } else { self }
    }

    /// What is asked next where this passed the traffic on, or did not match.
    pub(super) fn then(self, next: Self) -> Self {
        let on = Self(Self::PASS.0 | Self::UNMATCHED.0);
        if self.may(on) { self.without(on) | next } else { self }
    }

    /// Several are asked in an order that is not defined.
    pub(super) fn in_any_order(all: impl IntoIterator<Item = Self>) -> Self {
        let (mut outcomes, mut unmatched) = (Self::NOTHING, true);
        for one in all {
            outcomes = outcomes | one.without(Self::UNMATCHED);
            unmatched &= one.may(Self::UNMATCHED);
        }
        if unmatched { outcomes | Self::UNMATCHED } else { outcomes }
    }

    /// Several have to let it through, each of them on its own.
    pub(super) fn all_of(self, other: Self) -> Self {
        let mut outcomes = (self | other) & Self::DENY;
        let admits = |set: Self| set.may(Self(Self::ACCEPT.0 | Self::PASS.0 | Self::UNMATCHED.0));
        if admits(self) && admits(other) {
            outcomes = outcomes | (self | other).without(Self::DENY);
        }
        outcomes
    }

    /// At the end of all stages: what nobody denied is allowed.
    pub(super) fn decision(self) -> Decision {
        match (self.may(Self::DENY), self.without(Self::DENY) == Self::NOTHING) {
            (false, _) => Decision::Allow,
            (true, true) => Decision::Deny,
            (true, false) => Decision::Undecidable,
        }
    }
}

impl BitOr for Outcomes {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::ops::BitAnd for Outcomes {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Outcomes = Outcomes::ACCEPT;
    const D: Outcomes = Outcomes::DENY;
    const P: Outcomes = Outcomes::PASS;
    const U: Outcomes = Outcomes::UNMATCHED;

    #[test]
    fn the_first_rule_that_matches_decides_and_one_that_may_match_may_decide() {
        use Truth::{No, Unknown, Yes};
        let table = [
            (vec![], U),
            (vec![(No, A), (Yes, D), (Yes, A)], D),
            (vec![(Unknown, A), (Yes, D)], A | D),
            (vec![(Unknown, D), (Yes, D)], D),
            (vec![(Unknown, P), (No, D)], P | U),
            (vec![(Yes, A), (Unknown, D)], A),
        ];
        for (rules, expected) in table {
            assert_eq!(Outcomes::first_match(rules.clone()), expected, "{rules:?}");
        }
    }

    #[test]
    fn what_is_unknown_spreads_only_where_it_could_change_the_outcome() {
        assert_eq!((A | U).or_else(A), A);
        assert_eq!((A | U).or_else(D), A | D);
        assert_eq!(P.or_else(D), P, "passed on: the rest of the stage has no say");
        assert_eq!((A | P).then(A), A);
        assert_eq!(D.then(A), D);
        assert_eq!((D | U).then(D).decision(), Decision::Deny);
        assert_eq!((D | U).then(P).decision(), Decision::Undecidable);
        assert_eq!((P | U | A).decision(), Decision::Allow);
    }

    #[test]
    fn an_order_that_is_not_defined_matters_where_two_match() {
        assert_eq!(Outcomes::in_any_order([A, U]), A);
        assert_eq!(Outcomes::in_any_order([A, A]), A);
        assert_eq!(Outcomes::in_any_order([A, D]), A | D);
        assert_eq!(Outcomes::in_any_order([A | U, D]), A | D);
        assert_eq!(Outcomes::in_any_order([A | U, U]), A | U);
        assert_eq!(Outcomes::in_any_order([]), U);
    }

    #[test]
    fn where_all_have_to_let_it_through_one_that_denies_is_enough() {
        assert_eq!(A.all_of(D), D);
        assert_eq!((A | D).all_of(D), D);
        assert_eq!((A | D).all_of(A), A | D);
        assert_eq!(P.all_of(U).decision(), Decision::Allow);
    }
}
