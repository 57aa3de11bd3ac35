//! Numbers of attempts. Each kind of failure counts in a range of its own: two failures of one subject with the same
//! number revise the same verdict. Connection attempts count from 1.

/// Connections of the node's own sockets.
pub(super) const OWN: u64 = 1 << 56;
/// Destinations that routing refused.
pub(super) const UNROUTABLE: u64 = 1 << 57;
/// Flows with packets that are too big.
pub(super) const SIZES: u64 = 1 << 58;
/// Connections diverted to a sidecar.
pub(super) const DIVERTED: u64 = 1 << 59;
/// Lookups of names.
pub(super) const LOOKUPS: u64 = 1 << 60;
/// Flows of protocols without connections.
pub(super) const DATAGRAMS: u64 = 1 << 61;
/// Stalls of established flows.
pub(super) const STALLS: u64 = 1 << 62;
