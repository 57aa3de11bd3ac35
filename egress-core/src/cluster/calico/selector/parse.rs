//! Reads a selector. The grammar is that of Calico's reference ("Selectors"): `||` binds weakest, `!` strongest; a
//! string stands in single or double quotes and knows no escapes.

use std::str::FromStr;

use thiserror::Error;

use super::{Expr, Selector, Test};

/// How deep parentheses may stand in one another.
const DEEPEST: usize = 64;

/// A text that is no selector.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("column {column}: {message}")]
pub struct SelectorError {
    /// Where, in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser { text, at: 0 };
        // An empty selector selects everything.
        if parser.peek().is_none() {
            return Ok(Self(Expr::All));
        }
        let expression = parser.either(0)?;
        match parser.peek() {
            None => Ok(Self(expression)),
            Some(_) => Err(parser.expected("&&, || or the end")),
        }
    }
}

impl TryFrom<String> for Selector {
    type Error = SelectorError;

    fn try_from(text: String) -> Result<Self, SelectorError> {
        text.parse()
    }
}

struct Parser<'a> {
    text: &'a str,
    /// Offset of what has not been read, bytes.
    at: usize,
}

impl<'a> Parser<'a> {
    /// Terms joined by `||`.
    fn either(&mut self, depth: usize) -> Result<Expr, SelectorError> {
        self.joined("||", Expr::Or, |parser| parser.joined("&&", Expr::And, |parser| parser.term(depth)))
    }

    fn joined(
        &mut self,
        operator: &str,
        join: fn(Vec<Expr>) -> Expr,
        term: impl Fn(&mut Self) -> Result<Expr, SelectorError>,
    ) -> Result<Expr, SelectorError> {
        let first = term(self)?;
        let mut terms = vec![first];
        while self.take(operator) {
            terms.push(term(self)?);
        }
        Ok(match terms.pop() {
            Some(only) if terms.is_empty() => only,
            last => {
                terms.extend(last);
                join(terms)
            }
        })
    }

    /// One comparison, a call, or parentheses; any number of `!` before it.
    fn term(&mut self, depth: usize) -> Result<Expr, SelectorError> {
        let mut negated = false;
        while self.take("!") {
            negated = !negated;
        }
        let positive = self.positive(depth)?;
        Ok(if negated { Expr::Not(Box::new(positive)) } else { positive })
    }

    fn positive(&mut self, depth: usize) -> Result<Expr, SelectorError> {
        if self.take("(") {
            if depth == DEEPEST {
                return Err(self.error(format!("more than {DEEPEST} parentheses in one another")));
            }
            let inner = self.either(depth + 1)?;
            return if self.take(")") { Ok(inner) } else { Err(self.expected("&&, || or )")) };
        }
        if self.take("has(") {
            let Some(key) = self.key() else { return Err(self.expected("the name of a label")) };
            return if self.take(")") { Ok(Expr::Has(key.into())) } else { Err(self.expected(")")) };
        }
        for (call, expression) in [("all(", Expr::All), ("global(", Expr::Global)] {
            if self.take(call) {
                return if self.take(")") { Ok(expression) } else { Err(self.expected(")")) };
            }
        }
        match self.key() {
            Some(key) => Ok(Expr::Label(key.into(), self.test()?)),
            None => Err(self.expected("a label, has(), all(), global(), ! or (")),
        }
    }

    /// What stands behind a label.
    fn test(&mut self) -> Result<Test, SelectorError> {
        if self.take("==") {
            self.string().map(Test::Is)
        } else if self.take("!=") {
            self.string().map(Test::IsNot)
        } else if self.take("contains") {
            self.string().map(Test::Contains)
        } else if self.take_both("starts", "with") {
            self.string().map(Test::StartsWith)
        } else if self.take_both("ends", "with") {
            self.string().map(Test::EndsWith)
        } else if self.take_both("not", "in") {
            self.set().map(Test::NotIn)
        } else if self.take("in") {
            self.set().map(Test::In)
        } else {
            Err(self.expected("==, !=, in, not in, contains, starts with or ends with"))
        }
    }

    fn set(&mut self) -> Result<Box<[Box<str>]>, SelectorError> {
        if !self.take("{") {
            return Err(self.expected("{"));
        }
        let mut values = Vec::new();
        while matches!(self.peek(), Some('"' | '\'')) {
            values.push(self.string()?);
            if !self.take(",") {
                break;
            }
        }
        if self.take("}") { Ok(values.into()) } else { Err(self.expected("a string in quotes or }")) }
    }

    fn string(&mut self) -> Result<Box<str>, SelectorError> {
        let Some(quote @ ('"' | '\'')) = self.peek() else {
            return Err(self.expected("a string in quotes"));
        };
        let Some((value, _)) = self.text[self.at + 1..].split_once(quote) else {
            return Err(self.error("this string has no end".into()));
        };
        self.at += value.len() + 2;
        Ok(value.into())
    }

    fn key(&mut self) -> Option<&'a str> {
        self.peek()?;
        let rest = &self.text[self.at..];
        let of_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-');
        let key = &rest[..rest.find(|c| !of_key(c)).unwrap_or(rest.len())];
        self.at += key.len();
        (!key.is_empty()).then_some(key)
    }

    /// Reads two words, which blanks may part or not.
    fn take_both(&mut self, first: &str, second: &str) -> bool {
        let before = self.at;
        let both = self.take(first) && self.take(second);
        if !both {
            self.at = before;
        }
        both
    }

    fn take(&mut self, token: &str) -> bool {
        self.peek();
        let taken = self.text[self.at..].starts_with(token);
        if taken {
            self.at += token.len();
        }
        taken
    }

    /// The next character that is no blank.
    fn peek(&mut self) -> Option<char> {
        let rest = self.text[self.at..].trim_start_matches([' ', '\t']);
        self.at = self.text.len() - rest.len();
        rest.chars().next()
    }

    fn expected(&mut self, what: &str) -> SelectorError {
        let found = match self.peek() {
            Some(c) => format!("not {:?}", c.to_string()),
            None => "not the end".into(),
        };
        self.error(format!("expected {what}, {found}"))
    }

    fn error(&self, message: String) -> SelectorError {
        SelectorError { column: self.text[..self.at].chars().count() + 1, message }
    }
}
