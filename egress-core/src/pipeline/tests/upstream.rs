//! What the upstream causes say beside their cause: who, how far, and how others of the node fare.

use egress_common::TapPoint::{PodIn, PodOut, UplinkIn, UplinkOut};
use etherparse::PacketBuilder;

use super::wire::{End, Flag, seen, state, syn_again, tcp};
use super::{World, two_pods};
use crate::cluster::Container;
use crate::verdict::{Cause, Confidence};

const CLIENT: End = ("10.244.1.5", 40_000);
const OTHER: End = ("10.244.1.6", 41_000);
const SERVER: End = ("203.0.113.4", 443);
const NODE: &str = "192.0.2.1";
const ROUTER: &str = "198.51.100.1";

fn octets(ip: &str) -> [u8; 4] {
    ip.parse::<std::net::Ipv4Addr>().unwrap().octets()
}

/// An ICMP error of the router about a packet.
fn icmp(to: &str, kind: u8, code: u8, ttl: u8, about: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ipv4(octets(ROUTER), octets(to), ttl)
        .icmpv4_raw(kind, code, [0; 4])
        .write(&mut bytes, &about[..28])
        .unwrap();
    bytes
}

/// A SYN of the client that leaves the node, translated.
fn leaves(world: &mut World, millis: u64, from: End, isn: u32) -> (Vec<u8>, Vec<u8>) {
    let (inside, outside) = (tcp(from, SERVER, Flag::Syn, isn), tcp((NODE, from.1), SERVER, Flag::Syn, isn));
    world.record(seen(millis, PodOut, &inside));
    world.record(seen(millis, UplinkOut, &outside));
    (inside, outside)
}

fn answered(world: &mut World, millis: u64, from: End, isn: u32) {
    leaves(world, millis, from, isn);
    world.record(seen(millis, UplinkIn, &tcp(SERVER, (NODE, from.1), Flag::SynAck, isn)));
    world.record(seen(millis, PodIn, &tcp(SERVER, from, Flag::SynAck, isn)));
}

fn times_out(world: &mut World, millis: u64) {
    leaves(world, millis, CLIENT, 100);
    world.record(syn_again(millis + 1000, CLIENT, SERVER));
    world.record(syn_again(millis + 2000, CLIENT, SERVER));
}

#[test]
fn a_router_that_prohibits_is_named_with_its_distance() {
    let mut world = World::new(two_pods());
    let (inside, outside) = leaves(&mut world, 1, CLIENT, 100);
    world.record(seen(3, UplinkIn, &icmp(NODE, 3, 13, 252, &outside)));
    world.record(seen(3, PodIn, &icmp(CLIENT.0, 3, 13, 251, &inside)));
    let verdict = world.only();
    assert_eq!((verdict.cause, verdict.confidence), (Cause::UpstreamUnreachable, Confidence::Certain));
    assert_eq!(verdict.detail["kind"], "prohibited");
    assert_eq!((&verdict.detail["hops"], &verdict.detail["router"]), (&3.into(), &ROUTER.into()));
}

#[test]
fn an_error_that_the_client_never_got_still_explains_its_silence() {
    let mut world = World::new(two_pods());
    let (_, outside) = leaves(&mut world, 1, CLIENT, 100);
    world.record(seen(3, UplinkIn, &icmp(NODE, 3, 1, 63, &outside)));
    world.silent();
    world.record(syn_again(1001, CLIENT, SERVER));
    world.record(syn_again(2001, CLIENT, SERVER));
    assert_eq!(world.only().cause, Cause::UpstreamUnreachable);
    assert_eq!(world.only().detail["kind"], "host");
}

#[test]
fn codes_of_fragmentation_are_no_refusal() {
    let mut world = World::new(two_pods());
    let (inside, _) = leaves(&mut world, 1, CLIENT, 100);
    world.record(seen(3, PodIn, &icmp(CLIENT.0, 3, 4, 63, &inside)));
    world.record(seen(3, PodIn, &icmp(CLIENT.0, 11, 1, 63, &inside)));
    world.until(500);
    world.silent();
}

#[test]
fn traceroute_is_no_failure() {
    let mut world = World::new(two_pods());
    let mut probe = tcp(CLIENT, SERVER, Flag::Syn, 100);
    probe[8] = 3;
    world.record(seen(1, PodOut, &probe));
    world.record(seen(3, PodIn, &icmp(CLIENT.0, 11, 0, 63, &probe)));
    world.until(10_000);
    world.silent();
}

#[test]
fn another_pod_that_gets_through_with_the_same_source_rules_an_allow_list_out() {
    let mut world = World::new(two_pods());
    answered(&mut world, 1, OTHER, 7);
    times_out(&mut world, 10_000);
    let verdict = world.only();
    assert_eq!(verdict.cause, Cause::UpstreamTimeout);
    assert_eq!(verdict.detail["scope"], "this-pod");
    assert!(
        verdict.hints.iter().any(|hint| hint.contains("pod default/db on this node reaches 203.0.113.4:443"))
    );
    assert!(
        verdict.fix.as_ref().unwrap().text.contains("an allow-list of source addresses is not the reason")
    );
}

#[test]
fn the_nodes_own_connection_is_compared() {
    let mut world = World::new(two_pods());
    world.record(state(1, (NODE, 5000), SERVER, 1, 0));
    times_out(&mut world, 10_000);
    assert!(
        world
            .only()
            .hints
            .iter()
            .any(|hint| hint.starts_with("the node itself connected to 203.0.113.4:443 11 s ago"))
    );
    assert_eq!(world.only().detail["reach"]["node"], "reached");
}

#[test]
fn a_host_that_answers_on_another_port_has_only_this_one_dead() {
    let mut world = World::new(two_pods());
    world.record(state(1, (NODE, 5000), ("203.0.113.4", 80), 1, 0));
    times_out(&mut world, 10_000);
    assert_eq!(world.only().detail["scope"], "this-port");
    assert!(
        world
            .only()
            .hints
            .iter()
            .any(|hint| hint.contains("answers on port 80") && hint.ends_with("only 443 is dead"))
    );
}

#[test]
fn without_anybody_to_compare_with_nothing_is_said() {
    let mut world = World::new(two_pods());
    times_out(&mut world, 10_000);
    assert_eq!(world.only().detail.get("scope"), None);
    assert_eq!(world.only().detail.get("reach"), None);
}

#[test]
fn a_reset_from_nearer_than_the_host_is_something_between() {
    let mut world = World::new(two_pods());
    leaves(&mut world, 1, OTHER, 7);
    let mut accepted = tcp(SERVER, (NODE, OTHER.1), Flag::SynAck, 7);
    accepted[8] = 52;
    world.record(seen(2, UplinkIn, &accepted));
    world.record(seen(2, PodIn, &tcp(SERVER, OTHER, Flag::SynAck, 7)));
    leaves(&mut world, 20, CLIENT, 100);
    let mut reset = tcp(SERVER, (NODE, CLIENT.1), Flag::Rst, 100);
    reset[8] = 63;
    world.record(seen(21, UplinkIn, &reset));
    world.record(seen(21, PodIn, &tcp(SERVER, CLIENT, Flag::Rst, 100)));
    let verdict = world.only();
    assert_eq!((&verdict.detail["hops"], &verdict.detail["usual_hops"]), (&1.into(), &12.into()));
    assert!(verdict.hints.iter().any(|hint| hint.contains("refuses in its name")));
}

#[test]
fn a_pod_is_told_of_its_proxy() {
    let container = |env: &[(&str, &str)]| Container {
        name: "app".into(),
        proxy_env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..Container::default()
    };
    let cluster = |env: &[(&str, &str)]| {
        let container = container(env);
        two_pods()
            .pod("default/late", CLIENT.0, "app=late")
            .on("n1")
            .but(|pod| pod.containers = vec![container])
    };
    for (env, words) in [
        (&[("HTTPS_PROXY", "http://u:p@10.9.9.9:3128")][..], "although NO_PROXY does not cover it"),
        (&[("https_proxy", "proxy:3128"), ("no_proxy", "203.0.113.0/24")], "NO_PROXY covers it"),
        (
            &[("HTTPS_PROXY", "http://203.0.113.4:443")],
            "this is the proxy that HTTPS_PROXY of container app names",
        ),
        (&[("ALL_PROXY", "socks5://10.9.9.9")], "sets ALL_PROXY=socks5://10.9.9.9"),
    ] {
        let mut world = World::new(cluster(env));
        times_out(&mut world, 10);
        let hints = world.only().hints.join("\n");
        assert!(hints.contains(words) && !hints.contains("u:p"), "{env:?}: {hints}");
    }
    let mut world = World::new(cluster(&[("HTTP_PROXY", "http://10.9.9.9:3128")]));
    times_out(&mut world, 10);
    assert!(!world.only().hints.join("\n").contains("PROXY"), "HTTP_PROXY is not for port 443");
}
