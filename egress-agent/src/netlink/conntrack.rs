//! Looks up conntrack entries: how the kernel translated a flow.
//!
//! A thread owns the socket; questions come through a bounded queue and answers go to a callback, so that nobody
//! on the packet path ever waits for the kernel. Entries of the default conntrack zone are found; an answer of
//! `None` says that it has none.

mod tuple;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use egress_core::node::{ConntrackAnswer, ConntrackQuery, NodeChange};
use egress_core::protocol::Protocol;
use egress_core::verdict::SocketAddress;

use super::NetlinkError;
use super::netfilter::{attributes, request};
use super::netns::Netns;
use super::socket::NetlinkSocket;
use super::wire::{Message, REQUEST, be32};

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
    queue: Option<SyncSender<ConntrackQuery>>,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
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
        let mut socket = netns.run(|| NetlinkSocket::open(libc::NETLINK_NETFILTER))??;
        let (queue, queries) = sync_channel(QUEUE);
        let counters = Arc::new(Counters::default());
        let count = Arc::clone(&counters);
        let answer = move || {
            for query in queries {
                match look_up(&mut socket, query) {
                    Ok(answer) => {
                        let counter = if answer.reply.is_some() { &count.found } else { &count.missing };
                        counter.fetch_add(1, Ordering::Relaxed);
                        sink(NodeChange::Conntrack(answer));
                    }
                    // No answer: "there is no entry" would be a claim.
                    Err(error) => {
                        if count.failed.fetch_add(1, Ordering::Relaxed) == 0 {
                            tracing::warn!(%error, "conntrack look-ups fail");
                        }
                    }
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("conntrack".to_owned())
            .spawn(answer)
            .map_err(|source| NetlinkError::Io { doing: "start the conntrack thread", source })?;
        Ok(Self { queue: Some(queue), counters, thread: Some(thread) })
    }

    /// Asks, without waiting. `false` (and counted) if too many questions are waiting.
    pub fn ask(&self, query: ConntrackQuery) -> bool {
        let asked = self.queue.as_ref().map(|queue| queue.try_send(query));
        match asked {
            Some(Ok(())) => true,
            Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) | None => {
                self.counters.shed.fetch_add(1, Ordering::Relaxed);
                false
            }
        }
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

impl Drop for Conntrack {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic of the thread has been reported by the panic hook already.
            let _ = thread.join();
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
        let doing = "read the conntrack usage";
        let asked = request(libc::NFNL_SUBSYS_CTNETLINK, GET_STATS, REQUEST, unspecified());
        let usage = self.socket.get(doing, &asked, |message| {
            let figures = attributes(&message);
            Some(ConntrackUsage {
                entries: be32(figures.get(CTA_STATS_GLOBAL_ENTRIES)?)?,
                limit: be32(figures.get(CTA_STATS_GLOBAL_MAX_ENTRIES)?)?,
            })
        })?;
        usage.ok_or(NetlinkError::Malformed { doing, what: "no figures" })
    }
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
