//! Words that every view of an answer shares: the terminal's and the page's.

mod headline;

pub(crate) use headline::{bracketed, counted, flow};

use std::borrow::Cow;
use std::time::Duration;

use egress_core::time::Timestamp;

/// The text without what could steer a terminal or deceive a reader: control characters and those that turn the direction of writing.
/// Line ends stay.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    let bad = |c: char| {
        (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.contains(bad) { Cow::Owned(text.replace(bad, "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// Writes a duration in its two largest units: `2s`, `3m 5s`, `2d 4h`.
pub(crate) fn human(duration: Duration) -> String {
    let total = duration.as_secs();
    let units = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let Some(first) = units.iter().position(|(size, _)| total >= *size) else { return "<1s".to_owned() };
    let (size, name) = units[first];
    let mut text = format!("{}{name}", total / size);
    if let Some((next, name)) = units.get(first + 1) {
        let rest = total % size / next;
        if rest > 0 {
            text.push_str(&format!(" {rest}{name}"));
        }
    }
    text
}

/// A time of the contract for people: `2025-11-20 02:00:31Z`. What is no time stays as it is.
pub(crate) fn clock(text: &str) -> String {
    match text.parse::<Timestamp>() {
        Ok(at) => {
            let whole = Timestamp(at.0.div_euclid(1_000_000) * 1_000_000).to_string();
            format!("{}Z", whole.get(..19).unwrap_or(&whole).replace('T', " "))
        }
        Err(_) => clean(text).into_owned(),
    }
}

/// A number with its thousands apart.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_can_steer_the_terminal() {
        assert_eq!(clean("a\u{1b}[31mb\u{7}\u{202e}c\nd"), "a\u{fffd}[31mb\u{fffd}\u{fffd}c\nd");
        assert_eq!(clean("api.example.com"), "api.example.com");
    }

    #[test]
    fn numbers_and_times_for_people() {
        assert_eq!(thousands(7), "7");
        assert_eq!(thousands(199_800), "199,800");
        assert_eq!(thousands(1_000_000), "1,000,000");
        assert_eq!(clock("2025-11-20T02:00:31.123456Z"), "2025-11-20 02:00:31Z");
        assert_eq!(clock("never"), "never");
    }

    #[test]
    fn durations_are_written() {
        for (seconds, text) in [
            (0, "<1s"),
            (2, "2s"),
            (60, "1m"),
            (185, "3m 5s"),
            (3600, "1h"),
            (3661, "1h 1m"),
            (187_200, "2d 4h"),
        ] {
            assert_eq!(human(Duration::from_secs(seconds)), text);
        }
    }
}
