//! A file's text into its documents: YAML with `---` between documents, or JSON.

use serde::de::DeserializeOwned;

/// Limits of the YAML reader. A node's view of a large cluster is some ten million nodes of YAML; the limits on
/// aliases stay as they are, so that a few lines cannot unfold into gigabytes.
fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 100_000_000,
            max_nodes: 50_000_000,
            max_total_scalar_bytes: 1 << 30,
            max_total_comment_bytes: 1 << 30,
        },
        with_snippet: false,
    }
}

/// Text that cannot be parsed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// Line, 0 if not known.
    pub(super) line: usize,
    /// What is wrong.
    pub(super) message: String,
}

/// Parses a JSON file and hands over what it holds, with its line.
pub(super) fn json<T: DeserializeOwned>(
    text: &str,
    mut each: impl FnMut(usize, T),
) -> Result<(), SyntaxError> {
    let value: Option<T> = serde_json::from_str(text).map_err(|error| SyntaxError {
        line: error.line(),
        // The place is told in its own way.
        message: format!("malformed JSON: {}", without_place(&error.to_string())),
    })?;
    if let Some(value) = value {
        each(1, value);
    }
    Ok(())
}

fn without_place(message: &str) -> &str {
    message.rsplit_once(" at line ").map_or(message, |(message, _)| message)
}

/// Parses a YAML file and hands over its documents one by one, each with the line of its first content; empty ones
/// are left out.
pub(super) fn yaml<T: DeserializeOwned>(
    text: &str,
    mut each: impl FnMut(usize, T),
) -> Result<(), SyntaxError> {
    for (before, part) in split(text.strip_prefix('\u{feff}').unwrap_or(text)) {
        let content = part.lines().position(|line| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with('#')
        });
        let Some(content) = content else { continue };
        let value: Option<T> = serde_saphyr::from_str_with_options(part, options()).map_err(|error| {
            let line = error.location().and_then(|at| usize::try_from(at.line()).ok()).unwrap_or(content + 1);
            SyntaxError { line: before + line, message: format!("malformed YAML: {}", message(&error)) }
        })?;
        if let Some(value) = value {
            each(before + content + 1, value);
        }
    }
    Ok(())
}

fn message(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::MessageFormatter as _;
    serde_saphyr::UserMessageFormatter.format_message(error).escape_debug().to_string()
}

/// Splits a YAML stream at its document markers: how many lines stand before each part, and the part. A line that
/// starts with `---` is a marker wherever it stands, also inside a block scalar (YAML 1.2, section 9.1.2).
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut parts = Vec::new();
    let (mut start, mut start_line, mut at) = (0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let marker = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(|c: char| c.is_ascii_whitespace()));
        if marker {
            parts.push((start_line, &text[start..at]));
            // What stands on the marker's line belongs to the document.
            (start, start_line) = (at + "---".len(), number);
        }
        at += line.len();
    }
    parts.push((start_line, &text[start..]));
    parts
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn parsed(text: &str) -> Result<Vec<(usize, Value)>, SyntaxError> {
        let mut documents = Vec::new();
        yaml(text, |line, value| documents.push((line, value)))?;
        Ok(documents)
    }

    #[test]
    fn documents_know_their_line() {
        let text =
            "# comment\na: 1\n---\n\n---\n# nothing here\n--- {b: 2}\n---\nc: |\n  --- no marker\n...\n";
        let expected = vec![
            (2, serde_json::json!({"a": 1})),
            (7, serde_json::json!({"b": 2})),
            (9, serde_json::json!({"c": "--- no marker\n"})),
        ];
        assert_eq!(parsed(text).unwrap(), expected);
        assert_eq!(parsed("").unwrap(), []);
        assert_eq!(parsed("\u{feff}---\r\na: 1\r\n---\r\nb: 2\r\n").unwrap().len(), 2);
    }

    #[test]
    fn malformed_text_is_told_with_its_line() {
        let error = parsed("a: 1\n---\nb:\n  - c\n d: 2\n").unwrap_err();
        assert_eq!(error.line, 5, "{error:?}");
        assert!(error.message.starts_with("malformed YAML: "), "{error:?}");
        let error = parsed("a: 1\na: 2\n").unwrap_err();
        assert_eq!(
            (error.line, error.message.as_str()),
            (2, "malformed YAML: duplicate mapping key: a not allowed here")
        );
        let error = json("{\n\"a\": ]}", |_, _: Value| {}).unwrap_err();
        assert_eq!(error, SyntaxError { line: 2, message: "malformed JSON: expected value".to_owned() });
    }

    #[test]
    fn aliases_cannot_unfold_without_bound() {
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..9 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(",");
            bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        assert!(parsed(&bomb).is_err());
    }
}
