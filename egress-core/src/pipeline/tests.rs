//! The pipeline fed by hand: records as the kernel would write them, on a virtual clock.

mod connection;
mod dns;
mod filters;
mod hostile;
mod identity;
mod mesh;
mod mtu;
mod peers;
mod resolver;
mod route;
mod segments;
mod service;
mod tcp;
mod upstream;
mod wire;

use std::sync::Arc;

use crate::cluster::ClusterChange;
use crate::cluster::testing::{Topology, policy};
use crate::input::Input;
use crate::node::{Device, DeviceRole, FilterChain, Filters, NodeChange, NodeNetwork};
use crate::pipeline::Pipeline;
use crate::time::{ClockOffset, Mono, Timestamp};
use crate::verdict::Verdict;

/// The node's namespace in these tests.
pub(super) const NODE: u32 = 4_026_531_840;

/// A node with the pod `default/api-client` (10.244.1.5) and a healthy `default/db` (10.244.1.6).
struct World {
    pipeline: Pipeline,
    verdicts: Vec<Arc<Verdict>>,
    now: u64,
}

impl World {
    fn new(cluster: Topology) -> Self {
        let mut world = Self { pipeline: Pipeline::new("n1"), verdicts: Vec::new(), now: 0 };
        for object in cluster.objects {
            world.feed(Input::Cluster { at: Mono(0), change: ClusterChange::Apply { object } });
        }
        let synced = ClusterChange::Synced { at: Timestamp(1_000_000) };
        world.feed(Input::Cluster { at: Mono(0), change: synced });
        let device = |index, name: &str, role| Device {
            index,
            name: name.to_owned(),
            role,
            watched_in: true,
            watched_out: true,
            ..Device::default()
        };
        let network = NodeNetwork {
            netns: NODE,
            devices: vec![device(2, "eth0", DeviceRole::Uplink), device(10, "veth5", DeviceRole::Pod)],
            addresses: vec!["192.0.2.1".parse().unwrap()],
            routes: Vec::new(),
            rules: Vec::new(),
        };
        world.feed(Input::Node { at: Mono(0), change: NodeChange::Network(network) });
        world.feed(Input::Names {
            reasons: [
                (7, "NETFILTER_DROP"),
                (3, "NO_SOCKET"),
                (8, "TC_INGRESS"),
                (30, "IP_INNOROUTES"),
                (31, "QDISC_DROP"),
            ]
            .map(|(number, name)| (number, name.to_owned()))
            .to_vec(),
            functions: [
                (1000, 2000, "nft_do_chain"),
                (3000, 4000, "nf_hook_slow"),
                (5000, 6000, "ip_forward"),
                (7000, 8000, "ip_error"),
                (9000, 10_000, "__dev_queue_xmit"),
            ]
            .map(|(start, end, name)| (start, end, name.to_owned()))
            .to_vec(),
        });
        world
    }

    /// `default/api-client` selected by `default/deny-all-egress`, enforced by one nftables chain.
    fn denied() -> Self {
        let cluster = two_pods().policy(policy("default/deny-all-egress", "app=client").egress_to([]));
        let mut world = Self::new(cluster);
        world.filter("inet", "cni", "forward");
        world
    }

    fn filter(&mut self, family: &str, table: &str, chain: &str) {
        let chain = FilterChain {
            backend: "nftables".to_owned(),
            family: family.to_owned(),
            table: table.to_owned(),
            chain: chain.to_owned(),
            hook: "forward".to_owned(),
            priority: 0,
            drops_by_default: false,
            dropping_rules: vec!["handle 4 drop".to_owned()],
            devices: Vec::new(),
        };
        let filters = Filters { chains: vec![chain], unread: Vec::new() };
        self.feed(Input::Node { at: Mono(0), change: NodeChange::Filters(filters) });
    }

    fn feed(&mut self, input: Input) {
        for fresh in self.pipeline.step(input) {
            match self.verdicts.iter_mut().find(|known| known.id == fresh.id) {
                Some(known) => *known = fresh,
                None => self.verdicts.push(fresh),
            }
        }
    }

    fn record(&mut self, bytes: Vec<u8>) {
        self.feed(Input::Record { bytes });
    }

    /// Time goes on to this millisecond, in the engine's ticks.
    fn until(&mut self, millis: u64) {
        while self.now < millis {
            self.now = (self.now + 50).min(millis);
            self.feed(Input::Tick { now: Mono(self.now * 1_000_000), offset: ClockOffset(0) });
        }
    }

    /// The only verdict.
    fn only(&self) -> &Verdict {
        assert_eq!(self.verdicts.len(), 1, "{:#?}", self.verdicts);
        &self.verdicts[0]
    }

    fn silent(&self) {
        assert!(self.verdicts.is_empty(), "{:#?}", self.verdicts);
    }
}

fn two_pods() -> Topology {
    Topology::new()
        .pod("default/api-client", "10.244.1.5", "app=client")
        .on("n1")
        .pod("default/db", "10.244.1.6", "app=db")
        .on("n1")
}
