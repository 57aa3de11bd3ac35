//! The language, as tables.

use super::{Label, Labelled, Selector};
use crate::cluster::Labels;
use crate::cluster::testing::labels;

/// Labels of something in a namespace, or of something in none.
struct Subject {
    labels: Labels,
    global: bool,
}

impl Labelled for Subject {
    fn label(&self, key: &str) -> Label<'_> {
        if key == "secret" {
            return Label::Unknown;
        }
        self.labels.get(key).map_or(Label::Absent, Label::Value)
    }

    fn global(&self) -> bool {
        self.global
    }
}

fn subject(text: &str) -> Subject {
    Subject { labels: labels(text), global: false }
}

fn selector(text: &str) -> Selector {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn every_operator_matches_as_the_reference_documents() {
    let table = [
        // selector, labels, matches
        ("", "", true),
        (" \t", "a=1", true),
        ("all()", "", true),
        ("all( )", "", true),
        ("global()", "", false),
        ("!global()", "", true),
        ("app == 'web'", "app=web", true),
        ("app == \"web\"", "app=db", false),
        ("app == 'web'", "", false),
        ("app=='web'", "app=web", true),
        ("app != 'web'", "app=db", true),
        ("app != 'web'", "", true),
        ("app != 'web'", "app=web", false),
        ("app in {'web', \"db\"}", "app=db", true),
        ("app in {'web','db'}", "app=x", false),
        ("app in {'web'}", "", false),
        ("app in { 'web', }", "app=web", true),
        ("app in {}", "app=web", false),
        ("app not in {'web'}", "", true),
        ("app not in {'web'}", "app=web", false),
        ("app notin{'web'}", "app=db", true),
        ("has(app)", "app=", true),
        ("has( app )", "", false),
        ("!has(app)", "", true),
        ("app contains 'e'", "app=web", true),
        ("app contains 'x'", "app=web", false),
        ("app contains 'x'", "", false),
        ("app starts with 'we'", "app=web", true),
        ("app startswith 'eb'", "app=web", false),
        ("app ends with 'eb'", "app=web", true),
        ("app ends  with 'we'", "app=web", false),
        ("!app == 'web'", "app=web", false),
        ("!!app == 'web'", "app=web", true),
        ("a == '1' && b == '2'", "a=1,b=2", true),
        ("a == '1' && b == '2'", "a=1", false),
        ("a == '1' || b == '2'", "b=2", true),
        ("a == '1' || b == '2' && c == '3'", "a=1", true),
        ("(a == '1' || b == '2') && c == '3'", "a=1", false),
        ("!(a == '1' || b == '2')", "c=3", true),
        ("projectcalico.org/namespace == 'default'", "projectcalico.org/namespace=default", true),
        ("in in {'x'}", "in=x", true),
        ("all == 'x'", "all=x", true),
    ];
    for (text, on, expected) in table {
        assert_eq!(selector(text).matches(&subject(on)), Some(expected), "{text:?} on {on:?}");
    }
    let global = Subject { labels: labels("a=1"), global: true };
    assert_eq!(selector("global() && a == '1'").matches(&global), Some(true));
}

#[test]
fn what_is_not_known_decides_only_where_it_matters() {
    let table = [
        ("has(secret)", None),
        ("secret != 'x'", None),
        ("!(secret == 'x')", None),
        ("secret == 'x' && a == '2'", Some(false)),
        ("secret == 'x' && a == '1'", None),
        ("secret == 'x' || a == '1'", Some(true)),
        ("secret == 'x' || a == '2'", None),
    ];
    for (text, expected) in table {
        assert_eq!(selector(text).matches(&subject("a=1")), expected, "{text}");
    }
}

#[test]
fn what_cannot_be_read_is_told_with_its_column() {
    let deep = format!("{}all()", "(".repeat(65));
    let table = [
        (
            "app = 'web'",
            "column 5: expected ==, !=, in, not in, contains, starts with or ends with, not \"=\"",
        ),
        ("app == web", "column 8: expected a string in quotes, not \"w\""),
        ("app == 'web", "column 8: this string has no end"),
        ("app == 'web' & x == 'y'", "column 14: expected &&, || or the end, not \"&\""),
        ("app == 'web' &&", "column 16: expected a label, has(), all(), global(), ! or (, not the end"),
        ("(app == 'web'", "column 14: expected &&, || or ), not the end"),
        ("app in 'web'", "column 8: expected {, not \"'\""),
        ("app in {'web'", "column 14: expected a string in quotes or }, not the end"),
        ("has()", "column 5: expected the name of a label, not \")\""),
        ("has(app", "column 8: expected ), not the end"),
        ("all(x)", "column 5: expected ), not \"x\""),
        (
            "app starts 'x'",
            "column 5: expected ==, !=, in, not in, contains, starts with or ends with, not \"s\"",
        ),
        ("ä == 'x'", "column 1: expected a label, has(), all(), global(), ! or (, not \"ä\""),
        ("a == 'ä' ü", "column 10: expected &&, || or the end, not \"ü\""),
        ("a == 'x'\n", "column 9: expected &&, || or the end, not \"\\n\""),
        (deep.as_str(), "column 66: more than 64 parentheses in one another"),
    ];
    for (text, expected) in table {
        assert_eq!(text.parse::<Selector>().unwrap_err().to_string(), expected, "{text}");
    }
}

#[test]
fn it_is_written_in_one_way_and_means_the_same_when_read_again() {
    let table = [
        ("", "all()"),
        ("app=='web'&&has(x)", "app == \"web\" && has(x)"),
        ("a == '\"'", "a == '\"'"),
        ("a not in {'x','y'} || !has(b)", "a not in {\"x\", \"y\"} || !has(b)"),
        ("(a == '1' || b == '2') && c == '3'", "(a == \"1\" || b == \"2\") && c == \"3\""),
        ("!a starts with 'x'", "!(a starts with \"x\")"),
        ("!(a == '1' && b ends with '2')", "!(a == \"1\" && b ends with \"2\")"),
        ("a contains 'x' && (b != 'y' && global())", "a contains \"x\" && (b != \"y\" && global())"),
    ];
    for (text, expected) in table {
        let read = selector(text);
        assert_eq!(read.to_string(), expected);
        assert_eq!(selector(expected), read);
        let json = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<Selector>(&json).unwrap(), read);
    }
}

#[test]
fn it_tells_what_it_needs_and_what_is_there_instead() {
    assert_eq!(selector("has(x) && app == 'web'").required(), Some(("app", "web")));
    assert_eq!(selector("app in {'web'}").required(), Some(("app", "web")));
    assert_eq!(selector("app == 'web' || x == 'y'").required(), None);
    let table = [
        ("app == 'web'", Some("has app=db")),
        ("tier == 'x'", Some("has no label tier")),
        ("app == 'db' && tier == 'x'", Some("has no label tier")),
        ("app == 'web' || has(tier)", Some("does not match app == \"web\" || has(tier)")),
        ("app == 'db'", None),
        ("secret == 'db'", None),
    ];
    for (text, expected) in table {
        assert_eq!(selector(text).mismatch(&subject("app=db")).as_deref(), expected, "{text}");
    }
}
