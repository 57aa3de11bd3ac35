//! Routes that are missing or refuse, full queues, and what must not be told of them.

use egress_common::TapPoint::{PodIn, PodOut, UplinkIn, UplinkOut};

use super::wire::{End, Flag, dropped_by, no_route, seen, state, syn_again, tcp};
use super::{NODE, World, two_pods};
use crate::input::Input;
use crate::node::{
    Answer, NodeChange, NodeNetwork, Question, Queue, Reading, Refusal, Route, RouteAnswer, Rule, RuleAction,
};
use crate::protocol::Protocol;
use crate::time::Mono;
use crate::verdict::{Cause, Confidence, HopOutcome, Stage};

const CLIENT: End = ("10.244.1.5", 40_000);
const SERVER: End = ("203.0.113.4", 443);
const DB: End = ("10.244.1.6", 5432);
/// Namespaces of `default/api-client` and of `default/db`.
const POD: u32 = 77;
const DB_POD: u32 = 78;

/// The number of `IP_INNOROUTES` and an address within `ip_error`.
const NO_ROUTE: (u32, u64) = (30, 7100);
/// The number of `QDISC_DROP` and an address within `__dev_queue_xmit`.
const QUEUE_FULL: (u32, u64) = (31, 9100);

fn world() -> World {
    let mut world = World::new(two_pods());
    for (name, netns) in [("api-client", POD), ("db", DB_POD)] {
        let (namespace, name) = ("default".to_owned(), name.to_owned());
        let change =
            NodeChange::PodNetns { namespace, name, netns, device: Some("eth0".to_owned()), mtu: 1500 };
        world.feed(Input::Node { at: Mono(0), change });
    }
    world
}

fn route(destination: &str, kind: &str) -> Route {
    Route {
        table: 254,
        destination: destination.parse().unwrap(),
        kind: kind.to_owned(),
        device: 2,
        gateway: None,
        priority: 0,
    }
}

fn network(world: &mut World, millis: u64, routes: Vec<Route>) {
    let rules = vec![Rule { action: RuleAction::Table(254, None), ..Rule::default() }];
    let change = NodeChange::Network(NodeNetwork { netns: NODE, routes, rules, ..NodeNetwork::default() });
    world.feed(Input::Node { at: Mono(millis * 1_000_000), change });
}

fn answer(world: &mut World, millis: u64, question: Question, answer: Option<Answer>) {
    let change = NodeChange::Reading(Reading { question, answer });
    world.feed(Input::Node { at: Mono(millis * 1_000_000), change });
}

fn syn() -> Vec<u8> {
    tcp(CLIENT, SERVER, Flag::Syn, 100)
}

fn refused(world: &mut World, at: u64, (reason, location): (u32, u64)) {
    world.record(seen(at, PodOut, &syn()));
    world.record(dropped_by(at, &syn(), reason, location));
}

#[test]
fn a_refusal_waits_for_the_routes_that_were_changed_just_before() {
    let mut world = world();
    network(&mut world, 0, vec![route("0.0.0.0/0", "unicast")]);
    refused(&mut world, 1, NO_ROUTE);
    world.silent();
    network(&mut world, 20, Vec::new());
    let verdict = world.only();
    assert_eq!((verdict.cause, verdict.confidence), (Cause::RouteDrop, Confidence::Certain));
    assert_eq!(verdict.detail["kind"], "no-route");
}

#[test]
fn without_news_it_is_judged_by_what_the_kernel_said() {
    let mut world = world();
    network(&mut world, 0, vec![route("0.0.0.0/0", "unicast")]);
    refused(&mut world, 1, NO_ROUTE);
    world.until(300);
    assert_eq!((world.only().cause, world.only().confidence), (Cause::RouteDrop, Confidence::Likely));
}

#[test]
fn a_full_queue_that_takes_the_next_syn_is_no_failure() {
    let mut world = world();
    refused(&mut world, 1, QUEUE_FULL);
    world.record(syn_again(1001, CLIENT, SERVER));
    world.record(seen(1001, PodOut, &syn()));
    world.record(seen(1002, UplinkOut, &syn()));
    let answer = tcp(SERVER, CLIENT, Flag::SynAck, 100);
    world.record(seen(1003, UplinkIn, &answer));
    world.record(seen(1003, PodIn, &answer));
    world.until(3000);
    world.silent();
}

#[test]
fn a_full_queue_that_drops_the_next_syn_too_is_one() {
    let mut world = world();
    refused(&mut world, 1, QUEUE_FULL);
    world.silent();
    refused(&mut world, 1001, QUEUE_FULL);
    world.until(1300);
    let verdict = world.only();
    assert_eq!((verdict.cause, verdict.count), (Cause::LocalResource, 2));
    assert_eq!(verdict.detail["queue"], "qdisc");
}

#[test]
fn a_delivered_syn_without_an_answer_and_a_full_listen_queue() {
    let mut world = world();
    let syn = tcp(CLIENT, DB, Flag::Syn, 100);
    for at in [1, 1001, 2001] {
        world.record(seen(at, PodOut, &syn));
        world.record(seen(at, PodIn, &syn));
    }
    world.silent();
    let address = crate::verdict::SocketAddress { ip: DB.0.parse().unwrap(), port: DB.1 };
    let asked = Question::Socket { netns: DB_POD, protocol: Protocol::Tcp, address };
    assert!(world.pipeline.take_readings().contains(&asked));
    let full = Answer::Socket(Queue { queued: 129, limit: 128, drops: 0 });
    answer(&mut world, 2002, asked, Some(full));
    let back = Question::Route { netns: DB_POD, to: CLIENT.0.parse().unwrap() };
    answer(&mut world, 2002, back, None);
    let verdict = world.only();
    assert_eq!((verdict.cause, verdict.confidence), (Cause::LocalResource, Confidence::Certain));
    assert_eq!((&verdict.detail["current"], &verdict.detail["queued"]), (&"128".into(), &129.into()));
    let last = verdict.path.last().unwrap();
    assert_eq!((verdict.stage, last.outcome), (Stage::Upstream, HopOutcome::Dropped));
}

fn pod_answer(refused: Option<Refusal>) -> Option<Answer> {
    Some(Answer::Route(RouteAnswer { refused, route: None, device: None, unusable: Vec::new() }))
}

fn lost_in_the_pod(world: &mut World, refused: Option<Refusal>) {
    let to = SERVER.0.parse().unwrap();
    world.record(no_route(1, POD, to, 443));
    world.until(900);
    answer(world, 901, Question::Route { netns: POD, to }, pod_answer(refused));
    world.until(1500);
}

#[test]
fn a_route_that_the_pod_lacks_is_told_within_a_second() {
    let mut world = world();
    lost_in_the_pod(&mut world, Some(Refusal::NoRoute));
    let verdict = world.only();
    assert_eq!((verdict.cause, verdict.confidence), (Cause::RouteDrop, Confidence::Certain));
    assert_eq!((verdict.stage, &verdict.detail["kind"]), (Stage::Pod, &"no-route".into()));
}

#[test]
fn another_table_leads_there_after_all() {
    let mut world = world();
    lost_in_the_pod(&mut world, None);
    world.silent();
}

#[test]
fn the_other_family_was_tried_so_that_one_decides() {
    let mut world = world();
    for at in [1, 301] {
        world.record(no_route(at, POD, "2001:db8::4".parse().unwrap(), 443));
    }
    world.record(seen(310, PodOut, &syn()));
    world.until(3000);
    world.silent();
}

#[test]
fn a_pod_without_an_address_of_the_family_does_not_mean_it_unless_it_insists() {
    let to = "2001:db8::4".parse().unwrap();
    let mut once = world();
    once.record(no_route(1, POD, to, 443));
    once.until(3000);
    once.silent();
    let mut insists = world();
    insists.record(no_route(1, POD, to, 443));
    insists.record(no_route(501, POD, to, 443));
    insists.until(1800);
    assert_eq!((insists.only().cause, insists.only().count), (Cause::RouteDrop, 2));
}

#[test]
fn a_socket_that_ends_with_an_error_tells_of_the_drop_that_was_held_back() {
    let mut world = world();
    refused(&mut world, 1, QUEUE_FULL);
    world.record(state(5, CLIENT, SERVER, 7, 113));
    world.until(300);
    assert_eq!(world.only().cause, Cause::LocalResource);
}
