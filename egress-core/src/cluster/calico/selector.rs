//! Calico's selector language: what a selector says, what it matches, and how it is written.

mod parse;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use parse::SelectorError;

/// A selector of Calico, such as `app == "web" && tier in {"a", "b"} && !has(canary)`. The default selects
/// everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Selector(Expr);

/// One expression. Keys and values are as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Expr {
    /// `all()`
    #[default]
    All,
    /// `global()`
    Global,
    /// `has(key)`
    Has(Box<str>),
    /// A label and what its value is compared with.
    Label(Box<str>, Test),
    /// `!(…)`
    Not(Box<Expr>),
    /// `… && …`
    And(Vec<Expr>),
    /// `… || …`
    Or(Vec<Expr>),
}

/// How a label's value is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    /// `== "value"`
    Is(Box<str>),
    /// `!= "value"`, also where the label is absent.
    IsNot(Box<str>),
    /// `in {"value", …}`
    In(Box<[Box<str>]>),
    /// `not in {"value", …}`, also where the label is absent.
    NotIn(Box<[Box<str>]>),
    /// `contains "text"`
    Contains(Box<str>),
    /// `starts with "text"`
    StartsWith(Box<str>),
    /// `ends with "text"`
    EndsWith(Box<str>),
}

/// A label of something that selectors select.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label<'a> {
    /// It has the label, with this value.
    Value(&'a str),
    /// It has no such label.
    Absent,
    /// Its labels are not known.
    Unknown,
}

/// Something that selectors select.
pub trait Labelled {
    /// Its label of this key.
    fn label(&self, key: &str) -> Label<'_>;

    /// Whether `all()` matches it.
    fn all(&self) -> bool {
        true
    }

    /// Whether `global()` matches it: it is in no namespace.
    fn global(&self) -> bool;
}

impl Selector {
    /// The selector of everything.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0 == Expr::All
    }

    /// Whether it matches; `None` where that depends on labels that are not known.
    #[must_use]
    pub fn matches(&self, subject: &impl Labelled) -> Option<bool> {
        self.0.matches(subject)
    }

    /// A label that everything it matches has, if there is one: policies are filed under it.
    #[must_use]
    pub fn required(&self) -> Option<(&str, &str)> {
        self.0.required()
    }

    /// Why it does not match, as what the subject has instead: `has app=web`. `None` where it matches.
    #[must_use]
    pub fn mismatch(&self, subject: &impl Labelled) -> Option<String> {
        self.0.mismatch(subject)
    }
}

impl Expr {
    fn matches(&self, subject: &impl Labelled) -> Option<bool> {
        match self {
            Self::All => Some(subject.all()),
            Self::Global => Some(subject.global()),
            Self::Has(key) => match subject.label(key) {
                Label::Value(_) => Some(true),
                Label::Absent => Some(false),
                Label::Unknown => None,
            },
            Self::Label(key, test) => match subject.label(key) {
                Label::Value(value) => Some(test.holds(Some(value))),
                Label::Absent => Some(test.holds(None)),
                Label::Unknown => None,
            },
            Self::Not(inner) => inner.matches(subject).map(|matches| !matches),
            Self::And(terms) => settled(terms, subject, false),
            Self::Or(terms) => settled(terms, subject, true),
        }
    }

    fn required(&self) -> Option<(&str, &str)> {
        match self {
            Self::Label(key, Test::Is(value)) => Some((key, value)),
            Self::Label(key, Test::In(values)) => match &values[..] {
                [only] => Some((key, only)),
                _ => None,
            },
            Self::And(terms) => terms.iter().find_map(Self::required),
            _ => None,
        }
    }

    fn mismatch(&self, subject: &impl Labelled) -> Option<String> {
        if self.matches(subject) != Some(false) {
            return None;
        }
        Some(match self {
            Self::And(terms) => terms.iter().find_map(|term| term.mismatch(subject)).unwrap_or_default(),
            Self::Has(key) | Self::Label(key, _) => match subject.label(key) {
                Label::Value(value) => format!("has {key}={value}"),
                _ => format!("has no label {key}"),
            },
            other => format!("does not match {other}"),
        })
    }
}

/// The terms of a chain that ends with the first term that is `end`.
fn settled(terms: &[Expr], subject: &impl Labelled, end: bool) -> Option<bool> {
    let mut known = true;
    for term in terms {
        match term.matches(subject) {
            Some(matches) if matches == end => return Some(end),
            Some(_) => {}
            None => known = false,
        }
    }
    known.then_some(!end)
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        let listed = |values: &[Box<str>], value: &str| values.iter().any(|one| **one == *value);
        match self {
            Self::Is(wanted) => value == Some(wanted),
            Self::IsNot(wanted) => value != Some(wanted),
            Self::In(values) => value.is_some_and(|value| listed(values, value)),
            Self::NotIn(values) => value.is_none_or(|value| !listed(values, value)),
            Self::Contains(text) => value.is_some_and(|value| value.contains(&**text)),
            Self::StartsWith(text) => value.is_some_and(|value| value.starts_with(&**text)),
            Self::EndsWith(text) => value.is_some_and(|value| value.ends_with(&**text)),
        }
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> Self {
        selector.to_string()
    }
}

/// As Calico reads it, in one way of writing.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all()"),
            Self::Global => f.write_str("global()"),
            Self::Has(key) => write!(f, "has({key})"),
            Self::Label(key, test) => write!(f, "{key} {test}"),
            Self::Not(inner) => match &**inner {
                simple @ (Self::All | Self::Global | Self::Has(_)) => write!(f, "!{simple}"),
                other => write!(f, "!({other})"),
            },
            Self::And(terms) => chain(f, terms, " && ", |term| matches!(term, Self::And(_) | Self::Or(_))),
            Self::Or(terms) => chain(f, terms, " || ", |term| matches!(term, Self::Or(_))),
        }
    }
}

fn chain(
    f: &mut fmt::Formatter<'_>,
    terms: &[Expr],
    operator: &str,
    enclosed: impl Fn(&Expr) -> bool,
) -> fmt::Result {
    for (position, term) in terms.iter().enumerate() {
        if position > 0 {
            f.write_str(operator)?;
        }
        if enclosed(term) { write!(f, "({term})")? } else { write!(f, "{term}")? }
    }
    Ok(())
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(value) => write!(f, "== {}", quoted(value)),
            Self::IsNot(value) => write!(f, "!= {}", quoted(value)),
            Self::In(values) => write!(f, "in {{{}}}", list(values)),
            Self::NotIn(values) => write!(f, "not in {{{}}}", list(values)),
            Self::Contains(text) => write!(f, "contains {}", quoted(text)),
            Self::StartsWith(text) => write!(f, "starts with {}", quoted(text)),
            Self::EndsWith(text) => write!(f, "ends with {}", quoted(text)),
        }
    }
}

fn list(values: &[Box<str>]) -> String {
    values.iter().map(|value| quoted(value)).collect::<Vec<_>>().join(", ")
}

/// A string knows no escapes: it holds one kind of quotes at the most.
fn quoted(text: &str) -> String {
    if text.contains('"') { format!("'{text}'") } else { format!("\"{text}\"") }
}
