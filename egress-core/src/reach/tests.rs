//! The table forgets, stays small, and lets the later of success and failure decide.

use super::{Reach, Who};
use crate::decode::{SockStateSeen, TcpState, Tuple};
use crate::time::Mono;
use crate::verdict::SocketAddress;

fn to(host: u32, port: u16) -> Tuple {
    let end = |ip: u32, port| SocketAddress { ip: std::net::Ipv4Addr::from(ip).into(), port };
    Tuple { protocol: 6, source: end(0xc000_020a, 40_000), destination: end(host, port) }
}

fn second(seconds: u64) -> Mono {
    Mono(seconds * 1_000_000_000)
}

fn node_socket(reach: &mut Reach, tuple: Tuple, new: TcpState, error: u32, at: Mono) {
    let state = SockStateSeen {
        tuple,
        socket: 1,
        old: TcpState::SynSent,
        new,
        error,
        pid: 0,
        command: [0; 16],
        dialler: false,
        cgroup: 0,
        by_address: false,
        una: None,
        received: None,
        sent: None,
    };
    reach.note_node_socket(&state, at);
}

#[test]
fn the_later_of_success_and_failure_decides() {
    let mut reach = Reach::default();
    let stripe = to(1, 443);
    node_socket(&mut reach, stripe, TcpState::Established, 0, second(1));
    assert!(reach.tries(&stripe, second(2))[0].reached());
    node_socket(&mut reach, stripe, TcpState::Close, 110, second(3));
    assert!(reach.tries(&stripe, second(4))[0].failed());
    node_socket(&mut reach, stripe, TcpState::Established, 0, second(5));
    assert!(reach.tries(&stripe, second(6))[0].reached());
    assert_eq!(reach.tries(&stripe, second(6)).len(), 1);
}

#[test]
fn an_attempt_given_up_without_error_says_nothing() {
    let mut reach = Reach::default();
    node_socket(&mut reach, to(1, 443), TcpState::Close, 0, second(1));
    let tries = reach.tries(&to(1, 443), second(2));
    assert!(tries.iter().all(|one| !one.reached() && !one.failed()));
}

#[test]
fn what_is_old_is_not_told() {
    let mut reach = Reach::default();
    node_socket(&mut reach, to(1, 443), TcpState::Established, 0, second(1));
    assert_eq!(reach.tries(&to(1, 443), second(800)).len(), 1);
    assert!(reach.tries(&to(1, 443), second(1000)).is_empty());
}

#[test]
fn ports_that_answer_are_told_apart_from_the_one_that_does_not() {
    let mut reach = Reach::default();
    node_socket(&mut reach, to(1, 443), TcpState::Established, 0, second(1));
    node_socket(&mut reach, to(1, 8443), TcpState::Close, 111, second(1));
    let ports: Vec<u16> = reach.answering_ports(&to(1, 8443), second(2)).iter().map(|one| one.port).collect();
    assert_eq!(ports, [443]);
    assert!(reach.answering_ports(&to(1, 443), second(2)).is_empty());
}

#[test]
fn the_table_is_bounded() {
    let mut reach = Reach::default();
    for host in 0..20_000 {
        node_socket(&mut reach, to(host, 443), TcpState::Established, 0, second(u64::from(host)));
    }
    for port in 1..1000 {
        node_socket(&mut reach, to(20_000, port), TcpState::Established, 0, second(20_000));
    }
    let (hosts, tries) = reach.size();
    assert!(hosts <= 4096 && tries <= 32, "{hosts} hosts, {tries} tries");
    assert_eq!(reach.tries(&to(20_000, 999), second(20_001))[0].who, Who::Node);
}
