//! Connections that a sidecar on the pod's loopback takes.

use egress_common::{RecordHeader, RecordKind, ResetRecord, SockStateRecord, TapPoint, flags, record_bytes};

use super::wire::{End, Flag, seen, tcp};
use super::{World, two_pods};
use crate::cluster::Container;
use crate::cluster::testing::Topology;
use crate::verdict::{Cause, Confidence, State};

const CLIENT: End = ("10.244.1.5", 40_000);
const SERVER: End = ("203.0.113.4", 443);
const SIDECAR: End = ("127.0.0.1", 15_001);
/// The pod's namespace.
const POD: u32 = 77;
const APP: u32 = 100;
const ENVOY: u32 = 200;

/// `TCP_*` of `net/tcp_states.h`.
const ESTABLISHED: u8 = 1;
const SYN_SENT: u8 = 2;
const SYN_RECV: u8 = 3;
const FIN_WAIT1: u8 = 4;
const CLOSE: u8 = 7;
const CLOSE_WAIT: u8 = 8;

fn injected() -> Topology {
    two_pods().but(|_| {}).pod("default/meshed", CLIENT.0, "app=meshed").on("n1").but(|pod| {
        pod.containers =
            ["app", "istio-proxy"].map(|name| Container { name: name.into(), ..Default::default() }).into();
    })
}

fn mapped(text: &str) -> [u8; 16] {
    text.parse::<std::net::Ipv4Addr>().unwrap().to_ipv6_mapped().octets()
}

fn header(kind: RecordKind, micros: u64) -> RecordHeader {
    RecordHeader {
        time_ns: micros * 1000,
        kind: kind as u16,
        flags: 0,
        cpu: 0,
        netns: POD,
        ifindex: 0,
        pod_slot: 0,
        len: 0,
        mark: 0,
        pad: 0,
    }
}

/// A socket: its identity and process.
#[derive(Clone, Copy)]
struct Sock(u64, u32);

impl World {
    fn state(
        &mut self,
        micros: u64,
        sock: Sock,
        (from, to): (End, End),
        (old, new): (u8, u8),
        error: u32,
        received: u32,
    ) {
        let mut comm = [0; 16];
        comm[..4].copy_from_slice(b"curl");
        let mut header = header(RecordKind::SockState, micros);
        header.len = received;
        header.mark = 517;
        header.flags = if old == ESTABLISHED { flags::HAS_BYTES } else { 0 };
        let record = SockStateRecord {
            header,
            local: mapped(from.0),
            remote: mapped(to.0),
            socket: sock.0,
            cgroup: 0,
            local_port: from.1,
            remote_port: to.1,
            protocol: 6,
            old_state: old,
            new_state: new,
            sk_err: error,
            pid: sock.1,
            comm,
        };
        self.record(record_bytes(&record).to_vec());
    }

    /// The application dials and the sidecar accepts.
    fn accepted(&mut self, micros: u64) {
        let app = Sock(1, APP);
        self.state(micros, app, ((CLIENT.0, 0), SERVER), (CLOSE, SYN_SENT), 0, 0);
        self.state(micros + 10, app, (CLIENT, SERVER), (SYN_SENT, ESTABLISHED), 0, 0);
        self.state(micros + 20, Sock(2, 0), (SIDECAR, CLIENT), (SYN_RECV, ESTABLISHED), 0, 0);
    }

    fn ends(&mut self, micros: u64, new: u8, error: u32, received: u32) {
        self.state(micros, Sock(1, APP), (CLIENT, SERVER), (ESTABLISHED, new), error, received);
    }
}

#[test]
fn a_reset_without_a_byte_is_mesh_blocked_with_the_entry_that_is_missing() {
    let mut world = World::new(injected());
    world.accepted(1000);
    world.ends(4000, CLOSE, 104, 0);
    let verdict = world.only();
    assert_eq!((verdict.cause, verdict.confidence), (Cause::MeshBlocked, Confidence::Certain));
    assert_eq!(verdict.detail["container"], "istio-proxy");
    assert_eq!(verdict.detail["listener"], "127.0.0.1:15001");
    assert_eq!(verdict.detail["command"], "curl");
    assert_eq!(verdict.detail["bytes_sent"], 517);
    assert!(verdict.fix.as_ref().unwrap().manifest.as_ref().unwrap().contains("kind: ServiceEntry"));
}

#[test]
fn the_end_of_the_stream_alone_is_no_byte() {
    let mut world = World::new(injected());
    world.accepted(1000);
    world.ends(4000, CLOSE_WAIT, 0, 1);
    assert_eq!(world.only().detail["kind"], "closed");
}

#[test]
fn a_byte_that_came_a_client_that_closes_and_a_long_life_are_no_refusals() {
    for (at, new, error, received) in [
        (4000, CLOSE_WAIT, 0, 2),
        (4000, FIN_WAIT1, 0, 0),
        (4000, CLOSE, 0, 0),
        (2_500_000, CLOSE, 104, 0),
        (4000, CLOSE, 104, 9),
    ] {
        let mut world = World::new(injected());
        world.accepted(1000);
        world.ends(at, new, error, received);
        world.until(5000);
        world.silent();
    }
}

#[test]
fn a_sidecar_that_went_on_to_somewhere_is_not_the_cause() {
    let mut world = World::new(injected());
    world.accepted(1000);
    world.state(1500, Sock(3, ENVOY), ((CLIENT.0, 0), SERVER), (CLOSE, SYN_SENT), 0, 0);
    world.ends(4000, CLOSE, 104, 0);
    world.silent();
}

#[test]
fn another_diverted_connection_is_no_sidecar_that_goes_on() {
    let mut world = World::new(injected());
    world.accepted(1000);
    let other: End = (CLIENT.0, 40_001);
    let worker = Sock(5, APP + 1);
    world.state(1100, worker, ((CLIENT.0, 0), SERVER), (CLOSE, SYN_SENT), 0, 0);
    world.state(1110, worker, (other, SERVER), (SYN_SENT, ESTABLISHED), 0, 0);
    world.state(1120, Sock(6, 0), (SIDECAR, other), (SYN_RECV, ESTABLISHED), 0, 0);
    world.ends(4000, CLOSE, 104, 0);
    assert_eq!(world.only().cause, Cause::MeshBlocked);
}

#[test]
fn what_was_not_diverted_is_no_matter_of_the_mesh() {
    let mut world = World::new(injected());
    let app = Sock(1, APP);
    world.state(1000, app, ((CLIENT.0, 0), SERVER), (CLOSE, SYN_SENT), 0, 0);
    world.state(1010, app, (CLIENT, SERVER), (SYN_SENT, ESTABLISHED), 0, 0);
    world.ends(4000, CLOSE, 104, 0);
    world.silent();
}

#[test]
fn success_later_clears_it() {
    let mut world = World::new(injected());
    world.accepted(1000);
    world.ends(4000, CLOSE, 104, 0);
    world.accepted(1_000_000);
    world.ends(1_004_000, FIN_WAIT1, 0, 900);
    assert_eq!(world.only().state, State::Cleared);
}

fn refused(world: &mut World, by: Option<End>, to: End) {
    let app = Sock(1, APP);
    world.state(1000, app, ((CLIENT.0, 0), to), (CLOSE, SYN_SENT), 0, 0);
    if let Some(listener) = by {
        let packet = tcp(CLIENT, listener, Flag::Syn, 9);
        let mut data = [0; 64];
        data[..packet.len()].copy_from_slice(&packet);
        let mut header = header(RecordKind::Reset, 1005);
        header.flags = flags::RESET_SENT | flags::RESET_NO_SOCKET;
        let data_len = u16::try_from(packet.len()).unwrap();
        let record = ResetRecord {
            header,
            local: [0; 16],
            remote: [0; 16],
            socket: 0,
            local_port: 0,
            remote_port: 0,
            state: 0,
            pad: 0,
            data_len,
            data,
        };
        world.record(record_bytes(&record).to_vec());
    }
    world.state(1010, app, (CLIENT, to), (SYN_SENT, CLOSE), 111, 0);
}

#[test]
fn a_sidecar_that_does_not_listen_is_named() {
    let mut world = World::new(injected());
    refused(&mut world, Some(SIDECAR), SERVER);
    let verdict = world.only();
    assert_eq!((verdict.cause, verdict.confidence), (Cause::MeshBlocked, Confidence::Certain));
    assert_eq!(verdict.detail["kind"], "refused");
}

#[test]
fn a_kernel_that_does_not_tell_who_refused_leaves_it_likely_where_leaving_would_be_seen() {
    let mut world = World::new(injected());
    refused(&mut world, None, SERVER);
    world.silent();
    world.record(seen(2, TapPoint::PodOut, &tcp((CLIENT.0, 5), SERVER, Flag::Syn, 1)));
    refused(&mut world, None, SERVER);
    assert_eq!((world.only().cause, world.only().confidence), (Cause::MeshBlocked, Confidence::Likely));
}

#[test]
fn a_pod_that_dials_itself_or_has_no_sidecar_is_left_alone() {
    let mut world = World::new(injected());
    world.record(seen(1, TapPoint::PodOut, &tcp((CLIENT.0, 5), SERVER, Flag::Syn, 1)));
    let own: End = (CLIENT.0, 8080);
    refused(&mut world, Some(own), own);
    world.silent();
    let mut world = World::new(two_pods());
    world.record(seen(1, TapPoint::PodOut, &tcp((CLIENT.0, 5), SERVER, Flag::Syn, 1)));
    refused(&mut world, None, SERVER);
    world.silent();
}

/// A client of this node whose connection the sidecar of `default/meshed` takes, reads and resets.
fn guarded(asks_application: bool) -> World {
    const OTHER: End = ("10.244.1.6", 41_000);
    const WEB: End = (CLIENT.0, 8080);
    const TAKEN: End = (CLIENT.0, 15_006);
    let mut world = World::new(injected());
    world.record(seen(1, TapPoint::PodOut, &tcp(OTHER, WEB, Flag::Syn, 7)));
    world.record(seen(1, TapPoint::PodIn, &tcp(OTHER, WEB, Flag::Syn, 7)));
    world.record(seen(1, TapPoint::PodOut, &tcp(WEB, OTHER, Flag::SynAck, 7)));
    world.record(seen(1, TapPoint::PodIn, &tcp(WEB, OTHER, Flag::SynAck, 7)));
    world.state(1500, Sock(9, 0), (TAKEN, OTHER), (SYN_RECV, ESTABLISHED), 0, 0);
    if asks_application {
        world.state(1600, Sock(10, ENVOY), (("127.0.0.6", 0), WEB), (CLOSE, SYN_SENT), 0, 0);
    }
    world.sends(2000, Sock(9, 0), (TAKEN, OTHER));
    let mut reset = tcp(WEB, OTHER, Flag::Rst, 71);
    // Behind its SYN-ACK it has sent nothing.
    reset[24..28].copy_from_slice(&78_u32.to_be_bytes());
    world.record(seen(3, TapPoint::PodOut, &reset));
    world.record(seen(3, TapPoint::PodIn, &reset));
    world.until(5000);
    world
}

impl World {
    /// The sidecar read 64 bytes, sent none, and closes with a reset.
    fn sends(&mut self, micros: u64, sock: Sock, ends: (End, End)) {
        let mut header = header(RecordKind::SockState, micros);
        header.len = 64;
        header.flags = flags::HAS_BYTES;
        let record = SockStateRecord {
            header,
            local: mapped(ends.0.0),
            remote: mapped(ends.1.0),
            socket: sock.0,
            cgroup: 0,
            local_port: ends.0.1,
            remote_port: ends.1.1,
            protocol: 6,
            old_state: ESTABLISHED,
            new_state: CLOSE,
            sk_err: 0,
            pid: sock.1,
            comm: [0; 16],
        };
        self.record(record_bytes(&record).to_vec());
    }
}

#[test]
fn the_sidecar_of_the_destination_that_never_asks_its_application_is_named() {
    let world = guarded(false);
    let verdict = world.only();
    assert_eq!((verdict.cause, verdict.confidence), (Cause::MeshBlocked, Confidence::Likely));
    assert_eq!((&verdict.detail["side"], &verdict.detail["mesh"]), (&"inbound".into(), &"istio".into()));
}

#[test]
fn a_reset_behind_a_sidecar_that_asked_its_application_is_not_the_meshs() {
    assert!(guarded(true).verdicts.iter().all(|verdict| verdict.cause != Cause::MeshBlocked));
}
