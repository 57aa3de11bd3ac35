//! What the records say, in our own types.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{DnsMessage, DropSite, Hook, Packet, TcpState, TlsMessage, Tuple};
use crate::node::Refusal;
use crate::time::Mono;
use crate::verdict::SocketAddress;

/// Something the kernel side saw.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// When.
    pub at: Mono,
    /// Inode number of the network namespace; 0 where unknown.
    pub netns: u32,
    /// Device in that namespace; 0 where unknown.
    pub ifindex: u32,
    /// What.
    pub seen: Seen,
}

/// What was seen.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// The kernel dropped a packet.
    Drop(Box<DropSeen>),
    /// Which chain drops the packet that comes next.
    Chain(Box<ChainSeen>),
    /// TC saw a packet.
    Packet(Box<PacketSeen>),
    /// A segment was sent again.
    Retransmit(RetransmitSeen),
    /// A socket changed its state.
    SockState(SockStateSeen),
    /// A socket was closed with a hole in what it had received.
    ReceiveHole(ReceiveHoleSeen),
    /// A pod's own routing refused a destination.
    NoRoute(NoRouteSeen),
    /// A TCP reset was sent or received.
    Reset(ResetSeen),
    /// Drops that were only counted.
    Aggregated(Aggregated),
    /// Events that were lost.
    Lost(Loss),
}

/// A dropped packet.
#[derive(Clone, Debug, PartialEq)]
pub struct DropSeen {
    /// Network namespace it was dropped in; 0 where unknown.
    pub netns: u32,
    /// Device of the packet at that point, 0 where it had none.
    pub ifindex: u32,
    /// Name of the drop reason (`NETFILTER_DROP`), or `NOT_SPECIFIED` where the kernel gives none.
    pub reason: Arc<str>,
    /// Function that dropped it; `?` if its address has no name.
    pub function: Arc<str>,
    /// What kind of place that is.
    pub site: DropSite,
    /// Netfilter hook or stage, from the packet's route and devices.
    pub hook: Hook,
    /// The packet.
    pub packet: Packet,
    /// Device it came in by, 0 for local output.
    pub iif: u32,
    /// Device of its route, 0 if it has none.
    pub dst_ifindex: u32,
    /// `skb->mark`
    pub mark: u32,
    /// Its connection's tuples, if conntrack knew it.
    pub conntrack: Option<Conntrack>,
    /// What it carried, where that matters.
    pub application: Option<Application>,
    /// The chain of nftables that dropped it, where the kernel was asked.
    pub chain: Option<Box<ChainSeen>>,
}

/// The chain of nftables in which a packet was dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainSeen {
    /// Family of the table, as nftables writes it.
    pub family: &'static str,
    /// Name of the table.
    pub table: Box<str>,
    /// Name of the base chain: the rule may be in a chain behind it.
    pub chain: Box<str>,
    /// The hook it was called by.
    pub hook: Hook,
}

/// Conntrack tuples of a packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Conntrack {
    /// As the client sent it.
    pub original: Tuple,
    /// As the server answers it.
    pub reply: Tuple,
}

/// Where TC saw a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tap {
    /// It left the pod.
    PodOut,
    /// It goes to the pod.
    PodIn,
    /// It leaves the node.
    UplinkOut,
    /// It came to the node.
    UplinkIn,
}

/// A packet seen by TC.
#[derive(Clone, Debug, PartialEq)]
pub struct PacketSeen {
    /// Where.
    pub tap: Tap,
    /// The packet.
    pub packet: Packet,
    /// What it carries, where that matters.
    pub application: Option<Application>,
}

/// Payload that matters.
#[derive(Clone, Debug, PartialEq)]
pub enum Application {
    /// A DNS message.
    Dns(DnsMessage),
    /// TLS at the begin of a segment.
    Tls(TlsMessage),
}

/// A segment sent again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetransmitSeen {
    /// From the local to the remote end.
    pub tuple: Tuple,
    /// Identity of the socket.
    pub socket: u64,
    /// State of the socket.
    pub state: TcpState,
    /// The segment is a SYN (not a SYN-ACK).
    pub syn: bool,
    /// Sequence number.
    pub seq: u32,
    /// First byte not acknowledged.
    pub una: u32,
    /// Bytes of the segment's payload (of a GSO segment, of all its parts).
    pub length: u32,
    /// Largest payload that the socket sends in one segment, bytes.
    pub mss: u32,
    /// Timeouts in a row before this one; 0 for a fast retransmit.
    pub timeouts: u8,
    /// Since anything was received, if that is known.
    pub silence: Option<Duration>,
    /// Later segments that the remote reported as received (SACK), 255 for more.
    pub sacked: u8,
    /// cgroup v2 id of the socket, 0 where unknown.
    pub cgroup: u64,
    /// Its namespace was not known: told because the local address is a pod's.
    pub by_address: bool,
}

/// A change of a socket's state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SockStateSeen {
    /// From the local to the remote end.
    pub tuple: Tuple,
    /// Identity of the socket.
    pub socket: u64,
    /// Before.
    pub old: TcpState,
    /// After.
    pub new: TcpState,
    /// Positive errno, 0 if none.
    pub error: u32,
    /// Process, for transitions that a process makes.
    pub pid: u32,
    /// Its command name, NUL padded; zeros where there is no process.
    pub command: [u8; 16],
    /// The process is the one that dials.
    pub dialler: bool,
    /// cgroup v2 id of the socket, 0 where unknown.
    pub cgroup: u64,
    /// Its namespace was not known: told because the local address is a pod's.
    pub by_address: bool,
    /// First sequence number not acknowledged, of a socket that has just been connecting.
    pub una: Option<u32>,
    /// Bytes of payload received so far, where the kernel tells.
    pub received: Option<u32>,
    /// Bytes of payload sent so far, where the kernel tells.
    pub sent: Option<u32>,
}

/// A socket of a pod was closed while segments waited in its queue for earlier ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReceiveHoleSeen {
    /// From the local to the remote end.
    pub tuple: Tuple,
    /// Ranges received beyond the hole.
    pub ranges: u8,
    /// Time since anything was received: the hole is at least as old.
    pub quiet: Duration,
    /// Largest payload that the remote was asked to send in a segment, 0 where unknown.
    pub advertised_mss: u32,
}

/// A reset sent or received by this machine's stack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResetSeen {
    /// From the local to the remote end.
    pub tuple: Tuple,
    /// We sent it.
    pub sent: bool,
    /// State of the socket, if there was one.
    pub state: Option<TcpState>,
    /// How far it had come, if that is known.
    pub progress: Option<SocketProgress>,
}

/// How far a socket had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketProgress {
    /// First byte not acknowledged.
    pub una: u32,
    /// Next byte to send.
    pub next: u32,
    /// Behind the last byte that the application wrote.
    pub written: u32,
    /// Next byte to receive.
    pub received: u32,
    /// Since data was sent last.
    pub sent_ago: Duration,
    /// Since data was received last.
    pub received_ago: Duration,
}

/// A table of a pod's own routing refused a destination. Another table may have led there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRouteSeen {
    /// Where to; the port is 0 if the program had not said yet.
    pub destination: SocketAddress,
    /// IP protocol number.
    pub protocol: u8,
    /// How; of IPv6, a missing route looks like an unreachable one.
    pub refusal: Refusal,
    /// Number of the table.
    pub table: u32,
}

/// Drops that were only counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregated {
    /// Source address.
    pub source: IpAddr,
    /// Destination; port 0 where there is none.
    pub destination: SocketAddress,
    /// IP protocol number.
    pub protocol: u8,
    /// TCP, and the packets opened connections.
    pub syn: bool,
    /// Name of the drop reason.
    pub reason: Arc<str>,
    /// Function that dropped them.
    pub function: Arc<str>,
    /// How many.
    pub count: u64,
}

/// Events that were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// How many.
    pub count: u64,
}
