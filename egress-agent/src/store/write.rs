//! One commit: verdicts go in, what is too old or too much goes out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use egress_core::time::Timestamp;
use egress_core::verdict::Verdict;
use redb::{Database, ReadableTable as _, ReadableTableMetadata as _, Table, WriteTransaction};

use super::error::DiskError;
use super::facts::Gap;
use super::index;
use super::key::{Entry, Place};
use super::schema::{COST, IDS, INDEX, NUMBERS, RUNS, SERIAL, VERDICTS, cost};
use crate::export::grpc;

/// Bytes of pages that a verdict touches when it comes or goes, at the most: its own, and one for each of its terms.
const TOUCHED: u64 = 128 * 1024;
/// Runs remembered.
const RUNS_KEPT: u64 = 256;

/// The run that writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// When it began.
    pub(super) began: Timestamp,
    /// Now.
    pub(super) now: Timestamp,
}

/// What may stay.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) max_bytes: u64,
    pub(super) max_age: Duration,
}

impl Bounds {
    /// What verdicts may take by their [`cost`]. A commit writes pages anew before those of the commit before it are
    /// free again: that is what the other half of the file is for.
    const fn cost(self) -> u64 {
        self.max_bytes / 2
    }

    /// Verdicts that one commit may add, and that it may let go, so that it stays short and the file within its bound.
    pub(super) fn batch(self) -> usize {
        usize::try_from(self.max_bytes / 8 / TOUCHED).unwrap_or(usize::MAX).clamp(16, 1024)
    }
}

/// What is on disk after a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) verdicts: u64,
    pub(super) oldest: Option<Timestamp>,
    /// More is to go: another commit should follow.
    pub(super) more: bool,
}

/// Writes verdicts and lets go what is beyond the bounds: all of it or, on an error, nothing.
pub(super) fn commit(
    database: &Database,
    verdicts: &[Arc<Verdict>],
    run: Run,
    bounds: Bounds,
) -> Result<Held, DiskError> {
    let mut writing = database.begin_write()?;
    // The next start after a kill must not walk over the whole file.
    writing.set_quick_repair(true);
    let held = {
        let mut numbers = writing.open_table(NUMBERS)?;
        let number = |name| Ok::<_, DiskError>(numbers.get(name)?.map_or(0, |number| number.value()));
        let (serial, cost) = (number(SERIAL)?, number(COST)?);
        let mut tables = Tables::open(&writing, serial, cost)?;
        for verdict in verdicts {
            tables.put(verdict)?;
        }
        let oldest = run.now.0.saturating_sub(i64::try_from(bounds.max_age.as_micros()).unwrap_or(i64::MAX));
        let more = tables.prune(bounds, oldest)?;
        tables.write_index()?;
        numbers.insert(SERIAL, tables.serial)?;
        numbers.insert(COST, tables.cost)?;
        let mut runs = writing.open_table(RUNS)?;
        runs.insert(run.began.0, run.now.0)?;
        while runs.len()? > RUNS_KEPT || runs.first()?.is_some_and(|(_, end)| end.value() < oldest) {
            runs.pop_first()?;
        }
        let first = tables.verdicts.first()?.map(|(place, _)| Timestamp(place.value().0));
        Held { verdicts: tables.verdicts.len()?, oldest: first, more }
    };
    writing.commit()?;
    Ok(held)
}

/// The times between the runs that the file tells of, and when the last of them ended. `touched`: the last sign of
/// life, where that is later than the last commit.
pub(super) fn gaps(
    database: &Database,
    touched: Option<Timestamp>,
    began: Timestamp,
) -> Result<Vec<Gap>, DiskError> {
    use redb::ReadableDatabase as _;
    let runs = database.begin_read()?.open_table(RUNS)?;
    let mut gaps = Vec::new();
    let mut last: Option<i64> = None;
    for run in runs.range::<i64>(..)? {
        let (start, end) = run?;
        if let Some(from) = last {
            gaps.push(Gap { from: Timestamp(from), until: Timestamp(start.value()) });
        }
        last = Some(end.value());
    }
    if let Some(last) = last {
        let from = touched.map_or(last, |at| at.0.max(last)).min(began.0);
        gaps.push(Gap { from: Timestamp(from), until: began });
    }
    Ok(gaps)
}

struct Tables<'txn> {
    verdicts: Table<'txn, Place, &'static [u8]>,
    ids: Table<'txn, &'static str, Place>,
    index: Table<'txn, Entry, ()>,
    /// Entries of the index that come (true) or go. A verdict's are all over the index; sorted, those of all verdicts of a
    /// commit that stand on one page are written together.
    entries: BTreeMap<Entry, bool>,
    serial: u64,
    cost: u64,
}

impl<'txn> Tables<'txn> {
    fn open(writing: &'txn WriteTransaction, serial: u64, cost: u64) -> Result<Self, DiskError> {
        Ok(Self {
            verdicts: writing.open_table(VERDICTS)?,
            ids: writing.open_table(IDS)?,
            index: writing.open_table(INDEX)?,
            entries: BTreeMap::new(),
            serial,
            cost,
        })
    }

    /// Adds a verdict, or replaces the one with the same id.
    fn put(&mut self, verdict: &Verdict) -> Result<(), DiskError> {
        let id = verdict.id.as_str();
        let before = self.ids.get(id)?.map(|place| place.value());
        let serial = before.map_or(self.serial + 1, |place| place.1);
        self.serial = self.serial.max(serial);
        let place = (verdict.last_seen.0, serial);
        let bytes = grpc::encode_verdict(verdict);
        let terms = index::terms_of(verdict);
        if let Some(before) = before {
            self.remove(before, id)?;
        }
        self.cost += cost(bytes.len(), id.len(), terms.len());
        self.verdicts.insert(place, bytes.as_slice())?;
        self.ids.insert(id, place)?;
        self.entries.extend(terms.iter().map(|term| ((*term, place.0, place.1), true)));
        Ok(())
    }

    /// Takes out the verdict of a place; its id stays if it is `kept`, because it gets another place.
    fn remove(&mut self, place: Place, kept: &str) -> Result<(), DiskError> {
        let Some(bytes) = self.verdicts.remove(place)?.map(|bytes| bytes.value().to_vec()) else {
            return Ok(());
        };
        // One that cannot be decoded leaves entries of the index behind, which lead nowhere.
        let Ok(verdict) = grpc::decode_verdict(&bytes) else { return Ok(()) };
        let terms = index::terms_of(&verdict);
        self.cost = self.cost.saturating_sub(cost(bytes.len(), verdict.id.len(), terms.len()));
        self.entries.extend(terms.iter().map(|term| ((*term, place.0, place.1), false)));
        if verdict.id != kept {
            self.ids.remove(verdict.id.as_str())?;
        }
        Ok(())
    }

    /// Lets go what was last seen the longest ago, while there is too much or it is older than `oldest`. True if more
    /// is to go.
    fn prune(&mut self, bounds: Bounds, oldest: i64) -> Result<bool, DiskError> {
        for _ in 0..bounds.batch() {
            let Some(place) = self.verdicts.first()?.map(|(place, _)| place.value()) else {
                return Ok(false);
            };
            if self.cost <= bounds.cost() && place.0 >= oldest {
                return Ok(false);
            }
            self.remove(place, "")?;
        }
        Ok(true)
    }

    fn write_index(&mut self) -> Result<(), DiskError> {
        for (entry, comes) in std::mem::take(&mut self.entries) {
            if comes {
                self.index.insert(entry, ())?;
            } else {
                self.index.remove(entry)?;
            }
        }
        Ok(())
    }
}
