//! What a big cluster costs. Prints figures, asserts none: `cargo test --release -p egress-core scale -- --nocapture`.

use std::time::Instant;

use super::super::{Decision, evaluate};
use super::flow;
use crate::cluster::testing::{Topology, block, pods, policy, rule};

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
        let flow = flow(&index, "10.244.1.5", "443/TCP at 203.0.113.4");
        let rounds = 2_000;
        let start = Instant::now();
        for _ in 0..rounds {
            assert_eq!(evaluate(&index, &flow).decision, Decision::Deny);
        }
        println!("10,000 policies in {namespaces} namespaces: {:?} a flow", start.elapsed() / rounds);
    }
}
