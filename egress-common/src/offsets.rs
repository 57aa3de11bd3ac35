//! Where the running kernel keeps the fields we read. Resolved from its BTF by the agent and handed over as one
//! frozen global, so that the verifier sees constants.

/// The running kernel has no such field.
pub const ABSENT: u32 = u32::MAX;

macro_rules! offsets {
    ($($(#[doc = $doc:expr])* $field:ident,)*) => {
        /// Byte offsets of kernel fields; [`ABSENT`] where a field does not exist.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(C)]
        pub struct Offsets {
            $($(#[doc = $doc])* pub $field: u32,)*
        }

        impl Offsets {
            /// Every field absent.
            pub const NONE: Self = Self { $($field: ABSENT,)* };
            /// Field names, in the order of the struct.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($field),)*];

            /// Field names and values, in the order of the struct.
            pub fn fields(&self) -> impl Iterator<Item = (&'static str, u32)> {
                [$((stringify!($field), self.$field),)*].into_iter()
            }
        }
    };
}

offsets! {
    /// `sk_buff.head`
    skb_head,
    /// `sk_buff.network_header`
    skb_network_header,
    /// `sk_buff.tail`
    skb_tail,
    /// `sk_buff.len`
    skb_len,
    /// `sk_buff.protocol`
    skb_protocol,
    /// `sk_buff.mark`
    skb_mark,
    /// `sk_buff.skb_iif`
    skb_iif,
    /// `sk_buff.dev`
    skb_dev,
    /// `sk_buff.sk`
    skb_sk,
    /// `sk_buff._nfct`
    skb_nfct,
    /// `sk_buff._skb_refdst`
    skb_refdst,
    /// `sk_buff.cb`
    skb_cb,
    /// `tcp_skb_cb.seq`
    tcp_cb_seq,
    /// `tcp_skb_cb.tcp_flags`
    tcp_cb_flags,
    /// `net_device.ifindex`
    dev_ifindex,
    /// `net_device.nd_net.net`
    dev_net,
    /// `net.ns.inum`
    net_inum,
    /// `sock.__sk_common.skc_net.net`
    sk_net,
    /// `sock.__sk_common.skc_family`
    sk_family,
    /// `sock.__sk_common.skc_state`
    sk_state,
    /// `sock.__sk_common.skc_daddr`
    sk_daddr,
    /// `sock.__sk_common.skc_rcv_saddr`
    sk_rcv_saddr,
    /// `sock.__sk_common.skc_v6_daddr`
    sk_v6_daddr,
    /// `sock.__sk_common.skc_v6_rcv_saddr`
    sk_v6_rcv_saddr,
    /// `sock.__sk_common.skc_dport`
    sk_dport,
    /// `sock.__sk_common.skc_num`
    sk_num,
    /// `inet_sock.inet_sport`
    inet_sport,
    /// `sock.sk_err`
    sk_err,
    /// `sock.sk_protocol`
    sk_protocol,
    /// `sock.sk_cgrp_data.cgroup`
    sk_cgroup,
    /// `cgroup.kn`
    cgroup_kn,
    /// `kernfs_node.id`
    kn_id,
    /// `dst_entry.dev`
    dst_dev,
    /// `dst_entry.input`
    dst_input,
    /// `dst_entry.output`
    dst_output,
    /// `nf_conn.tuplehash`
    ct_tuplehash,
    /// `nf_conntrack_tuple_hash.tuple`
    ct_hash_tuple,
    /// size of `nf_conntrack_tuple_hash`
    ct_hash_size,
    /// `nf_conn.status`
    ct_status,
    /// `inet_connection_sock.icsk_retransmits`
    icsk_retransmits,
    /// `tcp_sock.snd_una`
    tcp_snd_una,
    /// `tcp_sock.mss_cache`
    tcp_mss_cache,
    /// `tcp_sock.sacked_out`
    tcp_sacked_out,
    /// `tcp_sock.rx_opt.num_sacks`
    tcp_num_sacks,
    /// `tcp_sock.advmss`
    tcp_advmss,
    /// `flowi_common.flowic_iif`, which both `flowi4` and `flowi6` begin with
    flow_iif,
    /// `flowi_common.flowic_proto`
    flow_proto,
    /// `flowi4.daddr`
    flow4_daddr,
    /// `flowi4.uli.ports.dport`
    flow4_dport,
    /// `flowi6.daddr`
    flow6_daddr,
    /// `flowi6.uli.ports.dport`
    flow6_dport,
    /// `fib6_result.fib6_type`
    fib6_type,
    /// `fib6_table.tb6_id`
    fib6_table_id,
    /// `task_struct.nsproxy`
    task_nsproxy,
    /// `nsproxy.net_ns`
    nsproxy_net,
    /// `tcp_sock.snd_nxt`
    tcp_snd_nxt,
    /// `tcp_sock.write_seq`
    tcp_write_seq,
    /// `tcp_sock.rcv_nxt`
    tcp_rcv_nxt,
    /// `tcp_sock.lsndtime`
    tcp_lsndtime,
    /// `tcp_sock.rcv_tstamp`
    tcp_rcv_tstamp,
    /// `inet_connection_sock.icsk_ack.lrcvtime`
    icsk_lrcvtime,
    /// `tcp_sock.bytes_received`
    tcp_bytes_received,
    /// `tcp_sock.bytes_sent`
    tcp_bytes_sent,
    /// `nft_pktinfo.skb`
    pkt_skb,
    /// `nft_pktinfo.state`
    pkt_state,
    /// `nf_hook_state.hook`, a byte
    state_hook,
    /// `nf_hook_state.pf`, a byte
    state_pf,
    /// `nft_chain.table`
    chain_table,
    /// `nft_chain.name`
    chain_name,
    /// `nft_table.name`
    table_name,
    /// The byte of `nft_table.family`, whose low six bits it is
    table_family,
}
