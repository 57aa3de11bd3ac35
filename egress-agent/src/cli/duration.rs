//! Durations as people type and read them.

use std::time::Duration;

/// Reads `90s`, `15m`, `2h`, `1d`, `1h30m`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let error = || format!("\"{text}\" is not a duration: say 30s, 15m, 2h, 1d or 1h30m");
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        let seconds: u64 = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            "w" => 604_800,
            _ => return Err(error()),
        };
        let number: u64 = number.parse().map_err(|_| error())?;
        let part = number.checked_mul(seconds).ok_or_else(error)?;
        total = total.checked_add(Duration::from_secs(part)).ok_or_else(error)?;
        rest = tail;
    }
    if total.is_zero() { Err(error()) } else { Ok(total) }
}

/// Writes a duration in its two largest units: `2s`, `3m 5s`, `2d 4h`.
pub(super) fn human(duration: Duration) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, seconds) in [("1s", 1), ("15m", 900), ("1h30m", 5400), ("2d", 172_800), ("1w", 604_800)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "15",
            "m",
            "0s",
            "-1m",
            "1.5h",
            "1 h",
            "5ms",
            "1h30",
            "99999999999999999999s",
            "9999999999999999999d",
            "1µ",
        ] {
            let error = parse_duration(text).unwrap_err();
            assert!(error.starts_with(&format!("\"{text}\" is not a duration")), "{error}");
        }
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
