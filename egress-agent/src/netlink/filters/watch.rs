//! Follows the packet filters.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use egress_core::node::{Filters, NodeChange};

use super::{legacy, nft};
use crate::netlink::NetlinkError;
use crate::netlink::netns::Netns;
use crate::netlink::socket::{NetlinkSocket, Notified};
use crate::netlink::stop::{Stopped, Watch, Woken};

/// Rulesets change in large transactions: they are gathered this long.
const GATHER: Duration = Duration::from_millis(100);
/// Rules are read again no sooner than this many times as long as it took to read them.
const REST: u32 = 30;
/// iptables-legacy tells no changes: where there are such tables they are read this often.
const LEGACY_INTERVAL: Duration = Duration::from_secs(10);

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

struct Reader {
    /// For requests.
    ask: NetlinkSocket,
    /// For notifications.
    hear: NetlinkSocket,
    /// There are tables of iptables-legacy, or they could not be read.
    legacy: bool,
}

impl Reader {
    fn open() -> Result<Self, NetlinkError> {
        let hear = NetlinkSocket::open(libc::NETLINK_NETFILTER)?;
        hear.subscribe(libc::NFNLGRP_NFTABLES.cast_unsigned())?;
        Ok(Self { ask: NetlinkSocket::open(libc::NETLINK_NETFILTER)?, hear, legacy: false })
    }

    fn read(&mut self) -> Filters {
        let mut unread = Vec::new();
        let mut tables = match nft::read(&mut self.ask) {
            Ok(tables) => tables,
            // A kernel without nftables has nothing that could be missed.
            Err(error) if matches!(error.errno(), Some(libc::EINVAL | libc::EOPNOTSUPP)) => Vec::new(),
            Err(error) => {
                unread.push(format!("nftables: {error}"));
                Vec::new()
            }
        };
        let before = (tables.len(), unread.len());
        tables.extend(legacy::read(&mut unread));
        self.legacy = (tables.len(), unread.len()) != before;
        Filters { chains: tables.iter().flat_map(|table| table.dropping_chains()).collect(), unread }
    }

    fn follow(&mut self, stopped: &Stopped, sink: &impl Fn(NodeChange)) {
        let mut told = None;
        // Since when the rules are known to be out of date.
        let mut changed = Some(Instant::now());
        let mut rest_until = Instant::now();
        loop {
            if changed
                .is_some_and(|changed| told.is_none() || Instant::now() >= (changed + GATHER).max(rest_until))
            {
                let begun = Instant::now();
                let now = self.read();
                changed = None;
                rest_until = Instant::now() + begun.elapsed() * REST;
                if told.as_ref() != Some(&now) {
                    sink(NodeChange::Filters(now.clone()));
                    told = Some(now);
                }
            }
            let next = match changed {
                Some(changed) => Some((changed + GATHER).max(rest_until)),
                None if self.legacy => Some(Instant::now() + LEGACY_INTERVAL),
                None => None,
            };
            let timeout = next.map(|next| next.saturating_duration_since(Instant::now()));
            match stopped.wait(&self.hear, timeout) {
                Ok(Woken::Stop) => return,
                Ok(Woken::Nudged) => {
                    changed.get_or_insert_with(Instant::now);
                }
                Ok(Woken::Timeout) => {
                    // Either the pending change is due, or it is time to look at iptables-legacy.
                    if changed.is_none() {
                        changed = Instant::now().checked_sub(GATHER);
                    }
                }
                Ok(Woken::Ready) => {
                    let mut heard = false;
                    let overrun = match self.hear.notifications(|_| heard = true) {
                        Ok(notified) => notified == Notified::Overrun,
                        Err(error) => {
                            tracing::warn!(%error, "the packet filters will be read again");
                            std::thread::sleep(GATHER);
                            true
                        }
                    };
                    if heard || overrun {
                        changed.get_or_insert_with(Instant::now);
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "the packet filter watcher ends");
                    return;
                }
            }
        }
    }
}
