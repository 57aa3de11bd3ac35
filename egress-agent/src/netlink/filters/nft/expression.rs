//! The expressions of a rule, as far as they decide over drops.

use crate::netlink::wire::{Attributes, be32, text};

const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;
const NFTA_LOOKUP_SET: u16 = 1;
const NFTA_LOOKUP_DREG: u16 = 3;
const NFTA_TARGET_NAME: u16 = 1;
const NFTA_MATCH_NAME: u16 = 1;
const NFTA_MATCH_INFO: u16 = 3;
/// `NFT_REG_VERDICT`
const VERDICT_REGISTER: u32 = 0;
/// `NF_VERDICT_MASK`
const VERDICT_MASK: i32 = 0xff;
const NF_DROP: i32 = 0;
const NF_QUEUE: i32 = 3;
/// `NFTNL_UDATA_RULE_COMMENT` of libnftnl: user data are triples of type, length and value.
const USERDATA_COMMENT: u8 = 0;

/// A rule that bears on drops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    handle: u64,
    comment: Option<String>,
    /// What it can do.
    pub(super) outcome: Outcome,
}

/// What a rule can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Drop, in the word of `nft`.
    Drop(&'static str),
    /// Go on in another chain.
    Enter(String),
    /// What the elements of a verdict map say.
    Map(String),
}

/// A verdict that bears on drops.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// Drop, in the word of `nft`.
    Drop(&'static str),
    /// Go on in another chain.
    Enter(String),
}

impl Rule {
    /// Decodes a rule's expressions; `None` if nothing in them bears on drops.
    pub(super) fn decode(handle: u64, expressions: Attributes<'_>, userdata: Option<&[u8]>) -> Option<Self> {
        let mut outcome = None;
        let mut comment = userdata.and_then(userdata_comment);
        for (_, expression) in expressions {
            let expression = Attributes(expression);
            let (Some(name), Some(data)) =
                (expression.text(NFTA_EXPR_NAME), expression.nested(NFTA_EXPR_DATA))
            else {
                continue;
            };
            match name.as_str() {
                "match" if data.text(NFTA_MATCH_NAME).as_deref() == Some("comment") => {
                    // struct xt_comment_info: a text.
                    comment = data.get(NFTA_MATCH_INFO).map(text);
                }
                other => outcome = outcome.or_else(|| decide(other, data)),
            }
        }
        let comment = comment.filter(|comment| !comment.is_empty());
        outcome.map(|outcome| Self { handle, comment, outcome })
    }

    /// The rule as text: its handle, what it does, and its comment.
    pub(super) fn text(&self, how: &str) -> String {
        match &self.comment {
            Some(comment) => format!("handle {} {how} ({comment})", self.handle),
            None => format!("handle {} {how}", self.handle),
        }
    }
}

/// What an expression decides.
fn decide(name: &str, data: Attributes<'_>) -> Option<Outcome> {
    match name {
        "immediate" => match Verdict::decode(data.nested(NFTA_IMMEDIATE_DATA)?)? {
            Verdict::Drop(how) => Some(Outcome::Drop(how)),
            Verdict::Enter(target) => Some(Outcome::Enter(target)),
        },
        "reject" => Some(Outcome::Drop("reject")),
        // A program in user space decides; without one listening the packet is dropped.
        "queue" => Some(Outcome::Drop("queue")),
        // An xtables target of iptables-nft.
        "target" => match data.text(NFTA_TARGET_NAME)?.as_str() {
            "REJECT" => Some(Outcome::Drop("reject")),
            "DROP" => Some(Outcome::Drop("drop")),
            "NFQUEUE" => Some(Outcome::Drop("queue")),
            _ => None,
        },
        "lookup" => {
            let is_verdict = data.get(NFTA_LOOKUP_DREG).and_then(be32)? == VERDICT_REGISTER;
            if is_verdict { data.text(NFTA_LOOKUP_SET).map(Outcome::Map) } else { None }
        }
        _ => None,
    }
}

impl Verdict {
    /// Decodes a piece of data that is a verdict.
    pub(super) fn decode(data: Attributes<'_>) -> Option<Self> {
        let verdict = data.nested(NFTA_DATA_VERDICT)?;
        match be32(verdict.get(NFTA_VERDICT_CODE)?)?.cast_signed() {
            libc::NFT_JUMP | libc::NFT_GOTO => verdict.text(NFTA_VERDICT_CHAIN).map(Self::Enter),
            code if code >= 0 && code & VERDICT_MASK == NF_DROP => Some(Self::Drop("drop")),
            code if code >= 0 && code & VERDICT_MASK == NF_QUEUE => Some(Self::Drop("queue")),
            _ => None,
        }
    }
}

fn userdata_comment(mut userdata: &[u8]) -> Option<String> {
    while let [kind, length, rest @ ..] = userdata {
        let value = rest.get(..usize::from(*length))?;
        if *kind == USERDATA_COMMENT {
            return Some(text(value));
        }
        userdata = &rest[value.len()..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::wire::{Messages, Request};

    /// `NFTA_LIST_ELEM`
    const ELEMENT: u16 = 1;

    fn decoded(userdata: Option<&[u8]>, expressions: impl FnOnce(Request) -> Request) -> Option<Rule> {
        let bytes = expressions(Request::new(0, 0, &[])).finish(1);
        Rule::decode(7, Attributes(Messages(&bytes).next().unwrap().payload), userdata)
    }

    fn expression(request: Request, name: &str, data: impl FnOnce(Request) -> Request) -> Request {
        request.nest(ELEMENT, |e| e.with(NFTA_EXPR_NAME, name.as_bytes()).nest(NFTA_EXPR_DATA, data))
    }

    fn verdict(request: Request, code: i32, chain: &[u8]) -> Request {
        expression(request, "immediate", |data| {
            data.nest(NFTA_IMMEDIATE_DATA, |data| {
                data.nest(NFTA_DATA_VERDICT, |verdict| {
                    verdict.with(NFTA_VERDICT_CODE, &code.to_be_bytes()).with(NFTA_VERDICT_CHAIN, chain)
                })
            })
        })
    }

    #[test]
    fn rules_that_drop_say_how_and_bear_their_comment() {
        let comment = [&[9, 1, 0, USERDATA_COMMENT, 5][..], b"stop\0"].concat();
        let rule = decoded(Some(&comment), |r| verdict(r, NF_DROP, b"")).unwrap();
        assert_eq!(
            (rule.text("drop"), rule.outcome),
            ("handle 7 drop (stop)".to_owned(), Outcome::Drop("drop"))
        );

        let rule = decoded(None, |r| {
            let r = expression(r, "match", |m| {
                m.with(NFTA_MATCH_NAME, b"comment").with(NFTA_MATCH_INFO, b"cni\0\0")
            });
            expression(r, "target", |t| t.with(NFTA_TARGET_NAME, b"REJECT\0"))
        });
        assert_eq!(rule.unwrap().text("reject"), "handle 7 reject (cni)");
        assert_eq!(
            decoded(None, |r| verdict(r, libc::NFT_GOTO, b"x\0")).unwrap().outcome,
            Outcome::Enter("x".to_owned())
        );
    }

    #[test]
    fn rules_that_cannot_drop_are_left_out() {
        assert_eq!(decoded(None, |r| verdict(r, 1, b"")), None);
        assert_eq!(decoded(None, |r| verdict(r, -5, b"")), None);
        assert_eq!(decoded(None, |r| expression(r, "counter", |c| c)), None);
        assert_eq!(
            decoded(None, |r| expression(r, "target", |t| t.with(NFTA_TARGET_NAME, b"MASQUERADE"))),
            None
        );
        // A set, and a map of data.
        assert_eq!(decoded(None, |r| expression(r, "lookup", |l| l.with(NFTA_LOOKUP_SET, b"s"))), None);
        let map = |register: u32| {
            decoded(None, |r| {
                expression(r, "lookup", |l| {
                    l.with(NFTA_LOOKUP_SET, b"m\0").with(NFTA_LOOKUP_DREG, &register.to_be_bytes())
                })
            })
        };
        assert_eq!(map(1), None);
        assert_eq!(map(VERDICT_REGISTER).unwrap().outcome, Outcome::Map("m".to_owned()));
    }
}
