//! Generated policies of all kinds against a second evaluator (`plain.rs`). Only what is always known occurs.

mod calico;

use super::super::{Decision, evaluate};
use super::generate::{Random, topology, traffic};
use super::plain::{allows, flow};
use crate::cluster::testing::{Topology, ports, selector};
use crate::cluster::{
    CILIUM_NAMESPACE, CiliumFqdn, CiliumPeer, CiliumPolicy, CiliumPort, CiliumRule, CiliumSelector,
    CiliumSpec, Expression, IpBlock, NamespacedPods, Operator, PolicyPort, Tier, TieredAction, TieredApi,
    TieredPeer, TieredPolicy, TieredPort, TieredRule,
};

const APPS: [&str; 4] = ["", "app=a", "app=b", "tier=x"];
const TEAMS: [&str; 3] = ["", "team=one", "team=two"];
const RANGES: [&str; 4] = ["0.0.0.0/0", "203.0.113.0/24", "10.244.1.0/24", "2001:db8::/32"];
const PORTS: [&str; 4] = ["", "TCP 80", "TCP 440-500", "UDP 53"];

fn of<'a>(random: &mut Random, all: &[&'a str]) -> &'a str {
    all[random.below(all.len())]
}

/// Which network plugin's policies occur beside those of the API.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Plugin {
    Cilium,
    Calico,
}

/// A small cluster with policies of all kinds that one plugin enforces.
pub(super) fn any_cluster(random: &mut Random, plugin: Plugin) -> Topology {
    let mut cluster = topology(random);
    for number in 0..random.below(4) {
        cluster = cluster.with(any_tiered(random, u16::try_from(number).unwrap()));
    }
    match plugin {
        Plugin::Cilium => {
            for number in 0..random.below(4) {
                cluster = cluster.with(any_cilium(random, number));
            }
            cluster
        }
        Plugin::Calico => calico::add(random, cluster),
    }
}

fn any_tiered(random: &mut Random, number: u16) -> TieredPolicy {
    let baseline = random.below(3) == 0;
    let rules = |random: &mut Random, egress: bool| -> Vec<TieredRule> {
        (0..random.below(4)).map(|_| any_rule(random, egress)).collect()
    };
    TieredPolicy {
        api: TieredApi::Cluster,
        name: format!("tiered-{number}"),
        tier: if baseline { Tier::Baseline } else { Tier::Admin },
        priority: 100 - number,
        subject: any_pods(random),
        ingress: rules(random, false),
        egress: rules(random, true),
    }
}

fn any_pods(random: &mut Random) -> NamespacedPods {
    let pods = (random.below(2) == 0).then(|| selector(of(random, &APPS)));
    NamespacedPods { namespaces: selector(of(random, &TEAMS)), pods }
}

fn any_rule(random: &mut Random, egress: bool) -> TieredRule {
    let action = [TieredAction::Accept, TieredAction::Deny, TieredAction::Pass][random.below(3)];
    let peer = match random.below(if egress { 3 } else { 1 }) {
        0 => TieredPeer::Pods(any_pods(random)),
        1 => TieredPeer::Nodes(selector("")),
        _ => TieredPeer::Networks(vec![of(random, &RANGES).parse().unwrap()]),
    };
    let ports = ports(of(random, &PORTS)).into_iter().map(TieredPort::Number).collect();
    TieredRule { name: String::new(), action, peers: vec![peer], ports }
}

fn any_cilium(random: &mut Random, number: usize) -> CiliumPolicy {
    let rules = |random: &mut Random, names: bool| -> Vec<CiliumRule> {
        (0..random.below(3)).map(|_| cilium_rule(random, names)).collect()
    };
    let (ingress, ingress_deny) = (rules(random, false), rules(random, false));
    let (egress, egress_deny) = (rules(random, true), rules(random, false));
    let spec = CiliumSpec {
        selector: identity(of(random, &APPS), None),
        isolates_ingress: random.below(2) == 0,
        isolates_egress: random.below(2) == 0,
        ingress,
        ingress_deny,
        egress,
        egress_deny,
    };
    let namespace = of(random, &["default", "data", ""]).to_owned();
    CiliumPolicy { namespace, name: format!("cilium-{number}"), specs: vec![spec] }
}

fn identity(text: &str, namespace: Option<&str>) -> CiliumSelector {
    let one = |key: &str, value: &str| Expression {
        key: key.into(),
        operator: Operator::In,
        values: vec![value.into()].into_iter().collect(),
    };
    let labels = selector(text);
    let mut requirements: Vec<_> = labels.match_labels.iter().map(|(key, value)| one(key, value)).collect();
    requirements.extend(namespace.map(|name| one(CILIUM_NAMESPACE, name)));
    CiliumSelector { requirements }
}

/// `names`: it may go by names.
fn cilium_rule(random: &mut Random, names: bool) -> CiliumRule {
    if names && random.below(3) == 0 {
        return by_name(random);
    }
    let peer = match random.below(4) {
        0 => CiliumPeer::Endpoints(identity(of(random, &APPS), Some(of(random, &["default", "data"])))),
        1 => CiliumPeer::Cidr(IpBlock {
            cidr: of(random, &["203.0.113.0/24", "2001:db8::/32"]).parse().unwrap(),
            except: vec![],
        }),
        2 => CiliumPeer::Entity(of(random, &["world", "host", "remote-node", "all", "none"]).into()),
        _ => return CiliumRule::default(),
    };
    let ports = ports(of(random, &PORTS)).into_iter().map(cilium_port);
    CiliumRule { peers: Some(vec![peer]), ports: ports.collect(), ..CiliumRule::default() }
}

fn cilium_port(one: PolicyPort) -> CiliumPort {
    CiliumPort { protocol: Some(one.protocol), port: one.port, beyond: String::new(), dns: vec![] }
}

/// `toFQDNs`, or what feeds it.
fn by_name(random: &mut Random) -> CiliumRule {
    let wanted = [
        CiliumFqdn::Name(of(random, &["a.example.com", "b.example.com"]).into()),
        CiliumFqdn::Pattern(of(random, &["*", "*.example.com", "*.example.net"]).into()),
    ];
    let wanted = wanted[random.below(2)].clone();
    if random.below(2) == 0 {
        return CiliumRule { peers: Some(vec![CiliumPeer::Fqdn(wanted)]), ..CiliumRule::default() };
    }
    let dns = ports("UDP 53")
        .into_iter()
        .map(cilium_port)
        .map(|port| CiliumPort { dns: vec![wanted.clone()], ..port });
    CiliumRule { peers: None, ports: dns.collect(), ..CiliumRule::default() }
}

#[test]
fn policies_of_all_kinds_agree_with_a_plain_reading_of_their_documents() {
    for plugin in [Plugin::Cilium, Plugin::Calico] {
        let (mut denied, mut allowed, mut open) = (0, 0, 0);
        for seed in 0..3_000 {
            let mut random = Random::new(seed);
            let cluster = any_cluster(&mut random, plugin);
            let index = cluster.clone().index();
            for _ in 0..10 {
                let traffic = traffic(&mut random, &cluster);
                let view = evaluate(&index, &flow(&index, traffic));
                let expected =
                    if allows(&cluster.objects, traffic) { Decision::Allow } else { Decision::Deny };
                match view.decision {
                    // Where versions, or Cilium and the API, differ, both may hold.
                    Decision::Undecidable => open += 1,
                    decision => {
                        assert_eq!(decision, expected, "{plugin:?}, seed {seed}, {traffic:?}: {view:#?}");
                    }
                }
                if expected == Decision::Deny { denied += 1 } else { allowed += 1 }
            }
        }
        println!("{plugin:?}: {allowed} flows allowed, {denied} denied, {open} of them open");
        assert!(
            denied > 5_000 && allowed > 5_000 && open < 4_500,
            "{plugin:?}: {denied} denied, {allowed} allowed, {open} open"
        );
    }
}
