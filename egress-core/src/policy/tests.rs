//! Policies and traffic, as tables: a topology in a few lines and what is said of it.

mod admits;
mod calico;
mod cilium;
mod exempt;
mod fixes;
mod fixes_of_kinds;
pub(crate) mod generate;
mod kinds;
mod names;
mod oracle;
mod other;
mod plain;
mod scale;
mod services;
mod tiered;
mod words;

use super::{Decision, PolicyFlow, PolicyView, evaluate};
use crate::cluster::testing::{NOW, ip};
use crate::identity::ClusterIndex;
use crate::protocol::Protocol;

/// Traffic from one address to another; `to` as `443/TCP at 203.0.113.4`.
pub(super) fn flow(index: &ClusterIndex, from: &str, to: &str) -> PolicyFlow {
    let (what, at) = to.split_once(" at ").expect("port/PROTOCOL at address");
    let (port, protocol) = what.split_once('/').expect("port/PROTOCOL");
    let (port, protocol): (u16, Protocol) = (port.parse().unwrap(), protocol.parse().unwrap());
    let from = index.resolve_client(ip(from), NOW);
    PolicyFlow { from, to: index.resolve(ip(at), port, protocol, NOW), port, protocol, names: vec![] }
}

pub(super) fn judge(index: &ClusterIndex, from: &str, to: &str) -> PolicyView {
    evaluate(index, &flow(index, from, to))
}

pub(super) fn decision(index: &ClusterIndex, from: &str, to: &str) -> Decision {
    judge(index, from, to).decision
}
