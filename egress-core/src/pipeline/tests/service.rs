//! Services with nobody behind them, and conntrack's own drops.

use egress_common::TapPoint::{PodIn, PodOut, UplinkOut};

use super::wire::{End, Flag, dropped, dropped_at, seen, state, syn_again, tcp};
use super::{NODE, World, two_pods};
use crate::cluster::testing::{Topology, policy};
use crate::input::Input;
use crate::node::{Answer, Holder, NodeChange, PortsInUse, Question, RangeInUse, Reading, Table, Towards};
use crate::node::{TranslationRule, Translations};
use crate::protocol::Protocol;
use crate::time::Mono;
use crate::verdict::{Cause, Confidence, HopOutcome, SocketAddress, Stage, Verdict};

const CLIENT: End = ("10.244.1.5", 40_000);
const WEB: End = ("10.96.0.20", 80);
const SERVER: End = ("203.0.113.4", 443);

fn syn(to: End) -> Vec<u8> {
    tcp(CLIENT, to, Flag::Syn, 100)
}

fn web(selector: &str, target: &str) -> Topology {
    two_pods().service("default/web", "10.96.0.20", selector, &format!("http:80:{target}/TCP"))
}

fn kind(verdict: &Verdict) -> &str {
    verdict.detail["kind"].as_str().unwrap()
}

/// The SYN to this address was rejected in FORWARD.
fn rejected(cluster: Topology, to: End) -> World {
    let mut world = World::new(cluster);
    world.record(seen(1, PodOut, &syn(to)));
    world.record(dropped(2, &syn(to)));
    world
}

/// The SYN left untranslated, again and again.
fn left(cluster: Topology, to: End) -> World {
    let mut world = World::new(cluster);
    for at in [1, 1001, 2001] {
        world.record(seen(at, PodOut, &syn(to)));
        world.record(seen(at, UplinkOut, &syn(to)));
        world.record(syn_again(at + 500, CLIENT, to));
    }
    world
}

#[test]
fn each_reason_for_having_no_endpoint_is_told() {
    let unready = "!10.244.2.7";
    for (cluster, word, says) in [
        (
            web("app=dbx", "8080").slice("default/web", "", ""),
            "no-endpoints",
            "pod default/db has all of it except",
        ),
        (
            web("app=none", "8080").slice("default/web", "", ""),
            "no-endpoints",
            "selects no pod of namespace default",
        ),
        (web("", "8080"), "no-endpoints", "it has no selector"),
        (
            web("app=db", "web").slice("default/web", "10.244.1.6", ""),
            "no-endpoints",
            "targetPort is \"web\"",
        ),
        (
            web("app=web", "80").slice("default/web", unready, "http:80/TCP"),
            "not-ready",
            "1 endpoint listed, none",
        ),
        (web("app=db", "80").slice("default/web", "", ""), "no-endpoints", "no EndpointSlice lists them"),
        (
            web("app=db", "80").but(|pod| pod.finished = true).slice("default/web", "", ""),
            "no-endpoints",
            "pod db (has finished)",
        ),
        (
            web("", "80").slice("default/web", "10.9.9.9", "https:80/TCP"),
            "no-endpoints",
            "(they hold \"https\")",
        ),
    ] {
        let world = rejected(cluster, WEB);
        let verdict = world.only();
        assert_eq!((verdict.cause, kind(verdict)), (Cause::ServiceNoEndpoints, word), "{}", verdict.summary);
        assert!(verdict.summary.contains(says), "{}: {says}", verdict.summary);
        assert_eq!(verdict.path[1].outcome, HopOutcome::Dropped);
    }
}

#[test]
fn a_port_that_the_service_lacks_is_told_wherever_it_fails() {
    let cluster = || web("app=db", "8080").slice("default/web", "10.244.1.6", "http:8080/TCP");
    for world in [rejected(cluster(), ("10.96.0.20", 81)), left(cluster(), ("10.96.0.20", 81))] {
        assert_eq!(kind(world.only()), "no-such-port");
        assert_eq!(world.only().confidence, Confidence::Certain);
    }
}

#[test]
fn a_ready_endpoint_and_a_packet_that_leaves_as_it_is_mean_that_the_node_does_not_know() {
    let world = left(web("app=db", "8080").slice("default/web", "10.244.1.6", "http:8080/TCP"), WEB);
    let verdict = world.only();
    assert_eq!((verdict.cause, kind(verdict)), (Cause::ServiceNoEndpoints, "not-programmed"));
    assert_eq!((verdict.confidence, verdict.stage), (Confidence::Certain, Stage::Node));
    assert!(verdict.summary.contains("1 ready endpoint (10.244.1.6:8080)"), "{}", verdict.summary);
}

#[test]
fn a_denied_service_with_an_endpoint_stays_the_policys_and_one_without_names_both() {
    let denied = |cluster: Topology| cluster.policy(policy("default/deny", "app=client").egress_to([]));
    let with = web("app=db", "8080").slice("default/web", "10.244.1.6", "http:8080/TCP");
    assert_eq!(rejected(denied(with), WEB).only().cause, Cause::PolicyDrop);
    let world = rejected(denied(web("app=no", "8080").slice("default/web", "", "")), WEB);
    assert_eq!(world.only().cause, Cause::ServiceNoEndpoints);
    assert!(world.only().hints[0].contains("policies (deny)"), "{:?}", world.only().hints);
}

#[test]
fn traffic_that_reached_a_backend_is_no_matter_of_the_service() {
    // The endpoint was there when the packet was translated, and is gone by the time of the verdict.
    let mut world = World::new(web("app=no", "8080").slice("default/web", "", ""));
    let translated = tcp(CLIENT, ("10.244.1.6", 8080), Flag::Syn, 100);
    for at in [1, 1001, 2001] {
        world.record(seen(at, PodOut, &syn(WEB)));
        world.record(seen(at, PodIn, &translated));
        world.record(syn_again(at + 500, CLIENT, WEB));
    }
    assert!(world.verdicts.iter().all(|verdict| verdict.cause != Cause::ServiceNoEndpoints));
}

#[test]
fn a_service_that_answers_makes_no_verdict() {
    let mut world = World::new(web("app=no", "8080").slice("default/web", "", ""));
    world.record(seen(1, PodOut, &syn(WEB)));
    world.record(state(2, CLIENT, WEB, 1, 0));
    world.until(3000);
    world.silent();
}

/// Reading of the conntrack table for the drop.
fn table(world: &mut World, towards: Option<Towards>, table: Table) {
    let question = Question::Table { netns: NODE, towards };
    let reading = Reading { question, answer: Some(Answer::Table(table)) };
    world.feed(Input::Node { at: Mono(3_000_000), change: NodeChange::Reading(reading) });
}

fn full() -> Table {
    Table {
        entries: 100,
        limit: 100,
        window_ms: 1200,
        dropped: 5,
        holders: vec![
            Holder { ip: "10.244.1.6".parse().unwrap(), entries: 90 },
            Holder { ip: "198.51.100.7".parse().unwrap(), entries: 10 },
        ],
        ..Table::default()
    }
}

/// A SYN was dropped in `nf_hook_slow` before routing, by whom is not known yet.
fn undecided() -> World {
    let mut world = World::new(two_pods());
    world.record(seen(1, PodOut, &syn(SERVER)));
    world.record(dropped_at(2, &syn(SERVER), false, None));
    assert_eq!(world.pipeline.take_readings(), [Question::Table { netns: NODE, towards: None }]);
    world.silent();
    world
}

#[test]
fn a_drop_while_the_table_refuses_at_its_maximum_is_the_tables() {
    let mut world = undecided();
    table(&mut world, None, full());
    let verdict = world.only();
    assert_eq!((verdict.cause, verdict.confidence), (Cause::ConntrackFull, Confidence::Certain));
    assert_eq!((&verdict.detail["count"], &verdict.detail["max"]), (&100.into(), &100.into()));
    assert_eq!(verdict.detail["top_talkers"][0], "default/db: 90");
    assert!(verdict.fix.as_ref().unwrap().text.contains("nf_conntrack_max=200"));
}

#[test]
fn a_full_table_that_dropped_nothing_and_a_drop_with_room_in_it_are_not() {
    for other in [
        Table { dropped: 0, ..full() },
        Table { dropped: 5, insert_failed: 5, ..full() },
        Table { entries: 50, ..full() },
    ] {
        let mut world = undecided();
        table(&mut world, None, other);
        assert_eq!(world.only().cause, Cause::FirewallDrop);
    }
    // Nobody answers: it is judged by what is known.
    let mut world = undecided();
    world.until(400);
    assert_eq!(world.only().cause, Cause::FirewallDrop);
}

#[test]
fn a_used_up_port_range_needs_the_ports_to_be_used_up() {
    let end = |ip: &str, port| SocketAddress { ip: ip.parse().unwrap(), port };
    let towards = Towards {
        protocol: Protocol::Tcp,
        source: "192.0.2.1".parse().unwrap(),
        destination: end(SERVER.0, 443),
    };
    let rule = TranslationRule {
        family: "ip".to_owned(),
        place: "ip nat post handle 3".to_owned(),
        action: "masquerade".to_owned(),
        ports: Some((61_000, 61_001)),
        comment: None,
    };
    // Other flows use ports outside the range.
    let used = |count, all| Table {
        insert_failed: 2,
        dropped: 2,
        ports: Some(PortsInUse {
            count: all,
            ranges: vec![RangeInUse { lowest: 61_000, highest: 61_001, count, holders: Vec::new() }],
            holders: Vec::new(),
        }),
        ..full()
    };
    for (rules, state, cause) in [
        (vec![rule.clone()], used(2, 9), Cause::NatExhausted),
        // One of two is free; a rule without a range has more; two flows happened to want the same port.
        (vec![rule.clone()], used(1, 9), Cause::FirewallDrop),
        (vec![], used(2, 9), Cause::FirewallDrop),
        (vec![], used(2, 64_000), Cause::NatExhausted),
        (vec![rule], Table { insert_failed: 0, ..used(2, 9) }, Cause::FirewallDrop),
    ] {
        let mut world = World::new(two_pods());
        world.record(seen(1, PodOut, &syn(SERVER)));
        let packet = tcp(("192.0.2.1", 61_000), SERVER, Flag::Syn, 100);
        world.record(dropped_at(2, &packet, true, Some((CLIENT, SERVER, ("192.0.2.1", 61_000)))));
        let translations = Question::Translations { netns: NODE };
        let asked = [Question::Table { netns: NODE, towards: Some(towards) }, translations.clone()];
        assert_eq!(world.pipeline.take_readings(), asked);
        table(&mut world, Some(towards), state);
        let answer = Some(Answer::Translations(Translations { rules, unread: Vec::new() }));
        let change = NodeChange::Reading(Reading { question: translations, answer });
        world.feed(Input::Node { at: Mono(4_000_000), change });
        assert_eq!(world.only().cause, cause, "{}", world.only().summary);
    }
}
