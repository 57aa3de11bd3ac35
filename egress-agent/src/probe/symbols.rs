//! Functions of the running kernel by address, from `/proc/kallsyms`.
//!
//! The file is long and the kernel writes it slowly: one pass at the start keeps the functions in which packets
//! are known to die, and a later one looks for the addresses that turned up since.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use egress_core::decode::KernelNames;

/// Functions that free packets they drop, and the inputs and outputs of routes.
const KNOWN: &[&str] = &[
    "__dev_queue_xmit",
    "__dev_xmit_skb",
    "__ip6_local_out",
    "__ip_local_out",
    "__napi_poll",
    "__neigh_event_send",
    "__netif_receive_skb_core",
    "__netif_receive_skb_core.constprop.0",
    "__nf_conntrack_confirm",
    "__udp4_lib_rcv",
    "__udp6_lib_rcv",
    "arp_error_report",
    "arp_process",
    "br_handle_frame_finish",
    "br_nf_forward_finish",
    "dev_forward_skb_nomtu",
    "dev_hard_start_xmit",
    "do_xdp_generic",
    "dst_discard",
    "dst_discard_out",
    "enqueue_to_backlog",
    "icmp6_send",
    "icmp_rcv",
    "icmpv6_rcv",
    "inet_frag_kill",
    "inet_frag_rbtree_purge",
    "ip6_dst_discard",
    "ip6_finish_output",
    "ip6_finish_output2",
    "ip6_forward",
    "ip6_fragment",
    "ip6_input",
    "ip6_input_finish",
    "ip6_mc_input",
    "ip6_output",
    "ip6_pkt_discard",
    "ip6_pkt_discard_out",
    "ip6_pkt_drop",
    "ip6_pkt_prohibit",
    "ip6_pkt_prohibit_out",
    "ip6_protocol_deliver_rcu",
    "ip6_rcv_core",
    "ip6_rcv_finish_core",
    "ip_defrag",
    "ip_do_fragment",
    "ip_error",
    "ip_finish_output",
    "ip_finish_output2",
    "ip_forward",
    "ip_fragment.constprop.0",
    "ip_local_deliver",
    "ip_local_deliver_finish",
    "ip_mc_output",
    "ip_output",
    "ip_protocol_deliver_rcu",
    "ip_rcv_core",
    "ip_rcv_finish_core",
    "ip_rcv_finish_core.constprop.0",
    "ip_rt_bug",
    "ipv6_rcv",
    "kfree_skb_list_reason",
    "ndisc_error_report",
    "neigh_invalidate",
    "netem_enqueue",
    "nf_ct_frag6_gather",
    "nf_hook_slow",
    "nf_hook_slow_list",
    "nft_do_chain",
    "packet_rcv",
    "ping_rcv",
    "raw_rcv",
    "rt_discard",
    "sctp_rcv",
    "skb_release_data",
    "sk_stream_kill_queues",
    "tcf_action_exec",
    "tcp_add_backlog",
    "tcp_conn_request",
    "tcp_data_queue",
    "tcp_rcv_established",
    "tcp_rcv_state_process",
    "tcp_v4_do_rcv",
    "tcp_v4_rcv",
    "tcp_v6_do_rcv",
    "tcp_v6_rcv",
    "tcp_validate_incoming",
    "tun_net_xmit",
    "udp_queue_rcv_one_skb",
    "udpv6_queue_rcv_one_skb",
    "unix_release_sock",
    "validate_xmit_skb",
    "veth_xdp_rcv_skb",
    "veth_xmit",
    "vxlan_xmit_one",
    "xfrm_lookup_with_ifid",
];

/// What a pass found out about the file itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visibility {
    /// Addresses are real.
    Real,
    /// Addresses are hidden from us (no CAP_SYSLOG, or `kptr_restrict`).
    Hidden,
}

/// The functions known, and the addresses that belong to none so far.
#[derive(Default)]
pub(super) struct Symbols {
    pending: BTreeSet<u64>,
    /// Looked for and not found: not asked again.
    strangers: BTreeSet<u64>,
}

/// Addresses kept as unknown; beyond it they are simply forgotten.
const MAX_STRANGERS: usize = 4096;

impl Symbols {
    /// The pass at the start.
    pub(super) fn scan_known(names: &mut KernelNames) -> io::Result<Visibility> {
        scan(open()?, |name, _| KNOWN.contains(&name), names)
    }

    /// Notes an address; true if it is not known yet.
    pub(super) fn want(&mut self, address: u64, names: &KernelNames) -> bool {
        if address == 0 || names.function(address).is_some() || self.strangers.contains(&address) {
            return false;
        }
        self.pending.insert(address);
        true
    }

    /// Whether a pass is due.
    pub(super) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// A pass for the addresses noted; true if any got its name.
    pub(super) fn scan_pending(&mut self, names: &mut KernelNames) -> io::Result<bool> {
        let pending = std::mem::take(&mut self.pending);
        let within = |_: &str, (start, end): (u64, u64)| pending.range(start..end).next().is_some();
        let result = scan(open()?, within, names).map(|_| ());
        let mut found = false;
        for address in pending {
            if names.function(address).is_some() {
                found = true;
            } else if self.strangers.len() < MAX_STRANGERS {
                self.strangers.insert(address);
            }
        }
        result.map(|()| found)
    }
}

fn open() -> io::Result<BufReader<File>> {
    Ok(BufReader::with_capacity(1 << 16, File::open(Path::new("/proc/kallsyms"))?))
}

/// Goes through the file once. A function ends where the next symbol begins; the kernel's are in order of address,
/// a module's are not, and there a function is taken for as long as the nearest symbol listed behind it says.
fn scan(
    mut file: impl BufRead,
    wanted: impl Fn(&str, (u64, u64)) -> bool,
    names: &mut KernelNames,
) -> io::Result<Visibility> {
    /// Longest function that is believed where no symbol follows.
    const LONGEST: u64 = 1 << 16;
    let mut line = String::new();
    let mut visibility = Visibility::Hidden;
    let mut current: Option<(u64, String)> = None;
    let mut module: Vec<(u64, String)> = Vec::new();
    loop {
        line.clear();
        if file.read_line(&mut line)? == 0 {
            break;
        }
        let mut parts = line.split_ascii_whitespace();
        let (Some(address), Some(kind), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let Ok(address) = u64::from_str_radix(address, 16) else {
            continue;
        };
        if address == 0 {
            continue;
        }
        visibility = Visibility::Real;
        let is_code = matches!(kind, "t" | "T" | "w" | "W");
        if parts.next().is_some() {
            if is_code {
                module.push((address, name.to_owned()));
            }
            continue;
        }
        match &current {
            // Aliases of the same address.
            Some((start, _)) if *start == address => continue,
            Some((start, function)) if wanted(function, (*start, address.max(*start))) => {
                names.insert_function(*start, address, function);
            }
            _ => {}
        }
        match &mut current {
            Some((start, function)) if is_code => {
                *start = address;
                function.clear();
                function.push_str(name);
            }
            _ => current = is_code.then(|| (address, name.to_owned())),
        }
    }
    if let Some((start, function)) = current
        && wanted(&function, (start, start + LONGEST))
    {
        names.insert_function(start, start + LONGEST, &function);
    }
    module.sort_unstable();
    for (index, (start, function)) in module.iter().enumerate() {
        let next = module[index + 1..].iter().map(|(address, _)| *address).find(|address| address > start);
        let end = next.map_or(start + LONGEST, |next| next.min(start + LONGEST));
        if wanted(function, (*start, end)) {
            names.insert_function(*start, end, function);
        }
    }
    Ok(visibility)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
ffffffff81000000 T nf_hook_slow
ffffffff81000000 T nf_hook_alias
ffffffff81000100 t helper
ffffffff81000180 D data
ffffffffc0002000 t nft_do_chain\t[nf_tables]
ffffffffc0001000 t nft_first\t[nf_tables]
";

    #[test]
    fn a_function_ends_where_the_next_symbol_begins() {
        let mut names = KernelNames::default();
        let seen = scan(TEXT.as_bytes(), |_, _| true, &mut names).unwrap();
        assert_eq!(seen, Visibility::Real);
        assert_eq!(names.function(0xffff_ffff_8100_00ff).map(|name| &**name), Some("nf_hook_slow"));
        assert_eq!(names.function(0xffff_ffff_8100_0100).map(|name| &**name), Some("helper"));
        assert_eq!(names.function(0xffff_ffff_8100_0180), None);
        assert_eq!(names.function(0xffff_ffff_c000_1fff).map(|name| &**name), Some("nft_first"));
        assert_eq!(names.function(0xffff_ffff_c000_2010).map(|name| &**name), Some("nft_do_chain"));
    }

    #[test]
    fn only_the_wanted_are_kept() {
        let mut names = KernelNames::default();
        scan(TEXT.as_bytes(), |name, _| name == "helper", &mut names).unwrap();
        assert_eq!(names.functions().count(), 1);
    }

    #[test]
    fn zeros_mean_hidden() {
        let mut names = KernelNames::default();
        let text = "0000000000000000 T nf_hook_slow\n";
        assert_eq!(scan(text.as_bytes(), |_, _| true, &mut names).unwrap(), Visibility::Hidden);
        assert_eq!(names.functions().count(), 0);
    }
}
