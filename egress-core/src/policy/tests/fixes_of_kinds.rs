//! Fixes in clusters with policies of all kinds: they admit the traffic, nothing unrelated, and cut nobody off.

use super::super::{Decision, evaluate, fix, fix_policies};
use super::fixes::{read_back, related, same_port};
use super::generate::{Random, Traffic, traffic};
use super::kinds::{Plugin, any_cluster};
use super::plain;
use crate::cluster::Object;
use crate::identity::Endpoint;

/// How often each kind was the answer.
#[derive(Debug, Default)]
struct Counts {
    network: usize,
    cilium: usize,
    calico: usize,
    none: usize,
    opened: usize,
}

fn check(plugin: Plugin, seeds: u64) -> Counts {
    let mut counts = Counts::default();
    for seed in 0..seeds {
        let mut random = Random::new(seed);
        let cluster = any_cluster(&mut random, plugin);
        let index = cluster.clone().index();
        let sample: Vec<Traffic> = (0..50).map(|_| traffic(&mut random, &cluster)).collect();
        for one in &sample[..8] {
            let denied = plain::flow(&index, *one);
            let view = evaluate(&index, &denied);
            if view.decision != Decision::Deny {
                continue;
            }
            let Ok(policies) = fix_policies(&index, &denied, &view) else {
                counts.none += 1;
                continue;
            };
            for policy in &policies {
                match policy {
                    Object::CiliumPolicy(_) => counts.cilium += 1,
                    Object::CalicoPolicy(_) => counts.calico += 1,
                    _ => counts.network += 1,
                }
            }
            let manifest = fix(&index, &denied, &view).unwrap().manifest.unwrap();
            assert_eq!(read_back(&manifest).len(), policies.len(), "{manifest}");
            let mut with = cluster.clone();
            with.objects.extend(policies.iter().cloned());
            let place = format!("{plugin:?}, seed {seed}, {one:?}: {policies:#?}");
            let mended = with.clone().index();
            let after = evaluate(&mended, &plain::flow(&mended, *one));
            // A side that was open before still is: nothing is fixed there.
            if view.sides().all(|(_, side)| side.decision != Decision::Undecidable) {
                assert_eq!(after.decision, Decision::Allow, "{place}");
                assert!(plain::allows(&with.objects, *one), "{place}");
            }
            for other in &sample {
                let before = plain::allows(&cluster.objects, *other);
                let after = plain::allows(&with.objects, *other);
                assert!(after || !before, "{other:?} is cut off: {place}");
                if after && !before {
                    counts.opened += 1;
                    let flow = plain::flow(&index, *other);
                    // A DNS rule lets Cilium see other names that rules admit, besides.
                    let by_name = |policy: &Object| matches!(policy, Object::CiliumPolicy(_));
                    let same = same_port(&denied, &flow)
                        && related(&denied.from, &flow.from)
                        && related(&denied.to, &flow.to);
                    let seen = policies.iter().any(by_name)
                        && related(&denied.from, &flow.from)
                        && !flow.names.is_empty();
                    // A NetworkPolicy lets a pod and its own node reach each other, with plugins that heed that.
                    let own_node = is_own_node(&flow.from, &flow.to) || is_own_node(&flow.to, &flow.from);
                    assert!(same || seen || own_node, "{other:?} is opened: {place}");
                }
            }
        }
    }
    counts
}

fn is_own_node(pod: &Endpoint, node: &Endpoint) -> bool {
    pod.pod.as_ref().zip(node.node.as_ref()).is_some_and(|(pod, node)| pod.node == node.name)
}

#[test]
fn beside_policies_of_cilium_a_fix_admits_the_traffic_and_nothing_unrelated() {
    let counts = check(Plugin::Cilium, 800);
    println!("{counts:?}");
    assert!(counts.network > 200 && counts.cilium > 10, "{counts:?}");
}

#[test]
fn among_policies_of_calico_a_fix_admits_the_traffic_and_nothing_unrelated() {
    let counts = check(Plugin::Calico, 800);
    println!("{counts:?}");
    assert!(counts.network > 100 && counts.calico > 100, "{counts:?}");
}
