//! Writes the little YAML that a manifest needs, in the order given.

use std::fmt::Write;

/// As much of YAML as a manifest needs.
pub(super) enum Yaml {
    /// Keys and values, in this order.
    Map(Vec<(String, Yaml)>),
    /// A sequence.
    List(Vec<Yaml>),
    /// A string.
    Text(String),
    /// A number.
    Number(u16),
    /// A number with a fraction, if it has one.
    Decimal(f64),
}

impl Yaml {
    /// Block style, two spaces a level. Empty maps and lists are written `{}` and `[]`.
    pub(super) fn write(&self, out: &mut String, indent: usize) {
        match self {
            Self::Map(entries) if entries.is_empty() => out.push_str("{}\n"),
            Self::List(items) if items.is_empty() => out.push_str("[]\n"),
            Self::Map(entries) => {
                for (position, (key, value)) in entries.iter().enumerate() {
                    if position > 0 {
                        out.push_str(&" ".repeat(indent));
                    }
                    out.push_str(&scalar(key));
                    out.push(':');
                    value.write_after_key(out, indent);
                }
            }
            Self::List(items) => {
                for (position, item) in items.iter().enumerate() {
                    if position > 0 {
                        out.push_str(&" ".repeat(indent));
                    }
                    out.push_str("- ");
                    item.write(out, indent + 2);
                }
            }
            Self::Text(text) => {
                out.push_str(&scalar(text));
                out.push('\n');
            }
            Self::Number(number) => {
                // Writing to a String does not fail.
                let _ = writeln!(out, "{number}");
            }
            Self::Decimal(number) => {
                let _ = writeln!(out, "{number}");
            }
        }
    }

    fn write_after_key(&self, out: &mut String, indent: usize) {
        let nested = match self {
            Self::Map(entries) => !entries.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Text(_) | Self::Number(_) | Self::Decimal(_) => false,
        };
        if nested {
            out.push('\n');
            out.push_str(&" ".repeat(indent + 2));
            self.write(out, indent + 2);
        } else {
            out.push(' ');
            self.write(out, indent);
        }
    }
}

/// A string, quoted unless every YAML reader takes it for a string as it stands.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    // Digits, dots and a slash are no number in any version of YAML.
    let network = text.parse::<ipnet::Ipv4Net>().is_ok();
    if plain || network { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

/// A map of known keys.
pub(super) fn map<const N: usize>(entries: [(&str, Yaml); N]) -> Yaml {
    Yaml::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// A string.
pub(super) fn word(text: impl Into<String>) -> Yaml {
    Yaml::Text(text.into())
}
