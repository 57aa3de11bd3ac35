//! The records of the ring buffers, and the two that user space makes itself (aggregates and losses) so that
//! a capture holds all that the pipeline was fed.

use core::mem::{offset_of, size_of};

use crate::AggregateKey;

/// Bytes of a packet, from its network header on, that a record normally carries.
pub const SHORT_SNAP: usize = 128;
/// Bytes of a packet that the long record carries: DNS messages and TLS hellos.
pub const LONG_SNAP: usize = 1024;
/// Bytes of a packet with a ClientHello that does not fit the long record: post-quantum keys make it so long.
pub const HELLO_SNAP: usize = 2048;
/// Bytes of [`ResetRecord::data`] that tell a socket's progress.
pub const RESET_PROGRESS: usize = 24;

/// Bytes of names in [`ChainRecord`]: `kube-proxy`'s and those of CNI plugins are shorter.
pub const CHAIN_NAME: usize = 64;

/// Bits of [`RecordHeader::flags`].
pub mod flags {
    /// `dst_*` fields of a drop are filled: the packet had a route.
    pub const HAS_DST: u16 = 1 << 0;
    /// `ct_original` and `ct_reply` of a drop are filled.
    pub const HAS_CONNTRACK: u16 = 1 << 1;
    /// The packet had a socket of this machine (`skb->sk`).
    pub const HAS_SOCKET: u16 = 1 << 2;
    /// `skb->dev` was NULL or not to be trusted; the namespace came from the socket or the route.
    pub const NO_DEVICE: u16 = 1 << 3;
    /// The packet bytes could not be read (`data_len` is 0).
    pub const NO_DATA: u16 = 1 << 4;
    /// A reset that this machine sent (otherwise one that it received).
    pub const RESET_SENT: u16 = 1 << 5;
    /// The reset belongs to no socket; the addresses are in `data`, of the packet that was answered.
    pub const RESET_NO_SOCKET: u16 = 1 << 6;
    /// The conntrack entry of the packet was confirmed (it is in the table).
    pub const CT_CONFIRMED: u16 = 1 << 7;
    /// `len` and `mark` of a socket state's header are filled: payload bytes received and sent.
    pub const HAS_BYTES: u16 = 1 << 8;
    /// The socket's namespace is none that is known: the record is there because the local address is a local pod's.
    /// Other namespaces of the machine may have the same address.
    pub const BY_ADDRESS: u16 = 1 << 9;
    /// `pid` and `comm` of a socket state are those of the process that dials.
    pub const HAS_DIALLER: u16 = 1 << 10;
    /// `len` of a socket state's header is `snd_una`: the initial sequence number, or one more if that was acknowledged.
    pub const HAS_SEQ: u16 = 1 << 11;
}

/// What follows a [`RecordHeader`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum RecordKind {
    /// [`DropRecord`], from `skb:kfree_skb`.
    Drop = 1,
    /// [`PacketRecord`], from TC.
    Packet = 2,
    /// [`PacketLongRecord`], from TC.
    PacketLong = 3,
    /// [`RetransmitRecord`], from `tcp:tcp_retransmit_skb`.
    Retransmit = 4,
    /// [`SockStateRecord`], from `sock:inet_sock_set_state`.
    SockState = 5,
    /// [`ResetRecord`], from `tcp:tcp_send_reset` and `tcp:tcp_receive_reset`.
    Reset = 6,
    /// [`RouteRecord`], from `fib:fib_table_lookup` and `fib6:fib6_table_lookup`.
    Route = 7,
    /// [`ChainRecord`], from `skb:kfree_skb` with `nft_do_chain`.
    Chain = 8,
    /// [`PacketHelloRecord`], from TC.
    PacketHello = 9,
    /// [`ReceiveHoleRecord`], from `sock:inet_sock_set_state`.
    ReceiveHole = 10,
    /// [`AggregateRecord`], made in user space from the aggregation map.
    Aggregate = 16,
    /// [`LossRecord`], made in user space from the loss counters.
    Loss = 17,
}

impl RecordKind {
    /// The kind with this number, if there is one.
    #[must_use]
    pub const fn from_raw(raw: u16) -> Option<Self> {
        Some(match raw {
            1 => Self::Drop,
            2 => Self::Packet,
            3 => Self::PacketLong,
            4 => Self::Retransmit,
            5 => Self::SockState,
            6 => Self::Reset,
            7 => Self::Route,
            8 => Self::Chain,
            9 => Self::PacketHello,
            10 => Self::ReceiveHole,
            16 => Self::Aggregate,
            17 => Self::Loss,
            _ => return None,
        })
    }
}

/// Where a TC program stands, and which way the packet went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum TapPoint {
    /// Host side of a pod's device, ingress hook: the packet left the pod.
    PodOut = 1,
    /// Host side of a pod's device, egress hook: the packet goes to the pod.
    PodIn = 2,
    /// Uplink, egress hook: the packet leaves the node, after translation.
    UplinkOut = 3,
    /// Uplink, ingress hook: the packet comes to the node, before translation back.
    UplinkIn = 4,
}

impl TapPoint {
    /// The point with this number, if there is one.
    #[must_use]
    pub const fn from_raw(raw: u8) -> Option<Self> {
        Some(match raw {
            1 => Self::PodOut,
            2 => Self::PodIn,
            3 => Self::UplinkOut,
            4 => Self::UplinkIn,
            _ => return None,
        })
    }
}

/// Why a TC program reported a packet. What the packet *is* says user space, from its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PacketClass {
    /// TCP with SYN, RST or FIN.
    TcpControl = 1,
    /// ICMP or ICMPv6 error.
    IcmpError = 2,
    /// ICMP or ICMPv6 echo request or reply.
    Echo = 3,
    /// UDP or TCP from or to port 53, with payload.
    Dns = 4,
    /// TCP payload that begins like a TLS handshake record with a ClientHello.
    TlsClientHello = 5,
    /// TCP payload that begins like a TLS alert record.
    TlsAlert = 6,
    /// First UDP packet of a flow, or the first after a pause.
    UdpFirst = 7,
    /// SCTP chunk that opens, refuses or aborts an association.
    SctpControl = 8,
    /// TCP payload that begins with a TLS ChangeCipherSpec record: the client's second flight.
    TlsFlight = 9,
    /// TCP payload that is one encrypted TLS 1.3 record of two bytes: an alert, most likely.
    TlsTwoBytes = 10,
}

/// Begins every record. 40 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RecordHeader {
    /// `CLOCK_MONOTONIC`, nanoseconds (`bpf_ktime_get_ns`).
    pub time_ns: u64,
    /// A [`RecordKind`].
    pub kind: u16,
    /// Bits of [`flags`].
    pub flags: u16,
    /// CPU that saw it.
    pub cpu: u32,
    /// Inode number of the network namespace (`net->ns.inum`); 0 where unknown.
    pub netns: u32,
    /// `dev->ifindex` of the packet's device in that namespace; 0 where unknown.
    pub ifindex: u32,
    /// Slot of the pod that made the packet interesting (see [`crate::NetnsEntry`]); `u32::MAX` if none.
    pub pod_slot: u32,
    /// Packet length in bytes (`skb->len`), 0 where there is no packet.
    pub len: u32,
    /// `skb->mark`.
    pub mark: u32,
    /// Explicit padding, zero.
    pub pad: u32,
}

/// A packet that the kernel dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct DropRecord {
    /// Kind [`RecordKind::Drop`].
    pub header: RecordHeader,
    /// Return address of the function that freed the packet (`location` of the tracepoint).
    pub location: u64,
    /// `dst_entry.input` of the packet's route, a function address; 0 if none.
    pub dst_input: u64,
    /// `dst_entry.output` of the packet's route, a function address; 0 if none.
    pub dst_output: u64,
    /// `enum skb_drop_reason`, the running kernel's number; `u32::MAX` where the kernel gives none (< 5.17).
    pub reason: u32,
    /// `skb->skb_iif`: device the packet came in by, 0 for local output.
    pub iif: u32,
    /// Device of the packet's route, 0 if none.
    pub dst_ifindex: u32,
    /// `skb->protocol`: EtherType in network byte order.
    pub protocol: u16,
    /// Valid bytes in `data`.
    pub data_len: u16,
    /// `struct nf_conntrack_tuple` of the original direction, as the kernel has it.
    pub ct_original: [u8; 40],
    /// The same, reply direction.
    pub ct_reply: [u8; 40],
    /// The packet from its network header on.
    pub data: [u8; SHORT_SNAP],
}

/// A packet seen by TC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PacketRecord {
    /// Kind [`RecordKind::Packet`].
    pub header: RecordHeader,
    /// A [`TapPoint`].
    pub tap: u8,
    /// A [`PacketClass`].
    pub class: u8,
    /// `skb->protocol`: EtherType in network byte order.
    pub protocol: u16,
    /// Valid bytes in `data`.
    pub data_len: u16,
    /// Explicit padding, zero.
    pub pad: u16,
    /// The packet from its network header on.
    pub data: [u8; SHORT_SNAP],
}

/// A packet seen by TC whose payload matters beyond its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PacketLongRecord {
    /// Kind [`RecordKind::PacketLong`].
    pub header: RecordHeader,
    /// A [`TapPoint`].
    pub tap: u8,
    /// A [`PacketClass`].
    pub class: u8,
    /// `skb->protocol`: EtherType in network byte order.
    pub protocol: u16,
    /// Valid bytes in `data`.
    pub data_len: u16,
    /// Explicit padding, zero.
    pub pad: u16,
    /// The packet from its network header on.
    pub data: [u8; LONG_SNAP],
}

/// A packet seen by TC with a ClientHello longer than [`PacketLongRecord`] takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PacketHelloRecord {
    /// Kind [`RecordKind::PacketHello`].
    pub header: RecordHeader,
    /// A [`TapPoint`].
    pub tap: u8,
    /// A [`PacketClass`].
    pub class: u8,
    /// `skb->protocol`: EtherType in network byte order.
    pub protocol: u16,
    /// Valid bytes in `data`.
    pub data_len: u16,
    /// Explicit padding, zero.
    pub pad: u16,
    /// The packet from its network header on.
    pub data: [u8; HELLO_SNAP],
}

/// A TCP segment that was sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RetransmitRecord {
    /// Kind [`RecordKind::Retransmit`].
    pub header: RecordHeader,
    /// Local address, IPv4 as `::ffff:a.b.c.d`, network byte order.
    pub local: [u8; 16],
    /// Remote address, likewise.
    pub remote: [u8; 16],
    /// Identity of the socket for its lifetime (its kernel address, only compared, never shown).
    pub socket: u64,
    /// cgroup v2 id of the socket; 0 where unknown.
    pub cgroup: u64,
    /// Local port, host byte order.
    pub local_port: u16,
    /// Remote port, host byte order.
    pub remote_port: u16,
    /// `enum` `TCP_*` state of `net/tcp_states.h`.
    pub state: u8,
    /// TCP flags of the segment.
    pub tcp_flags: u8,
    /// `icsk_retransmits`: timeouts in a row before this one.
    pub retransmits: u8,
    /// `sacked_out`: later segments that the remote reported as received; 255 for more.
    pub sacked: u8,
    /// Sequence number of the segment, host byte order.
    pub seq: u32,
    /// `snd_una`: first byte not acknowledged.
    pub snd_una: u32,
    /// `mss_cache`, bytes.
    pub mss: u32,
    /// Milliseconds since the socket received its last segment; 0 where unknown.
    pub silence_ms: u32,
}

/// A TCP (or other inet) socket changed its state. With [`flags::HAS_BYTES`] the header's `len` is
/// `tcp_sock.bytes_received` and its `mark` is `tcp_sock.bytes_sent`, each at most `u32::MAX`; with [`flags::HAS_SEQ`]
/// its `len` is `tcp_sock.snd_una`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SockStateRecord {
    /// Kind [`RecordKind::SockState`].
    pub header: RecordHeader,
    /// Local address, IPv4 as `::ffff:a.b.c.d`, network byte order.
    pub local: [u8; 16],
    /// Remote address, likewise.
    pub remote: [u8; 16],
    /// Identity of the socket for its lifetime (its kernel address, only compared, never shown).
    pub socket: u64,
    /// cgroup v2 id of the socket; 0 where unknown.
    pub cgroup: u64,
    /// Local port, host byte order.
    pub local_port: u16,
    /// Remote port, host byte order.
    pub remote_port: u16,
    /// IP protocol number.
    pub protocol: u16,
    /// State before, `TCP_*` of `net/tcp_states.h`.
    pub old_state: u8,
    /// State after.
    pub new_state: u8,
    /// `sk_err`, a positive errno, 0 if none.
    pub sk_err: u32,
    /// Process that caused it; only right for transitions a process makes (connect, listen, close).
    pub pid: u32,
    /// Its command name, NUL padded.
    pub comm: [u8; 16],
}

/// A TCP socket of a pod was closed while segments waited in its queue for earlier ones that had not arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ReceiveHoleRecord {
    /// Kind [`RecordKind::ReceiveHole`].
    pub header: RecordHeader,
    /// Local address, IPv4 as `::ffff:a.b.c.d`, network byte order.
    pub local: [u8; 16],
    /// Remote address, likewise.
    pub remote: [u8; 16],
    /// Identity of the socket for its lifetime (its kernel address, only compared, never shown).
    pub socket: u64,
    /// Local port, host byte order.
    pub local_port: u16,
    /// Remote port, host byte order.
    pub remote_port: u16,
    /// `advmss`: the largest payload that the remote was asked to send in a segment; 0 where unknown.
    pub advertised_mss: u16,
    /// `rx_opt.num_sacks`: ranges received beyond the hole.
    pub ranges: u8,
    /// Explicit padding, zero.
    pub pad: u8,
    /// Milliseconds since anything was received on the socket (`rcv_tstamp`): the hole is at least as old.
    pub quiet_ms: u32,
    /// Explicit padding, zero.
    pub pad2: u32,
}

/// A TCP reset sent or received by this machine's stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ResetRecord {
    /// Kind [`RecordKind::Reset`].
    pub header: RecordHeader,
    /// Local address, IPv4 as `::ffff:a.b.c.d`, network byte order; zero if there was no socket.
    pub local: [u8; 16],
    /// Remote address, likewise.
    pub remote: [u8; 16],
    /// Identity of the socket, 0 if none.
    pub socket: u64,
    /// Local port, host byte order.
    pub local_port: u16,
    /// Remote port, host byte order.
    pub remote_port: u16,
    /// State of the socket.
    pub state: u8,
    /// Explicit padding, zero.
    pub pad: u8,
    /// Valid bytes in `data`.
    pub data_len: u16,
    /// Where there was no socket: head of the packet that was answered. Else [`RESET_PROGRESS`] bytes, if the kernel
    /// tells: `snd_una`, `snd_nxt`, `write_seq`, `rcv_nxt`, milliseconds since data was sent last, and since data was received
    /// last; each a word in host byte order.
    pub data: [u8; 64],
}

/// A routing table of a pod's own namespace refused what the pod wants to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RouteRecord {
    /// Kind [`RecordKind::Route`].
    pub header: RecordHeader,
    /// Destination, IPv4 as `::ffff:a.b.c.d`, network byte order.
    pub destination: [u8; 16],
    /// Why, a positive errno: `EAGAIN` where this table has no route, for IPv6 `EHOSTUNREACH` there too.
    pub error: u32,
    /// Number of the table.
    pub table: u32,
    /// Destination port, host byte order, 0 if not known yet.
    pub destination_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Explicit padding, zero.
    pub pad: [u8; 5],
}

/// Which chain of nftables dropped a packet. Directly before its [`DropRecord`], of the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ChainRecord {
    /// Kind [`RecordKind::Chain`]; time, CPU, namespace and device are the drop's.
    pub header: RecordHeader,
    /// Number of the hook (`enum nf_inet_hooks`, of a device `enum nf_dev_hooks`).
    pub hook: u8,
    /// `NFPROTO_*` of the hook.
    pub protocol: u8,
    /// `NFPROTO_*` of the table.
    pub family: u8,
    /// Explicit padding, zero.
    pub pad: [u8; 5],
    /// Name of the table; cut where there is no NUL.
    pub table: [u8; CHAIN_NAME],
    /// Name of the base chain, likewise.
    pub chain: [u8; CHAIN_NAME],
}

/// Drops of one flow that were counted in the kernel and not reported one by one, since the last record of
/// the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct AggregateRecord {
    /// Kind [`RecordKind::Aggregate`]; `time_ns` is the time of reading.
    pub header: RecordHeader,
    /// What the drops have in common.
    pub key: AggregateKey,
    /// How many more.
    pub count: u64,
}

/// Events that were lost, since the last record of the same stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct LossRecord {
    /// Kind [`RecordKind::Loss`]; `time_ns` is the time of reading.
    pub header: RecordHeader,
    /// How many.
    pub count: u64,
    /// The [`RecordKind`] that was lost; 0 if mixed.
    pub of_kind: u16,
    /// 1: no room in the ring; 2: user-space queue full; 3: drops counted only per pod (aggregation map full);
    /// 4: TC records withheld by the budget of the slot; 5: the programs could not run (interrupted by
    /// themselves, or standing aside for want of a heartbeat): what they would have said is unknown.
    pub stage: u16,
    /// Explicit padding, zero.
    pub pad: u32,
}

/// A record type: `repr(C)`, of integers and byte arrays only.
///
/// # Safety
/// Every bit pattern must be a valid value of the type.
pub unsafe trait Record: Copy {}

/// Reads a record of exactly its own length, at any alignment. `None` if the length differs.
#[must_use]
pub fn read_record<T: Record>(bytes: &[u8]) -> Option<T> {
    if bytes.len() != size_of::<T>() {
        return None;
    }
    // SAFETY: the length was checked, `Record` vouches for every bit pattern, and alignment is not assumed.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// The bytes of a record, as the ring would carry them.
#[must_use]
pub fn record_bytes<T: Record>(record: &T) -> &[u8] {
    // SAFETY: records have no implicit padding (their layouts are asserted), so every byte is initialised.
    unsafe { core::slice::from_raw_parts(core::ptr::from_ref(record).cast::<u8>(), size_of::<T>()) }
}

macro_rules! layout {
    ($($type:ty: $size:expr;)*) => {$(
        // SAFETY: integers and byte arrays only, as asked at the top of the file.
        unsafe impl Record for $type {}
        const _: () = assert!(size_of::<$type>() == $size);
        const _: () = assert!(core::mem::align_of::<$type>() == 8);
    )*};
}

layout! {
    RecordHeader: 40;
    DropRecord: 288;
    PacketRecord: 176;
    PacketLongRecord: 1072;
    PacketHelloRecord: 2096;
    RetransmitRecord: 112;
    SockStateRecord: 120;
    ResetRecord: 152;
    ReceiveHoleRecord: 96;
    RouteRecord: 72;
    ChainRecord: 176;
    AggregateRecord: 104;
    LossRecord: 56;
}
const _: () = assert!(offset_of!(DropRecord, data) == 160);
const _: () = assert!(offset_of!(PacketRecord, data) == 48);
const _: () = assert!(offset_of!(PacketLongRecord, data) == 48);
const _: () = assert!(offset_of!(PacketHelloRecord, data) == 48);
