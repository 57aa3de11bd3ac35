//! What ends established connections: TLS alerts, resets, silence; and the healthy ends that look alike.

use egress_common::TapPoint::{PodIn, PodOut, UplinkIn, UplinkOut};

use super::segments::{Kind, Progress, Segment, again, moved, reset_taken};
use super::wire::{End, dropped, seen};
use super::{World, two_pods};
use crate::verdict::{Cause, Confidence, HopOutcome, Stage, State};

const CLIENT: End = ("10.244.1.5", 40_000);
const NODE: End = ("192.0.2.1", 40_000);
const SERVER: End = ("203.0.113.4", 443);
/// `ESTABLISHED` and `CLOSE`.
const UP: u8 = 1;
const CLOSE: u8 = 7;

fn world() -> World {
    let mut world = World::new(two_pods());
    world.establish(CLIENT, NODE, SERVER);
    world
}

/// A ClientHello for `api.stripe.com` that offers TLS 1.3 and 1.2, with ALPN h2.
fn hello() -> Vec<u8> {
    let name = b"api.stripe.com";
    let n = u8::try_from(name.len()).unwrap();
    let mut extensions = vec![0, 0, 0, n + 5, 0, n + 3, 0, 0, n];
    extensions.extend(name);
    extensions.extend([0, 43, 0, 5, 4, 3, 4, 3, 3]);
    extensions.extend([0, 16, 0, 5, 0, 3, 2, b'h', b'2']);
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 1, 1, 0, 0, u8::try_from(extensions.len()).unwrap()]);
    body.extend(extensions);
    let n = u8::try_from(body.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, n + 4, 1, 0, 0, n];
    record.extend(body);
    record
}

fn hello_len() -> u32 {
    u32::try_from(hello().len()).unwrap()
}

fn from_client(kind: Kind, seq: u32, ack: u32, payload: &[u8]) -> Vec<u8> {
    Segment { from: CLIENT, to: SERVER, by_client: true, kind, seq, ack, ttl: 64, payload }.bytes()
}

fn from_server(to: End, kind: Kind, seq: u32, ack: u32, ttl: u8, payload: &[u8]) -> Vec<u8> {
    Segment { from: SERVER, to, by_client: false, kind, seq, ack, ttl, payload }.bytes()
}

impl World {
    fn client_sends(&mut self, at: u64, seq: u32, ack: u32, payload: &[u8]) {
        self.record(seen(at, PodOut, &from_client(Kind::Data, seq, ack, payload)));
    }

    fn client_closes(&mut self, at: u64, seq: u32, ack: u32) {
        self.record(seen(at, PodOut, &from_client(Kind::Fin, seq, ack, &[])));
    }

    fn server_sends(&mut self, at: u64, kind: Kind, seq: u32, ack: u32, payload: &[u8]) {
        self.record(seen(at, UplinkIn, &from_server(NODE, kind, seq, ack, 61, payload)));
        self.record(seen(at, PodIn, &from_server(CLIENT, kind, seq, ack, 60, payload)));
    }

    fn server_resets(&mut self, at: u64, seq: u32, ack: u32, progress: Progress) {
        self.server_sends(at, Kind::RstAck, seq, ack, &[]);
        self.record(reset_taken(at, CLIENT, SERVER, UP, Some(progress)));
        self.record(moved(at, CLIENT, SERVER, (UP, CLOSE), 104));
        self.until(at + 1000);
    }
}

#[test]
fn a_plaintext_alert_of_the_server_is_certain_and_has_the_name() {
    let mut world = world();
    world.client_sends(20, 0, 0, &hello());
    world.server_sends(30, Kind::Data, 0, hello_len(), &[21, 3, 3, 0, 2, 2, 70]);
    let verdict = world.only();
    assert_eq!((verdict.cause, verdict.confidence), (Cause::TlsFailure, Confidence::Certain));
    assert_eq!(verdict.detail["alert"], "protocol_version");
    assert_eq!(verdict.detail["sent_by"], "server");
    assert_eq!(verdict.detail["sni"], "api.stripe.com");
    assert_eq!(verdict.detail["versions"], serde_json::json!(["TLS 1.3", "TLS 1.2"]));
    assert_eq!(verdict.detail["alpn"], serde_json::json!(["h2"]));
    assert_eq!((verdict.stage, verdict.path.last().unwrap().outcome), (Stage::Upstream, HopOutcome::Refused));
}

#[test]
fn a_clients_alert_breaks_at_the_pod_and_is_told_once_though_a_reset_follows() {
    let mut world = world();
    world.client_sends(20, 0, 0, &hello());
    world.client_sends(40, hello_len(), 900, &[21, 3, 3, 0, 2, 2, 48]);
    world.record(seen(40, UplinkOut, &from_client(Kind::Data, hello_len(), 900, &[21, 3, 3, 0, 2, 2, 48])));
    world.client_closes(41, hello_len() + 7, 900);
    world.server_sends(50, Kind::Rst, 900, 0, &[]);
    world.until(2000);
    let verdict = world.only();
    assert_eq!(
        (verdict.detail["alert"].as_str(), verdict.stage, verdict.count),
        (Some("unknown_ca"), Stage::Pod, 1)
    );
}

#[test]
fn warnings_and_closes_are_no_failures() {
    for alert in [[1, 0], [1, 112], [2, 0], [1, 90]] {
        let mut world = world();
        world.client_sends(20, 0, 0, &hello());
        world.server_sends(30, Kind::Data, 0, hello_len(), &[21, 3, 3, 0, 2, alert[0], alert[1]]);
        world.until(2000);
        world.silent();
    }
}

#[test]
fn that_it_connects_again_does_not_clear_it_but_an_orderly_end_does() {
    let mut world = world();
    world.client_sends(20, 0, 0, &hello());
    world.server_sends(30, Kind::Data, 0, hello_len(), &[21, 3, 3, 0, 2, 2, 40]);
    let (client, node): (End, End) = (("10.244.1.5", 40_001), ("192.0.2.1", 40_001));
    world.establish(client, node, SERVER);
    assert_eq!(world.only().state, State::Active);
    let fin = Segment {
        from: client,
        to: SERVER,
        by_client: true,
        kind: Kind::Fin,
        seq: 500,
        ack: 700,
        ttl: 64,
        payload: &[],
    };
    world.record(seen(100, PodOut, &fin.bytes()));
    assert_eq!(world.only().state, State::Cleared);
}

#[test]
fn the_first_encrypted_record_of_a_client_with_two_bytes_is_likely_an_alert() {
    let mut sealed = vec![23, 3, 3, 0, 19];
    sealed.extend([9; 19]);
    let change = [20, 3, 3, 0, 1, 1];
    // Alone; behind a ChangeCipherSpec of its own segment; behind one in the same segment.
    let together = [&change[..], &sealed].concat();
    for (seq, payload) in [(0, &sealed), (6, &sealed), (0, &together)] {
        let mut world = world();
        world.client_sends(20, 0, 0, &hello());
        world.client_sends(40, hello_len() + seq, 900, payload);
        world.until(500);
        world.silent();
        world.client_closes(501, hello_len() + 30, 900);
        let verdict = world.only();
        assert_eq!((verdict.cause, verdict.confidence), (Cause::TlsFailure, Confidence::Likely));
        assert_eq!(verdict.detail["alert"], "encrypted");
    }
}

#[test]
fn close_notify_of_tls_13_is_no_alert_and_a_reset_behind_it_is_no_failure() {
    let mut sealed = vec![23, 3, 3, 0, 19];
    sealed.extend([9; 19]);
    let mut world = world();
    world.client_sends(20, 0, 0, &hello());
    world.client_sends(40, hello_len() + 80, 900, &sealed);
    world.client_closes(41, hello_len() + 104, 900);
    world.until(500);
    world.silent();
    let mut world = self::world();
    world.client_sends(20, 0, 0, &hello());
    world.client_sends(40, hello_len() + 80, 900, &sealed);
    let sent = hello_len() + 104;
    let progress = Progress { una: sent, next: sent, received: 900, sent_ago: 1, received_ago: 50 };
    world.server_resets(60, 900, sent, progress);
    world.silent();
}

#[test]
fn a_servers_first_record_of_two_bytes_after_the_handshake_is_likely_an_alert() {
    let mut flight = vec![20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 50];
    flight.extend([8; 50]);
    let mut sealed = vec![23, 3, 3, 0, 19];
    sealed.extend([9; 19]);
    let mut world = world();
    world.client_sends(20, 0, 0, &hello());
    world.client_sends(40, hello_len(), 900, &flight);
    world.server_sends(60, Kind::Data, 900, hello_len() + 61, &sealed);
    world.server_sends(61, Kind::Fin, 924, hello_len() + 61, &[]);
    let verdict = world.only();
    assert_eq!(
        (verdict.confidence, verdict.detail["sent_by"].as_str()),
        (Confidence::Likely, Some("server"))
    );
    // After session tickets, or an answer, it is the end of a healthy connection.
    let mut world = self::world();
    world.client_sends(20, 0, 0, &hello());
    world.client_sends(40, hello_len(), 900, &flight);
    world.server_sends(60, Kind::Data, 1400, hello_len() + 61, &sealed);
    world.server_sends(61, Kind::Fin, 1424, hello_len() + 61, &[]);
    world.until(1000);
    world.silent();
}

#[test]
fn a_reset_right_after_the_hello_has_the_name_and_the_ttls() {
    let mut world = world();
    world.client_sends(20, 0, 0, &hello());
    // Two hops nearer than the server.
    world.record(seen(30, UplinkIn, &from_server(NODE, Kind::RstAck, 0, hello_len(), 63, &[])));
    world.record(seen(30, PodIn, &from_server(CLIENT, Kind::RstAck, 0, hello_len(), 62, &[])));
    let sent = hello_len();
    let progress = Progress { una: 0, next: sent, received: 0, sent_ago: 10, received_ago: 20 };
    world.record(reset_taken(30, CLIENT, SERVER, UP, Some(progress)));
    world.until(1000);
    let verdict = world.only();
    assert_eq!((verdict.cause, verdict.confidence), (Cause::UpstreamReset, Confidence::Certain));
    let detail = &verdict.detail;
    assert_eq!(
        (detail["after"].as_str(), detail["sni"].as_str()),
        (Some("client-hello"), Some("api.stripe.com"))
    );
    assert_eq!((detail["ttl"].as_u64(), detail["ttl_of_syn_ack"].as_u64()), (Some(63), Some(61)));
    assert_eq!(detail["by"], "middlebox");
}

#[test]
fn without_the_sockets_word_tc_alone_tells_a_reset_after_the_hello() {
    let mut world = World::new(two_pods());
    world.establish(CLIENT, NODE, SERVER);
    let mut blind = World::new(two_pods());
    for (at, tap, packet) in [
        (1, PodOut, super::segments::opening(CLIENT, SERVER, false, 64)),
        (1, UplinkOut, super::segments::opening(NODE, SERVER, false, 63)),
        (9, UplinkIn, super::segments::opening(SERVER, NODE, true, 61)),
        (9, PodIn, super::segments::opening(SERVER, CLIENT, true, 60)),
    ] {
        blind.record(seen(at, tap, &packet));
    }
    for world in [&mut world, &mut blind] {
        world.client_sends(20, 0, 0, &hello());
        world.server_sends(30, Kind::RstAck, 0, hello_len(), &[]);
        world.until(1000);
    }
    assert_eq!(blind.only().cause, Cause::UpstreamReset);
    // A socket that reports did not take it: it was no valid reset.
    world.silent();
}

#[test]
fn a_reset_when_all_is_acknowledged_and_answered_is_no_failure() {
    let mut world = world();
    let progress = Progress { una: 64, next: 64, received: 900, sent_ago: 300, received_ago: 290 };
    world.server_resets(400, 900, 64, progress);
    world.silent();
    // Keep-alive that idled for long.
    let mut world = self::world();
    let progress = Progress { una: 64, next: 64, received: 900, sent_ago: 60_300, received_ago: 60_290 };
    world.server_resets(60_400, 900, 64, progress);
    world.silent();
}

#[test]
fn the_reset_itself_may_acknowledge_the_last_data() {
    let mut world = world();
    let progress = Progress { una: 0, next: 64, received: 900, sent_ago: 20, received_ago: 1 };
    world.server_resets(100, 900, 64, progress);
    world.silent();
}

#[test]
fn data_that_was_not_acknowledged_makes_a_reset_a_failure_at_a_byte() {
    let mut world = world();
    let progress = Progress { una: 30_000, next: 90_000, received: 200, sent_ago: 1, received_ago: 40 };
    world.server_resets(500, 200, 30_000, progress);
    let verdict = world.only();
    assert_eq!((verdict.cause, verdict.confidence), (Cause::UpstreamReset, Confidence::Certain));
    assert_eq!(verdict.detail["after"], "data");
    assert_eq!(verdict.detail["unacknowledged_bytes"], 60_000);
    assert!(verdict.summary.contains("at byte 30000 from the client"), "{}", verdict.summary);
}

#[test]
fn data_into_a_connection_that_idled_is_told_as_that() {
    let mut world = world();
    let progress = Progress { una: 64, next: 128, received: 900, sent_ago: 20, received_ago: 70_020 };
    world.server_sends(80_000, Kind::Rst, 900, 0, &[]);
    world.record(reset_taken(80_000, CLIENT, SERVER, UP, Some(progress)));
    world.until(81_000);
    let verdict = world.only();
    assert_eq!(verdict.detail["after"], "established-idle");
    assert_eq!(verdict.detail["idle_ms"], 70_000);
    assert!(verdict.fix.as_ref().unwrap().text.contains("idle timeout"));
}

#[test]
fn a_request_that_was_taken_and_not_answered_is_likely_one() {
    let mut world = world();
    let progress = Progress { una: 164, next: 164, received: 900, sent_ago: 40, received_ago: 140 };
    world.server_resets(400, 900, 164, progress);
    assert_eq!(world.only().confidence, Confidence::Likely);
}

#[test]
fn resets_after_a_fin_and_resets_of_the_client_are_none() {
    let lost = Progress { una: 0, next: 64, received: 0, sent_ago: 1, received_ago: 90 };
    let mut world = world();
    world.client_closes(90, 64, 0);
    world.server_resets(100, 0, 0, lost);
    world.silent();
    let mut world = self::world();
    world.server_sends(90, Kind::Fin, 0, 0, &[]);
    world.server_resets(100, 1, 0, lost);
    world.silent();
    let mut world = self::world();
    world.record(seen(90, PodOut, &from_client(Kind::RstAck, 64, 0, &[])));
    world.record(seen(90, UplinkOut, &from_client(Kind::RstAck, 64, 0, &[])));
    world.until(1000);
    world.silent();
}

#[test]
fn a_reset_that_came_from_nowhere_was_made_by_the_node() {
    let lost = Progress { una: 0, next: 64, received: 0, sent_ago: 1, received_ago: 90 };
    let mut world = world();
    world.record(seen(100, PodIn, &from_server(CLIENT, Kind::RstAck, 0, 64, 64, &[])));
    world.record(reset_taken(100, CLIENT, SERVER, UP, Some(lost)));
    world.until(1000);
    let verdict = world.only();
    assert_eq!((verdict.stage, verdict.confidence), (Stage::Node, Confidence::Likely));
    assert_eq!(verdict.detail["by"], "node");
    // With the drop that made it, it is a filter's doing.
    let mut world = self::world();
    world.record(seen(100, PodIn, &from_server(CLIENT, Kind::RstAck, 0, 64, 64, &[])));
    world.record(dropped(100, &from_client(Kind::Data, 0, 0, &[1; 20])));
    world.record(reset_taken(100, CLIENT, SERVER, UP, Some(lost)));
    world.until(1000);
    assert_eq!(world.only().cause, Cause::FirewallDrop);
}

#[test]
fn nothing_comes_back_any_more() {
    let mut world = world();
    for (at, silence) in [(10_200, 200), (10_600, 600), (11_400, 1400), (13_000, 3000)] {
        world.record(again(at, CLIENT, SERVER, 400, 100, silence));
    }
    world.silent();
    world.record(again(16_200, CLIENT, SERVER, 400, 100, 6200));
    let verdict = world.only();
    assert_eq!((verdict.cause, verdict.confidence), (Cause::UpstreamTimeout, Confidence::Likely));
    assert_eq!(
        (&verdict.detail["kind"], &verdict.detail["acknowledged_bytes"]),
        (&"established".into(), &400.into())
    );
    assert_eq!(verdict.path.last().unwrap().outcome, HopOutcome::Silent);
    world.record(moved(930_000, CLIENT, SERVER, (UP, CLOSE), 110));
    let verdict = world.only();
    assert_eq!((verdict.confidence, verdict.count), (Confidence::Certain, 1));
}

#[test]
fn silence_that_ends_is_cleared() {
    let mut world = world();
    for (at, silence) in [(10_200, 200), (10_600, 600), (11_400, 1400), (16_200, 6200)] {
        world.record(again(at, CLIENT, SERVER, 400, 100, silence));
    }
    assert_eq!(world.only().state, State::Active);
    world.record(again(30_000, CLIENT, SERVER, 900, 100, 200));
    assert_eq!(world.only().state, State::Cleared);
}

#[test]
fn where_anything_comes_back_it_is_not_silence() {
    let mut world = world();
    for (at, silence) in
        [(10_200, 200), (10_600, 100), (11_400, 90), (13_000, 80), (16_200, 70), (22_600, 60)]
    {
        world.record(again(at, CLIENT, SERVER, 400, 1448, silence));
    }
    world.until(30_000);
    world.silent();
}

#[test]
fn a_lost_segment_of_full_size_may_be_a_matter_of_size() {
    let mut world = world();
    for (at, silence) in [(10_200, 200), (10_600, 600), (11_400, 1400), (16_200, 6200)] {
        world.record(again(at, CLIENT, SERVER, 400, 1448, silence));
    }
    let verdict = world.only();
    assert_eq!(verdict.confidence, Confidence::Possible);
    assert!(verdict.hints.iter().any(|hint| hint.contains("MTU")), "{:?}", verdict.hints);
}

#[test]
fn unanswered_probes_end_in_a_timeout() {
    let mut world = world();
    world.record(moved(7_200_000, CLIENT, SERVER, (UP, CLOSE), 110));
    let verdict = world.only();
    assert_eq!((verdict.cause, verdict.confidence), (Cause::UpstreamTimeout, Confidence::Certain));
    assert!(verdict.summary.contains("keep-alive"), "{}", verdict.summary);
}

#[test]
fn answers_that_are_dropped_here_are_that_drop() {
    let mut world = world();
    world.record(again(10_200, CLIENT, SERVER, 400, 100, 200));
    world.record(dropped(10_210, &from_server(CLIENT, Kind::Data, 0, 500, 60, &[])));
    for (at, silence) in [(10_600, 600), (11_400, 1400), (16_200, 6200)] {
        world.record(again(at, CLIENT, SERVER, 400, 100, silence));
    }
    assert_eq!(world.only().cause, Cause::FirewallDrop);
}
