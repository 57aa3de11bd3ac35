//! The writing thread: gathers what comes for half a second, commits it, and looks after the file.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use egress_core::time::Timestamp;
use egress_core::verdict::Verdict;

use super::error::{DiskError, OpenError, StoreError, panicked};
use super::facts::{Gap, Shared};
use super::write::{Bounds, Run, commit, gaps};
use super::{Earlier, Options, file, read};
use crate::host;

/// How long verdicts wait for others to be committed with.
const GATHER: Duration = Duration::from_millis(500);
/// Verdicts that are committed without waiting for more, and that are held at most while the disk fails.
const BATCH: usize = 4096;
/// How often the file gets a sign of life.
const ALIVE: Duration = Duration::from_secs(10);
/// How often what is too old goes, if nothing else is written.
const PRUNE: Duration = Duration::from_secs(60);
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// Verdicts of an earlier run that are taken up.
const TAKEN_UP: usize = 1024;
/// Gaps told.
const GAPS: usize = 16;
/// How the hint begins that nobody watched.
const UNWATCHED: &str = "not watched from ";

/// What the thread is told.
pub(super) enum Command {
    /// Write this.
    Write(Arc<Verdict>),
    /// Say when everything so far is written.
    Flush(SyncSender<()>),
}

/// The thread's state.
pub(super) struct Writer {
    bounds: Bounds,
    path: PathBuf,
    shared: Arc<Shared>,
    began: Timestamp,
    pending: HashMap<String, Arc<Verdict>>,
    /// When the oldest of those that wait came.
    waiting_since: Option<Instant>,
    retry: Option<Instant>,
    pruned: Instant,
    alive: Instant,
}

impl Writer {
    pub(super) fn open(
        options: Options,
        shared: Arc<Shared>,
        now: Timestamp,
    ) -> Result<(Self, Earlier), StoreError> {
        file::make_folder(&options.dir)?;
        let path = file::path(&options.dir);
        shared.change(|facts| facts.folder.clone_from(&options.dir));
        let mut writer = Self {
            bounds: Bounds { max_bytes: options.max_bytes, max_age: options.max_age },
            path,
            shared,
            began: now,
            pending: HashMap::new(),
            waiting_since: None,
            retry: None,
            pruned: Instant::now(),
            alive: Instant::now(),
        };
        let touched = file::touched(&writer.path);
        match writer.open_file() {
            Ok(()) => {}
            Err(OpenError::InUse) => return Err(StoreError::InUse(options.dir)),
            Err(OpenError::Unreadable(why)) => writer.fail(&why),
            Err(OpenError::Disk(why)) => writer.fail(&why),
        }
        let earlier = writer.earlier(touched).unwrap_or_else(|error| {
            tracing::warn!("what an earlier run left cannot be read: {error}");
            Earlier::default()
        });
        // The run is on record from its beginning.
        writer.commit();
        Ok((writer, earlier))
    }

    /// Opens the file. One that cannot be read is moved out of the way, once.
    fn open_file(&mut self) -> Result<(), OpenError> {
        let opened = match file::open(&self.path) {
            Err(OpenError::Unreadable(why)) => return self.begin_anew(&why),
            opened => opened,
        };
        self.shared.set_database(Some(opened?));
        Ok(())
    }

    /// Moves a file that cannot be read out of the way and begins a new one.
    fn begin_anew(&mut self, why: &str) -> Result<(), OpenError> {
        let aside = file::set_aside(&self.path)
            .map_err(|error| OpenError::Unreadable(format!("{why}; it cannot be set aside: {error}")))?;
        let text = format!(
            "history: {} cannot be read ({why}); it was set aside as {} and a new one begun",
            self.path.display(),
            aside.display()
        );
        tracing::warn!("{text}");
        self.shared.change(|facts| facts.set_aside = Some(text));
        self.shared.set_database(Some(file::open(&self.path)?));
        Ok(())
    }

    /// What the file tells of earlier runs.
    fn earlier(&self, touched: Option<Timestamp>) -> Result<Earlier, DiskError> {
        let Some(database) = self.shared.database() else { return Ok(Earlier::default()) };
        let mut gaps = gaps(&database, touched, self.began)?;
        let mut active = read::active(&database, TAKEN_UP)?;
        if let Some(gap) = gaps.last() {
            for verdict in &mut active {
                note_gap(verdict, *gap);
            }
        }
        gaps.drain(..gaps.len().saturating_sub(GAPS));
        self.shared.change(|facts| facts.gaps = gaps);
        Ok(Earlier { active })
    }

    /// Until nobody has the other end of the queue.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        loop {
            match commands.recv_timeout(self.patience()) {
                Ok(Command::Write(verdict)) => self.gather(verdict),
                Ok(Command::Flush(done)) => {
                    self.commit();
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.commit();
                    return;
                }
            }
            let full = self.pending.len() >= BATCH;
            if self.retry.is_some_and(|at| Instant::now() < at) {
                continue;
            }
            let due = self.waiting_since.is_some_and(|since| since.elapsed() >= GATHER);
            if full || due || self.retry.is_some() || self.pruned.elapsed() >= PRUNE {
                self.commit();
            }
        }
    }

    /// How long nothing has to be done.
    fn patience(&mut self) -> Duration {
        if self.alive.elapsed() >= ALIVE {
            self.alive = Instant::now();
            // Not more than the time of a gap depends on it.
            let _ = file::touch(&self.path);
        }
        match (self.retry, self.waiting_since) {
            (Some(at), _) => at.saturating_duration_since(Instant::now()),
            (None, Some(since)) => GATHER.saturating_sub(since.elapsed()),
            (None, None) => ALIVE,
        }
    }

    /// Keeps the latest revision of each verdict until the next commit.
    fn gather(&mut self, verdict: Arc<Verdict>) {
        if self.pending.len() >= BATCH && !self.pending.contains_key(&verdict.id) {
            // Only while the disk fails: what came first is what the memory lets go first, too.
            self.shared.add_lost(1);
            return;
        }
        self.waiting_since.get_or_insert_with(Instant::now);
        self.pending.insert(verdict.id.clone(), verdict);
    }

    /// Writes what waits. On failure it stays, and the file is opened anew.
    fn commit(&mut self) {
        let verdicts: Vec<_> = self.pending.values().cloned().collect();
        let mut rest = verdicts.as_slice();
        let held = loop {
            let Some(database) = self.shared.database() else {
                match self.open_file() {
                    Ok(()) => continue,
                    Err(OpenError::InUse) => return self.fail("another agent has it open"),
                    Err(OpenError::Unreadable(why) | OpenError::Disk(why)) => return self.fail(&why),
                }
            };
            let (batch, later) = rest.split_at(self.bounds.batch().min(rest.len()));
            let run = Run { began: self.began, now: host::wall_clock().max(self.began) };
            let done = catch_unwind(AssertUnwindSafe(|| commit(&database, batch, run, self.bounds)));
            match done.unwrap_or_else(|panic| Err(panicked(&*panic))) {
                Ok(held) if held.more || !later.is_empty() => rest = later,
                Ok(held) => break held,
                Err(error) => {
                    drop(database);
                    self.shared.set_database(None);
                    if error.damaged && self.begin_anew(&error.why).is_ok() {
                        rest = &verdicts;
                        continue;
                    }
                    return self.fail(&error.why);
                }
            }
        };
        self.pending.clear();
        (self.waiting_since, self.retry, self.pruned) = (None, None, Instant::now());
        let bytes = file::bytes(&self.path);
        self.shared.change(|facts| {
            (facts.verdicts, facts.oldest, facts.bytes) = (held.verdicts, held.oldest, bytes);
            if facts.failing.take().is_some() {
                tracing::info!("history: written to disk again");
            }
        });
    }

    /// The disk fails: tell it once, and try again later with the file opened anew. It goes on being read if it can.
    fn fail(&mut self, why: &str) {
        self.shared.change(|facts| {
            if facts.failing.is_none() {
                tracing::warn!("history: nothing can be written to {} ({why})", self.path.display());
                facts.failing = Some((host::wall_clock(), why.to_owned()));
            }
        });
        // After a failed write the database takes no other.
        self.shared.set_database(None);
        if let Ok(database) = file::open(&self.path) {
            self.shared.set_database(Some(database));
        }
        self.retry = Some(Instant::now() + RETRY);
    }
}

/// Says of a verdict that nobody watched for a while; only of the last time.
fn note_gap(verdict: &mut Verdict, gap: Gap) {
    verdict.hints.retain(|hint| !hint.starts_with(UNWATCHED));
    verdict.hints.push(format!(
        "{UNWATCHED}{} to {}, when no agent ran: it may have been over since",
        gap.from, gap.until
    ));
}
