//! The shape of a settings file: keys with a value, a list of values or nothing, each with its place.

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span};

use super::problem::Problem;

/// Bytes that a settings file may have.
const MAX_BYTES: usize = 1 << 20;

/// Where something stands in the file, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Line.
    pub(super) line: usize,
    /// Column, in characters.
    pub(super) column: usize,
}

impl Place {
    /// The beginning of the file.
    pub(super) const START: Self = Self { line: 1, column: 1 };

    fn of(mark: &granit_parser::Marker) -> Self {
        // Lines come counted from 1, columns from 0.
        Self { line: mark.line().max(1), column: mark.col() + 1 }
    }
}

/// A key and what it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The key.
    pub(super) key: String,
    /// Where the key stands.
    pub(super) place: Place,
    /// What it is given.
    pub(super) value: Value,
}

/// What a key is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// One value.
    One(Scalar),
    /// A list.
    List(Vec<Value>),
    /// Keys below the key.
    Mapping(Place),
    /// Nothing, or `null`.
    Nothing(Place),
    /// A reference to an anchor.
    Alias(Place),
}

/// A single value as it is written, without its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scalar {
    /// Its text.
    pub(super) text: String,
    /// Where it stands.
    pub(super) place: Place,
}

impl Value {
    /// Where it stands; a list stands where its key does.
    pub(super) fn place(&self) -> Option<Place> {
        match self {
            Self::One(scalar) => Some(scalar.place),
            Self::Mapping(place) | Self::Nothing(place) | Self::Alias(place) => Some(*place),
            Self::List(_) => None,
        }
    }
}

/// Reads a file. What cannot be read as YAML ends the reading; what is YAML and not of the shape of settings does not.
pub(super) fn read(text: &str) -> (Vec<Entry>, Vec<Problem>) {
    let problem = |place, text: &str| Problem { place, key: None, text: text.to_owned() };
    if text.len() > MAX_BYTES {
        return (Vec::new(), vec![problem(Place::START, "has more than 1 MiB: this is no settings file")]);
    }
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut reader = Reader {
        events: Parser::new_from_str_with_options(text.strip_prefix('\u{feff}').unwrap_or(text), options),
        entries: Vec::new(),
        problems: Vec::new(),
    };
    if let Err(error) = reader.stream() {
        let problem = problem(Place::of(error.marker()), &format!("is not YAML: {}", error.info()));
        reader.problems.push(problem);
    }
    (reader.entries, reader.problems)
}

struct Reader<I> {
    events: I,
    entries: Vec<Entry>,
    problems: Vec<Problem>,
}

impl<'a, I: Iterator<Item = Result<(Event<'a>, Span), ScanError>>> Reader<I> {
    fn next(&mut self) -> Result<(Event<'a>, Place), ScanError> {
        match self.events.next() {
            Some(Ok((event, span))) => Ok((event, Place::of(&span.start))),
            Some(Err(error)) => Err(error),
            // Never after a stream that was not ended; ends every loop all the same.
            None => Ok((Event::StreamEnd, Place::START)),
        }
    }

    fn stream(&mut self) -> Result<(), ScanError> {
        let mut documents = 0;
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(()),
                (Event::DocumentStart(..), place) => {
                    documents += 1;
                    match documents {
                        1 => self.document()?,
                        _ => {
                            self.wrong(place, "begins a second document: settings are one");
                            return Ok(());
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn document(&mut self) -> Result<(), ScanError> {
        let (event, place) = self.next()?;
        match event {
            Event::MappingStart(..) => self.settings(),
            // A file that says nothing.
            Event::Scalar(text, ScalarStyle::Plain, ..) if is_null(&text) => Ok(()),
            other => {
                self.wrong(place, "is no mapping: settings are lines of KEY: VALUE");
                self.skip(&other)
            }
        }
    }

    fn settings(&mut self) -> Result<(), ScanError> {
        loop {
            let (event, place) = self.next()?;
            let key = match event {
                Event::MappingEnd | Event::StreamEnd => return Ok(()),
                Event::Scalar(text, ..) => Some(text.into_owned()),
                other => {
                    self.wrong(place, "a key is one word");
                    self.skip(&other)?;
                    None
                }
            };
            let (event, at) = self.next()?;
            let value = self.value(event, at)?;
            self.entries.extend(key.map(|key| Entry { key, place, value }));
        }
    }

    fn value(&mut self, event: Event<'a>, place: Place) -> Result<Value, ScanError> {
        Ok(match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) if is_null(&text) => Value::Nothing(place),
            Event::Scalar(text, ..) => Value::One(Scalar { text: text.into_owned(), place }),
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd | Event::StreamEnd, _) => return Ok(Value::List(items)),
                        // Lists in lists are told by their place alone.
                        (event @ Event::SequenceStart(..), place) => {
                            self.skip(&event)?;
                            items.push(Value::Mapping(place));
                        }
                        (event, place) => items.push(self.value(event, place)?),
                    }
                }
            }
            Event::MappingStart(..) => {
                self.skip(&event)?;
                Value::Mapping(place)
            }
            _ => Value::Alias(place),
        })
    }

    /// Passes over the rest of what an event begins.
    fn skip(&mut self, began: &Event<'_>) -> Result<(), ScanError> {
        let mut depth = usize::from(matches!(began, Event::SequenceStart(..) | Event::MappingStart(..)));
        while depth > 0 {
            match self.next()?.0 {
                Event::SequenceStart(..) | Event::MappingStart(..) => depth += 1,
                Event::SequenceEnd | Event::MappingEnd => depth -= 1,
                Event::StreamEnd => return Ok(()),
                _ => {}
            }
        }
        Ok(())
    }

    fn wrong(&mut self, place: Place, text: &str) {
        self.problems.push(Problem { place, key: None, text: text.to_owned() });
    }
}

/// What YAML takes for nothing.
fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}
