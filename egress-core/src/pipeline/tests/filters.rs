//! Who dropped or refused it: programs, filters inside pods, rejections made on this node, and SCTP.

use egress_common::TapPoint::{PodIn, PodOut, UplinkIn, UplinkOut};

use super::wire::{End, Flag, dropped, dropped_but, sctp, seen, tcp, told_chain};
use super::{NODE, World, two_pods};
use crate::input::Input;
use crate::node::{
    Device, DeviceProgram, DeviceRole, FilterAnswer, FilterChain, FilterQuery, Filters, NodeChange,
    NodeNetwork,
};
use crate::time::Mono;
use crate::verdict::{Affects, Cause, Confidence, Stage, State};

const CLIENT: End = ("10.244.1.5", 40_000);
const SERVER: End = ("203.0.113.4", 443);
const LEFT: End = ("192.0.2.1", 40_000);
/// Namespace of `default/api-client`.
const POD: u32 = 77;

fn syn() -> Vec<u8> {
    tcp(CLIENT, SERVER, Flag::Syn, 100)
}

fn reset() -> Vec<u8> {
    tcp(SERVER, CLIENT, Flag::Rst, 100)
}

impl World {
    fn filtering(&mut self, millis: u64, answer: FilterAnswer) {
        let at = Mono(millis * 1_000_000);
        self.feed(Input::Node { at, change: NodeChange::Filtering(answer) });
    }
}

#[test]
fn a_reset_that_no_remote_sent_is_likely_the_policys_or_a_firewalls() {
    for (mut world, cause) in
        [(World::denied(), Cause::PolicyDrop), (World::new(two_pods()), Cause::FirewallDrop)]
    {
        world.record(seen(1, PodOut, &syn()));
        world.record(seen(2, PodIn, &reset()));
        let verdict = world.only();
        assert_eq!((verdict.cause, verdict.confidence), (cause, Confidence::Likely));
        assert_eq!(verdict.detail["rejected_with"], "tcp-reset");
        assert_eq!(verdict.stage, Stage::Node);
    }
}

#[test]
fn the_drop_behind_a_rejection_makes_it_sure() {
    let mut world = World::denied();
    world.record(seen(1, PodOut, &syn()));
    world.record(seen(2, PodIn, &reset()));
    world.record(dropped(2, &syn()));
    let verdict = world.only();
    assert_eq!((verdict.cause, verdict.confidence), (Cause::PolicyDrop, Confidence::Certain));
    assert_eq!(verdict.detail["rejected_with"], "tcp-reset");
    assert_eq!(verdict.detail["rule"], "handle 4 drop");
}

#[test]
fn a_drop_is_by_the_chain_that_the_kernel_names() {
    let mut world = World::new(two_pods());
    // A drop that is not the one meant, and a name that was cut.
    world.record(told_chain(1, 1, "early", "c"));
    world.record(told_chain(2, 1, &"x".repeat(63), "c"));
    world.record(told_chain(2, 10, "fw", "front"));
    world.record(dropped(2, &syn()));
    let verdict = world.only();
    assert_eq!((verdict.cause, verdict.confidence), (Cause::FirewallDrop, Confidence::Certain));
    assert_eq!(verdict.detail["table"], "ip6 fw");
    assert_eq!(verdict.detail["chain"], "ip6 fw front");
    assert_eq!(verdict.detail["hook"], "FORWARD");

    let mut world = World::new(two_pods());
    world.record(told_chain(1, 1, "early", "c"));
    world.record(dropped(2, &syn()));
    assert_eq!(world.only().detail.get("chain"), None);
}

#[test]
fn a_remotes_reset_is_not_the_nodes() {
    let mut world = World::denied();
    world.record(seen(1, PodOut, &syn()));
    world.record(seen(1, UplinkOut, &tcp(LEFT, SERVER, Flag::Syn, 100)));
    world.record(seen(2, UplinkIn, &tcp(SERVER, LEFT, Flag::Rst, 100)));
    world.record(seen(2, PodIn, &reset()));
    assert_eq!(world.only().cause, Cause::UpstreamRefused);
}

#[test]
fn where_the_way_out_is_not_watched_a_reset_stays_unknown_and_says_what_would_decide() {
    let mut world = World::denied();
    let device = |index, name: &str, role| Device { index, name: name.to_owned(), role, ..Device::default() };
    let network = NodeNetwork {
        netns: NODE,
        devices: vec![device(2, "eth0", DeviceRole::Uplink), device(10, "veth5", DeviceRole::Pod)],
        ..NodeNetwork::default()
    };
    world.feed(Input::Node { at: Mono(0), change: NodeChange::Network(network) });
    world.record(seen(1, PodOut, &syn()));
    world.record(seen(2, PodIn, &reset()));
    let verdict = world.only();
    assert_eq!((verdict.cause, verdict.confidence), (Cause::Unknown, Confidence::Possible));
    assert!(verdict.hints[0].contains("tcpdump on the uplink"), "{:?}", verdict.hints);
}

#[test]
fn a_tc_program_is_asked_for_and_named() {
    let program = |name: &str| DeviceProgram { hook: "ingress".to_owned(), name: name.to_owned() };
    for (programs, confidence) in [
        (vec![program("cil_from_contai")], Confidence::Certain),
        (vec![program("cil_from_contai"), program("other")], Confidence::Likely),
        (Vec::new(), Confidence::Likely),
    ] {
        let mut world = World::denied();
        world.record(dropped_but(1, &syn(), |record| record.reason = 8));
        assert_eq!(world.only().confidence, Confidence::Likely);
        let query = FilterQuery { netns: NODE, device: 10 };
        assert_eq!(world.pipeline.take_filter_questions(), [query]);
        world.filtering(5, FilterAnswer { query, filters: None, programs: programs.clone() });
        let verdict = world.only();
        assert_eq!((verdict.cause, verdict.confidence), (Cause::PolicyDrop, confidence));
        assert_eq!(verdict.count, 1);
        assert_eq!(verdict.path[1].r#where.as_deref(), Some("tc ingress of veth5"));
        match programs.as_slice() {
            [one] => assert_eq!(verdict.detail["program"], one.name.as_str()),
            [] => assert!(!verdict.detail.contains_key("program")),
            _ => assert_eq!(verdict.detail["programs"][1], "other"),
        }
    }
}

#[test]
fn who_dropped_it_is_not_told_anew_once_the_connection_came_about() {
    let mut world = World::denied();
    world.record(dropped_but(1, &syn(), |record| record.reason = 8));
    let [query] = world.pipeline.take_filter_questions()[..] else { panic!("one question") };
    let again: End = ("10.244.1.5", 40_001);
    world.record(seen(100, PodOut, &tcp(again, SERVER, Flag::Syn, 900)));
    world.record(seen(101, PodIn, &tcp(SERVER, again, Flag::SynAck, 900)));
    world.until(150);
    assert_eq!(world.only().state, State::Cleared);
    let programs = vec![DeviceProgram { hook: "ingress".to_owned(), name: "late".to_owned() }];
    world.filtering(160, FilterAnswer { query, filters: None, programs });
    assert_eq!((world.only().state, world.only().count), (State::Cleared, 1));
}

#[test]
fn a_filter_inside_the_pod_is_read_there_and_not_in_the_node() {
    let mut world = World::denied();
    let netns = NodeChange::PodNetns {
        namespace: "default".to_owned(),
        name: "api-client".to_owned(),
        netns: POD,
        device: Some("eth0".to_owned()),
        mtu: 1500,
    };
    world.feed(Input::Node { at: Mono(0), change: netns });
    // Local output: no device, the packet came in by none.
    world.record(dropped_but(1, &syn(), |record| {
        record.header.netns = POD;
        record.header.flags |= egress_common::flags::NO_DEVICE;
        record.dst_input = 0;
        record.dst_output = 1;
        record.iif = 0;
    }));
    let verdict = world.only();
    assert_eq!((verdict.stage, verdict.confidence), (Stage::Pod, Confidence::Likely));
    assert!(!verdict.detail.contains_key("table"), "the node's table is blamed: {:?}", verdict.detail);
    let query = FilterQuery { netns: POD, device: 0 };
    assert_eq!(world.pipeline.take_filter_questions(), [query]);
    let chain = FilterChain {
        backend: "nftables".to_owned(),
        family: "inet".to_owned(),
        table: "guard".to_owned(),
        chain: "out".to_owned(),
        hook: "output".to_owned(),
        priority: 0,
        drops_by_default: false,
        dropping_rules: vec!["handle 2 drop".to_owned()],
        devices: Vec::new(),
    };
    let filters = Some(Filters { chains: vec![chain], unread: Vec::new() });
    world.filtering(3, FilterAnswer { query, filters, programs: Vec::new() });
    let verdict = world.only();
    assert_eq!(verdict.confidence, Confidence::Certain);
    assert_eq!(verdict.detail["chain"], "inet guard out");
    assert_eq!(verdict.detail["hook"], "OUTPUT");
}

#[test]
fn an_association_is_accepted_refused_dropped_or_met_by_silence() {
    let server: End = ("203.0.113.4", 3868);
    let init = sctp(CLIENT, server, 1);
    let opened = |world: &mut World, at| {
        world.record(seen(at, PodOut, &init));
        world.record(seen(at, UplinkOut, &sctp(LEFT, server, 1)));
    };
    let answered = |world: &mut World, chunk| {
        world.record(seen(2, UplinkIn, &sctp(server, LEFT, chunk)));
        world.record(seen(2, PodIn, &sctp(server, CLIENT, chunk)));
        world.until(8000);
    };

    let mut world = World::new(two_pods());
    opened(&mut world, 1);
    answered(&mut world, 2);
    world.silent();

    let mut world = World::new(two_pods());
    opened(&mut world, 1);
    answered(&mut world, 6);
    let verdict = world.only();
    assert_eq!((verdict.cause, verdict.affects), (Cause::UpstreamRefused, Affects::Sctp));

    let mut world = World::new(two_pods());
    opened(&mut world, 1);
    world.until(3000);
    world.silent();
    opened(&mut world, 3001);
    world.until(3100);
    assert_eq!(world.only().cause, Cause::UpstreamTimeout);

    let mut world = World::denied();
    world.record(seen(1, PodOut, &init));
    world.record(dropped(1, &init));
    world.until(1000);
    let verdict = world.only();
    assert_eq!((verdict.cause, verdict.confidence), (Cause::PolicyDrop, Confidence::Certain));
    assert_eq!(verdict.detail["packet"], "INIT");
}

#[test]
fn an_abort_of_an_association_that_was_is_no_failure() {
    let server: End = ("203.0.113.4", 3868);
    let mut world = World::new(two_pods());
    world.record(seen(1, PodOut, &sctp(CLIENT, server, 1)));
    world.record(seen(2, PodIn, &sctp(server, CLIENT, 2)));
    world.record(seen(900, PodIn, &sctp(server, CLIENT, 6)));
    world.record(seen(901, PodOut, &sctp(CLIENT, server, 6)));
    world.until(9000);
    world.silent();
}

/// Kinds of drift counted so far.
fn drifts(world: &mut World) -> Vec<&'static str> {
    let kind = |tally: crate::tally::Tally| match tally.what {
        crate::tally::Counted::Drift { kind } => Some(kind),
        _ => None,
    };
    world.pipeline.take_tallies().into_iter().filter_map(kind).collect()
}

#[test]
fn a_connection_that_policies_deny_is_drift_once_they_have_settled() {
    let connect = |world: &mut World, at: u64, isn| {
        world.record(seen(at, PodOut, &tcp(CLIENT, SERVER, Flag::Syn, isn)));
        world.record(seen(at, UplinkOut, &tcp(LEFT, SERVER, Flag::Syn, isn)));
        world.record(seen(at + 1, PodIn, &tcp(SERVER, CLIENT, Flag::SynAck, isn)));
        world.until(at + 50);
    };
    let mut world = World::denied();
    // The plugin may not have followed yet.
    connect(&mut world, 5_000, 1);
    assert!(drifts(&mut world).is_empty());
    connect(&mut world, 12_000, 2);
    connect(&mut world, 13_000, 3);
    assert_eq!(drifts(&mut world), ["denied-but-passed"]);
    let told = world.pipeline.drifts();
    assert!(
        told.len() == 1
            && told[0].contains("does not enforce")
            && told[0].contains("default/deny-all-egress"),
        "{told:?}"
    );
    world.silent();
    let mut world = World::new(two_pods());
    connect(&mut world, 12_000, 1);
    assert!(drifts(&mut world).is_empty());
}

#[test]
fn what_the_plugin_drops_although_policies_allow_it_is_drift_too() {
    let mut world = World::new(two_pods());
    world.filter("ip", "filter", "cali-FORWARD");
    world.record(dropped(20_000, &syn()));
    assert_eq!(world.only().detail["owner"], "Calico");
    assert!(world.only().fix.as_ref().unwrap().text.contains("Calico drops what the NetworkPolicies allow"));
    assert_eq!(drifts(&mut world), ["allowed-but-dropped"]);
    let told = world.pipeline.drifts();
    assert!(told.len() == 1 && told[0].contains("drops what policies allow: 1 failure"), "{told:?}");
}

#[test]
fn silence_behind_a_policy_that_denies_hints_at_the_plugin() {
    let mut world = World::denied();
    for at in [20_000, 21_000, 22_000] {
        world.record(seen(at, PodOut, &syn()));
        world.record(seen(at, UplinkOut, &tcp(LEFT, SERVER, Flag::Syn, 100)));
    }
    let verdict = world.only();
    assert_eq!(verdict.cause, Cause::UpstreamTimeout);
    assert!(verdict.hints.iter().any(|hint| hint.starts_with("the CNI lets through what policy denies")));
}
