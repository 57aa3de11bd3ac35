//! Label selectors: what they match, and how people write them.

use std::fmt;

use super::policy::Scope;
use super::{Expression, LabelSelector, Labels, NAMESPACE_NAME, Operator};
use crate::truth::Truth;

impl LabelSelector {
    /// The selector of exactly these labels.
    #[must_use]
    pub fn of_labels(match_labels: Labels) -> Self {
        Self { match_labels, expressions: Vec::new() }
    }

    /// Selects every object.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.expressions.is_empty()
    }

    /// Labels that everything it selects has.
    pub(crate) fn key_labels(&self, scope: Scope) -> Vec<(Scope, &str, &str)> {
        self.match_labels.iter().map(|(key, value)| (scope, key, value)).collect()
    }

    /// All of `matchLabels` AND all of `matchExpressions` hold (`metav1.LabelSelector`).
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.expressions.iter().all(|expression| expression.matches(labels))
    }

    /// Whether it selects the namespace of this name, of whose labels only `kubernetes.io/metadata.name` is known.
    pub(crate) fn matches_name_only(&self, name: &str) -> Truth {
        let on_name = |key: &str| key == NAMESPACE_NAME;
        let labels = Labels::from([(NAMESPACE_NAME, name)]);
        let named = self.match_labels.iter().filter(|(key, _)| on_name(key));
        let expressions = self.expressions.iter().filter(|one| on_name(&one.key));
        if named.clone().any(|(_, value)| value != name)
            || !expressions.clone().all(|one| one.matches(&labels))
        {
            return Truth::No;
        }
        let others = named.count() < self.match_labels.len() || expressions.count() < self.expressions.len();
        if others { Truth::Unknown } else { Truth::Yes }
    }
}

impl Expression {
    /// The expression holds. `NotIn` holds where the label is absent.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        let listed = |value: &str| self.values.iter().any(|one| one == value);
        match self.operator {
            Operator::In => value.is_some_and(listed),
            Operator::NotIn => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

/// As `kubectl get -l` takes it: `app=db,tier in (a, b),!canary`.
impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (key, value) in &self.match_labels {
            write!(f, "{separator}{key}={value}")?;
            separator = ",";
        }
        for expression in &self.expressions {
            write!(f, "{separator}{expression}")?;
            separator = ",";
        }
        Ok(())
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, operator, values } = self;
        match operator {
            Operator::In => write!(f, "{key} in ({})", values.join(", ")),
            Operator::NotIn => write!(f, "{key} notin ({})", values.join(", ")),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::cluster::testing::{labels, selector};

    #[test]
    fn every_operator_matches_as_the_api_documents() {
        let table = [
            // selector, labels, matches
            ("", "", true),
            ("", "app=db", true),
            ("app=db", "app=db,tier=x", true),
            ("app=db", "app=web", false),
            ("app=db,tier=x", "app=db", false),
            ("app in (db|cache)", "app=cache", true),
            ("app in (db|cache)", "", false),
            ("app notin (db)", "app=web", true),
            ("app notin (db)", "", true),
            ("app notin (db)", "app=db", false),
            ("app", "app=", true),
            ("app", "", false),
            ("!app", "", true),
            ("!app", "app=db", false),
            ("app=db,tier in (x),!old", "app=db,tier=x", true),
            ("app=db,tier in (x),!old", "app=db,tier=x,old=1", false),
        ];
        for (text, on, expected) in table {
            assert_eq!(selector(text).matches(&labels(on)), expected, "{text:?} on {on:?}");
        }
    }

    #[test]
    fn a_selector_is_written_as_kubectl_takes_it() {
        assert_eq!(
            selector("app=db,tier in (a|b),x notin (c),up,!old").to_string(),
            "app=db,tier in (a, b),x notin (c),up,!old"
        );
    }
}
