//! Labels, packed: a cluster's policies hold tens of thousands of sets of one or two.

use std::collections::BTreeMap;
use std::fmt;
use std::slice::ChunksExact;

use serde::de::Deserializer;
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

/// Labels of an object, or those that a selector asks for, in the order of their keys.
///
/// All text stands in one allocation; a map of one label would take eight times as much. To change one is dear.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Labels {
    /// Keys and values, one behind the other.
    text: Box<str>,
    /// Where each key and each value ends in `text`.
    ends: Box<[u32]>,
}

impl Labels {
    /// No labels.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len() / 2
    }

    /// The value of this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find_map(|(known, value)| (known == key).then_some(value))
    }

    /// The key is there.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Keys and values, by key.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter { text: &self.text, ends: self.ends.chunks_exact(2), start: 0 }
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(key, _)| key)
    }

    /// Adds a label, or replaces its value.
    pub fn insert(&mut self, key: &str, value: &str) {
        *self = self.iter().chain([(key, value)]).collect();
    }

    /// Takes over all labels of another set; where both have a key, its value is theirs.
    pub fn extend(&mut self, other: &Self) {
        *self = self.iter().chain(other).collect();
    }
}

/// Labels by key, see [`Labels::iter`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    text: &'a str,
    ends: ChunksExact<'a, u32>,
    start: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let &[key, value] = self.ends.next()? else { return None };
        let (key, value) = (key as usize, value as usize);
        let label = (self.text.get(self.start..key)?, self.text.get(key..value)?);
        self.start = value;
        Some(label)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.ends.size_hint()
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Of a key that comes twice, the last value counts. Text beyond 4 GiB is left out.
impl<'a> FromIterator<(&'a str, &'a str)> for Labels {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(labels: I) -> Self {
        let labels: BTreeMap<&str, &str> = labels.into_iter().collect();
        let mut text = String::with_capacity(labels.iter().map(|(key, value)| key.len() + value.len()).sum());
        let mut ends = Vec::with_capacity(labels.len() * 2);
        for (key, value) in labels {
            let key_end = u32::try_from(text.len() + key.len());
            let value_end = u32::try_from(text.len() + key.len() + value.len());
            let (Ok(key_end), Ok(value_end)) = (key_end, value_end) else { break };
            text.push_str(key);
            text.push_str(value);
            ends.extend([key_end, value_end]);
        }
        Self { text: text.into(), ends: ends.into() }
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Labels {
    fn from(labels: [(&str, &str); N]) -> Self {
        labels.into_iter().collect()
    }
}

impl From<BTreeMap<String, String>> for Labels {
    fn from(labels: BTreeMap<String, String>) -> Self {
        labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::<String, String>::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_a_map_by_key() {
        let mut labels = Labels::from([("tier", "x"), ("app", "db"), ("empty", ""), ("app", "web")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("app", "web"), ("empty", ""), ("tier", "x")]);
        assert_eq!((labels.len(), labels.get("empty"), labels.get("ti")), (3, Some(""), None));
        labels.insert("", "nameless");
        labels.insert("tier", "größer");
        labels.extend(&Labels::from([("app", "db"), ("zone", "a")]));
        let expected = r#"{"":"nameless","app":"db","empty":"","tier":"größer","zone":"a"}"#;
        assert_eq!(serde_json::to_string(&labels).unwrap(), expected);
        assert_eq!(serde_json::from_str::<Labels>(expected).unwrap(), labels);
        assert!(Labels::new().is_empty() && Labels::new().iter().next().is_none());
    }
}
