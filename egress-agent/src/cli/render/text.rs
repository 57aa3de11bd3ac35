//! Ink, wrapping, and text that is safe to print.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::View;
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

/// Columns that a text without ink takes: letters of some scripts take two, marks on letters none.
pub(in super::super) fn columns(text: &str) -> usize {
    text.width()
}

/// A text without ink on one line of at most so many columns.
pub(in super::super) fn cut(text: &str, width: usize) -> String {
    let text = clean(text).replace('\n', " ");
    if columns(&text) <= width {
        return text;
    }
    let (mut kept, mut used) = (String::new(), 0);
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used + 1 > width {
            break;
        }
        kept.push(c);
    }
    kept.push('…');
    kept
}

/// A text that may be skipped.
pub(in super::super) fn dim(text: &str, view: &View) -> String {
    Pen { color: view.color, faded: false }.ink(Ink::Dim, text)
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
        // Two columns a letter; a combining mark takes none.
        assert_eq!(wrap("東京 大阪 x", 9), ["東京 大阪", "x"]);
        assert_eq!(wrap("e\u{301}e\u{301}e\u{301} x", 5), ["e\u{301}e\u{301}e\u{301} x"]);
    }

    #[test]
    fn a_line_is_cut_at_its_columns() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde…");
        assert_eq!(cut("東京大阪", 6), "東京…");
        assert_eq!(cut("東京大阪", 5), "東京…");
        assert_eq!(cut("a\nb\u{1b}c", 9), "a b\u{fffd}c");
    }
}
