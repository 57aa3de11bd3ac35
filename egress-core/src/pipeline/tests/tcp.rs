//! TCP: what makes a verdict, and what must not.

use egress_common::TapPoint::{PodIn, PodOut, UplinkIn, UplinkOut};

use super::wire::{End, Flag, dropped, seen, state, syn_again, tcp};
use super::{World, two_pods};
use crate::verdict::{Cause, Confidence, HopOutcome, Stage, State};

const CLIENT: End = ("10.244.1.5", 40_000);
const SERVER: End = ("203.0.113.4", 443);
const NODE: End = ("192.0.2.1", 40_000);

fn syn() -> Vec<u8> {
    tcp(CLIENT, SERVER, Flag::Syn, 100)
}

#[test]
fn a_dropped_syn_that_a_policy_denies_is_a_certain_policy_drop_at_once() {
    let mut world = World::denied();
    world.record(seen(1, PodOut, &syn()));
    world.record(dropped(1, &syn()));
    let verdict = world.only();
    assert_eq!((verdict.cause, verdict.confidence), (Cause::PolicyDrop, Confidence::Certain));
    assert_eq!(verdict.policies[0].name, "deny-all-egress");
    assert_eq!(verdict.path[1].outcome, HopOutcome::Dropped);
    assert_eq!(verdict.path[1].r#where.as_deref(), Some("netfilter FORWARD"));
    assert!(verdict.fix.as_ref().unwrap().manifest.as_ref().unwrap().contains("203.0.113.4/32"));
    assert_eq!(verdict.count, 1);
}

#[test]
fn every_syn_of_the_attempt_counts_and_the_verdict_stays_one() {
    let mut world = World::denied();
    for at in [1, 1001, 2001] {
        world.record(seen(at, PodOut, &syn()));
        world.record(dropped(at, &syn()));
        world.record(syn_again(at + 999, CLIENT, SERVER));
    }
    assert_eq!(world.only().count, 3);
}

#[test]
fn with_a_second_filtering_table_the_policy_drop_is_only_likely() {
    let mut world = World::denied();
    let two = ["cni", "admin"].map(|table| crate::node::FilterChain {
        backend: "nftables".to_owned(),
        family: "ip".to_owned(),
        table: table.to_owned(),
        chain: "forward".to_owned(),
        hook: "forward".to_owned(),
        priority: 0,
        drops_by_default: true,
        dropping_rules: Vec::new(),
        devices: Vec::new(),
    });
    let filters = crate::node::Filters { chains: two.to_vec(), unread: Vec::new() };
    let change = crate::node::NodeChange::Filters(filters);
    world.feed(crate::input::Input::Node { at: crate::time::Mono(0), change });
    world.record(dropped(1, &syn()));
    assert_eq!(world.only().confidence, Confidence::Likely);
}

#[test]
fn a_dropped_syn_that_policies_allow_is_a_firewall_drop() {
    let mut world = World::new(two_pods());
    world.record(dropped(1, &syn()));
    assert_eq!(world.only().cause, Cause::FirewallDrop);
}

#[test]
fn an_unanswered_syn_is_an_upstream_timeout_at_its_second_retransmit() {
    let mut world = World::new(two_pods());
    let translated = tcp(NODE, SERVER, Flag::Syn, 100);
    world.record(seen(1, UplinkIn, &tcp(SERVER, ("192.0.2.1", 9), Flag::SynAck, 5)));
    world.record(seen(2, PodOut, &syn()));
    world.record(seen(2, UplinkOut, &translated));
    world.record(syn_again(1002, CLIENT, SERVER));
    world.silent();
    world.record(syn_again(2002, CLIENT, SERVER));
    let verdict = world.only();
    assert_eq!((verdict.cause, verdict.confidence), (Cause::UpstreamTimeout, Confidence::Certain));
    assert_eq!(verdict.translation.source.unwrap().ip.to_string(), "192.0.2.1");
    assert_eq!(verdict.count, 3);
}

#[test]
fn a_late_answer_before_the_second_retransmit_is_no_failure() {
    let mut world = World::new(two_pods());
    world.record(seen(1, PodOut, &syn()));
    world.record(syn_again(1001, CLIENT, SERVER));
    world.record(seen(1500, PodIn, &tcp(SERVER, CLIENT, Flag::SynAck, 100)));
    world.record(state(1500, CLIENT, SERVER, 1, 0));
    world.until(10_000);
    world.silent();
}

#[test]
fn an_attempt_abandoned_without_error_or_retransmit_is_no_failure() {
    let mut world = World::new(two_pods());
    world.record(seen(1, PodOut, &syn()));
    world.record(state(300, CLIENT, SERVER, 7, 0));
    world.until(10_000);
    world.silent();
}

#[test]
fn a_success_clears_the_verdict() {
    let mut world = World::denied();
    world.record(dropped(1, &syn()));
    let again: End = ("10.244.1.5", 40_001);
    world.record(seen(5000, PodOut, &tcp(again, SERVER, Flag::Syn, 900)));
    world.record(seen(5001, PodIn, &tcp(SERVER, again, Flag::SynAck, 900)));
    world.until(5050);
    assert_eq!(world.only().state, State::Cleared);
}

#[test]
fn a_remote_reset_refuses_and_its_ttl_is_the_one_on_arrival() {
    let mut world = World::new(two_pods());
    world.record(seen(1, PodOut, &syn()));
    world.record(seen(1, UplinkOut, &tcp(NODE, SERVER, Flag::Syn, 100)));
    world.record(seen(3, UplinkIn, &tcp(SERVER, NODE, Flag::Rst, 100)));
    world.record(seen(3, PodIn, &tcp(SERVER, CLIENT, Flag::Rst, 100)));
    let verdict = world.only();
    assert_eq!((verdict.cause, verdict.confidence), (Cause::UpstreamRefused, Confidence::Certain));
    assert_eq!(verdict.detail["ttl"], 61);
}

#[test]
fn a_pod_that_refuses_a_stranger_makes_no_verdict() {
    let mut world = World::new(two_pods());
    let (stranger, closed): (End, End) = (("198.51.100.9", 5), ("10.244.1.6", 81));
    world.record(seen(1, PodIn, &tcp(stranger, closed, Flag::Syn, 4)));
    world.record(seen(1, PodOut, &tcp(closed, stranger, Flag::Rst, 4)));
    world.until(10_000);
    world.silent();
}

#[test]
fn an_untranslated_syn_without_answer_is_missing_nat() {
    let mut world = World::new(two_pods());
    world.record(seen(1, PodOut, &syn()));
    world.record(seen(1, UplinkOut, &syn()));
    world.record(syn_again(1001, CLIENT, SERVER));
    world.record(syn_again(2001, CLIENT, SERVER));
    // It waits a moment for the rules that translate.
    world.until(2300);
    assert_eq!(world.only().cause, Cause::NatMissing);
}

#[test]
fn a_dropped_segment_that_is_not_missed_does_no_harm() {
    let mut world = World::new(two_pods());
    world.record(dropped(1, &tcp(CLIENT, SERVER, Flag::Data, 500)));
    world.until(10_000);
    world.silent();
    // The same segment, dropped again a second later: no progress.
    world.record(dropped(10_000, &tcp(CLIENT, SERVER, Flag::Data, 500)));
    assert_eq!(world.only().cause, Cause::FirewallDrop);
}

#[test]
fn syns_seen_by_tc_alone_are_enough_for_a_timeout() {
    let mut world = World::new(two_pods());
    for at in [1, 1001, 2001] {
        world.record(seen(at, PodOut, &syn()));
        world.record(seen(at, UplinkOut, &tcp(NODE, SERVER, Flag::Syn, 100)));
    }
    assert_eq!((world.only().cause, world.only().count), (Cause::UpstreamTimeout, 3));
}

#[test]
fn an_answer_that_the_client_does_not_take_is_none() {
    let mut world = World::new(two_pods());
    world.record(seen(1, PodOut, &syn()));
    world.record(seen(2, PodIn, &tcp(SERVER, CLIENT, Flag::SynAck, 100)));
    world.until(1000);
    world.record(seen(1001, PodOut, &syn()));
    world.silent();
    world.record(seen(2001, PodOut, &syn()));
    let verdict = world.only();
    assert_eq!((verdict.cause, verdict.state), (Cause::Unknown, State::Active));
    assert_eq!(verdict.stage, Stage::Pod);
    assert!(verdict.summary.contains("reached the pod"), "{}", verdict.summary);
}

#[test]
fn an_answer_dropped_inside_the_pod_is_none_although_its_device_had_it() {
    let mut world = World::new(two_pods());
    world.record(seen(1, PodOut, &syn()));
    world.record(seen(2, PodIn, &tcp(SERVER, CLIENT, Flag::SynAck, 100)));
    world.record(dropped(2, &tcp(SERVER, CLIENT, Flag::SynAck, 100)));
    world.until(500);
    let verdict = world.only();
    assert_eq!((verdict.state, verdict.count), (State::Active, 1));
    assert_eq!(verdict.detail["packet"], "SYN-ACK");
    assert!(verdict.evidence[0].text.starts_with("SYN left the pod"), "{:?}", verdict.evidence);
}
