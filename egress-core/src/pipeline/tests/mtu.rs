//! Packets that are too big: discovery that works is silent, a sender that goes on exceeding is told.

use std::net::Ipv4Addr;

use egress_common::TapPoint::{self, PodIn, PodOut, UplinkIn, UplinkOut};
use egress_common::{ReceiveHoleRecord, RecordKind, RetransmitRecord, SHORT_SNAP, record_bytes};
use etherparse::PacketBuilder;

use super::wire::{End, Flag, dropped, header, mapped, seen, state, tcp, udp};
use super::{World, two_pods};
use crate::input::Input;
use crate::verdict::{Cause, Confidence, Stage, State};

const CLIENT: End = ("10.244.1.5", 40_000);
const SERVER: End = ("203.0.113.4", 443);
const NODE: End = ("192.0.2.1", 40_000);
const ROUTER: &str = "198.51.100.1";
/// First byte that the client sends.
const FIRST: u32 = 101;
/// `PKT_TOO_BIG` of these tests.
const TOO_BIG: u32 = 9;

/// A world in which the client has just connected to the server; the uplink takes 1400 bytes.
fn connected() -> World {
    let mut world = World::new(two_pods());
    world.feed(Input::Names { reasons: vec![(TOO_BIG, "PKT_TOO_BIG".to_owned())], functions: Vec::new() });
    world.record(seen(1, PodOut, &tcp(CLIENT, SERVER, Flag::Syn, 100)));
    world.record(seen(1, UplinkOut, &tcp(NODE, SERVER, Flag::Syn, 100)));
    world.record(seen(2, UplinkIn, &tcp(SERVER, NODE, Flag::SynAck, 100)));
    world.record(seen(2, PodIn, &tcp(SERVER, CLIENT, Flag::SynAck, 100)));
    world.record(state(2, CLIENT, SERVER, 1, 0));
    world
}

/// A segment of the client whose packet has this length, as far as a record carries it.
fn segment(seq: u32, length: usize) -> Vec<u8> {
    let ip = |text: &str| text.parse::<Ipv4Addr>().unwrap().octets();
    let mut bytes = Vec::new();
    PacketBuilder::ipv4(ip(CLIENT.0), ip(SERVER.0), 63)
        .tcp(CLIENT.1, SERVER.1, seq, 64240)
        .ack(9)
        .write(&mut bytes, &vec![0; length - 40])
        .unwrap();
    bytes.truncate(SHORT_SNAP);
    bytes
}

/// The node drops a packet because of its size.
fn too_big(millis: u64, packet: &[u8]) -> Vec<u8> {
    let mut record = dropped(millis, packet);
    // `DropRecord.reason` follows the header and three words.
    record[64..68].copy_from_slice(&TOO_BIG.to_ne_bytes());
    record[40..48].copy_from_slice(&5100_u64.to_ne_bytes());
    record
}

/// An ICMP message about a packet of the client (as `from` it): fragmentation needed.
fn icmp(millis: u64, tap: TapPoint, router: &str, from: End, about: &[u8], mtu: u16) -> Vec<u8> {
    let octets = |text: &str| text.parse::<Ipv4Addr>().unwrap().octets();
    let mut quoted = about[..28].to_vec();
    quoted[12..16].copy_from_slice(&octets(from.0));
    let mut bytes = Vec::new();
    PacketBuilder::ipv4(octets(router), octets(from.0), 60)
        .icmpv4_raw(3, 4, [0, 0, mtu.to_be_bytes()[0], mtu.to_be_bytes()[1]])
        .write(&mut bytes, &quoted)
        .unwrap();
    seen(millis, tap, &bytes)
}

/// The client sends its first bytes again.
#[derive(Clone, Copy)]
struct Again {
    millis: u64,
    una: u32,
    length: u32,
    mss: u32,
    timeouts: u8,
    sacked: u8,
}

/// A full segment of an Ethernet that is sent again after some timeouts.
fn again(millis: u64, timeouts: u8) -> Again {
    Again { millis, una: FIRST, length: 1448, mss: 1448, timeouts, sacked: 0 }
}

impl Again {
    fn record(self) -> Vec<u8> {
        let mut header = header(RecordKind::Retransmit, self.millis, 0);
        header.len = self.length;
        let record = RetransmitRecord {
            header,
            local: mapped(CLIENT.0),
            remote: mapped(SERVER.0),
            socket: 1,
            cgroup: 0,
            local_port: CLIENT.1,
            remote_port: SERVER.1,
            state: 1,
            tcp_flags: 16,
            retransmits: self.timeouts,
            sacked: self.sacked,
            seq: self.una,
            snd_una: self.una,
            mss: self.mss,
            silence_ms: 0,
        };
        record_bytes(&record).to_vec()
    }
}

/// The retransmits of a socket that hears nothing: after 0.2, 0.6, 1.4 and 3 s.
fn backoff(world: &mut World, edit: impl Fn(&mut Again)) {
    for (millis, timeouts) in [(300, 0), (700, 1), (1500, 2), (3100, 3)] {
        let mut record = again(millis, timeouts);
        edit(&mut record);
        world.record(record.record());
    }
    world.until(4000);
}

#[test]
fn discovery_that_works_makes_two_drops_and_no_verdict() {
    let mut world = connected();
    for seq in [FIRST, FIRST + 7240] {
        world.record(too_big(100, &segment(seq, 7292)));
        world.record(icmp(100, PodIn, "192.0.2.1", CLIENT, &segment(seq, 7292), 1400));
    }
    world.record(Again { length: 1348, mss: 1348, ..again(100, 0) }.record());
    world.until(10_000);
    world.silent();
}

#[test]
fn the_node_drops_the_same_bytes_again_after_200_ms_is_a_certain_local_mtu() {
    let mut world = connected();
    world.record(too_big(100, &segment(FIRST, 1500)));
    world.record(too_big(299, &segment(FIRST, 1500)));
    world.silent();
    world.record(too_big(355, &segment(FIRST, 1500)));
    let verdict = world.only();
    assert_eq!(
        (verdict.cause, verdict.confidence, verdict.stage),
        (Cause::Mtu, Confidence::Certain, Stage::Node)
    );
    assert_eq!((&verdict.detail["kind"], &verdict.detail["packet_size"]), (&"local".into(), &1500.into()));
    assert_eq!(verdict.detail["icmp"], "not-seen");
}

#[test]
fn later_bytes_that_are_too_big_once_more_are_another_discovery() {
    let mut world = connected();
    world.record(too_big(100, &segment(FIRST, 1500)));
    world.record(too_big(5000, &segment(FIRST + 90_000, 1500)));
    world.record(too_big(5010, &segment(FIRST + 90_000, 1500)));
    world.until(9000);
    world.silent();
}

#[test]
fn a_router_that_is_heard_and_obeyed_makes_no_verdict() {
    let mut world = connected();
    world.record(icmp(100, UplinkIn, ROUTER, NODE, &segment(FIRST, 1500), 1300));
    world.record(icmp(100, PodIn, ROUTER, CLIENT, &segment(FIRST, 1500), 1300));
    // It is lost once more, at its new size.
    world.record(Again { length: 1248, mss: 1248, ..again(101, 0) }.record());
    world.record(Again { length: 1248, mss: 1248, ..again(400, 1) }.record());
    world.until(10_000);
    world.silent();
}

#[test]
fn a_router_that_is_not_heard_is_told_with_its_number() {
    let mut world = connected();
    world.record(icmp(100, UplinkIn, ROUTER, NODE, &segment(FIRST, 1500), 1300));
    world.record(again(250, 0).record());
    world.silent();
    world.record(again(310, 1).record());
    let verdict = world.only();
    assert_eq!(
        (verdict.cause, verdict.confidence, verdict.stage),
        (Cause::Mtu, Confidence::Certain, Stage::Upstream)
    );
    for (key, value) in [("kind", "icmp"), ("router", ROUTER), ("icmp", "lost")] {
        assert_eq!(verdict.detail[key], value, "{key}");
    }
    assert_eq!((&verdict.detail["mtu"], &verdict.detail["set_mss"]), (&1300.into(), &1260.into()));
    assert!(verdict.fix.as_ref().unwrap().text.contains("maxseg size set 1260"), "{:?}", verdict.fix);
}

#[test]
fn a_second_narrower_hop_is_progress() {
    let mut world = connected();
    world.record(icmp(100, PodIn, ROUTER, CLIENT, &segment(FIRST, 1500), 1400));
    world.record(icmp(500, PodIn, ROUTER, CLIENT, &segment(FIRST, 1400), 1300));
    world.until(10_000);
    world.silent();
}

#[test]
fn what_gets_through_after_all_clears_the_verdict_and_a_handshake_does_not() {
    let mut world = connected();
    world.record(icmp(100, PodIn, ROUTER, CLIENT, &segment(FIRST, 1500), 1300));
    world.record(again(310, 1).record());
    let other: End = (CLIENT.0, 40_001);
    world.record(seen(400, PodOut, &tcp(other, SERVER, Flag::Syn, 900)));
    world.record(seen(401, PodIn, &tcp(SERVER, other, Flag::SynAck, 900)));
    assert_eq!(world.only().state, State::Active);
    world.record(Again { una: FIRST + 5000, length: 1248, mss: 1248, ..again(900, 0) }.record());
    assert_eq!(world.only().state, State::Cleared);
}

#[test]
fn large_segments_that_die_while_later_ones_arrive_are_a_black_hole() {
    let mut world = connected();
    backoff(&mut world, |again| again.sacked = 1);
    let verdict = world.only();
    assert_eq!((verdict.cause, verdict.confidence), (Cause::Mtu, Confidence::Likely));
    assert_eq!((&verdict.detail["kind"], &verdict.detail["set_mtu"]), (&"blackhole".into(), &1280.into()));
}

#[test]
fn silence_after_the_handshake_alone_is_no_black_hole() {
    let mut world = connected();
    backoff(&mut world, |_| {});
    world.silent();
}

#[test]
fn small_segments_that_die_too_are_no_black_hole() {
    let mut world = connected();
    backoff(&mut world, |again| {
        again.length = 300;
        again.sacked = 1;
    });
    world.silent();
}

#[test]
fn a_request_that_passed_before_its_data_died_is_a_possible_black_hole() {
    let mut world = connected();
    backoff(&mut world, |again| again.una = FIRST + 200);
    let verdict = world.only();
    assert_eq!((verdict.cause, verdict.confidence), (Cause::Mtu, Confidence::Possible));
}

#[test]
fn silence_after_large_segments_had_passed_is_no_black_hole() {
    let mut world = connected();
    backoff(&mut world, |again| again.una = FIRST + 50_000);
    world.silent();
}

#[test]
fn the_same_host_answering_another_connection_meanwhile_proves_that_small_packets_live() {
    let mut world = connected();
    world.record(again(300, 0).record());
    let other: End = (CLIENT.0, 40_001);
    world.record(seen(400, PodOut, &tcp(other, SERVER, Flag::Syn, 900)));
    world.record(seen(401, PodIn, &tcp(SERVER, other, Flag::SynAck, 900)));
    backoff(&mut world, |_| {});
    assert_eq!((world.only().cause, world.only().confidence), (Cause::Mtu, Confidence::Likely));
}

#[test]
fn segments_that_a_filter_drops_here_are_no_black_hole() {
    let mut world = connected();
    world.record(dropped(100, &segment(FIRST, 1500)));
    backoff(&mut world, |again| again.sacked = 1);
    assert!(world.verdicts.iter().all(|verdict| verdict.cause != Cause::Mtu), "{:#?}", world.verdicts);
}

#[test]
fn a_fin_that_the_socket_does_not_take_has_a_hole_before_it() {
    let mut world = connected();
    world.record(seen(100, PodIn, &tcp(SERVER, CLIENT, Flag::Fin, 100)));
    world.until(3000);
    world.silent();
    world.until(3200);
    let verdict = world.only();
    assert_eq!((verdict.cause, verdict.confidence), (Cause::Mtu, Confidence::Possible));
    assert_eq!(verdict.detail["direction"], "received");
}

#[test]
fn a_fin_that_the_socket_takes_is_the_end() {
    let mut world = connected();
    world.record(seen(100, PodIn, &tcp(SERVER, CLIENT, Flag::Fin, 100)));
    // CLOSE_WAIT
    world.record(state(100, CLIENT, SERVER, 8, 0));
    world.until(10_000);
    world.silent();
}

#[test]
fn a_fin_that_comes_after_the_client_has_closed_has_nobody_to_take_it() {
    let mut world = connected();
    // FIN_WAIT1, FIN_WAIT2, and gone: what waits then is no socket any more.
    for new_state in [4, 5, 7] {
        world.record(state(100, CLIENT, SERVER, new_state, 0));
    }
    world.record(seen(110, PodIn, &tcp(SERVER, CLIENT, Flag::Fin, 100)));
    world.until(10_000);
    world.silent();
}

fn closed_with_hole(millis: u64, quiet_ms: u32) -> Vec<u8> {
    let record = ReceiveHoleRecord {
        header: header(RecordKind::ReceiveHole, millis, 0),
        local: mapped(CLIENT.0),
        remote: mapped(SERVER.0),
        socket: 1,
        local_port: CLIENT.1,
        remote_port: SERVER.1,
        advertised_mss: 1460,
        ranges: 1,
        pad: 0,
        quiet_ms,
        pad2: 0,
    };
    record_bytes(&record).to_vec()
}

#[test]
fn a_socket_closed_over_an_old_hole_is_told_and_over_a_fresh_one_is_not() {
    let mut world = connected();
    world.record(closed_with_hole(500, 80));
    world.until(5000);
    world.silent();
    world.record(closed_with_hole(9000, 4000));
    let verdict = world.only();
    assert_eq!((verdict.cause, &verdict.detail["packet_size"]), (Cause::Mtu, &1500.into()));
}

#[test]
fn datagrams_that_stay_too_big_are_told_unless_the_flow_lives() {
    let mut world = connected();
    let large = {
        let mut bytes = udp(CLIENT, ("203.0.113.4", 5000), &[0; 1422]);
        bytes.truncate(SHORT_SNAP);
        bytes
    };
    let answer = udp(("203.0.113.4", 5000), CLIENT, b"small");
    // As QUIC looks for the largest size: what is not too big is answered meanwhile.
    world.record(seen(50, PodIn, &answer));
    world.record(too_big(100, &large));
    world.record(too_big(600, &large));
    world.until(2000);
    world.silent();
    world.record(too_big(4000, &large));
    world.record(too_big(4600, &large));
    let verdict = world.only();
    assert_eq!((verdict.cause, &verdict.detail["packet_size"]), (Cause::Mtu, &1450.into()));
}
