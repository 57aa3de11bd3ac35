//! Durations as people type them.

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
}
