//! Sizes as people type them, the way Kubernetes writes quantities of memory.

/// Reads bytes: `268435456`, `64Mi`, `1Gi`, `500M`.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let error = || format!("\"{text}\" is not a size: say 64Mi, 1Gi, 500M or a number of bytes");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit {
        "" => 1,
        "k" => 1000,
        "Ki" => 1 << 10,
        "M" => 1_000_000,
        "Mi" => 1 << 20,
        "G" => 1_000_000_000,
        "Gi" => 1 << 30,
        "T" => 1_000_000_000_000,
        "Ti" => 1 << 40,
        _ => return Err(error()),
    };
    let number: u64 = number.parse().map_err(|_| error())?;
    number.checked_mul(factor).filter(|bytes| *bytes > 0).ok_or_else(error)
}

/// The size that `--history-size` takes.
pub(super) fn parse_history_size(text: &str) -> Result<u64, String> {
    const LEAST: u64 = 16 << 20;
    match parse_size(text)? {
        bytes if bytes < LEAST => Err(format!("\"{text}\" is too small for a history: at least 16Mi")),
        bytes => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_kubernetes_writes_them() {
        for (text, bytes) in
            [("1", 1), ("64Mi", 64 << 20), ("1Gi", 1 << 30), ("500M", 500_000_000), ("3k", 3000)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "Mi", "1.5Gi", "-1", "1mi", "1 Mi", "99999999999Ti", "0Gi"] {
            let error = parse_size(text).unwrap_err();
            assert!(error.starts_with(&format!("\"{text}\" is not a size")), "{error}");
        }
        assert!(parse_history_size("1Mi").unwrap_err().contains("at least 16Mi"));
        assert_eq!(parse_history_size("16Mi"), Ok(16 << 20));
    }
}
