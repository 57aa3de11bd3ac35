//! Pods of other nodes, of which a source tells only when asked.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Pod, PodRef};

/// Which pod has this address?
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerQuestion {
    /// The address.
    pub ip: IpAddr,
    /// The pod that an EndpointSlice names for it.
    pub pod: Option<PodRef>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum PeerAnswer {
    /// This one.
    Pod {
        /// The pod.
        pod: Arc<Pod>,
    },
    /// None.
    Nobody,
    /// It could not be found out.
    Unknown,
}
