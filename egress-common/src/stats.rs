//! Counters that the programs keep per CPU. They only grow.

/// Index into the per-CPU array of counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Stat {
    /// Drop records submitted.
    DropReported = 0,
    /// Drop records that found no room.
    DropLost,
    /// Drops counted in the aggregation map.
    DropAggregated,
    /// Drops counted per pod because the aggregation map was full.
    DropOverflow,
    /// Frees whose reason is housekeeping.
    DropHousekeeping,
    /// Drops of packets that are no local pod's.
    DropForeign,
    /// Drops whose packet could not be read.
    DropUnreadable,
    /// TC records submitted.
    PacketReported,
    /// TC records that found no room.
    PacketLost,
    /// TC records withheld by a pod's budget or as repetition.
    PacketWithheld,
    /// Retransmit records submitted.
    RetransmitReported,
    /// Retransmit records that found no room.
    RetransmitLost,
    /// Socket state records submitted.
    SockStateReported,
    /// Socket state records that found no room.
    SockStateLost,
    /// Reset records submitted.
    ResetReported,
    /// Reset records that found no room.
    ResetLost,
    /// Route records submitted.
    RouteReported,
    /// Route records that found no room.
    RouteLost,
    /// Route records withheld by a pod's budget.
    RouteWithheld,
    /// Chain records submitted.
    ChainReported,
    /// Chain records that found no room.
    ChainLost,
    /// Not a counter: how many there are.
    Count,
}

impl Stat {
    /// Number of counters.
    pub const COUNT: u32 = Self::Count as u32;
}
