//! Selectors of Calico.

use egress_core::cluster::calico::{Label, Labelled, Selector};

/// Labels of which those that begin with `u` are not known, and every other one has its name as its value or is
/// absent.
struct Subject {
    present: bool,
}

impl Labelled for Subject {
    fn label(&self, key: &str) -> Label<'_> {
        match key.as_bytes() {
            [b'u', ..] => Label::Unknown,
            [b'a', ..] if self.present => Label::Value("a"),
            _ => Label::Absent,
        }
    }

    fn global(&self) -> bool {
        !self.present
    }
}

pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let selector: Selector = match text.parse() {
        Ok(selector) => selector,
        Err(error) => {
            assert!((1..=text.chars().count() + 1).contains(&error.column), "{error} in {text:?}");
            assert_eq!(error.to_string().lines().count(), 1, "an error of several lines: {error:?}");
            return;
        }
    };
    let written = selector.to_string();
    assert_eq!(written.parse().as_ref(), Ok(&selector), "written as {written}");
    for present in [false, true] {
        let subject = Subject { present };
        let matches = selector.matches(&subject);
        assert_eq!(selector.mismatch(&subject).is_some(), matches == Some(false), "{written}");
        if let (Some(true), Some((key, value))) = (matches, selector.required()) {
            assert_eq!(subject.label(key), Label::Value(value), "{written} needs {key}");
        }
    }
}
