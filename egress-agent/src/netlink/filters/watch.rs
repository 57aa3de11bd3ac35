//! Follows the packet filters.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use egress_core::node::{FilterChain, Filters, NodeChange};

use super::ruleset::Table;
use super::{legacy, nft};
use crate::netlink::NetlinkError;
use crate::netlink::netns::Netns;
use crate::netlink::socket::{NetlinkSocket, Notified};
use crate::netlink::stop::{Stopped, Watch, Woken};

/// Rulesets change in large transactions: they are gathered this long.
const GATHER: Duration = Duration::from_millis(100);
/// Rules are read again no sooner than this many times as long as it took to read them.
const REST: u32 = 30;
/// iptables-legacy tells no changes: it is read this often, …
const LEGACY_INTERVAL: Duration = Duration::from_secs(10);
/// … but no sooner than this many times as long as it took: large tables cost a thousandth of a CPU.
const LEGACY_REST: u32 = 1000;

/// Follows the packet filters of the node until it is dropped.
#[derive(Debug)]
pub struct FilterWatch {
    watch: Watch,
}

impl FilterWatch {
    /// Has everything read again soon; a change is told as any other.
    pub fn refresh(&self) {
        self.watch.nudge();
    }
}

/// Starts following the packet filters of the namespace and calls `sink` with a whole [`NodeChange::Filters`], at
/// once and after each change, from a thread of its own. What cannot be read is told in [`Filters::unread`].
///
/// # Errors
/// The namespace cannot be entered, or no socket opened.
pub fn watch(netns: &Netns, sink: impl Fn(NodeChange) + Send + 'static) -> Result<FilterWatch, NetlinkError> {
    let (tell, told) = mpsc::sync_channel(1);
    let netns = netns.duplicate()?;
    let watch = Watch::spawn("netfilter", move |stopped| {
        let begun = netns.enter().map_err(NetlinkError::from).and_then(|()| Reader::open());
        match begun {
            Ok(mut reader) => {
                let _ = tell.send(Ok(()));
                reader.follow(&stopped, &sink);
            }
            Err(error) => {
                let _ = tell.send(Err(error));
            }
        }
    })
    .map_err(|source| NetlinkError::Io { doing: "start the packet filter watcher", source })?;
    match told.recv() {
        Ok(Err(error)) => Err(error),
        _ => Ok(FilterWatch { watch }),
    }
}

/// Reads the packet filters of the namespace once.
///
/// # Errors
/// The namespace cannot be entered, or no socket opened.
pub fn read(netns: &Netns) -> Result<Filters, NetlinkError> {
    netns.run(|| Reader::open().map(|mut reader| reader.read()))?
}

/// One part of the filters, and when it has to be read again.
#[derive(Debug, Default)]
struct Part {
    chains: Vec<FilterChain>,
    unread: Vec<String>,
    /// From when on it is to be read; `None`: not before something happens.
    due: Option<Instant>,
    /// Not read before this.
    rest_until: Option<Instant>,
}

impl Part {
    /// Something changed: it is read again after a while.
    fn touch(&mut self) {
        let soon = Instant::now() + GATHER;
        let due = self.rest_until.map_or(soon, |rest| rest.max(soon));
        self.due = Some(self.due.map_or(due, |already| already.min(due)));
    }

    /// Reads it if that is due, and says how long it took.
    fn refresh(&mut self, read: impl FnOnce(&mut Vec<String>) -> Vec<Table>) -> Option<Duration> {
        let begun = Instant::now();
        if self.due.is_none_or(|due| due > begun) {
            return None;
        }
        self.unread.clear();
        let tables = read(&mut self.unread);
        self.chains = tables.iter().flat_map(Table::dropping_chains).collect();
        self.due = None;
        let took = begun.elapsed();
        self.rest_until = Some(Instant::now() + took * REST);
        Some(took)
    }
}

struct Reader {
    /// For requests.
    ask: NetlinkSocket,
    /// For notifications.
    hear: NetlinkSocket,
    nft: Part,
    legacy: Part,
}

impl Reader {
    fn open() -> Result<Self, NetlinkError> {
        let hear = NetlinkSocket::open(libc::NETLINK_NETFILTER)?;
        hear.subscribe(libc::NFNLGRP_NFTABLES.cast_unsigned())?;
        let now = || Part { due: Some(Instant::now()), ..Part::default() };
        Ok(Self { ask: NetlinkSocket::open(libc::NETLINK_NETFILTER)?, hear, nft: now(), legacy: now() })
    }

    /// Reads what is due.
    fn read(&mut self) -> Filters {
        let ask = &mut self.ask;
        self.nft.refresh(|unread| match nft::read(ask) {
            Ok(tables) => tables,
            // A kernel without nftables has nothing that could be missed.
            Err(error) if matches!(error.errno(), Some(libc::EINVAL | libc::EOPNOTSUPP)) => Vec::new(),
            Err(error) => {
                unread.push(format!("nftables: {error}"));
                Vec::new()
            }
        });
        if let Some(took) = self.legacy.refresh(legacy::read) {
            // Looked at again without a reason, because none is ever told.
            self.legacy.due = Some(Instant::now() + LEGACY_INTERVAL.max(took * LEGACY_REST));
        }
        Filters {
            chains: [self.nft.chains.as_slice(), &self.legacy.chains].concat(),
            unread: [self.nft.unread.as_slice(), &self.legacy.unread].concat(),
        }
    }

    fn follow(&mut self, stopped: &Stopped, sink: &impl Fn(NodeChange)) {
        let mut told = None;
        loop {
            let now = self.read();
            if told.as_ref() != Some(&now) {
                sink(NodeChange::Filters(now.clone()));
                told = Some(now);
            }
            let due = [self.nft.due, self.legacy.due].into_iter().flatten().min();
            let timeout = due.map(|due| due.saturating_duration_since(Instant::now()));
            match stopped.wait(&self.hear, timeout) {
                Ok(Woken::Stop) => return,
                Ok(Woken::Timeout) => {}
                Ok(Woken::Nudged) => {
                    self.nft.touch();
                    self.legacy.touch();
                }
                Ok(Woken::Ready) => self.listen(),
                Err(error) => {
                    tracing::error!(%error, "the packet filter watcher ends");
                    return;
                }
            }
        }
    }

    fn listen(&mut self) {
        let mut heard = false;
        match self.hear.notifications(|_| heard = true) {
            Ok(Notified::All) => {}
            Ok(Notified::Overrun) => heard = true,
            Err(error) => {
                tracing::warn!(%error, "the packet filters will be read again");
                std::thread::sleep(GATHER);
                heard = true;
            }
        }
        if heard {
            self.nft.touch();
        }
    }
}
