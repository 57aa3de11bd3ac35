//! Follows devices, addresses and routes: a notification says that something changed, the tables say what.

use std::net::IpAddr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use egress_core::node::{NodeChange, NodeNetwork, Route, Rule};

use super::links::Link;
use super::{addresses, links, roles, routes, rules};
use crate::netlink::NetlinkError;
use crate::netlink::netns::Netns;
use crate::netlink::socket::{NetlinkSocket, Notified};
use crate::netlink::stop::{Stopped, Watch, Woken};

/// Follows the node's devices, addresses and routes until it is dropped.
#[derive(Debug)]
pub struct NetworkWatch {
    _watch: Watch,
}

/// Changes come in bursts (a new pod is a dozen): they are gathered this long.
const GATHER: Duration = Duration::from_millis(20);
/// A table is read again no sooner than this many times as long as it took to read it, so that a large routing
/// table in motion costs a bounded share of a CPU.
const REST: u32 = 10;
/// `RTNLGRP_IPV6_RULE` of `rtnetlink.h`.
const RTNLGRP_IPV6_RULE: u32 = 19;
/// After a failed reading.
const RETRY: Duration = Duration::from_secs(1);

/// Starts following the namespace and calls `sink` with a whole [`NodeChange::Network`], at once and after each
/// change, from a thread of its own. `uplinks` names the uplinks; empty: found by routes.
///
/// # Errors
/// The namespace cannot be entered or read.
pub fn watch(
    netns: &Netns,
    uplinks: Vec<String>,
    sink: impl Fn(NodeChange) + Send + 'static,
) -> Result<NetworkWatch, NetlinkError> {
    // The sockets are opened inside the namespace and then used from anywhere.
    let mut state = netns.run(|| State::open(netns.inode(), uplinks))??;
    let first = state.snapshot();
    let (started, start) = mpsc::sync_channel(1);
    let watch = Watch::spawn("netlink-network", move |stopped| {
        if start.recv().is_ok() {
            sink(NodeChange::Network(first.clone()));
            state.follow(&stopped, first, &sink);
        }
    })
    .map_err(|source| NetlinkError::Io { doing: "start the network watcher", source })?;
    let _ = started.send(());
    Ok(NetworkWatch { _watch: watch })
}

/// Reads the namespace once.
///
/// # Errors
/// The namespace cannot be entered or read.
pub fn read(netns: &Netns, uplinks: Vec<String>) -> Result<NodeNetwork, NetlinkError> {
    Ok(netns.run(|| State::open(netns.inode(), uplinks))??.snapshot())
}

/// A table of the kernel and when it has to be read again.
struct Table<T> {
    entries: Vec<T>,
    /// Since when it is known to be out of date.
    changed: Option<Instant>,
    /// Not read before this.
    rest_until: Instant,
}

impl<T> Table<T> {
    fn new(entries: Vec<T>) -> Self {
        Self { entries, changed: None, rest_until: Instant::now() }
    }

    fn touch(&mut self) {
        self.changed.get_or_insert_with(Instant::now);
    }

    /// When it should be read, if it should.
    fn due(&self) -> Option<Instant> {
        self.changed.map(|changed| (changed + GATHER).max(self.rest_until))
    }

    fn refresh(&mut self, read: impl FnOnce() -> Result<Vec<T>, NetlinkError>) {
        let begun = Instant::now();
        if self.due().is_none_or(|due| due > begun) {
            return;
        }
        match read() {
            Ok(entries) => {
                self.entries = entries;
                self.changed = None;
                self.rest_until = Instant::now() + begun.elapsed() * REST;
            }
            Err(error) => {
                tracing::warn!(%error, "will be read again");
                self.rest_until = Instant::now() + RETRY;
            }
        }
    }
}

/// Which devices are there and up. IPv4 routes vanish without notification with their device or source address.
fn presence(links: &[Link]) -> Vec<(u32, bool)> {
    links.iter().map(|link| (link.index, link.up)).collect()
}

struct State {
    netns: u32,
    uplinks: Vec<String>,
    /// For requests.
    ask: NetlinkSocket,
    /// For notifications.
    hear: NetlinkSocket,
    links: Table<Link>,
    addresses: Table<IpAddr>,
    routes: Table<Route>,
    rules: Table<Rule>,
}

impl State {
    /// Opens the sockets in the thread's namespace, subscribes, and reads everything once.
    fn open(netns: u32, uplinks: Vec<String>) -> Result<Self, NetlinkError> {
        let hear = NetlinkSocket::open(libc::NETLINK_ROUTE)?;
        for group in [
            libc::RTNLGRP_LINK,
            libc::RTNLGRP_IPV4_IFADDR,
            libc::RTNLGRP_IPV6_IFADDR,
            libc::RTNLGRP_IPV4_ROUTE,
            libc::RTNLGRP_IPV6_ROUTE,
            libc::RTNLGRP_IPV4_RULE,
            RTNLGRP_IPV6_RULE,
        ] {
            hear.subscribe(group)?;
        }
        let mut ask = NetlinkSocket::open(libc::NETLINK_ROUTE)?;
        let links = Table::new(links::read(&mut ask)?);
        let addresses = Table::new(addresses::read(&mut ask)?);
        let routes = Table::new(routes::read(&mut ask)?);
        let rules = Table::new(rules::read(&mut ask)?);
        Ok(Self { netns, uplinks, ask, hear, links, addresses, routes, rules })
    }

    fn snapshot(&self) -> NodeNetwork {
        NodeNetwork {
            netns: self.netns,
            devices: roles::devices(&self.links.entries, &self.routes.entries, &self.uplinks),
            addresses: self.addresses.entries.clone(),
            routes: self.routes.entries.clone(),
            rules: self.rules.entries.clone(),
        }
    }

    fn follow(&mut self, stopped: &Stopped, first: NodeNetwork, sink: &impl Fn(NodeChange)) {
        let mut told = first;
        loop {
            let tables = [self.links.due(), self.addresses.due(), self.routes.due(), self.rules.due()];
            let due = tables.into_iter().flatten().min();
            let timeout = due.map(|due| due.saturating_duration_since(Instant::now()));
            match stopped.wait(&self.hear, timeout) {
                Ok(Woken::Stop) => return,
                Ok(Woken::Ready) => self.listen(),
                Ok(Woken::Timeout | Woken::Nudged) => {}
                Err(error) => {
                    tracing::error!(%error, "the network watcher ends");
                    return;
                }
            }
            let Self { ask, links, addresses, routes, rules, .. } = self;
            let before = presence(&links.entries);
            links.refresh(|| links::read(ask));
            if presence(&links.entries) != before {
                routes.touch();
            }
            addresses.refresh(|| addresses::read(ask));
            routes.refresh(|| routes::read(ask));
            rules.refresh(|| rules::read(ask));
            let now = self.snapshot();
            if now != told {
                sink(NodeChange::Network(now.clone()));
                told = now;
            }
        }
    }

    /// Takes in the notifications: which table is out of date.
    fn listen(&mut self) {
        let Self { hear, links, addresses, routes, rules, .. } = self;
        let heard = hear.notifications(|message| match message.kind {
            libc::RTM_NEWLINK | libc::RTM_DELLINK => links.touch(),
            libc::RTM_NEWADDR | libc::RTM_DELADDR => {
                addresses.touch();
                routes.touch();
            }
            libc::RTM_NEWROUTE | libc::RTM_DELROUTE => routes.touch(),
            libc::RTM_NEWRULE | libc::RTM_DELRULE => rules.touch(),
            _ => {}
        });
        if let Err(error) = &heard {
            tracing::warn!(%error, "everything will be read again");
            std::thread::sleep(GATHER);
        }
        if !matches!(heard, Ok(Notified::All)) {
            links.touch();
            addresses.touch();
            routes.touch();
            rules.touch();
        }
    }
}
