//! What is counted although it makes no verdict: the metrics of every pod.

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::Pod;
use crate::verdict::Direction;

/// One thing to count. The pod is the one as of the event's time.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    /// Whose.
    pub pod: Arc<Pod>,
    /// What.
    pub what: Counted,
}

/// What is counted.
#[derive(Clone, Debug, PartialEq)]
pub enum Counted {
    /// `egress_dropped_packets_total`
    Dropped {
        /// Name of the drop reason.
        reason: Arc<str>,
        /// The pod sent it, or was to receive it.
        direction: Direction,
        /// How many.
        count: u64,
    },
    /// `egress_tcp_retransmits_total`
    Retransmit {
        /// A SYN, or data.
        syn: bool,
    },
    /// `egress_tcp_connect_failures_total`: `timeout`, `refused`, `unreachable`, `reset`.
    ConnectFailure {
        /// The word of the label.
        outcome: &'static str,
    },
    /// `egress_dns_responses_total` and `egress_dns_latency_seconds`.
    DnsResponse {
        /// `noerror`, `nodata`, `nxdomain`, `servfail`, `refused`, `timeout`, `truncated`.
        outcome: &'static str,
        /// From question to answer; `None` for a timeout.
        latency: Option<Duration>,
    },
    /// `egress_policy_drift_total`: `denied-but-passed`, `allowed-but-dropped`.
    Drift {
        /// The word of the label.
        kind: &'static str,
    },
}
