//! Reading: a page of verdicts at a time, each from a snapshot of its own, so that a slow client keeps nothing open.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use egress_core::history::Filter;
use egress_core::time::Timestamp;
use egress_core::verdict::Verdict;
use redb::{Database, ReadOnlyTable, ReadableDatabase as _};

use super::error::{DiskError, panicked};
use super::facts::Shared;
use super::index;
use super::key::{self, Entry, NEWEST, Place};
use super::schema::{INDEX, VERDICTS};
use crate::export::grpc;

/// Verdicts looked at for one page at most, so that a question that few verdicts answer holds nobody up.
const LOOKED_AT: usize = 4096;

/// Where the next page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(Place);

/// Some verdicts, most recently seen first.
#[derive(Debug, Default)]
pub struct Page {
    /// The verdicts.
    pub verdicts: Vec<Arc<Verdict>>,
    /// Where it goes on; `None`: that was all.
    pub next: Option<Cursor>,
}

/// One page. Of a store that cannot be read it is empty; that the disk fails is told by whoever writes.
pub(super) fn page(shared: &Shared, filter: &Filter, after: Option<Cursor>, max: usize) -> Page {
    let Some(database) = shared.database() else { return Page::default() };
    let read = catch_unwind(AssertUnwindSafe(|| read(&database, filter, after, max)));
    let read = read.unwrap_or_else(|panic| Err(panicked(&*panic)));
    read.unwrap_or_else(|error| {
        tracing::warn!("the history cannot be read: {error}");
        Page::default()
    })
}

fn read(database: &Database, filter: &Filter, after: Option<Cursor>, max: usize) -> Result<Page, DiskError> {
    let reading = database.begin_read()?;
    let verdicts = reading.open_table(VERDICTS)?;
    let oldest = key::from(filter.since.unwrap_or(Timestamp(i64::MIN)));
    let before = after.map_or(NEWEST, |cursor| cursor.0);
    let mut page = Page::default();
    let Some(terms) = index::terms_for(filter) else {
        for found in verdicts.range(oldest..before)?.rev().take(max.saturating_add(1)) {
            let (place, bytes) = found?;
            if !page.take(place.value(), bytes.value(), filter, max) {
                break;
            }
        }
        return Ok(page);
    };
    let lists = Lists::open(&reading.open_table(INDEX)?, &terms, oldest, before)?;
    for (number, place) in lists.enumerate() {
        let place = place?;
        if number >= LOOKED_AT {
            page.next = Some(Cursor((place.0, place.1.saturating_add(1))));
            break;
        }
        // An entry without a verdict would be one that was written by an agent that knew other terms.
        let Some(bytes) = verdicts.get(place)? else { continue };
        if !page.take(place, bytes.value(), filter, max) {
            break;
        }
    }
    Ok(page)
}

impl Page {
    /// Adds a verdict, if the filter lets it through. False: the page is full, and the next one begins here.
    fn take(&mut self, place: Place, bytes: &[u8], filter: &Filter, max: usize) -> bool {
        if self.verdicts.len() >= max {
            self.next = Some(Cursor((place.0, place.1.saturating_add(1))));
            return false;
        }
        match grpc::decode_verdict(bytes) {
            Ok(verdict) if filter.matches(&verdict) => self.verdicts.push(Arc::new(verdict)),
            Ok(_) => {}
            Err(error) => tracing::warn!("a verdict of the history cannot be read: {error}"),
        }
        true
    }
}

/// The most recent verdicts that are active, at most `max`.
pub(super) fn active(database: &Database, max: usize) -> Result<Vec<Verdict>, DiskError> {
    let reading = database.begin_read()?;
    let verdicts = reading.open_table(VERDICTS)?;
    let lists = Lists::open(&reading.open_table(INDEX)?, &[index::active()].into(), (i64::MIN, 0), NEWEST)?;
    let mut found = Vec::new();
    for place in lists.take(max) {
        if let Some(bytes) = verdicts.get(place?)?
            && let Ok(verdict) = grpc::decode_verdict(bytes.value())
        {
            found.push(verdict);
        }
    }
    Ok(found)
}

/// Lists of the index, merged: the places of any of them, the most recent first.
struct Lists<'a> {
    lists: Vec<Peekable<List<'a>>>,
}

/// The places of one term, the most recent first.
type List<'a> = Box<dyn Iterator<Item = Result<Place, DiskError>> + 'a>;

impl<'a> Lists<'a> {
    fn open(
        index: &ReadOnlyTable<Entry, ()>,
        terms: &BTreeSet<u64>,
        oldest: Place,
        before: Place,
    ) -> Result<Self, DiskError> {
        let mut lists = Vec::new();
        for term in terms {
            let range = index.range((*term, oldest.0, oldest.1)..(*term, before.0, before.1))?;
            let places = range.rev().map(|entry| {
                let (_, at, serial) = entry?.0.value();
                Ok((at, serial))
            });
            let places: List<'a> = Box::new(places);
            lists.push(places.peekable());
        }
        Ok(Self { lists })
    }
}

impl Iterator for Lists<'_> {
    type Item = Result<Place, DiskError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut newest: Option<(usize, Place)> = None;
        for number in 0..self.lists.len() {
            match self.lists[number].peek() {
                Some(Ok(place)) if newest.is_none_or(|(_, other)| *place > other) => {
                    newest = Some((number, *place))
                }
                Some(Err(_)) => return self.lists[number].next(),
                _ => {}
            }
        }
        newest.and_then(|(number, _)| self.lists[number].next())
    }
}
