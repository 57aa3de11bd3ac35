//! `mtu`: links on the way that take less than the packets need.

mod blackhole;
mod healthy;
mod local;
mod overlay;
mod router;

use std::time::Duration;

use super::{Health, Run, Scenario};
use crate::expect::Expect;
use crate::lab::{Lab, Place};
use crate::plan::{Dual, Family, NODE, SLOW};
use crate::topology::Topology;

/// The host behind the narrow line, or beyond a narrow device of the node.
const HOST: Dual = SLOW;
/// The port of its server.
const PORT: u16 = 8443;
/// What the narrow line takes.
const NARROW: u32 = 1300;

pub(super) fn all() -> Vec<Scenario> {
    let mut all = local::all();
    all.extend(router::all());
    all.extend(blackhole::all());
    all.extend(overlay::all());
    all.extend(healthy::all());
    all
}

/// The client transfers bytes; with the fault it gives up, without it all arrives.
fn transfer(run: &mut Run, family: Family, args: &[&str]) -> anyhow::Result<()> {
    let peer = std::net::SocketAddr::new(HOST.of(family), PORT).to_string();
    run.begin();
    let mut all = vec!["transfer", peer.as_str()];
    all.extend(args);
    let outcome = run.client(Place::Client, &all)?;
    run.check(&outcome, "timeout", "transferred")
}

/// The client asks with datagrams of this payload that must not be fragmented.
fn ask_large(run: &mut Run, family: Family, bytes: u32) -> anyhow::Result<()> {
    let peer = std::net::SocketAddr::new(crate::plan::STRIPE.of(family), PORT).to_string();
    run.begin();
    let size = bytes.to_string();
    let args = ["send-udp", &peer, "--count", "3", "--answer", "0.4", "--size", &size, "--no-fragment"];
    let outcome = run.client(Place::Client, &args)?;
    run.check(&outcome, "timeout", "answered")
}

/// A host behind a line of 1300 bytes.
fn narrow(lab: &mut Lab) -> anyhow::Result<()> {
    lab.add_narrow(HOST, PORT, NARROW)
}

/// Drops ICMP messages that say "too big" at a hook of a place.
fn mute(lab: &Lab, at: Place, hook: &str) -> anyhow::Result<()> {
    lab.netns(at).nft(&format!(
        "table inet no-icmp {{
           chain no-{hook} {{ type filter hook {hook} priority filter; policy accept;
             icmp type destination-unreachable icmp code frag-needed counter drop
             icmpv6 type packet-too-big counter drop
           }}
         }}"
    ))
}

fn verdict(family: Family, kind: &'static [(&'static str, &'static str)]) -> Expect {
    Expect {
        stage: "upstream",
        broken: ("upstream", "dropped"),
        source: Some(NODE.of(family)),
        detail: kind,
        within: Duration::from_millis(1000),
        ..Expect::of("mtu", (HOST.of(family), PORT))
    }
}
