//! DNS: lookups that fail, and those that only look so.

use std::str::FromStr;

use egress_common::TapPoint::{PodIn, PodOut};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::wire::{End, dropped, seen_dns, udp};
use super::{World, two_pods};
use crate::cluster::{CiliumPolicy, CiliumSelector, CiliumSpec, Expression, Operator};
use crate::verdict::{Affects, Cause, State};

pub(super) const CLIENT: End = ("10.244.1.5", 50_000);
pub(super) const SERVER: End = ("10.96.0.10", 53);
pub(super) const NX: ResponseCode = ResponseCode::NXDomain;

pub(super) fn message(
    id: u16,
    name: &str,
    kind: RecordType,
    answer: Option<(ResponseCode, bool)>,
) -> Vec<u8> {
    let name = Name::from_str(&format!("{name}.")).unwrap();
    let role = if answer.is_some() { MessageType::Response } else { MessageType::Query };
    let mut message = Message::new(id, role, OpCode::Query);
    message.add_query(Query::query(name.clone(), kind));
    if let Some((code, filled)) = answer {
        message.metadata.response_code = code;
        if filled {
            let address = RData::A(std::net::Ipv4Addr::new(203, 0, 113, 4).into());
            message.add_answer(Record::from_rdata(name, 60, address));
        }
    }
    message.to_vec().unwrap()
}

impl World {
    fn ask(&mut self, at: u64, id: u16, name: &str) {
        self.ask_for(at, id, name, RecordType::A);
    }

    fn ask_for(&mut self, at: u64, id: u16, name: &str, kind: RecordType) {
        self.record(seen_dns(at, PodOut, &udp(CLIENT, SERVER, &message(id, name, kind, None))));
    }

    fn answer(&mut self, at: u64, id: u16, name: &str, code: ResponseCode, filled: bool) {
        let payload = message(id, name, RecordType::A, Some((code, filled)));
        self.record(seen_dns(at, PodIn, &udp(SERVER, CLIENT, &payload)));
    }
}

#[test]
fn the_search_path_that_ends_in_success_is_no_failure() {
    let mut world = World::new(two_pods());
    for (id, name) in
        [(1, "api.stripe.com.default.svc.cluster.local"), (2, "api.stripe.com.svc.cluster.local")]
    {
        world.ask(u64::from(id), id, name);
        world.answer(u64::from(id), id, name, NX, false);
    }
    world.ask(4, 4, "api.stripe.com");
    world.answer(5, 4, "api.stripe.com", ResponseCode::NoError, true);
    world.until(10_000);
    world.silent();
}

#[test]
fn a_name_that_does_not_exist_is_told_once_by_the_name_that_was_asked() {
    let mut world = World::new(two_pods());
    for (id, name) in [(1, "nope.example.default.svc.cluster.local"), (2, "nope.example")] {
        world.ask(u64::from(id), id, name);
        world.answer(u64::from(id), id, name, NX, false);
    }
    world.until(900);
    world.silent();
    world.until(2000);
    let verdict = world.only();
    assert_eq!(verdict.cause, Cause::DnsFailure);
    assert_eq!(verdict.detail["outcome"], "nxdomain");
    assert_eq!(verdict.peer.name.as_deref(), Some("nope.example"));
    assert_eq!(verdict.detail["asked"].as_array().unwrap().len(), 2);
}

#[test]
fn server_errors_are_told_by_their_code() {
    for (code, outcome) in [(ResponseCode::ServFail, "servfail"), (ResponseCode::Refused, "refused")] {
        let mut world = World::new(two_pods());
        world.ask(1, 1, "a.example");
        world.answer(2, 1, "a.example", code, false);
        world.until(2000);
        assert_eq!(world.only().detail["outcome"], outcome);
    }
}

#[test]
fn an_unanswered_question_is_a_timeout_when_it_is_asked_again_and_cleared_by_an_answer() {
    let mut world = World::new(two_pods());
    world.ask(1, 1, "slow.example");
    world.until(2000);
    world.silent();
    world.ask(2000, 1, "slow.example");
    world.until(2100);
    assert_eq!(world.only().detail["outcome"], "timeout");
    world.until(2950);
    world.answer(3000, 1, "slow.example", ResponseCode::NoError, true);
    world.until(3100);
    assert_eq!(world.only().state, State::Cleared);
}

#[test]
fn an_answer_after_four_seconds_is_slow_but_no_failure() {
    let mut world = World::new(two_pods());
    world.ask(1, 1, "slow.example");
    world.until(4000);
    world.answer(4000, 1, "slow.example", ResponseCode::NoError, true);
    world.until(10_000);
    world.silent();
}

#[test]
fn dns_that_a_policy_blocks_is_a_policy_drop_that_affects_dns_within_a_second() {
    let mut world = World::denied();
    let question = udp(CLIENT, SERVER, &message(1, "api.stripe.com", RecordType::A, None));
    world.record(seen_dns(1, PodOut, &question));
    world.record(dropped(1, &question));
    world.until(1000);
    let verdict = world.only();
    assert_eq!((verdict.cause, verdict.affects), (Cause::PolicyDrop, Affects::Dns));
    assert_eq!(verdict.detail["names"][0], "api.stripe.com");
    world.ask(5000, 1, "api.stripe.com");
    world.until(20_000);
    world.only();
}

#[test]
fn the_name_that_was_resolved_names_the_peer() {
    let mut world = World::denied();
    world.ask(1, 1, "api.stripe.com");
    world.answer(2, 1, "api.stripe.com", ResponseCode::NoError, true);
    let syn = super::wire::tcp(CLIENT, ("203.0.113.4", 443), super::wire::Flag::Syn, 3);
    world.record(dropped(3, &syn));
    assert_eq!(world.only().peer.name.as_deref(), Some("api.stripe.com"));
}

#[test]
fn the_fix_goes_by_the_name_that_was_resolved_where_cilium_isolates() {
    let selector = CiliumSelector {
        requirements: vec![Expression {
            key: "app".into(),
            operator: Operator::In,
            values: vec!["client".into()],
        }],
    };
    let spec = CiliumSpec { selector, isolates_egress: true, ..CiliumSpec::default() };
    let closed = CiliumPolicy { namespace: "default".into(), name: "closed".into(), specs: vec![spec] };
    let mut world = World::new(two_pods().with(closed));
    world.filter("inet", "cni", "forward");
    world.ask(1, 1, "api.stripe.com");
    world.answer(2, 1, "api.stripe.com", ResponseCode::NoError, true);
    let syn = super::wire::tcp(CLIENT, ("203.0.113.4", 443), super::wire::Flag::Syn, 3);
    world.record(dropped(3, &syn));
    let fix = world.only().fix.as_ref().unwrap();
    let manifest = fix.manifest.as_ref().unwrap();
    assert!(
        manifest.contains("matchName: api.stripe.com\n") && !manifest.contains("203.0.113.4"),
        "{manifest}"
    );
}

#[test]
fn a_forwarder_that_asks_on_with_the_same_identifier_does_not_hide_its_client() {
    let mut world = World::new(two_pods());
    // `default/db` is the DNS server here, and asks its own upstream.
    let (server, upstream): (End, End) = (("10.244.1.6", 53), ("198.51.100.53", 53));
    let question = message(7, "nope.example", RecordType::A, None);
    let answer = message(7, "nope.example", RecordType::A, Some((NX, false)));
    world.record(seen_dns(1, PodOut, &udp(CLIENT, SERVER, &question)));
    world.record(seen_dns(1, PodIn, &udp(CLIENT, server, &question)));
    world.record(seen_dns(2, PodOut, &udp(("10.244.1.6", 41_000), upstream, &question)));
    world.record(seen_dns(3, PodIn, &udp(upstream, ("10.244.1.6", 41_000), &answer)));
    world.record(seen_dns(4, PodIn, &udp(SERVER, CLIENT, &answer)));
    world.until(3000);
    let verdict = world.only();
    assert_eq!(verdict.pod.name, "api-client");
    assert_eq!(verdict.path.last().unwrap().outcome, crate::verdict::HopOutcome::Refused);
}

#[test]
fn a_name_without_ipv6_addresses_is_no_failure_when_only_those_are_asked_for() {
    let mut world = World::new(two_pods());
    world.ask_for(1, 1, "v4only.example", RecordType::AAAA);
    let answer = message(1, "v4only.example", RecordType::AAAA, Some((ResponseCode::NoError, false)));
    world.record(seen_dns(2, PodIn, &udp(SERVER, CLIENT, &answer)));
    world.until(5000);
    world.silent();
}

#[test]
fn a_name_that_resolves_a_minute_later_is_cleared() {
    let mut world = World::new(two_pods());
    world.ask(1, 1, "new.example");
    world.answer(2, 1, "new.example", NX, false);
    world.until(60_000);
    world.ask(60_000, 2, "new.example");
    world.answer(60_001, 2, "new.example", ResponseCode::NoError, true);
    world.until(60_100);
    assert_eq!(world.only().state, State::Cleared);
}
