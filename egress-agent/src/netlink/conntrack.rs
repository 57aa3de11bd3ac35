//! Looks up conntrack entries: how the kernel translated a flow.
//!
//! A thread owns the socket; questions come through a bounded queue and answers go to a callback, so that nobody
//! on the packet path ever waits for the kernel. Entries of the default conntrack zone are found; an answer of
//! `None` says that it has none.

mod table;
mod tuple;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use egress_core::node::{Answer, ConntrackAnswer, ConntrackQuery, NodeChange, Question, Reading};
use egress_core::protocol::Protocol;
use egress_core::verdict::SocketAddress;

use super::NetlinkError;
use super::netfilter::{attributes, request};
use super::netns::Netns;
use super::socket::NetlinkSocket;
use super::translations;
use super::wire::{Message, REQUEST, be32};
use super::worker::Worker;
use table::Tables;

/// `IPCTNL_MSG_CT_GET`
const GET: u8 = 1;
/// `IPCTNL_MSG_CT_GET_STATS`
const GET_STATS: u8 = 5;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATS_GLOBAL_ENTRIES: u16 = 1;
const CTA_STATS_GLOBAL_MAX_ENTRIES: u16 = 2;

/// Questions that may wait.
const QUEUE: usize = 1024;

/// Looks up conntrack entries of the node until it is dropped.
#[derive(Debug)]
pub struct Conntrack {
    worker: Worker<Ask>,
    counters: Arc<Counters>,
}

/// What the thread is asked.
#[derive(Debug)]
enum Ask {
    /// An entry.
    Entry(ConntrackQuery),
    /// The table as a whole, or the rules that translate.
    State(Question),
}

#[derive(Debug, Default)]
struct Counters {
    found: AtomicU64,
    missing: AtomicU64,
    failed: AtomicU64,
    shed: AtomicU64,
}

/// What became of the questions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConntrackCounts {
    /// Answered with an entry.
    pub found: u64,
    /// Answered: there is none.
    pub missing: u64,
    /// The kernel refused; no answer was given.
    pub failed: u64,
    /// Not asked, because too many were waiting.
    pub shed: u64,
}

/// How full the conntrack table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConntrackUsage {
    /// Entries of this namespace (`nf_conntrack_count`).
    pub entries: u32,
    /// Most entries there can be (`nf_conntrack_max`).
    pub limit: u32,
}

impl Conntrack {
    /// Starts answering questions about the namespace with [`NodeChange::Conntrack`], from a thread of its own.
    ///
    /// # Errors
    /// The namespace cannot be entered, or no socket opened.
    pub fn start(netns: &Netns, sink: impl Fn(NodeChange) + Send + 'static) -> Result<Self, NetlinkError> {
        let socket = netns.run(|| NetlinkSocket::open(libc::NETLINK_NETFILTER))??;
        let counters = Arc::new(Counters::default());
        let mut answers =
            Answers { socket, tables: Tables::default(), counters: Arc::clone(&counters), sink };
        let worker = Worker::start("conntrack", QUEUE, move |asked| answers.give(&asked))
            .map_err(|source| NetlinkError::Io { doing: "start the conntrack thread", source })?;
        Ok(Self { worker, counters })
    }

    /// Asks for an entry, without waiting. `false` (and counted) if too many questions are waiting.
    pub fn ask(&self, query: ConntrackQuery) -> bool {
        self.put(Ask::Entry(query))
    }

    /// Asks for the state of the table or for the rules that translate, without waiting. `false` (and counted) if too
    /// many questions are waiting.
    pub fn read(&self, question: Question) -> bool {
        self.put(Ask::State(question))
    }

    fn put(&self, ask: Ask) -> bool {
        let asked = self.worker.ask(ask);
        if !asked {
            self.counters.shed.fetch_add(1, Ordering::Relaxed);
        }
        asked
    }

    /// What became of the questions so far.
    #[must_use]
    pub fn counts(&self) -> ConntrackCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ConntrackCounts {
            found: read(&self.counters.found),
            missing: read(&self.counters.missing),
            failed: read(&self.counters.failed),
            shed: read(&self.counters.shed),
        }
    }
}

/// The thread's own.
struct Answers<S> {
    socket: NetlinkSocket,
    tables: Tables,
    counters: Arc<Counters>,
    sink: S,
}

impl<S: Fn(NodeChange)> Answers<S> {
    fn give(&mut self, asked: &Receiver<Ask>) {
        let mut follow = Instant::now();
        loop {
            match asked.recv_timeout(follow.saturating_duration_since(Instant::now())) {
                Ok(Ask::Entry(query)) => self.entry(query),
                Ok(Ask::State(question)) => {
                    let answer = self.state(&question);
                    (self.sink)(NodeChange::Reading(Reading { question, answer }));
                }
                Err(RecvTimeoutError::Timeout) => {
                    // Without conntrack there is nothing to follow; a question will say so.
                    let _ = self.tables.note(&mut self.socket);
                    follow = Instant::now() + table::WINDOW;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn entry(&mut self, query: ConntrackQuery) {
        match look_up(&mut self.socket, query) {
            Ok(answer) => {
                let counter =
                    if answer.reply.is_some() { &self.counters.found } else { &self.counters.missing };
                counter.fetch_add(1, Ordering::Relaxed);
                (self.sink)(NodeChange::Conntrack(answer));
            }
            // No answer: "there is no entry" would be a claim.
            Err(error) => self.failed(&error),
        }
    }

    fn state(&mut self, question: &Question) -> Option<Answer> {
        let answer = match question {
            Question::Table { towards, .. } => {
                self.tables.state(&mut self.socket, *towards).map(Answer::Table)
            }
            Question::Translations { .. } => Ok(Answer::Translations(translations::read(&mut self.socket))),
            _ => return None,
        };
        answer.inspect_err(|error| self.failed(error)).ok()
    }

    fn failed(&self, error: &NetlinkError) {
        if self.counters.failed.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(%error, "conntrack look-ups fail");
        }
    }
}

/// Reads how full the conntrack table of the namespace is.
#[derive(Debug)]
pub struct ConntrackTable {
    socket: NetlinkSocket,
}

impl ConntrackTable {
    /// Opens a socket in the namespace.
    ///
    /// # Errors
    /// The namespace cannot be entered, or no socket opened.
    pub fn open(netns: &Netns) -> Result<Self, NetlinkError> {
        Ok(Self { socket: netns.run(|| NetlinkSocket::open(libc::NETLINK_NETFILTER))?? })
    }

    /// Reads the figures.
    ///
    /// # Errors
    /// The kernel has no conntrack, or refuses.
    pub fn usage(&mut self) -> Result<ConntrackUsage, NetlinkError> {
        usage(&mut self.socket)
    }
}

fn usage(socket: &mut NetlinkSocket) -> Result<ConntrackUsage, NetlinkError> {
    let doing = "read the conntrack usage";
    let asked = request(libc::NFNL_SUBSYS_CTNETLINK, GET_STATS, REQUEST, unspecified());
    let usage = socket.get(doing, &asked, |message| {
        let figures = attributes(&message);
        Some(ConntrackUsage {
            entries: be32(figures.get(CTA_STATS_GLOBAL_ENTRIES)?)?,
            limit: be32(figures.get(CTA_STATS_GLOBAL_MAX_ENTRIES)?)?,
        })
    })?;
    usage.ok_or(NetlinkError::Malformed { doing, what: "no figures" })
}

fn unspecified() -> u8 {
    u8::try_from(libc::AF_UNSPEC).unwrap_or_default()
}

fn look_up(socket: &mut NetlinkSocket, query: ConntrackQuery) -> Result<ConntrackAnswer, NetlinkError> {
    let doing = "look up a conntrack entry";
    let asked = tuple::encode(&query).ok_or(NetlinkError::Malformed {
        doing,
        what: "a protocol without ports, or two address families",
    })?;
    let asked = request(libc::NFNL_SUBSYS_CTNETLINK, GET, REQUEST, asked.family)
        .nest(CTA_TUPLE_ORIG, |attributes| asked.write(attributes));
    let reply = socket.get(doing, &asked, |message| {
        let (original, reply) = tuples(&message)?;
        // The kernel finds an entry by either of its tuples; the other one shows the translation.
        Some(if original == (query.source, query.destination) { reply } else { original })
    })?;
    Ok(ConntrackAnswer { query, reply })
}

/// Source and destination.
type Ends = (SocketAddress, SocketAddress);

/// The two tuples of an entry.
fn tuples(message: &Message<'_>) -> Option<(Ends, Ends)> {
    let entry = attributes(message);
    Some((tuple::decode(entry.nested(CTA_TUPLE_ORIG)?)?, tuple::decode(entry.nested(CTA_TUPLE_REPLY)?)?))
}

/// An entry as the answer to the question for its original tuple.
pub(super) fn decode(message: &Message<'_>) -> Option<ConntrackAnswer> {
    let ((source, destination), reply) = tuples(message)?;
    let query = ConntrackQuery { protocol: Protocol::Other, source, destination };
    Some(ConntrackAnswer { query, reply: Some(reply) })
}

#[cfg(test)]
mod tests;
