//! What was found out about packets that were too big.

use std::net::IpAddr;
use std::time::Duration;

use crate::decode::DropSeen;

/// Packets of a flow are too big for its way, and that did harm.
#[derive(Clone, Debug, PartialEq)]
pub struct TooBig {
    /// Who found them too big.
    pub kind: SizeKind,
    /// Bytes of such a packet from its network header on, 0 where unknown.
    pub size: u32,
    /// The most that may be sent, as announced; 0 where nobody said.
    pub mtu: u32,
    /// Largest payload that the sender puts into a segment, 0 where unknown.
    pub mss: u32,
    /// What became of the ICMP message.
    pub icmp: IcmpFate,
    /// How long after the first sign it still went on.
    pub after: Duration,
    /// Packets that died after the first sign.
    pub again: u64,
}

/// Who found a packet too big.
#[derive(Clone, Debug, PartialEq)]
pub enum SizeKind {
    /// This machine dropped it.
    Here(Box<DropSeen>),
    /// A router said so.
    Icmp(IpAddr),
    /// Nobody said anything: large segments that the pod sends die, small ones live.
    Sent(Alive),
    /// Nobody said anything: large segments to the pod never arrive, later small ones do.
    Received(Gap),
}

/// Signs that small packets live while large ones die.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alive {
    /// Later segments that the remote reported (SACK) while the large one before them was missing.
    pub sacked: u8,
    /// Bytes of this connection that were acknowledged before, few enough to have been in small segments only.
    pub acknowledged: u32,
    /// The remote answered another connection or question meanwhile.
    pub answered: bool,
    /// The remote closed this connection meanwhile.
    pub closed: bool,
}

impl Alive {
    /// Small packets lived at the time at which the large ones died.
    #[must_use]
    pub const fn meanwhile(&self) -> bool {
        self.sacked > 0 || self.answered || self.closed
    }
}

/// How it is known that something is missing in what the pod receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// The remote's FIN arrived and the socket did not take it: bytes before it are missing.
    BeforeFin,
    /// The socket was closed with segments in its queue that came after a hole.
    BeforeSegments {
        /// Ranges received beyond the hole.
        ranges: u8,
    },
}

/// What became of the ICMP message that tells the sender.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IcmpFate {
    /// Who sent it.
    pub router: Option<IpAddr>,
    /// It was seen to come in by an uplink.
    pub came_in: bool,
    /// It was seen on its way into the pod.
    pub delivered: bool,
    /// This machine dropped it.
    pub dropped: Option<Box<DropSeen>>,
}
