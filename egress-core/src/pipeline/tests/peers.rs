//! Failures towards pods of other nodes, of which a source tells only when asked.

use std::sync::Arc;

use egress_common::TapPoint::PodOut;

use super::wire::{End, Flag, dropped, seen, tcp};
use super::{World, two_pods};
use crate::cluster::testing::{ip, pod, pods, policy, rule};
use crate::cluster::{ClusterChange, PeerAnswer};
use crate::input::Input;
use crate::time::Mono;
use crate::verdict::{Cause, Confidence, PeerKind};

const CLIENT: End = ("10.244.1.5", 40_000);
const FAR: End = ("10.244.2.7", 80);

/// `default/api-client` may reach `app=web`, and its SYN to a pod of another node is dropped.
fn dropped_far(on_demand: bool) -> World {
    let only_web = policy("default/only-web", "app=client").egress_to([rule([pods("app=web")], "")]);
    let mut world = World::new(two_pods().node("n2", "192.0.2.2", "10.244.2.0/24").policy(only_web));
    world.filter("inet", "cni", "forward");
    if on_demand {
        world.feed(Input::Cluster { at: Mono(0), change: ClusterChange::PeersOnDemand });
    }
    let syn = tcp(CLIENT, FAR, Flag::Syn, 100);
    world.record(seen(1, PodOut, &syn));
    world.record(dropped(2, &syn));
    world
}

#[test]
fn a_failure_waits_to_hear_who_the_peer_is() {
    let mut world = dropped_far(true);
    world.silent();
    let questions = world.pipeline.take_peer_questions();
    assert_eq!(questions.iter().map(|question| question.ip).collect::<Vec<_>>(), [ip(FAR.0)]);
    let answer = PeerAnswer::Pod { pod: Arc::new(pod("default/far", FAR.0, "app=db")) };
    let change = ClusterChange::Peer { ip: ip(FAR.0), answer };
    world.feed(Input::Cluster { at: Mono(20_000_000), change });
    let verdict = world.only();
    assert_eq!((verdict.cause, verdict.confidence), (Cause::PolicyDrop, Confidence::Certain));
    assert_eq!(verdict.peer.pod.as_ref().map(|pod| pod.name.as_str()), Some("far"));
    assert_eq!(world.pipeline.take_peer_questions(), []);
}

#[test]
fn without_an_answer_it_is_judged_by_what_is_known() {
    for (mut world, by) in [(dropped_far(true), 550), (dropped_far(false), 50)] {
        world.until(by);
        let verdict = world.only();
        assert_ne!(verdict.cause, Cause::PolicyDrop, "its labels are not known");
        assert_eq!((verdict.peer.kind, &verdict.peer.pod), (PeerKind::Unresolved, &None));
    }
}
