//! The tables, and what the version of a file means.

use redb::{ReadableDatabase as _, TableDefinition, TableHandle as _};

use super::error::{OpenError, describe};
use super::key::{Entry, Place};

/// Version of what is written. A file of another version is not read.
const VERSION: u64 = 1;

/// Encoded verdicts by place.
pub(super) const VERDICTS: TableDefinition<'_, Place, &[u8]> = TableDefinition::new("verdicts");
/// The place of each id.
pub(super) const IDS: TableDefinition<'_, &str, Place> = TableDefinition::new("ids");
/// The places of each term, the most recent last.
pub(super) const INDEX: TableDefinition<'_, Entry, ()> = TableDefinition::new("index");
/// From when to when an agent watched: microseconds since the epoch.
pub(super) const RUNS: TableDefinition<'_, i64, i64> = TableDefinition::new("runs");
/// Numbers by name.
pub(super) const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");

/// In [`NUMBERS`]: the version.
const SCHEMA: &str = "schema";
/// In [`NUMBERS`]: the last number that a verdict got.
pub(super) const SERIAL: &str = "serial";
/// In [`NUMBERS`]: what all verdicts take, by [`cost`].
pub(super) const COST: &str = "cost";

/// Bytes of the file that a verdict takes, about: its text, its places and its terms, in pages that are two thirds full,
/// with what one commit frees and the next may use.
pub(super) fn cost(encoded: usize, id: usize, terms: usize) -> u64 {
    let bytes = encoded + 16 + id + 16 + 8 + terms * 24;
    u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(8) / 5
}

/// Makes the tables of a fresh file, or checks that a file is ours.
pub(super) fn prepare(database: &redb::Database) -> Result<(), OpenError> {
    let disk = |error: redb::Error| match error {
        redb::Error::Corrupted(why) => OpenError::Unreadable(why),
        redb::Error::TableTypeMismatch { table, .. } => {
            OpenError::Unreadable(format!("its table \"{table}\" is of another shape"))
        }
        other => OpenError::Disk(describe(&other)),
    };
    let reading = database.begin_read().map_err(|error| disk(error.into()))?;
    let tables: Vec<_> = reading
        .list_tables()
        .map_err(|error| disk(error.into()))?
        .map(|table| table.name().to_owned())
        .collect();
    if tables.is_empty() {
        return create(database).map_err(disk);
    }
    if !tables.iter().any(|table| table == NUMBERS.name()) {
        return Err(OpenError::Unreadable("it is another program's database".to_owned()));
    }
    let numbers = reading.open_table(NUMBERS).map_err(|error| disk(error.into()))?;
    match numbers.get(SCHEMA).map_err(|error| disk(error.into()))?.map(|version| version.value()) {
        Some(VERSION) => Ok(()),
        Some(other) => Err(OpenError::Unreadable(format!(
            "it is of version {other}, and this agent reads version {VERSION}"
        ))),
        None => Err(OpenError::Unreadable("it does not say its version".to_owned())),
    }
}

fn create(database: &redb::Database) -> Result<(), redb::Error> {
    let mut writing = database.begin_write()?;
    writing.set_quick_repair(true);
    writing.open_table(VERDICTS)?;
    writing.open_table(IDS)?;
    writing.open_table(INDEX)?;
    writing.open_table(RUNS)?;
    writing.open_table(NUMBERS)?.insert(SCHEMA, VERSION)?;
    Ok(writing.commit()?)
}
