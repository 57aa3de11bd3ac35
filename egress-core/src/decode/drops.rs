//! What kind of place dropped a packet: from the reason's name and the function, never from numbers.

/// The kind of place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropSite {
    /// A packet filter.
    Filter(FilterKind),
    /// No socket wanted it: the port is closed, or the flow is over.
    NoSocket,
    /// No route, or one that refuses.
    Route,
    /// Reverse-path filter.
    ReversePath,
    /// An address that must not come by there: martian source or destination.
    Martian,
    /// The next hop's link-layer address could not be found.
    Neighbour,
    /// Time to live ran out.
    Ttl,
    /// Larger than the next hop takes.
    TooBig,
    /// A buffer, queue or backlog was full.
    Resource,
    /// A bridge: isolated or blocked port.
    Bridge,
    /// IPsec policy.
    Ipsec,
    /// Happens to healthy flows: duplicates, late packets, queues of closed sockets.
    Benign,
    /// Anything else.
    Other,
}

impl DropSite {
    /// A single drop there is nothing unusual: the sender's next try may well pass (a full queue), or was meant to
    /// end there (a traceroute).
    #[must_use]
    pub const fn is_passing(self) -> bool {
        matches!(self, Self::Resource | Self::Ttl)
    }
}

/// Which packet filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterKind {
    /// nftables or iptables-nft: the rule engine itself freed it.
    Nftables,
    /// iptables-legacy, or conntrack inside a netfilter hook.
    Netfilter,
    /// A TC program or filter, ingress.
    TcIngress,
    /// A TC program or filter, egress.
    TcEgress,
    /// An XDP program.
    Xdp,
    /// A cgroup BPF program.
    Cgroup,
}

/// Where in the packet's way it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Before the routing decision.
    Prerouting,
    /// To this machine (or namespace) itself.
    Input,
    /// Through it.
    Forward,
    /// From it.
    Output,
    /// After the routing decision, about to leave.
    Postrouting,
    /// As it comes in by a device, before everything else.
    Ingress,
    /// As it leaves by a device, after everything else.
    Egress,
    /// Not known.
    Unknown,
}

impl Hook {
    /// As netfilter writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prerouting => "PREROUTING",
            Self::Input => "INPUT",
            Self::Forward => "FORWARD",
            Self::Output => "OUTPUT",
            Self::Postrouting => "POSTROUTING",
            Self::Ingress => "INGRESS",
            Self::Egress => "EGRESS",
            Self::Unknown => "",
        }
    }

    /// The hook of a chain, as nftables writes it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "prerouting" => Self::Prerouting,
            "input" => Self::Input,
            "forward" => Self::Forward,
            "output" => Self::Output,
            "postrouting" => Self::Postrouting,
            "ingress" => Self::Ingress,
            "egress" => Self::Egress,
            _ => return None,
        })
    }
}

/// Family of a table by its `NFPROTO_*` number, as nftables writes it.
pub(super) const fn family(number: u8) -> Option<&'static str> {
    Some(match number {
        1 => "inet",
        2 => "ip",
        3 => "arp",
        NETDEV => "netdev",
        7 => "bridge",
        10 => "ip6",
        _ => return None,
    })
}

/// `NFPROTO_NETDEV`
const NETDEV: u8 = 5;

/// A hook by the numbers of its protocol and of itself among that protocol's.
pub(super) const fn numbered_hook(protocol: u8, number: u8) -> Option<Hook> {
    Some(match (protocol, number) {
        (NETDEV, 0) => Hook::Ingress,
        (NETDEV, 1) => Hook::Egress,
        (NETDEV, _) => return None,
        (_, 0) => Hook::Prerouting,
        (_, 1) => Hook::Input,
        (_, 2) => Hook::Forward,
        (_, 3) => Hook::Output,
        (_, 4) => Hook::Postrouting,
        (_, 5) => Hook::Ingress,
        _ => return None,
    })
}

/// Judges by reason and function. `NOT_SPECIFIED` leaves the function alone to decide.
pub(super) fn site(reason: &str, function: &str) -> DropSite {
    // Compilers append to the names of what they specialise (`ip_fragment.constprop.0`).
    let plain = function.split('.').next().unwrap_or(function);
    by_reason(reason).unwrap_or_else(|| by_function(plain))
}

fn by_reason(reason: &str) -> Option<DropSite> {
    Some(match reason {
        "NETFILTER_DROP" => DropSite::Filter(FilterKind::Netfilter),
        "TC_INGRESS" => DropSite::Filter(FilterKind::TcIngress),
        "TC_EGRESS" => DropSite::Filter(FilterKind::TcEgress),
        "XDP" => DropSite::Filter(FilterKind::Xdp),
        "BPF_CGROUP_EGRESS" | "SOCKET_FILTER" => DropSite::Filter(FilterKind::Cgroup),
        "XFRM_POLICY" => DropSite::Ipsec,
        "BRIDGE_INGRESS_STP_STATE" | "BRIDGE_NO_EGRESS_PORT" => DropSite::Bridge,
        "NO_SOCKET" => DropSite::NoSocket,
        "IP_OUTNOROUTES" | "IP_INNOROUTES" | "IP6_OUTNOROUTES" | "IPV6_OUTNOROUTES" | "IPV6DISABLED" => {
            DropSite::Route
        }
        "IP_RPFILTER" => DropSite::ReversePath,
        "IP_LOCAL_SOURCE" | "IP_INVALID_SOURCE" | "IP_LOCALNET" | "IP_INVALID_DEST" => DropSite::Martian,
        "NEIGH_FAILED" | "NEIGH_QUEUEFULL" | "NEIGH_DEAD" | "NEIGH_CREATEFAIL" | "NEIGH_HH_FILLFAIL" => {
            DropSite::Neighbour
        }
        "PKT_TOO_BIG" => DropSite::TooBig,
        "SOCKET_RCVBUFF"
        | "SOCKET_BACKLOG"
        | "QDISC_DROP"
        | "CPU_BACKLOG"
        | "FULL_RING"
        | "NOMEM"
        | "PROTO_MEM"
        | "QDISC_OVERLIMIT"
        | "QDISC_CONGESTED"
        | "TCP_LISTEN_OVERFLOW"
        | "TCP_REQQFULLDROP"
        | "TCP_BACKLOG"
        | "FQ_BAND_LIMIT"
        | "FQ_FLOW_LIMIT"
        | "FQ_HORIZON_LIMIT"
        | "CAKE_FLOOD"
        | "DUALPI2_STEP_DROP"
        | "PFMEMALLOC" => DropSite::Resource,
        // Broken on the way, or not signed as the receiver wants it: no function's everyday business.
        "IP_CSUM" | "ICMP_CSUM" | "TCP_CSUM" | "UDP_CSUM" | "SKB_CSUM" | "TCP_MD5NOTFOUND"
        | "TCP_MD5UNEXPECTED" | "TCP_MD5FAILURE" | "TCP_AUTH_HDR" | "TCP_AONOTFOUND" | "TCP_AOUNEXPECTED"
        | "TCP_AOKEYNOTFOUND" | "TCP_AOFAILURE" => DropSite::Other,
        "SOCKET_CLOSE"
        | "QUEUE_PURGE"
        | "TCP_CLOSE"
        | "TCP_FASTOPEN"
        | "TCP_OLD_ACK"
        | "TCP_OLD_DATA"
        | "TCP_OLD_SEQUENCE"
        | "TCP_OVERWINDOW"
        | "TCP_OFOMERGE"
        | "TCP_RFC7323_PAWS"
        | "TCP_RFC7323_PAWS_ACK"
        | "TCP_RFC7323_TW_PAWS"
        | "TCP_RFC7323_TSECR"
        | "TCP_INVALID_SEQUENCE"
        | "TCP_INVALID_END_SEQUENCE"
        | "TCP_INVALID_ACK_SEQUENCE"
        | "TCP_RESET"
        | "TCP_INVALID_SYN"
        | "TCP_ACK_UNSENT_DATA"
        | "TCP_TOO_OLD_ACK"
        | "TCP_ABORT_ON_DATA"
        | "TCP_ABORT_ON_CLOSE"
        | "PACKET_SOCK_ERROR"
        | "IPV6_NDISC_BAD_OPTIONS"
        | "OTHERHOST"
        | "UNHANDLED_PROTO"
        | "DUP_FRAG"
        | "FRAG_REASM_TIMEOUT"
        | "LOCAL_MAC"
        | "DEV_READY"
        | "UNICAST_IN_L2_MULTICAST"
        | "MULTICAST_NOMEM"
        // The receiver's window and its reordering queue: flow control, which the sender repairs.
        | "TCP_OFO_QUEUE_PRUNE"
        | "TCP_ZEROWINDOW"
        | "NETFILTER_STOLEN"
        | "CONSUMED" => DropSite::Benign,
        _ => return None,
    })
}

fn by_function(function: &str) -> DropSite {
    match function {
        "nft_do_chain" | "nft_do_chain_inet" | "nft_do_chain_ipv4" | "nft_do_chain_ipv6" => {
            DropSite::Filter(FilterKind::Nftables)
        }
        "nf_hook_slow" | "nf_hook_slow_list" | "ipt_do_table" | "ip6t_do_table" => {
            DropSite::Filter(FilterKind::Netfilter)
        }
        "do_xdp_generic" | "veth_xdp_rcv_skb" | "netif_receive_generic_xdp" | "bpf_prog_run_generic_xdp" => {
            DropSite::Filter(FilterKind::Xdp)
        }
        "sch_handle_ingress" | "tcx_run" => DropSite::Filter(FilterKind::TcIngress),
        "sch_handle_egress" => DropSite::Filter(FilterKind::TcEgress),
        "br_handle_frame_finish" | "br_handle_frame" | "br_forward" => DropSite::Bridge,
        "ip_error"
        | "ip6_pkt_discard"
        | "ip6_pkt_discard_out"
        | "ip6_pkt_prohibit"
        | "ip6_pkt_prohibit_out"
        | "ip6_pkt_drop"
        | "dst_discard_out"
        | "dst_discard" => DropSite::Route,
        // They drop what is larger than the device takes, and other things: the packet's length decides.
        "__dev_forward_skb2"
        | "__dev_forward_skb"
        | "br_dev_queue_push_xmit"
        | "br_nf_dev_queue_xmit"
        | "ip_fragment"
        | "ip6_fragment"
        | "ip_tunnel_xmit"
        | "ip6_tnl_xmit" => DropSite::TooBig,
        "neigh_invalidate" | "arp_error_report" | "ndisc_error_report" | "__neigh_event_send" => {
            DropSite::Neighbour
        }
        "enqueue_to_backlog" | "tcp_add_backlog" | "tun_net_xmit" | "__udp_enqueue_schedule_skb" => {
            DropSite::Resource
        }
        "tcp_v4_rcv"
        | "tcp_v6_rcv"
        | "__udp4_lib_rcv"
        | "__udp6_lib_rcv"
        | "udpv6_rcv"
        | "ping_rcv"
        | "ip6_mc_input"
        | "ip_rcv_finish_core"
        | "tcp_rcv_state_process"
        | "tcp_data_queue"
        | "tcp_rcv_established"
        | "tcp_v4_do_rcv"
        | "tcp_v6_do_rcv"
        | "skb_release_data"
        | "icmp_rcv"
        | "icmpv6_rcv"
        | "ndisc_rcv"
        | "arp_rcv"
        | "raw_rcv"
        | "raw_v4_input"
        | "igmp_rcv"
        | "packet_rcv" => DropSite::Benign,
        _ => DropSite::Other,
    }
}

/// Every link takes packets of this length (`IPV4_MIN_MTU`: 68; the least that hosts must reassemble: 576).
const FITS_ANYWHERE: u32 = 576;

/// Refines the kind of a netfilter drop by the function, and knows what routing refuses in the forwarding functions,
/// whose drops have no reason of their own on every kernel.
pub(super) fn refine(site: DropSite, reason: &str, function: &str, ttl: u8, length: u32) -> DropSite {
    let forwarding = matches!(function, "ip_forward" | "ip6_forward");
    match site {
        DropSite::TooBig if reason != "PKT_TOO_BIG" && length <= FITS_ANYWHERE => DropSite::Other,
        DropSite::Filter(FilterKind::Netfilter) if function.starts_with("nft_do_chain") => {
            DropSite::Filter(FilterKind::Nftables)
        }
        DropSite::Other if forwarding && ttl <= 1 && matches!(reason, "IP_INHDR" | "NOT_SPECIFIED") => {
            DropSite::Ttl
        }
        // Forwarding is off, or (IPv6) an address that is not forwarded.
        DropSite::Other if reason == "IP_INADDRERRORS" && (forwarding || function == "ip_error") => {
            DropSite::Route
        }
        other => other,
    }
}

/// Which netfilter hook, from what the packet carried: the handler of its route, its device and the route's.
pub(super) fn hook(input: Option<&str>, has_route: bool, device: u32, iif: u32, route_device: u32) -> Hook {
    if !has_route {
        return if device == 0 { Hook::Output } else { Hook::Prerouting };
    }
    match input {
        Some("ip_forward" | "ip6_forward") if route_device != 0 && device == route_device => {
            Hook::Postrouting
        }
        Some("ip_forward" | "ip6_forward") => Hook::Forward,
        Some("ip_local_deliver" | "ip6_input") if iif != 0 => Hook::Input,
        _ if device == 0 => Hook::Output,
        // On its way out it has the device of its route, which it has not got in the hook for local output.
        _ if iif == 0 && device == route_device => Hook::Postrouting,
        _ if iif == 0 => Hook::Output,
        _ => Hook::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(reason: &str, function: &str, ttl: u8) -> DropSite {
        refine(site(reason, function), reason, function, ttl, 60)
    }

    #[test]
    fn reason_and_function_together_tell_the_place() {
        for (reason, function, ttl, expected) in [
            ("IP_INNOROUTES", "ip_error", 63, DropSite::Route),
            ("NOT_SPECIFIED", "ip_error", 63, DropSite::Route),
            ("IP_INADDRERRORS", "ip_error", 63, DropSite::Route),
            ("IP_INADDRERRORS", "ip6_forward", 63, DropSite::Route),
            ("NOT_SPECIFIED", "dst_discard_out", 63, DropSite::Route),
            ("IP_RPFILTER", "ip_rcv_finish_core", 63, DropSite::ReversePath),
            ("IP_LOCAL_SOURCE", "ip_rcv_finish_core", 63, DropSite::Martian),
            ("NEIGH_FAILED", "neigh_invalidate", 63, DropSite::Neighbour),
            ("NOT_SPECIFIED", "neigh_invalidate", 63, DropSite::Neighbour),
            ("IP_INHDR", "ip_forward", 1, DropSite::Ttl),
            ("NOT_SPECIFIED", "ip6_forward", 1, DropSite::Ttl),
            ("NOT_SPECIFIED", "ip_forward", 63, DropSite::Other),
            ("IP_INHDR", "ip_rcv_core", 64, DropSite::Other),
            ("QDISC_DROP", "__dev_queue_xmit", 63, DropSite::Resource),
            ("SOCKET_RCVBUFF", "udp_queue_rcv_one_skb", 63, DropSite::Resource),
            ("TCP_ZEROWINDOW", "tcp_data_queue", 63, DropSite::Benign),
        ] {
            assert_eq!(judged(reason, function, ttl), expected, "{reason} in {function}, TTL {ttl}");
        }
    }
}
