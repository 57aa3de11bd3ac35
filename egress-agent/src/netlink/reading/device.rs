//! A device and its queueing discipline (`RTM_GETQDISC`, `include/uapi/linux/pkt_sched.h`).

use egress_core::node::Answer;

use crate::netlink::NetlinkError;
use crate::netlink::network::link;
use crate::netlink::socket::NetlinkSocket;
use crate::netlink::wire::{Attributes, DUMP, Message, REQUEST, Request, u32_at};

/// Size of `struct tcmsg`.
const HEADER: usize = 20;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_STATS2: u16 = 7;
/// `TCA_STATS_QUEUE`: `struct gnet_stats_queue`.
const QUEUE: u16 = 3;
const TCA_TBF_PARMS: u16 = 1;
/// Offset of `limit` in `struct tc_tbf_qopt`, behind two rates.
const TBF_LIMIT: usize = 24;
const TCA_FQ_CODEL_LIMIT: u16 = 2;
const TCA_FQ_PLIMIT: u16 = 1;
/// `TC_H_ROOT`
const ROOT: u32 = u32::MAX;

/// A queueing discipline.
struct Qdisc {
    root: bool,
    kind: String,
    backlog: u32,
    drops: u32,
    limit: Option<String>,
}

/// Reads a device and the queueing discipline of it that has dropped most; the root one where none has.
pub(super) fn read(index: u32) -> Result<Option<Answer>, NetlinkError> {
    let mut socket = NetlinkSocket::open(libc::NETLINK_ROUTE)?;
    let Some(link) = link(&mut socket, index)? else { return Ok(None) };
    let mut header = [0u8; HEADER];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    let request = Request::new(libc::RTM_GETQDISC, REQUEST | DUMP, &header);
    let qdiscs = socket.dump("list queueing disciplines", &request, |message| decode(message, index))?;
    let qdisc = qdiscs.into_iter().max_by_key(|qdisc| (qdisc.drops, qdisc.root));
    let (kind, backlog, drops, limit) =
        qdisc.map_or_else(Default::default, |qdisc| (qdisc.kind, qdisc.backlog, qdisc.drops, qdisc.limit));
    Ok(Some(Answer::Device {
        usable: link.up && link.carrier,
        name: link.name,
        txqueuelen: link.queue,
        qdisc: kind,
        backlog,
        drops,
        limit,
    }))
}

fn decode(message: Message<'_>, index: u32) -> Option<Qdisc> {
    if message.kind != libc::RTM_NEWQDISC || u32_at(message.payload, 4)? != index {
        return None;
    }
    let attributes = Attributes::after(message.payload, HEADER);
    let kind = attributes.text(TCA_KIND)?;
    // `clsact` and `ingress` hold filters, no packets.
    if matches!(kind.as_str(), "clsact" | "ingress") {
        return None;
    }
    let queue = attributes.nested(TCA_STATS2).and_then(|stats| stats.get(QUEUE)).unwrap_or_default();
    Some(Qdisc {
        root: u32_at(message.payload, 12)? == ROOT,
        backlog: u32_at(queue, 4).unwrap_or(0),
        drops: u32_at(queue, 8).unwrap_or(0),
        limit: attributes.get(TCA_OPTIONS).and_then(|options| limit(&kind, options)),
        kind,
    })
}

/// As `tc` writes it.
fn limit(kind: &str, options: &[u8]) -> Option<String> {
    let nested = Attributes(options);
    match kind {
        "pfifo" => Some(format!("limit {}p", u32_at(options, 0)?)),
        "bfifo" => Some(format!("limit {}b", u32_at(options, 0)?)),
        "tbf" => Some(format!("limit {}b", u32_at(nested.get(TCA_TBF_PARMS)?, TBF_LIMIT)?)),
        "fq_codel" => Some(format!("limit {}p", nested.u32(TCA_FQ_CODEL_LIMIT)?)),
        "fq" => Some(format!("limit {}p", nested.u32(TCA_FQ_PLIMIT)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_tc_writes_them() {
        assert_eq!(limit("pfifo", &1000u32.to_ne_bytes()).as_deref(), Some("limit 1000p"));
        let mut parameters = [0u8; 36];
        parameters[24..28].copy_from_slice(&400u32.to_ne_bytes());
        let mut options = vec![40, 0, 1, 0];
        options.extend(parameters);
        assert_eq!(limit("tbf", &options).as_deref(), Some("limit 400b"));
        assert_eq!(limit("htb", &[]), None);
        assert_eq!(limit("tbf", &[]), None);
    }
}
