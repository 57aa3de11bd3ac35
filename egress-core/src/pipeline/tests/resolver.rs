//! DNS as resolvers and servers do it: what is asked again, in parallel, over TCP, on behalf of others.

use egress_common::TapPoint::{PodIn, PodOut, UplinkIn, UplinkOut};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType::{A, AAAA, SRV};

use super::dns::{CLIENT, NX, SERVER, message};
use super::wire::{End, dropped_for, seen_dns, tcp_data, udp};
use super::{World, two_pods};
use crate::verdict::{Confidence, Stage, State};

const OK: Option<(ResponseCode, bool)> = Some((ResponseCode::NoError, true));
const EMPTY: Option<(ResponseCode, bool)> = Some((ResponseCode::NoError, false));
const FAILED: Option<(ResponseCode, bool)> = Some((ResponseCode::ServFail, false));
/// `default/db`, a DNS server in some of these tests.
const DB: End = ("10.244.1.6", 53);
const UPSTREAM: End = ("198.51.100.53", 53);

impl World {
    fn asks(&mut self, at: u64, from: End, to: End, payload: &[u8]) {
        self.record(seen_dns(at, PodOut, &udp(from, to, payload)));
    }

    fn gets(&mut self, at: u64, from: End, to: End, payload: &[u8]) {
        self.record(seen_dns(at, PodIn, &udp(from, to, payload)));
    }
}

#[test]
fn a_dead_server_beside_a_live_one_that_is_asked_at_the_same_time_does_no_harm() {
    let mut world = World::new(two_pods());
    for start in [0, 4000, 8000] {
        world.until(start);
        let id = u16::try_from(start).unwrap();
        let question = message(id, "a.example", A, None);
        world.asks(start + 1, CLIENT, UPSTREAM, &question);
        world.asks(start + 1, CLIENT, SERVER, &question);
        world.gets(start + 3, SERVER, CLIENT, &message(id, "a.example", A, OK));
    }
    world.until(30_000);
    world.silent();
}

#[test]
fn two_processes_that_want_the_same_slow_name_repeat_nothing() {
    let mut world = World::new(two_pods());
    world.asks(1, CLIENT, SERVER, &message(1, "slow.example", A, None));
    world.until(1500);
    let other = (CLIENT.0, 50_001);
    world.asks(1500, other, SERVER, &message(2, "slow.example", A, None));
    world.until(3000);
    world.gets(3000, SERVER, CLIENT, &message(1, "slow.example", A, OK));
    world.gets(3001, SERVER, other, &message(2, "slow.example", A, OK));
    world.until(20_000);
    world.silent();
}

#[test]
fn one_of_a_pair_that_is_asked_again_is_a_timeout_and_told_once() {
    let mut world = World::new(two_pods());
    world.asks(1, CLIENT, SERVER, &message(1, "half.example", A, None));
    world.asks(1, CLIENT, SERVER, &message(2, "half.example", AAAA, None));
    world.gets(2, SERVER, CLIENT, &message(1, "half.example", A, OK));
    world.until(5000);
    world.silent();
    world.asks(5001, CLIENT, SERVER, &message(2, "half.example", AAAA, None));
    world.until(25_000);
    let verdict = world.only();
    assert_eq!((&verdict.detail["outcome"], &verdict.detail["kind"]), (&"timeout".into(), &"pair".into()));
    assert_eq!((verdict.count, verdict.state), (2, State::Active));
}

#[test]
fn one_of_a_pair_may_be_asked_when_the_other_is_answered_already() {
    let mut world = World::new(two_pods());
    world.asks(1, CLIENT, SERVER, &message(1, "half.example", A, None));
    world.gets(2, SERVER, CLIENT, &message(1, "half.example", A, OK));
    world.asks(3, CLIENT, SERVER, &message(2, "half.example", AAAA, None));
    world.asks(5001, CLIENT, SERVER, &message(2, "half.example", AAAA, None));
    world.until(25_000);
    assert_eq!(world.only().detail["kind"], "pair");
}

#[test]
fn an_ipv6_name_that_does_not_exist_beside_a_silent_ipv4_one_stays_a_timeout() {
    let mut world = World::new(two_pods());
    world.asks(1, CLIENT, SERVER, &message(1, "half.example", A, None));
    world.asks(1, CLIENT, SERVER, &message(2, "half.example", AAAA, None));
    world.gets(2, SERVER, CLIENT, &message(2, "half.example", AAAA, EMPTY));
    world.until(25_000);
    let verdict = world.only();
    assert_eq!((&verdict.detail["outcome"], verdict.count), (&"timeout".into(), 1));
    // Told once: the question that left, and that nothing came.
    assert_eq!(verdict.evidence.len(), 2, "{:#?}", verdict.evidence);
}

#[test]
fn a_question_that_is_understood_without_its_extension_is_no_failure() {
    let mut world = World::new(two_pods());
    world.asks(1, CLIENT, SERVER, &message(1, "old.example", A, None));
    world.gets(2, SERVER, CLIENT, &message(1, "old.example", A, Some((ResponseCode::FormErr, false))));
    world.asks(3, CLIENT, SERVER, &message(2, "old.example", A, None));
    world.gets(4, SERVER, CLIENT, &message(2, "old.example", A, OK));
    world.until(10_000);
    world.silent();
}

#[test]
fn services_that_are_only_probed_for_are_no_failure() {
    let mut world = World::new(two_pods());
    world.asks(1, CLIENT, SERVER, &message(1, "_http._tcp.deb.example", SRV, None));
    world.gets(2, SERVER, CLIENT, &message(1, "_http._tcp.deb.example", SRV, Some((NX, false))));
    world.until(10_000);
    world.silent();
}

#[test]
fn a_segment_that_is_sent_again_is_no_question_that_is_asked_again() {
    let mut world = World::new(two_pods());
    let question = message(1, "a.example", A, None);
    for at in [1, 1200, 2500] {
        world.record(seen_dns(at, PodOut, &tcp_data(CLIENT, SERVER, &question)));
        world.until(at + 50);
    }
    world.record(seen_dns(3000, PodIn, &tcp_data(SERVER, CLIENT, &message(1, "a.example", A, OK))));
    world.until(20_000);
    world.silent();
}

#[test]
fn names_are_told_as_they_were_asked_under_whatever_search_list() {
    for (asked, wire) in [
        // The node's list, for a name that is tried with it first.
        ("intranet", vec!["intranet.corp.example", "intranet.lab.example", "intranet"]),
        // The cluster's, with a domain of its own, and the node's behind it.
        ("db", vec!["db.default.svc.k8s.corp", "db.svc.k8s.corp", "db.k8s.corp", "db.corp.example", "db"]),
        // Asked as it stands first.
        ("www.example", vec!["www.example", "www.example.corp.example"]),
        // No expansion: the pod lives in another namespace.
        ("db.other.svc.cluster.local", vec!["db.other.svc.cluster.local"]),
    ] {
        let mut world = World::new(two_pods());
        for (id, name) in (1..).zip(&wire) {
            world.asks(u64::from(id) * 10, CLIENT, SERVER, &message(id, name, A, None));
            world.gets(u64::from(id) * 10 + 5, SERVER, CLIENT, &message(id, name, A, Some((NX, false))));
        }
        world.until(5000);
        let verdict = world.only();
        assert_eq!(verdict.peer.name.as_deref(), Some(asked));
        assert_eq!(verdict.detail["asked"].as_array().unwrap().len(), wire.len());
    }
}

#[test]
fn two_short_names_of_one_search_list_stay_apart() {
    let mut world = World::new(two_pods());
    for (id, name) in (1..).zip(["web.corp.example", "web.lab.example", "web"]) {
        world.asks(u64::from(id), CLIENT, SERVER, &message(id, name, A, None));
        world.gets(u64::from(id), SERVER, CLIENT, &message(id, name, A, Some((NX, false))));
    }
    world.until(3000);
    for (id, name) in (10..).zip(["web.corp.example", "other.lab.example"]) {
        world.asks(3000 + u64::from(id), CLIENT, SERVER, &message(id, name, A, None));
        let code = if id == 10 { OK } else { Some((NX, false)) };
        world.gets(3000 + u64::from(id), SERVER, CLIENT, &message(id, name, A, code));
    }
    world.until(6000);
    let names: Vec<_> = world.verdicts.iter().filter_map(|verdict| verdict.peer.name.clone()).collect();
    assert_eq!(names, ["web", "other.lab.example"]);
}

#[test]
fn the_upstream_that_a_server_asks_with_an_identifier_of_its_own_is_named() {
    let mut world = World::new(two_pods());
    world.asks(1, CLIENT, DB, &message(1, "a.example", A, None));
    world.gets(1, CLIENT, DB, &message(1, "a.example", A, None));
    let own = message(999, "a.example", A, None);
    world.asks(2, ("10.244.1.6", 41_000), UPSTREAM, &own);
    world.record(seen_dns(2, UplinkOut, &udp(("192.0.2.1", 41_000), UPSTREAM, &own)));
    world.until(2000);
    world.asks(2001, DB, CLIENT, &message(1, "a.example", A, FAILED));
    world.gets(2001, DB, CLIENT, &message(1, "a.example", A, FAILED));
    world.until(4000);
    let verdict = world.only();
    assert_eq!(
        (&verdict.detail["outcome"], &verdict.detail["upstream"]),
        (&"servfail".into(), &UPSTREAM.0.into())
    );
    assert_eq!(verdict.detail["upstream_outcome"], "timeout");
    world.until(8000);
    let own = world.verdicts.iter().find(|verdict| verdict.pod.name == "db").unwrap();
    assert_eq!((&own.detail["outcome"], own.stage), (&"timeout".into(), Stage::Upstream));
}

#[test]
fn an_answer_that_came_to_the_node_but_not_to_the_pod_is_said_so_and_not_sure() {
    let mut world = World::new(two_pods());
    let question = message(1, "a.example", A, None);
    world.asks(1, CLIENT, UPSTREAM, &question);
    world.record(seen_dns(1, UplinkOut, &udp(("192.0.2.1", 50_000), UPSTREAM, &question)));
    world.record(seen_dns(
        5,
        UplinkIn,
        &udp(UPSTREAM, ("192.0.2.1", 50_000), &message(1, "a.example", A, OK)),
    ));
    world.until(7000);
    let verdict = world.only();
    assert_eq!((verdict.confidence, verdict.stage), (Confidence::Likely, Stage::Node));
    assert_eq!(verdict.detail["reached"], "answer-lost");
}

#[test]
fn an_answer_that_nobody_waits_for_is_a_failure_of_patience() {
    let mut world = World::new(two_pods());
    world.asks(1, CLIENT, SERVER, &message(1, "slow.example", A, None));
    world.until(2000);
    let answer = udp(SERVER, CLIENT, &message(1, "slow.example", A, OK));
    world.record(seen_dns(2000, PodIn, &answer));
    world.record(dropped_for(2001, &answer, 3));
    world.until(30_000);
    let verdict = world.only();
    assert_eq!((&verdict.detail["late_seconds"], verdict.state), (&2.into(), State::Active));
    assert_eq!(verdict.count, 1);
}

#[test]
fn a_server_with_several_names_open_stays_bounded() {
    let mut world = World::new(two_pods());
    for n in 0..20_000_u64 {
        let id = u16::try_from(n % 60_000).unwrap();
        world.asks(n, CLIENT, SERVER, &message(id, &format!("n{n}.example"), A, None));
    }
    assert!(world.pipeline.forgotten() > 0);
}
