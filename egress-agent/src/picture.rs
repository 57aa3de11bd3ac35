//! The way of a packet as a row of stations, whole or broken: what the terminal and the page draw.

use egress_core::verdict::{Direction, Hop, HopOutcome, PathHop, Verdict};

use crate::words::clean;

/// The way of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    /// From who opened it to who should have answered.
    pub(crate) stations: Vec<Station>,
    /// How many stations were reached, where it broke: it broke behind the last of them. `None` if it is whole.
    pub(crate) reached: Option<usize>,
    /// What broke it, then the kernel's own words for that.
    pub(crate) notes: Vec<String>,
}

/// A station.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Station {
    /// What it is called.
    pub(crate) name: String,
    /// How it is reached from the one before.
    pub(crate) link: Link,
    /// What happened there.
    pub(crate) outcome: HopOutcome,
}

/// What lies between two stations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// A device.
    Device(String),
    /// Nothing that has a name.
    Seen,
    /// Nobody watches there.
    Unseen,
}

impl Picture {
    /// The picture of a verdict.
    pub(crate) fn of(verdict: &Verdict) -> Self {
        let hops = &verdict.path;
        let breaks = |hop: &PathHop| {
            matches!(hop.outcome, HopOutcome::Dropped | HopOutcome::Refused | HopOutcome::Silent)
        };
        let at = hops.iter().position(breaks);
        // Who was silent beyond the node was never seen to be reached.
        let unreached =
            |hop: &PathHop| hop.outcome == HopOutcome::Silent && matches!(hop.hop, Hop::Upstream | Hop::Peer);
        let reached = at.map(|at| if unreached(&hops[at]) && at > 0 { at } else { at + 1 });
        let mut stations = Vec::new();
        for (number, hop) in hops.iter().enumerate() {
            let link = if number == 0 { Link::Seen } else { link(&hops[number - 1], hop) };
            stations.push(Station { name: name(hop, verdict), link, outcome: hop.outcome });
        }
        let ends = hops.last().is_some_and(|last| matches!(last.hop, Hop::Upstream | Hop::Peer));
        if verdict.direction == Direction::Egress && !ends {
            let name = verdict.peer.ip.to_string();
            stations.push(Station { name, link: Link::Unseen, outcome: HopOutcome::Unseen });
        }
        Self { stations, reached, notes: notes(at.map(|at| &hops[at]), verdict) }
    }
}

/// Where it broke, then the kernel's own words for it.
fn notes(hop: Option<&PathHop>, verdict: &Verdict) -> Vec<String> {
    let Some(hop) = hop else { return Vec::new() };
    let place = match (&hop.r#where, hop.outcome) {
        (Some(place), _) => clean(place).replace('\n', " "),
        (None, HopOutcome::Silent) => "nothing came back".to_owned(),
        (None, outcome) => outcome.to_string(),
    };
    let fact = |key: &str| verdict.detail.get(key).and_then(|value| value.as_str()).map(|text| clean(text));
    let kernel = match (fact("reason"), fact("function")) {
        (Some(reason), Some(function)) => Some(format!("{reason} in {function}")),
        (Some(reason), None) => Some(reason.into_owned()),
        _ => None,
    };
    let kernel = kernel.filter(|words| hop.outcome != HopOutcome::Silent && !place.contains(words.as_str()));
    std::iter::once(place).chain(kernel).collect()
}

/// What stands between two stations: the device at the pod's end, if known.
fn link(from: &PathHop, to: &PathHop) -> Link {
    let device = match (from.hop, to.hop) {
        (Hop::Pod, _) => from.device.as_deref(),
        (_, Hop::Pod | Hop::Peer) => to.device.as_deref(),
        _ => None,
    };
    match device {
        Some(device) => Link::Device(clean(device).replace('\n', " ")),
        None if from.outcome == HopOutcome::Unseen || to.outcome == HopOutcome::Unseen => Link::Unseen,
        None => Link::Seen,
    }
}

fn name(hop: &PathHop, verdict: &Verdict) -> String {
    let peer = verdict.peer.ip.to_string();
    let name = match hop.hop {
        Hop::Pod => verdict.pod.name.clone(),
        Hop::Node if hop.outcome == HopOutcome::Translated => "node (NAT)".to_owned(),
        Hop::Node => "node".to_owned(),
        Hop::Uplink => hop.device.clone().unwrap_or_else(|| "uplink".to_owned()),
        Hop::Upstream => peer,
        Hop::Peer => verdict.peer.pod.as_ref().map_or(peer, |pod| pod.name.clone()),
    };
    clean(&name).replace('\n', " ")
}
