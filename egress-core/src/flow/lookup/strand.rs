//! All questions for one name and type: a resolver asks them again, and of several servers, until one settles it.

use std::sync::Arc;

use super::Question;
use crate::decode::DnsType;
use crate::flow::dns::DnsOutcome;
use crate::time::Mono;

/// The questions for one name and type, summed up.
#[derive(Clone, Copy, Debug)]
pub(in crate::flow) struct Strand<'a> {
    /// The name.
    pub(in crate::flow) name: &'a Arc<str>,
    /// The type.
    pub(in crate::flow) kind: DnsType,
    /// A definitive answer was got.
    definitive: Option<(DnsOutcome, usize)>,
    /// The worst error that was got.
    error: Option<(DnsOutcome, usize)>,
    /// The first question that waits.
    pub(in crate::flow) open: Option<usize>,
    /// When that was asked.
    pub(in crate::flow) first_open: Mono,
    /// The first question that waits and was not told yet.
    pub(in crate::flow) untold: Option<usize>,
}

impl Strand<'_> {
    /// It waits for an answer: none came that settles it, and a question is open. After an error of one server the
    /// next one is waited for.
    pub(in crate::flow) const fn is_open(&self) -> bool {
        self.definitive.is_none() && self.open.is_some()
    }

    /// How it failed, and the question that tells of it.
    pub(in crate::flow) fn failure(&self) -> Option<(DnsOutcome, usize)> {
        self.definitive.or(self.error).filter(|(outcome, _)| *outcome != DnsOutcome::NoError)
    }
}

/// Sums up the questions of a lookup, in the order in which their names were asked.
pub(in crate::flow) fn strands(questions: &[Question]) -> impl Iterator<Item = Strand<'_>> {
    let same = |a: &Question, b: &Question| a.kind == b.kind && a.name == b.name;
    questions.iter().enumerate().filter_map(move |(index, first)| {
        if questions[..index].iter().any(|earlier| same(earlier, first)) {
            return None;
        }
        let mut strand = Strand {
            name: &first.name,
            kind: first.kind,
            definitive: None,
            error: None,
            open: None,
            first_open: first.asked,
            untold: None,
        };
        for (at, question) in questions.iter().enumerate().skip(index).filter(|(_, q)| same(q, first)) {
            strand.add(at, question);
        }
        Some(strand)
    })
}

impl Strand<'_> {
    fn add(&mut self, at: usize, question: &Question) {
        match question.got() {
            Some(answer) if answer.outcome.is_definitive() => {
                self.definitive = self.definitive.or(Some((answer.outcome, at)));
            }
            Some(answer) => self.error = self.error.max(Some((answer.outcome, at))),
            None if question.is_open() => {
                if self.open.is_none() {
                    self.open = Some(at);
                    self.first_open = question.asked;
                }
                if !question.told {
                    self.untold = self.untold.or(Some(at));
                }
            }
            None => {}
        }
    }
}
