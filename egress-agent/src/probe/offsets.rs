//! Where the running kernel keeps the fields that the programs read, and which hook cannot do without which.

use egress_common::{ABSENT, Offsets};

use super::btf::Btf;

/// A hook, as the table needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// `skb:kfree_skb`
    Drop,
    /// `tcp:tcp_retransmit_skb`
    Retransmit,
    /// `sock:inet_sock_set_state`
    SockState,
    /// `tcp:tcp_send_reset`
    SendReset,
    /// `tcp:tcp_receive_reset`
    ReceiveReset,
    /// `fib:fib_table_lookup`
    Fib,
    /// `fib6:fib6_table_lookup`
    Fib6,
    /// `nft_do_chain`
    Chain,
}

/// Every socket hook.
const SOCKETS: &[Hook] = &[Hook::Retransmit, Hook::SockState, Hook::SendReset, Hook::ReceiveReset];
/// Hooks that read packets.
const PACKETS: &[Hook] = &[Hook::Drop, Hook::SendReset];
/// Hooks that find a namespace.
const ALL: &[Hook] = &[
    Hook::Drop,
    Hook::Retransmit,
    Hook::SockState,
    Hook::SendReset,
    Hook::ReceiveReset,
    Hook::Fib,
    Hook::Fib6,
];
/// Hooks that have a socket.
const WITH_SOCKET: &[Hook] =
    &[Hook::Drop, Hook::Retransmit, Hook::SockState, Hook::SendReset, Hook::ReceiveReset];
/// Hooks of route look-ups.
const LOOKUPS: &[Hook] = &[Hook::Fib, Hook::Fib6];
const FIB: &[Hook] = &[Hook::Fib];
const FIB6: &[Hook] = &[Hook::Fib6];
const CHAIN: &[Hook] = &[Hook::Chain];
const DROP: &[Hook] = &[Hook::Drop];
const NONE: &[Hook] = &[];

/// A field of [`Offsets`].
struct Entry {
    set: fn(&mut Offsets) -> &mut u32,
    name: &'static str,
    /// Structure and path, the first that fits counts.
    places: &'static [(&'static str, &'static str)],
    /// Sizes the programs can read; empty: any.
    sizes: &'static [u32],
    /// Hooks that are refused without it.
    required: &'static [Hook],
    /// What is lost without it where it is not required.
    loss: &'static str,
}

macro_rules! entry {
    ($field:ident, $places:expr, $sizes:expr, $required:expr, $loss:expr) => {
        Entry {
            set: |offsets| &mut offsets.$field,
            name: stringify!($field),
            places: &$places,
            sizes: &$sizes,
            required: $required,
            loss: $loss,
        }
    };
}

/// The table, in the order of [`Offsets`]. `ct_hash_size` is a size and `table_family` a bit field: resolved apart.
const TABLE: &[Entry] = &[
    entry!(skb_head, [("sk_buff", "head")], [8], PACKETS, ""),
    entry!(skb_network_header, [("sk_buff", "network_header")], [2], PACKETS, ""),
    entry!(skb_tail, [("sk_buff", "tail")], [4], PACKETS, ""),
    entry!(skb_len, [("sk_buff", "len")], [4], NONE, "packet lengths"),
    entry!(skb_protocol, [("sk_buff", "protocol")], [2], PACKETS, ""),
    entry!(skb_mark, [("sk_buff", "mark")], [4], NONE, "packet marks"),
    entry!(skb_iif, [("sk_buff", "skb_iif")], [4], NONE, "the device a dropped packet came in by"),
    entry!(skb_dev, [("sk_buff", "dev")], [8], PACKETS, ""),
    entry!(skb_sk, [("sk_buff", "sk")], [8], DROP, ""),
    entry!(
        skb_nfct,
        [("sk_buff", "_nfct")],
        [8],
        NONE,
        "conntrack tuples of drops (kernel without conntrack)"
    ),
    entry!(skb_refdst, [("sk_buff", "_skb_refdst")], [8], NONE, "routes of dropped packets"),
    entry!(skb_cb, [("sk_buff", "cb")], [48], NONE, "sequence numbers of retransmits"),
    entry!(tcp_cb_seq, [("tcp_skb_cb", "seq")], [4], NONE, "sequence numbers of retransmits"),
    // Two bytes since accurate ECN (6.15): the low one is the same.
    entry!(tcp_cb_flags, [("tcp_skb_cb", "tcp_flags")], [1, 2], NONE, "flags of retransmits"),
    entry!(dev_ifindex, [("net_device", "ifindex")], [4], DROP, ""),
    entry!(dev_net, [("net_device", "nd_net.net")], [8], PACKETS, ""),
    entry!(net_inum, [("net", "ns.inum")], [4], ALL, ""),
    entry!(sk_net, [("sock", "__sk_common.skc_net.net")], [8], WITH_SOCKET, ""),
    entry!(sk_family, [("sock", "__sk_common.skc_family")], [2], SOCKETS, ""),
    entry!(sk_state, [("sock", "__sk_common.skc_state")], [1], SOCKETS, ""),
    entry!(sk_daddr, [("sock", "__sk_common.skc_daddr")], [4], SOCKETS, ""),
    entry!(sk_rcv_saddr, [("sock", "__sk_common.skc_rcv_saddr")], [4], SOCKETS, ""),
    entry!(
        sk_v6_daddr,
        [("sock", "__sk_common.skc_v6_daddr")],
        [16],
        NONE,
        "IPv6 sockets (kernel without IPv6)"
    ),
    entry!(
        sk_v6_rcv_saddr,
        [("sock", "__sk_common.skc_v6_rcv_saddr")],
        [16],
        NONE,
        "IPv6 sockets (kernel without IPv6)"
    ),
    entry!(sk_dport, [("sock", "__sk_common.skc_dport")], [2], SOCKETS, ""),
    entry!(sk_num, [("sock", "__sk_common.skc_num")], [2], SOCKETS, ""),
    entry!(inet_sport, [("inet_sock", "inet_sport")], [2], NONE, PORT),
    entry!(sk_err, [("sock", "sk_err")], [4], &[Hook::SockState], ""),
    entry!(sk_protocol, [("sock", "sk_protocol")], [2], &[Hook::SockState], ""),
    // Before 5.15 pointer and classid shared a word.
    entry!(
        sk_cgroup,
        [("sock", "sk_cgrp_data.cgroup"), ("sock", "sk_cgrp_data.val")],
        [8],
        NONE,
        "cgroups of sockets"
    ),
    entry!(cgroup_kn, [("cgroup", "kn")], [8], NONE, "cgroups of sockets"),
    entry!(kn_id, [("kernfs_node", "id")], [8], NONE, "cgroups of sockets"),
    entry!(dst_dev, [("dst_entry", "dev")], [8], NONE, "routes of dropped packets"),
    entry!(dst_input, [("dst_entry", "input")], [8], NONE, "routes of dropped packets"),
    entry!(dst_output, [("dst_entry", "output")], [8], NONE, "routes of dropped packets"),
    entry!(ct_tuplehash, [("nf_conn", "tuplehash")], [], NONE, CONNTRACK),
    entry!(ct_hash_tuple, [("nf_conntrack_tuple_hash", "tuple")], [TUPLE], NONE, CONNTRACK),
    entry!(ct_status, [("nf_conn", "status")], [8], NONE, CONNTRACK),
    entry!(
        icsk_retransmits,
        [("inet_connection_sock", "icsk_retransmits")],
        [1],
        NONE,
        "the count of retransmits in a row"
    ),
    entry!(tcp_snd_una, [("tcp_sock", "snd_una")], [4], NONE, "what was acknowledged before a retransmit"),
    entry!(tcp_mss_cache, [("tcp_sock", "mss_cache")], [4], NONE, "segment sizes of retransmits"),
    entry!(
        tcp_sacked_out,
        [("tcp_sock", "sacked_out")],
        [4],
        NONE,
        "small segments that live in a black hole"
    ),
    entry!(tcp_num_sacks, [("tcp_sock", "rx_opt.num_sacks")], [1], NONE, "holes in what a pod received"),
    entry!(tcp_advmss, [("tcp_sock", "advmss")], [2], NONE, "the segment size that a pod announced"),
    entry!(flow_iif, [("flowi4", "__fl_common.flowic_iif")], [4], LOOKUPS, ""),
    entry!(flow_proto, [("flowi4", "__fl_common.flowic_proto")], [1], LOOKUPS, ""),
    entry!(flow4_daddr, [("flowi4", "daddr")], [4], FIB, ""),
    entry!(flow4_dport, [("flowi4", "uli.ports.dport")], [2], FIB, ""),
    entry!(flow6_daddr, [("flowi6", "daddr")], [16], FIB6, ""),
    entry!(flow6_dport, [("flowi6", "uli.ports.dport")], [2], FIB6, ""),
    entry!(fib6_type, [("fib6_result", "fib6_type")], [1], FIB6, ""),
    entry!(fib6_table_id, [("fib6_table", "tb6_id")], [4], FIB6, ""),
    entry!(task_nsproxy, [("task_struct", "nsproxy")], [8], FIB, ""),
    entry!(nsproxy_net, [("nsproxy", "net_ns")], [8], FIB, ""),
    entry!(tcp_snd_nxt, [("tcp_sock", "snd_nxt")], [4], NONE, PROGRESS),
    entry!(tcp_write_seq, [("tcp_sock", "write_seq")], [4], NONE, PROGRESS),
    entry!(tcp_rcv_nxt, [("tcp_sock", "rcv_nxt")], [4], NONE, PROGRESS),
    entry!(tcp_lsndtime, [("tcp_sock", "lsndtime")], [4], NONE, PROGRESS),
    entry!(icsk_lrcvtime, [("inet_connection_sock", "icsk_ack.lrcvtime")], [4], NONE, PROGRESS),
    entry!(tcp_rcv_tstamp, [("tcp_sock", "rcv_tstamp")], [4], NONE, "how long a connection has been silent"),
    entry!(tcp_bytes_received, [("tcp_sock", "bytes_received")], [8], NONE, BYTES),
    entry!(tcp_bytes_sent, [("tcp_sock", "bytes_sent")], [8], NONE, BYTES),
    entry!(pkt_skb, [("nft_pktinfo", "skb")], [8], CHAIN, ""),
    // By `xt` before 5.11.
    entry!(pkt_state, [("nft_pktinfo", "state"), ("nft_pktinfo", "xt.state")], [8], CHAIN, ""),
    entry!(state_hook, [("nf_hook_state", "hook")], [1], CHAIN, ""),
    entry!(state_pf, [("nf_hook_state", "pf")], [1], CHAIN, ""),
    entry!(chain_table, [("nft_chain", "table")], [8], CHAIN, ""),
    entry!(chain_name, [("nft_chain", "name")], [8], CHAIN, ""),
    entry!(table_name, [("nft_table", "name")], [8], CHAIN, ""),
];

const CONNTRACK: &str =
    "conntrack tuples of drops (the kernel's BTF has no nf_conn: is nf_conntrack loaded?)";
const PORT: &str = "the ports of connections that failed to open";
const BYTES: &str = "how much a socket sent and received";
const PROGRESS: &str = "what a connection had sent and received when it was reset";
/// `sizeof(struct nf_conntrack_tuple)`, which the programs copy.
const TUPLE: u32 = 40;

/// What was found.
pub(super) struct Resolved {
    /// For the programs.
    pub(super) offsets: Offsets,
    missing: Vec<&'static Entry>,
}

impl Resolved {
    /// Looks every field up, in the kernel's BTF and then in those of modules.
    pub(super) fn new(kernel: &Btf, modules: &[Btf]) -> Self {
        let mut offsets = Offsets::NONE;
        let mut missing = Vec::new();
        for entry in TABLE {
            match locate(entry, kernel, modules) {
                Some(offset) => *(entry.set)(&mut offsets) = offset,
                None => missing.push(entry),
            }
        }
        let size = |btf: &Btf| btf.size_of("nf_conntrack_tuple_hash");
        offsets.ct_hash_size = size(kernel).or_else(|| modules.iter().find_map(size)).unwrap_or(ABSENT);
        // Its low bits are a byte's low bits on little-endian machines, which are all that eBPF is built for here.
        let family = |btf: &Btf| btf.bits("nft_table", "family", 6);
        offsets.table_family = family(kernel).or_else(|| modules.iter().find_map(family)).unwrap_or(ABSENT);
        Self { offsets, missing }
    }

    /// Why the hook cannot work, if it cannot.
    pub(super) fn refusal(&self, hook: Hook) -> Option<String> {
        let names: Vec<String> = self
            .missing
            .iter()
            .filter(|entry| entry.required.contains(&hook))
            .map(|entry| {
                let (structure, path) = entry.places[0];
                format!("{structure}.{path}")
            })
            .collect();
        if hook == Hook::Chain && names.is_empty() && self.offsets.table_family == ABSENT {
            return Some("the kernel's BTF has no nft_table.family as we know it".to_owned());
        }
        (!names.is_empty()).then(|| format!("the kernel's BTF has no {} as we know it", names.join(", ")))
    }

    /// What is lost although the hook works.
    pub(super) fn losses(&self, hook: Hook) -> Vec<&'static str> {
        let concerned = |entry: &Entry| match hook {
            Hook::Drop => {
                ["skb_", "dst_", "ct_"].iter().any(|prefix| entry.name.starts_with(prefix))
                    && entry.name != "skb_cb"
            }
            Hook::Retransmit if entry.loss == PROGRESS => false,
            Hook::Retransmit => {
                entry.name == "skb_cb"
                    || (["sk_", "tcp_", "icsk_", "cgroup_", "kn_"]
                        .iter()
                        .any(|prefix| entry.name.starts_with(prefix))
                        && !entry.name.starts_with("tcp_bytes_"))
            }
            Hook::SockState => {
                ["sk_", "inet_", "cgroup_", "kn_", "tcp_bytes_"]
                    .iter()
                    .any(|prefix| entry.name.starts_with(prefix))
                    || ["tcp_num_sacks", "tcp_advmss"].contains(&entry.name)
            }
            Hook::SendReset => entry.name.starts_with("sk_v6"),
            Hook::ReceiveReset => entry.name.starts_with("sk_v6") || entry.loss == PROGRESS,
            Hook::Fib | Hook::Fib6 | Hook::Chain => false,
        };
        let mut losses: Vec<&str> = self
            .missing
            .iter()
            .filter(|entry| !entry.loss.is_empty() && concerned(entry))
            .map(|entry| entry.loss)
            .collect();
        losses.dedup();
        losses
    }

    /// The programs are not to look for chains.
    pub(super) fn without_chains(&mut self) {
        self.offsets.chain_name = ABSENT;
    }

    /// Whether conntrack tuples can be read.
    pub(super) fn has_conntrack(&self) -> bool {
        self.offsets.ct_tuplehash != ABSENT
    }
}

fn locate(entry: &Entry, kernel: &Btf, modules: &[Btf]) -> Option<u32> {
    let try_all = |btf: &Btf| {
        entry.places.iter().find_map(|(structure, path)| {
            let field = btf.field(structure, path)?;
            (entry.sizes.is_empty() || entry.sizes.contains(&field.size)).then_some(field.offset)
        })
    };
    try_all(kernel).or_else(|| modules.iter().find_map(try_all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_knows_every_field_but_the_size() {
        let mut names: Vec<&str> = TABLE.iter().map(|entry| entry.name).collect();
        names.extend(["ct_hash_size", "table_family"]);
        names.sort_unstable();
        let mut expected = Offsets::NAMES.to_vec();
        expected.sort_unstable();
        assert_eq!(names, expected);
    }

    #[test]
    fn no_two_entries_set_the_same_field() {
        let mut offsets = Offsets::NONE;
        for (value, entry) in (0..).zip(TABLE) {
            let field = (entry.set)(&mut offsets);
            assert_eq!(*field, ABSENT, "{} is set twice", entry.name);
            *field = value;
        }
    }

    #[test]
    fn this_kernel_has_what_the_hooks_need() {
        let path = std::path::Path::new("/sys/kernel/btf/vmlinux");
        if !path.exists() {
            eprintln!("skipped: no {}", path.display());
            return;
        }
        let resolved = Resolved::new(&Btf::read(path, None).unwrap(), &[]);
        for hook in ALL {
            assert_eq!(resolved.refusal(*hook), None);
        }
    }
}
