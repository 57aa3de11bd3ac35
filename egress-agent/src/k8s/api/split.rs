//! The bodies of lists and watches, taken apart as they come in: one object at a time is in memory as it was written,
//! and one that cannot be read does not take the others with it.

/// The largest object that is read. The API server stores none above 1.5 MiB (etcd's `--max-request-bytes`); its JSON
/// may be longer.
pub(super) const LARGEST: usize = 8 << 20;

/// A part of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// The text of an object.
    Whole(Vec<u8>),
    /// It was too large, and is left out; how it begins.
    TooLarge(Vec<u8>),
}

/// How much of an object that is too large is kept: its kind and name stand at its beginning.
const BEGINNING: usize = 4096;

/// A text that is collected up to a limit.
#[derive(Debug, Default)]
struct Collected {
    text: Vec<u8>,
    too_large: bool,
}

impl Collected {
    fn push(&mut self, byte: u8) {
        if self.too_large {
            return;
        }
        if self.text.len() >= LARGEST {
            self.too_large = true;
            self.text.truncate(BEGINNING);
            self.text.shrink_to_fit();
            return;
        }
        self.text.push(byte);
    }

    fn take(&mut self) -> Option<Piece> {
        let Self { text, too_large } = std::mem::take(self);
        if too_large {
            return Some(Piece::TooLarge(text));
        }
        (!text.is_empty()).then_some(Piece::Whole(text))
    }
}

/// A watch's body: an event a line.
#[derive(Debug, Default)]
pub(super) struct Lines {
    line: Collected,
}

impl Lines {
    /// Takes in more of the body, and gives the lines that are complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Piece> {
        let mut lines = Vec::new();
        for byte in bytes {
            match byte {
                b'\n' => lines.extend(self.line.take()),
                byte => self.line.push(*byte),
            }
        }
        lines
    }
}

/// A list's body: `{…, "items": [ITEM, …], …}`. What stands around the items is kept as the head.
#[derive(Debug, Default)]
pub(super) struct Items {
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The string that ended last directly within the list's object.
    key: Vec<u8>,
    in_items: bool,
    item: Collected,
    head: Collected,
    done: bool,
}

impl Items {
    /// Takes in more of the body, and gives the items that are complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Piece> {
        let mut items = Vec::new();
        for byte in bytes {
            self.byte(*byte, &mut items);
        }
        items
    }

    /// The list without its items; `None` while it is not complete.
    pub(super) fn head(self) -> Option<Vec<u8>> {
        (self.done && !self.head.too_large).then_some(self.head.text)
    }

    fn byte(&mut self, byte: u8, items: &mut Vec<Piece>) {
        let within = self.in_items && self.depth >= 2;
        if self.in_string {
            self.keep(byte, within);
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                byte if self.depth == 1 => self.key.push(byte),
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => {
                self.in_string = true;
                if self.depth == 1 {
                    self.key.clear();
                }
                self.keep(byte, within);
            }
            b'{' | b'[' => {
                if self.depth == 1 && byte == b'[' && self.key == b"items" {
                    self.in_items = true;
                    self.keep(byte, false);
                } else {
                    self.keep(byte, within);
                }
                self.depth += 1;
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.in_items && self.depth == 1 {
                    items.extend(self.item.take());
                    self.in_items = false;
                    self.keep(byte, false);
                } else {
                    self.keep(byte, within);
                }
                self.done |= self.depth == 0;
            }
            b',' if within && self.depth == 2 => items.extend(self.item.take()),
            byte if byte.is_ascii_whitespace() => {}
            byte => self.keep(byte, within),
        }
    }

    fn keep(&mut self, byte: u8, within: bool) {
        if within { self.item.push(byte) } else { self.head.push(byte) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(pieces: Vec<Piece>) -> Vec<String> {
        let text = |piece| match piece {
            Piece::Whole(text) => String::from_utf8(text).unwrap(),
            Piece::TooLarge(text) => format!("too large: {}", text.len()),
        };
        pieces.into_iter().map(text).collect()
    }

    #[test]
    fn a_list_is_taken_apart_wherever_it_is_cut() {
        let body = r#"{"kind":"PodList","metadata":{"resourceVersion":"7","items":["no"]}, "items" : [ {"a":"]},{\"","b":[1,{"c":2}]} ,"text", 5,null,{}],"more":[1]}"#;
        let expected = [r#"{"a":"]},{\"","b":[1,{"c":2}]}"#, r#""text""#, "5", "null", "{}"];
        for size in 1..body.len() {
            let mut items = Items::default();
            let found: Vec<_> = body.as_bytes().chunks(size).flat_map(|chunk| items.push(chunk)).collect();
            assert_eq!(texts(found), expected, "{size}");
            let head = String::from_utf8(items.head().unwrap()).unwrap();
            assert_eq!(
                head,
                r#"{"kind":"PodList","metadata":{"resourceVersion":"7","items":["no"]},"items":[],"more":[1]}"#
            );
        }
    }

    #[test]
    fn a_list_that_ends_early_is_not_complete() {
        let mut items = Items::default();
        assert_eq!(texts(items.push(br#"{"items":[{"a":1},{"b""#)), [r#"{"a":1}"#]);
        assert_eq!(items.head(), None);
        let mut empty = Items::default();
        assert_eq!(empty.push(br#"{"items":null,"metadata":{}}"#), []);
        assert!(empty.head().is_some());
    }

    #[test]
    fn what_is_too_large_is_left_out_and_the_next_is_read() {
        let mut lines = Lines::default();
        let mut body = vec![b'x'; LARGEST + 1];
        body.extend(b"\nshort\nrest");
        assert_eq!(texts(lines.push(&body)), ["too large: 4096", "short"]);
        assert_eq!(texts(lines.push(b"\n")), ["rest"]);

        let mut items = Items::default();
        let mut list = br#"{"items":[""#.to_vec();
        list.extend(vec![b'x'; LARGEST]);
        list.extend(br#"",{}]}"#);
        assert_eq!(texts(items.push(&list)), ["too large: 4096", "{}"]);
    }
}
