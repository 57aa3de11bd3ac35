//! Ink, wrapping, and text that is safe to print.

use crate::words::clean;

/// How a piece of text looks on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    /// As it is.
    Plain,
    /// What to read first.
    Bold,
    /// What broke.
    Red,
    /// What works.
    Green,
    /// What is not certain.
    Yellow,
    /// What can be skipped.
    Dim,
}

/// Puts ink on text, or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pen {
    /// With colours at all.
    pub(super) color: bool,
    /// Everything dim: what is over.
    pub(super) faded: bool,
}

impl Pen {
    /// The text with its ink.
    pub(super) fn ink(self, ink: Ink, text: &str) -> String {
        let code = match (self.color, self.faded, ink) {
            (false, ..) | (_, false, Ink::Plain) => return text.to_owned(),
            (_, true, _) | (_, _, Ink::Dim) => "2",
            (_, _, Ink::Bold) => "1",
            (_, _, Ink::Red) => "1;31",
            (_, _, Ink::Green) => "32",
            (_, _, Ink::Yellow) => "33",
        };
        if text.trim().is_empty() { text.to_owned() } else { format!("\u{1b}[{code}m{text}\u{1b}[0m") }
    }
}

/// Columns that a text without ink takes.
pub(super) fn columns(text: &str) -> usize {
    text.chars().count()
}

/// Breaks text into lines of at most `width` columns, at spaces; a longer word has a line of its own. Line ends of
/// the text are kept, and the spaces at the beginning of such a line.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let text = clean(text);
    let mut lines = Vec::new();
    for paragraph in text.trim_end().split('\n') {
        let indent: String = paragraph.chars().take_while(|c| *c == ' ').collect();
        let mut line = indent.clone();
        let mut empty = true;
        // Runs of spaces inside are part of the layout of the one who wrote them, unless the line breaks there.
        let mut spaces = 0;
        for word in paragraph.trim_start_matches(' ').split(' ') {
            if word.is_empty() {
                spaces += 1;
                continue;
            }
            if !empty && columns(&line) + 1 + spaces + columns(word) > width {
                lines.push(std::mem::replace(&mut line, indent.clone()));
                empty = true;
            }
            if !empty {
                line.push_str(&" ".repeat(1 + spaces));
            }
            line.push_str(word);
            (empty, spaces) = (false, 0);
        }
        lines.push(line);
    }
    lines
}

/// A labelled paragraph: the label once, the text beside it.
pub(super) fn labelled(out: &mut String, pen: Pen, label: &str, text: &str, ink: Ink, width: usize) {
    let lines = wrap(text, width.saturating_sub(LABEL));
    for (number, line) in lines.iter().enumerate() {
        let label = if number == 0 { format!("  {label:<6}") } else { " ".repeat(LABEL) };
        out.push_str(&pen.ink(Ink::Bold, &label));
        out.push_str(&pen.ink(ink, line));
        out.push('\n');
    }
}

/// A paragraph in the column of the labelled ones, with a mark before its first line.
pub(super) fn marked(out: &mut String, pen: Pen, indent: usize, mark: (&str, Ink), text: &str, width: usize) {
    let hang = indent + columns(mark.0) + 1;
    for (number, line) in wrap(text, width.saturating_sub(hang)).iter().enumerate() {
        if number == 0 {
            out.push_str(&" ".repeat(indent));
            out.push_str(&pen.ink(mark.1, mark.0));
            out.push(' ');
        } else {
            out.push_str(&" ".repeat(hang));
        }
        out.push_str(&pen.ink(Ink::Plain, line));
        out.push('\n');
    }
}

/// Columns before the text of a labelled paragraph.
pub(super) const LABEL: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_at_spaces_and_words_are_never_cut() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("averyveryverylongname a b", 7), ["averyveryverylongname", "a b"]);
        assert_eq!(wrap("a   b\n  c d e", 5), ["a   b", "  c d", "  e"]);
        assert_eq!(wrap("", 5), [""]);
    }
}
