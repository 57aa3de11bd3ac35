//! Small random clusters and traffic, the same on every machine.

use std::net::IpAddr;

use crate::cluster::testing::{Topology, block, ip, policy, rule, selector};
use crate::cluster::{LabelSelector, NetworkPolicy, Object, Peer, Pod, Rule};
use crate::protocol::Protocol;

/// xorshift64* (Vigna).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(bits).unwrap() % bound
    }

    fn of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }
}

const NAMESPACES: [&str; 3] = ["default", "data", "web"];
const EXTERNAL: [&str; 6] =
    ["203.0.113.4", "203.0.113.77", "198.51.100.1", "2001:db8::4", "2001:db8:1::9", "10.9.9.9"];
const SELECTORS: [&str; 12] = [
    "",
    "app=a",
    "app=b",
    "app=c",
    "tier=x",
    "app=a,tier=x",
    "app in (a|b)",
    "tier notin (x)",
    "tier",
    "!tier",
    "app in (b|c),!tier",
    "hash notin (1)",
];
const NAMESPACE_SELECTORS: [&str; 7] = [
    "",
    "team=one",
    "team in (one|two)",
    "team notin (one)",
    "kubernetes.io/metadata.name=data",
    "!team",
    "env=prod",
];
const BLOCKS: [&str; 9] = [
    "0.0.0.0/0",
    "::/0",
    "10.0.0.0/8",
    "10.244.1.0/24",
    "203.0.113.0/24 except 203.0.113.64/26",
    "0.0.0.0/0 except 10.0.0.0/8,203.0.113.4/32",
    "2001:db8::/32 except 2001:db8:1::/48",
    "192.0.2.0/24",
    "fd00::/16",
];
const PORTS: [&str; 13] = [
    "TCP 80",
    "TCP 443",
    "TCP 8080",
    "UDP 53",
    "TCP 53",
    "TCP",
    "UDP",
    "SCTP 80",
    "TCP 80-443",
    "UDP 50-60",
    "TCP http",
    "TCP 8000-9000",
    "UDP http",
];

/// A cluster of three namespaces, two nodes, up to eight pods and up to six policies.
pub(crate) fn topology(random: &mut Random) -> Topology {
    let mut topology = Topology::new()
        .node("worker-1", "192.0.2.10", "")
        .node("worker-2", "192.0.2.11", "")
        .namespace("default", "team=one,env=prod")
        .namespace("data", "team=two")
        .namespace("web", "");
    for number in 0..2 + random.below(7) {
        topology = topology.with(any_pod(random, number));
    }
    for number in 0..random.below(7) {
        topology = topology.policy(any_policy(random, number));
    }
    topology
}

fn any_pod(random: &mut Random, number: usize) -> Pod {
    let namespace = random.of(&NAMESPACES);
    let app = random.of(&["", "app=a,", "app=b,", "app=c,"]);
    let tier = random.of(&["", "", "tier=x,", "tier=y,"]);
    let hash = random.of(&["", "pod-template-hash=1,", "hash=1,"]);
    let node = 1 + random.below(2);
    let text = format!("{app}{tier}{hash}");
    let ips = format!("10.244.{node}.{number},fd00:{node}::{number}");
    let mut pod = crate::cluster::testing::pod(&format!("{namespace}/pod-{number}"), &ips, &text);
    pod.node = format!("worker-{node}");
    if random.one_in(8) {
        pod.host_network = true;
        pod.ips = vec![ip(&format!("192.0.2.{}", 9 + node))];
    }
    if random.one_in(2) {
        let port = crate::cluster::ContainerPort {
            name: Some("http".into()),
            port: if random.one_in(2) { 80 } else { 8080 },
            protocol: Protocol::Tcp,
        };
        pod.containers.push(crate::cluster::Container { ports: vec![port], ..Default::default() });
    }
    pod
}

fn any_policy(random: &mut Random, number: usize) -> NetworkPolicy {
    let mut one = policy(&format!("{}/policy-{number}", random.of(&NAMESPACES)), random.of(&SELECTORS));
    if !random.one_in(3) {
        one = one.egress_to((0..random.below(3)).map(|_| any_rule(random)).collect::<Vec<_>>());
    }
    if !random.one_in(3) {
        one = one.ingress_from((0..random.below(3)).map(|_| any_rule(random)).collect::<Vec<_>>());
    }
    one
}

fn any_rule(random: &mut Random) -> Rule {
    let peers: Vec<Peer> = (0..random.below(3)).map(|_| any_peer(random)).collect();
    let ports: Vec<&str> = (0..random.below(3)).map(|_| random.of(&PORTS)).collect();
    rule(peers, &ports.join(","))
}

fn any_peer(random: &mut Random) -> Peer {
    let some =
        |random: &mut Random, all: &[&str]| -> Option<LabelSelector> { Some(selector(random.of(all))) };
    match random.below(4) {
        0 => Peer::Pods { namespaces: None, pods: some(random, &SELECTORS) },
        1 => Peer::Pods { namespaces: some(random, &NAMESPACE_SELECTORS), pods: None },
        2 => Peer::Pods { namespaces: some(random, &NAMESPACE_SELECTORS), pods: some(random, &SELECTORS) },
        _ => block(random.of(&BLOCKS)),
    }
}

/// Traffic by addresses: source, destination, port, protocol.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Traffic {
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    pub(super) port: u16,
    pub(super) protocol: Protocol,
}

/// Traffic between pods, nodes and the outside, of one family.
pub(super) fn traffic(random: &mut Random, topology: &Topology) -> Traffic {
    let mut ends: Vec<IpAddr> = EXTERNAL.iter().map(|text| ip(text)).collect();
    let pods: Vec<IpAddr> = topology
        .objects
        .iter()
        .flat_map(|object| match object {
            Object::Pod(pod) => pod.ips.clone(),
            Object::Node(node) => node.ips.clone(),
            _ => vec![],
        })
        .collect();
    ends.extend(pods.iter().chain(&pods));
    let from = ends[random.below(ends.len())];
    ends.retain(|ip| ip.is_ipv4() == from.is_ipv4());
    let to = ends[random.below(ends.len())];
    let port = [80, 443, 53, 8080, 8500, 9][random.below(6)];
    let protocol =
        [Protocol::Tcp, Protocol::Tcp, Protocol::Udp, Protocol::Sctp, Protocol::Icmp][random.below(5)];
    Traffic { from, to, port, protocol }
}
