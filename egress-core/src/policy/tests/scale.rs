//! What a big cluster costs. Prints figures, asserts none: `cargo test --release -p egress-core scale -- --nocapture`.

use std::time::Instant;

use super::super::{Decision, evaluate};
use super::flow;
use crate::cluster::calico::{Action, CalicoPolicy, Entity, NetworkSet, Rule};
use crate::cluster::testing::{Topology, block, labels, pods, policy, rule};
use crate::identity::ClusterIndex;

/// 10,000 policies, in `namespaces` namespaces, each for an app of its own; one of them is the client's.
fn cluster(namespaces: usize) -> Topology {
    (0..10_000).fold(
        Topology::new().pod("ns-0/client", "10.244.1.5", "app=app-0,env=prod"),
        |topology, number| {
            let name = format!("ns-{}/p-{number}", number % namespaces);
            let rules = [rule([pods("app=db"), block("10.0.0.0/8")], "TCP 5432"), rule([], "UDP 53")];
            topology.policy(policy(&name, &format!("env=prod,app=app-{number}")).egress_to(rules))
        },
    )
}

#[test]
fn ten_thousand_policies_do_not_slow_a_flow() {
    for namespaces in [1, 100] {
        let index = cluster(namespaces).index();
        measure(&index, &format!("10,000 policies in {namespaces} namespaces"));
    }
}

fn measure(index: &ClusterIndex, what: &str) {
    let flow = flow(index, "10.244.1.5", "443/TCP at 203.0.113.4");
    let rounds = 2_000;
    let start = Instant::now();
    for _ in 0..rounds {
        assert_eq!(evaluate(index, &flow).decision, Decision::Deny);
    }
    println!("{what}: {:?} a flow", start.elapsed() / rounds);
}

#[test]
fn neither_do_ten_thousand_of_calicos_and_network_sets() {
    let mut topology = Topology::new().pod("ns-0/client", "10.244.1.5", "app=app-0,env=prod");
    for number in 0..1_000_u32 {
        let nets = (16..26).map(|net| format!("172.{net}.{}.{}/32", number / 250, 1 + number % 250));
        topology = topology.with(NetworkSet {
            name: format!("set-{number}"),
            labels: labels(&format!("set=set-{number}")),
            nets: nets.map(|net| net.parse().unwrap()).collect(),
            ..NetworkSet::default()
        });
    }
    for number in 0..10_000 {
        let selector = format!("set == 'set-{}'", number % 1_000).parse().unwrap();
        let destination = Entity { selector: Some(selector), ..Entity::default() };
        topology = topology.with(CalicoPolicy {
            namespace: format!("ns-{}", number % 100),
            name: format!("p-{number}"),
            tier: "default".into(),
            order: Some(f64::from(number)),
            selector: format!("env == 'prod' && app == 'app-{number}'").parse().unwrap(),
            egress: Some(vec![Rule { destination, ..Rule::of_all(Action::Allow) }]),
            ..CalicoPolicy::default()
        });
    }
    measure(&topology.index(), "10,000 policies of Calico's and 1,000 network sets");
}
