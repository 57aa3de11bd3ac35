//! Which states of the kernel decide a failure: asked before it is judged, looked up while it is.

use std::net::IpAddr;

use super::{Case, Judgement};
use crate::decode::{DropSeen, Tap};
use crate::flow::FlowEvent;
use crate::node::{NodeState, Question, Refusal, Route, Routed, RoutingDecision};
use crate::protocol::Protocol;

/// Which queue was full, by reason and function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FullQueue {
    /// The queue of connections that a listener has not accepted.
    Listener,
    /// A UDP (or raw) socket's receive buffer.
    ReceiveBuffer,
    /// A TCP socket's receive buffer, or its backlog while it is busy.
    Stream,
    /// Memory of all sockets of a protocol.
    ProtocolMemory,
    /// A device's queueing discipline.
    Qdisc,
    /// A device's own ring.
    Ring,
    /// A CPU's queue of received packets.
    CpuBacklog,
    /// Memory of the machine.
    Memory,
}

/// The queue of a drop of site `Resource`.
pub(crate) fn full_queue(drop: &DropSeen) -> FullQueue {
    let tcp = drop.packet.tuple.protocol == 6;
    match (&*drop.reason, &*drop.function) {
        ("TCP_LISTEN_OVERFLOW" | "TCP_REQQFULLDROP", _) => FullQueue::Listener,
        ("PROTO_MEM", _) => FullQueue::ProtocolMemory,
        ("CPU_BACKLOG", _) | (_, "enqueue_to_backlog") => FullQueue::CpuBacklog,
        ("FULL_RING", _) | (_, "tun_net_xmit") => FullQueue::Ring,
        ("NOMEM" | "PFMEMALLOC", _) => FullQueue::Memory,
        ("SOCKET_RCVBUFF" | "SOCKET_BACKLOG" | "TCP_BACKLOG", _) | (_, "tcp_add_backlog") if tcp => {
            FullQueue::Stream
        }
        ("SOCKET_RCVBUFF" | "SOCKET_BACKLOG", _) | (_, "__udp_enqueue_schedule_skb") => {
            FullQueue::ReceiveBuffer
        }
        _ => FullQueue::Qdisc,
    }
}

/// What tells how full it is.
pub(crate) fn queue(drop: &DropSeen) -> Vec<Question> {
    let netns = drop.netns;
    let tuple = drop.packet.tuple;
    let setting = |name: &str| vec![Question::Setting { netns, name: name.to_owned() }];
    match full_queue(drop) {
        FullQueue::Listener | FullQueue::ReceiveBuffer => {
            let protocol = if tuple.protocol == 6 { Protocol::Tcp } else { Protocol::Udp };
            vec![Question::Socket { netns, protocol, address: tuple.destination }]
        }
        FullQueue::Stream => setting(stream_setting()),
        FullQueue::ProtocolMemory => setting(memory_setting(drop)),
        FullQueue::CpuBacklog => setting(BACKLOG),
        FullQueue::Qdisc | FullQueue::Ring => vec![device(drop)],
        FullQueue::Memory => Vec::new(),
    }
}

/// Length of a CPU's queue of received packets.
pub(crate) const BACKLOG: &str = "net.core.netdev_max_backlog";

/// Least, usual and most bytes of a TCP socket's receive buffer.
pub(crate) const fn stream_setting() -> &'static str {
    "net.ipv4.tcp_rmem"
}

/// Memory of all sockets of the protocol, pages.
pub(crate) fn memory_setting(drop: &DropSeen) -> &'static str {
    if drop.packet.tuple.protocol == 6 { "net.ipv4.tcp_mem" } else { "net.ipv4.udp_mem" }
}

/// The device of a drop: of the packet, else of its route.
pub(crate) const fn device(drop: &DropSeen) -> Question {
    let index = if drop.ifindex == 0 { drop.dst_ifindex } else { drop.ifindex };
    Question::Device { netns: drop.netns, index }
}

/// Name of the device of a drop, as far as it is known: in the node, or inside a pod.
pub(crate) fn device_name(drop: &DropSeen, node: &NodeState) -> Option<String> {
    if drop.netns == node.netns() { node.device_name(drop.ifindex) } else { node.pod_device(drop.netns) }
}

/// The sysctls of the reverse-path filter that may have dropped it: of all devices, and of this one. The larger counts.
pub(crate) fn reverse_path(drop: &DropSeen, node: &NodeState) -> Vec<Question> {
    let device = device_name(drop, node);
    ["all"]
        .into_iter()
        .chain(device.as_deref())
        .map(|device| Question::Setting { netns: drop.netns, name: rp_filter(device) })
        .collect()
}

/// Name of the sysctl; `sysctl` writes a dot within a device's name as a slash.
pub(crate) fn rp_filter(device: &str) -> String {
    format!("net.ipv4.conf.{}.rp_filter", device.replace('.', "/"))
}

/// The neighbour by which a packet that left the pod and was not seen again should have gone on.
pub(crate) fn next_hop(event: &FlowEvent, node: &NodeState) -> Option<Question> {
    let left = event.journey.request(Tap::PodOut)?;
    let input = node.device_name(left.ifindex);
    let (_, route, ip) = forwarded_by(event, node, input.as_deref())?;
    Some(Question::Neighbour { netns: node.netns(), index: route.device, ip })
}

/// Whether rules of policy routing were involved, the route by which the node forwards the request, and its next hop.
pub(crate) fn forwarded_by<'a>(
    event: &FlowEvent,
    node: &'a NodeState,
    input: Option<&str>,
) -> Option<(Option<String>, &'a Route, IpAddr)> {
    let destination = event.client.destination.ip;
    let packet = Routed { source: event.client.source.ip, destination, input, mark: None };
    let decision = node.route(&packet);
    let route = decision.route.filter(|route| route.kind == "unicast" && route.device != 0)?;
    let rule = decision.policy().map(ToString::to_string);
    Some((rule, route, route.gateway.unwrap_or(destination)))
}

/// A dropped packet as routing saw it: before its source was translated, after its destination was.
pub(crate) fn routed<'a>(
    event: &FlowEvent,
    drop: &DropSeen,
    node: &NodeState,
    input: Option<&'a str>,
) -> Routed<'a> {
    let tuple = drop.packet.tuple;
    let source = match &drop.conntrack {
        // On its way out it carries the node's address already.
        Some(ct) if tuple.source.ip == ct.reply.destination.ip => ct.original.source.ip,
        _ if node.is_own(tuple.source.ip) => event.client.source.ip,
        _ => tuple.source.ip,
    };
    Routed { source, destination: tuple.destination.ip, input, mark: Some(drop.mark) }
}

/// Name of the device that a dropped packet came in by.
pub(crate) fn input(drop: &DropSeen, node: &NodeState) -> Option<String> {
    node.device_name(if drop.iif == 0 { drop.ifindex } else { drop.iif })
}

/// What the tables say, if they refuse.
pub(crate) fn refusal(decision: &RoutingDecision<'_>) -> Option<Refusal> {
    let kind = match (decision.route, decision.refusing_rule()) {
        (Some(route), _) => route.kind.as_str(),
        (None, Some((_, kind))) => kind,
        (None, None) => return Some(Refusal::NoRoute),
    };
    match kind {
        "blackhole" => Some(Refusal::Blackhole),
        "unreachable" => Some(Refusal::Unreachable),
        "prohibit" => Some(Refusal::Prohibit),
        _ => None,
    }
}

/// Routing refused it, and the tables as they were read last do not: they changed just now.
pub(crate) fn outdated(event: &FlowEvent, drop: &DropSeen, node: &NodeState) -> bool {
    let input = input(drop, node);
    refusal(&node.route(&routed(event, drop, node, input.as_deref()))).is_none()
}

/// Names the gateway by which a packet left the node by this device, where policy routing (an egress gateway) chose it.
pub(super) fn by_gateway(case: &Case<'_>, left_by: u32, judgement: Judgement) -> Judgement {
    let input = case.event.journey.request(Tap::PodOut).and_then(|left| case.node.device_name(left.ifindex));
    let Some((Some(rule), route, _)) = forwarded_by(case.event, case.node, input.as_deref()) else {
        return judgement;
    };
    match route.gateway {
        Some(gateway) if route.device == left_by => judgement.with("gateway", gateway.to_string()).hint(format!(
            "policy routing (ip rule {rule}) sends this by the gateway {gateway}: look there first, whether it forwards \
             it and translates its source"
        )),
        _ => judgement,
    }
}
