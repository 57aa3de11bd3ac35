//! A node with its cluster, as a lab's agent recorded it, and the things to choose from when arbitrary bytes are
//! to become traffic that concerns it.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::LazyLock;

use egress_core::capture::Capture;
use egress_core::input::Input;
use egress_core::node::NodeChange;
use egress_core::pipeline::Pipeline;

/// A recording of a policy scenario.
const CAPTURE: &str = include_str!("../../../captures/policy-egress-nft.capture");
/// Policies and filters of that recording come this late.
const HEAD: usize = 200;

/// What a capture told of its node and cluster before and between its records.
#[derive(Debug)]
pub struct World {
    node: String,
    inputs: Vec<Input>,
    /// Network namespaces: the node's first, then those of the pods.
    pub netns: Vec<u32>,
    /// Nanoseconds at which it begins.
    pub began: u64,
}

/// The world of every input.
pub static WORLD: LazyLock<World> = LazyLock::new(|| World::of(CAPTURE));

impl World {
    /// The world of a capture, without its records.
    #[must_use]
    pub fn of(capture: &str) -> Self {
        let mut world = Self { node: String::new(), inputs: Vec::new(), netns: Vec::new(), began: 0 };
        let Ok(capture) = Capture::parse(capture) else { return world };
        world.node = capture.header.node;
        for input in capture.inputs {
            match &input {
                Input::Record { .. } => continue,
                Input::Tick { .. } if world.inputs.len() > HEAD => continue,
                Input::Tick { now, .. } => world.began = world.began.max(now.0),
                Input::Node { change: NodeChange::Network(network), .. } => world.remember(network.netns),
                Input::Node { change: NodeChange::PodNetns { netns, .. }, .. } => world.remember(*netns),
                _ => {}
            }
            world.inputs.push(input);
        }
        world
    }

    fn remember(&mut self, netns: u32) {
        if !self.netns.contains(&netns) {
            self.netns.push(netns);
        }
    }

    /// A pipeline that knows all this.
    #[must_use]
    pub fn pipeline(&self) -> Pipeline {
        let mut pipeline = Pipeline::new(&self.node);
        for input in &self.inputs {
            pipeline.step(input.clone());
        }
        pipeline
    }
}

/// Addresses of pods, the node, Services, the outside.
pub const ADDRESSES: &[&str] = &[
    "10.244.1.5",
    "10.244.1.6",
    "10.244.1.10",
    "10.96.0.10",
    "192.0.2.10",
    "203.0.113.4",
    "203.0.113.66",
    "198.51.100.53",
    "127.0.0.1",
    "fd00:10:244:1::5",
    "fd00:10:244:1::6",
    "fd00:10:96::a",
    "2001:db8:113::4",
];

/// Ports.
pub const PORTS: &[u16] = &[443, 53, 8080, 40000, 40001, 0, 123, 65535];

/// An address of the list as records carry it.
#[must_use]
pub fn octets(address: &str) -> [u8; 16] {
    match address.parse() {
        Ok(IpAddr::V4(v4)) => v4.to_ipv6_mapped().octets(),
        Ok(IpAddr::V6(v6)) => v6.octets(),
        Err(_) => Ipv6Addr::UNSPECIFIED.octets(),
    }
}
