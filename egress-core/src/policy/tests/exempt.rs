//! What no policy can stop, and what no policy speaks of.

use super::super::Decision::{Allow, Deny, Undecidable};
use super::{decision, judge};
use crate::cluster::testing::{Topology, block, namespaces, policy, rule};
use crate::verdict::PolicyResult;

fn cluster() -> Topology {
    Topology::new()
        .node("worker-1", "192.0.2.10", "10.244.1.0/24")
        .node("worker-2", "192.0.2.11", "10.244.2.0/24")
        .namespace("default", "")
        .pod("default/web", "10.244.1.5", "app=web")
        .on("worker-1")
        .pod("default/stray", "10.244.1.6", "app=stray")
        .pod("default/proxy", "192.0.2.11", "app=proxy")
        .but(|pod| pod.host_network = true)
        .on("worker-2")
        .policy(policy("default/deny-all", "").egress_to([]).ingress_from([]))
}

#[test]
fn a_pod_and_its_own_node_and_a_pod_and_itself_always_reach_each_other() {
    let index = cluster().index();
    let table = [
        ("10.244.1.5", "80/TCP at 10.244.1.5", Allow),
        ("10.244.1.5", "80/TCP at 192.0.2.10", Allow),
        ("192.0.2.10", "80/TCP at 10.244.1.5", Allow),
        ("10.244.1.5", "80/TCP at 192.0.2.11", Deny),
        ("192.0.2.11", "80/TCP at 10.244.1.5", Deny),
        ("10.244.1.6", "80/TCP at 192.0.2.11", Undecidable),
    ];
    for (from, to, expected) in table {
        assert_eq!(decision(&index, from, to), expected, "{from} to {to}");
    }
    let view = judge(&index, "192.0.2.10", "80/TCP at 10.244.1.5");
    let ingress = view.ingress.unwrap();
    assert!(ingress.isolated && view.egress.is_none());
    assert_eq!(ingress.policies[0].result, PolicyResult::NotApplicable);
    assert_eq!(
        ingress.policies[0].why,
        [
            "selects every pod of namespace default for ingress",
            "192.0.2.10 is the pod's own node (worker-1), and traffic between a pod and its own node is always \
             allowed"
        ]
    );
}

#[test]
fn pods_on_the_hosts_network_are_their_node() {
    let index = cluster()
        .pod("default/client", "10.244.1.7", "app=client")
        .on("worker-1")
        .policy(policy("default/a", "app=client").egress_to([rule([namespaces("")], "TCP 80")]))
        .policy(policy("default/b", "app=client").egress_to([rule([block("192.0.2.11/32")], "TCP 81")]))
        .index();
    assert_eq!(decision(&index, "10.244.1.7", "80/TCP at 192.0.2.11"), Deny, "no selector matches it");
    assert_eq!(decision(&index, "10.244.1.7", "81/TCP at 192.0.2.11"), Allow);
    let view = judge(&index, "192.0.2.11", "443/TCP at 203.0.113.4");
    assert_eq!((view.decision, view.egress, view.ingress), (Allow, None, None));
}
