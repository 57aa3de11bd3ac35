//! The conntrack table as a whole: how full it is, what conntrack failed at of late, and who holds its entries.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use egress_core::node::{Holder, PortsInUse, RangeInUse, Table, Towards};
use egress_core::verdict::SocketAddress;

use super::{CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, ConntrackUsage, GET, tuple, unspecified, usage};
use crate::netlink::NetlinkError;
use crate::netlink::netfilter::{attributes, request};
use crate::netlink::socket::NetlinkSocket;
use crate::netlink::translations;
use crate::netlink::wire::{DUMP, REQUEST, Request, be32};

/// `IPCTNL_MSG_CT_GET_STATS_CPU`
const GET_STATS_CPU: u8 = 4;
const CTA_STATS_INSERT_FAILED: u16 = 9;
const CTA_STATS_DROP: u16 = 10;
const CTA_STATS_EARLY_DROP: u16 = 11;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
/// `CTA_FILTER_FLAG(…)` of protocol and source port.
const FILTER_PORT: u32 = 1 << 3 | 1 << 4;
/// `CTA_FILTER_FLAG(…)` of source and destination address.
const FILTER_ADDRESSES: u32 = 1 | 1 << 1;

/// Counters are compared with those of so long ago.
pub(super) const WINDOW: Duration = Duration::from_secs(1);
/// A table this full (percent) is counted by who holds its entries.
const NEARLY: u64 = 90;
/// Who holds entries is counted again no sooner than this many times as long as it took.
const REST: u32 = 50;
/// Holders that are told, and that are counted apart.
const TOLD: usize = 10;
const COUNTED: usize = 1 << 16;

/// Counters of conntrack, of all CPUs together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counters {
    dropped: u64,
    insert_failed: u64,
    early_drops: u64,
}

/// Follows the counters, so that a failure can be told from one of long ago.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// Readings of the last few seconds, the oldest first.
    readings: VecDeque<(Instant, Counters)>,
    /// The last count of holders, and until when it serves.
    holders: Option<(Instant, Vec<Holder>)>,
}

impl Tables {
    /// Notes the counters as they are now; forgets those that are older than needed.
    pub(super) fn note(&mut self, socket: &mut NetlinkSocket) -> Result<(), NetlinkError> {
        self.read(socket).map(drop)
    }

    fn read(&mut self, socket: &mut NetlinkSocket) -> Result<Counters, NetlinkError> {
        let (now, counters) = (Instant::now(), counters(socket)?);
        // The one before the window stays: what happened since is what happened within it, and a little more.
        while self.readings.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            self.readings.pop_front();
        }
        if self.readings.back().is_none_or(|(at, _)| now.duration_since(*at) >= WINDOW / 2) {
            self.readings.push_back((now, counters));
        }
        Ok(counters)
    }

    /// The state of the table.
    pub(super) fn state(
        &mut self,
        socket: &mut NetlinkSocket,
        towards: Option<Towards>,
    ) -> Result<Table, NetlinkError> {
        let before = self.readings.front().copied();
        let now = self.read(socket)?;
        let (since, old) = before.unwrap_or((Instant::now(), now));
        let ConntrackUsage { entries, limit } = usage(socket)?;
        let insert_failed = now.insert_failed.saturating_sub(old.insert_failed);
        let full = u64::from(entries) * 100 >= u64::from(limit) * NEARLY;
        // Counting takes the kernel a while, so only where it can decide something.
        let ports = match towards {
            Some(towards) if insert_failed > 0 => Some(ports(socket, &towards)?),
            _ => None,
        };
        Ok(Table {
            entries,
            limit,
            window_ms: u32::try_from(since.elapsed().as_millis()).unwrap_or(u32::MAX),
            dropped: now.dropped.saturating_sub(old.dropped),
            insert_failed,
            early_drops: now.early_drops.saturating_sub(old.early_drops),
            holders: if full { self.holders(socket)? } else { Vec::new() },
            ports,
        })
    }

    fn holders(&mut self, socket: &mut NetlinkSocket) -> Result<Vec<Holder>, NetlinkError> {
        let begun = Instant::now();
        if let Some((until, holders)) = &self.holders
            && begun < *until
        {
            return Ok(holders.clone());
        }
        let mut count = Count::default();
        let all = request(libc::NFNL_SUBSYS_CTNETLINK, GET, REQUEST | DUMP, unspecified());
        scan(socket, &all, |original, _| count.add(original.0.ip))?;
        let holders = count.most();
        let rest = (begun.elapsed() * REST).max(WINDOW);
        self.holders = Some((begun + rest, holders.clone()));
        Ok(holders)
    }
}

/// Entries by address.
#[derive(Debug, Default)]
struct Count(HashMap<IpAddr, u32>);

impl Count {
    fn add(&mut self, ip: IpAddr) {
        // A table full of strangers must not fill our memory too.
        if self.0.len() < COUNTED || self.0.contains_key(&ip) {
            *self.0.entry(ip).or_default() += 1;
        }
    }

    fn most(self) -> Vec<Holder> {
        let mut holders: Vec<Holder> =
            self.0.into_iter().map(|(ip, entries)| Holder { ip, entries }).collect();
        holders.sort_unstable_by_key(|holder| (std::cmp::Reverse(holder.entries), holder.ip));
        holders.truncate(TOLD);
        holders
    }
}

/// The ports that translation uses towards a destination: those to which it answers.
fn ports(socket: &mut NetlinkSocket, towards: &Towards) -> Result<PortsInUse, NetlinkError> {
    let Towards { source, destination, .. } = *towards;
    let answers = tuple::encode_reply(towards).ok_or(NetlinkError::Malformed {
        doing: "count ports in use",
        what: "a protocol without ports, or two address families",
    })?;
    // Kernels before 5.8 do not filter, and those after leave out just the IPv6 addresses that are asked for: what
    // comes is sieved here again.
    let flags = if source.is_ipv4() { FILTER_PORT | FILTER_ADDRESSES } else { FILTER_PORT };
    let request = answers
        .write_in(request(libc::NFNL_SUBSYS_CTNETLINK, GET, REQUEST | DUMP, answers.family), CTA_TUPLE_REPLY)
        .nest(CTA_FILTER, |filter: Request| filter.with(CTA_FILTER_REPLY_FLAGS, &flags.to_ne_bytes()));
    let mut used: HashMap<u16, IpAddr> = HashMap::new();
    scan(socket, &request, |original, (from, to)| {
        if from == destination && to.ip == source {
            used.entry(to.port).or_insert(original.0.ip);
        }
    })?;
    let mut given: Vec<(u16, u16)> =
        translations::read(socket).rules.iter().filter_map(|rule| rule.ports).collect();
    given.sort_unstable();
    given.dedup();
    let within = |lowest: u16, highest: u16| {
        let mut holders = Count::default();
        let of_range = used.iter().filter(|(port, _)| (lowest..=highest).contains(port));
        let count = of_range.map(|(_, ip)| holders.add(*ip)).count();
        RangeInUse {
            lowest,
            highest,
            count: u32::try_from(count).unwrap_or(u32::MAX),
            holders: holders.most(),
        }
    };
    let all = within(0, u16::MAX);
    Ok(PortsInUse {
        count: all.count,
        ranges: given.into_iter().map(|(lowest, highest)| within(lowest, highest)).collect(),
        holders: all.holders,
    })
}

type Ends = (SocketAddress, SocketAddress);

/// Goes through entries: original and reply tuple of each.
fn scan(
    socket: &mut NetlinkSocket,
    request: &Request,
    mut each: impl FnMut(Ends, Ends),
) -> Result<(), NetlinkError> {
    socket.scan("go through the conntrack table", request, |message| {
        let found = attributes(&message);
        let original = found.nested(CTA_TUPLE_ORIG).and_then(tuple::decode);
        let reply = found.nested(CTA_TUPLE_REPLY).and_then(tuple::decode);
        if let (Some(original), Some(reply)) = (original, reply) {
            each(original, reply);
        }
    })
}

/// Reads the counters.
fn counters(socket: &mut NetlinkSocket) -> Result<Counters, NetlinkError> {
    let asked = request(libc::NFNL_SUBSYS_CTNETLINK, GET_STATS_CPU, REQUEST | DUMP, unspecified());
    let mut sum = Counters::default();
    socket.scan("read conntrack's counters", &asked, |message| {
        let figures = attributes(&message);
        let figure = |number| u64::from(figures.get(number).and_then(be32).unwrap_or_default());
        sum.dropped += figure(CTA_STATS_DROP);
        sum.insert_failed += figure(CTA_STATS_INSERT_FAILED);
        sum.early_drops += figure(CTA_STATS_EARLY_DROP);
    })?;
    Ok(sum)
}
