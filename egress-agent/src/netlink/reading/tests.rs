//! Read from the kernel, in namespaces of their own (skipped without root).

use std::net::{IpAddr, TcpListener, UdpSocket};

use egress_core::node::{Answer, Question, Refusal};
use egress_core::protocol::Protocol;
use egress_core::verdict::SocketAddress;

use super::answer;
use crate::netlink::testing::{netns, run};

fn address(ip: &str, port: u16) -> SocketAddress {
    SocketAddress { ip: ip.parse().unwrap(), port }
}

#[test]
fn a_sockets_queue_and_its_limit() {
    let Some(node) = netns() else { return };
    run(&node, "ip link set lo up");
    let read = |protocol, port| {
        let asked = Question::Socket { netns: 0, protocol, address: address("127.0.0.1", port) };
        node.run(|| answer(&asked)).unwrap()
    };
    let listener = node.run(|| TcpListener::bind("127.0.0.1:7000").unwrap()).unwrap();
    let _waiting = node.run(|| std::net::TcpStream::connect("127.0.0.1:7000").unwrap()).unwrap();
    let Some(Answer::Socket(queue)) = read(Protocol::Tcp, 7000) else { panic!("no listener") };
    assert_eq!(queue.queued, 1);
    assert!(queue.limit >= 1);
    drop(listener);
    // A socket of any address takes what is sent to this one.
    let _receiver = node.run(|| UdpSocket::bind("0.0.0.0:7001").unwrap()).unwrap();
    let Some(Answer::Socket(queue)) = read(Protocol::Udp, 7001) else { panic!("no receiver") };
    assert_eq!((queue.queued, queue.drops), (0, 0));
    assert!(queue.limit > 0);
    assert_eq!(read(Protocol::Udp, 7002), None);
}

#[test]
fn routes_that_are_there_missing_or_refuse() {
    let Some(node) = netns() else { return };
    run(
        &node,
        "ip link add d0 type veth peer name d1\nip addr add 10.0.0.1/24 dev d0\nip link set d1 up\nip link set d0 up\n\
         ip route add 10.1.0.0/16 via 10.0.0.9\nip route add blackhole 10.2.0.0/16\n\
         ip route add prohibit 10.3.0.0/16\nip -6 route add unreachable 2001:db8::/32",
    );
    let read = |to: &str| {
        let asked = Question::Route { netns: 0, to: to.parse().unwrap() };
        match node.run(|| answer(&asked)).unwrap() {
            Some(Answer::Route(route)) => route,
            other => panic!("{other:?}"),
        }
    };
    let there = read("10.1.2.3");
    assert_eq!((there.refused, there.device.as_deref()), (None, Some("d0")));
    assert_eq!(there.route.unwrap().gateway, Some(IpAddr::from([10, 0, 0, 9])));
    for (to, refusal) in [
        ("10.4.0.1", Refusal::NoRoute),
        ("10.2.0.1", Refusal::Blackhole),
        ("10.3.0.1", Refusal::Prohibit),
        ("2001:db8::1", Refusal::Unreachable),
        ("2001:db9::1", Refusal::NoRoute),
    ] {
        assert_eq!(read(to).refused, Some(refusal), "{to}");
    }
    assert_eq!(read("10.2.0.1").route.unwrap().words(None), "blackhole 10.2.0.0/16");
}

#[test]
fn a_devices_queue_and_a_neighbour_that_does_not_answer() {
    let Some(node) = netns() else { return };
    run(
        &node,
        "ip link add d0 type veth peer name d1\nip addr add 10.0.0.1/24 dev d0\nip link set d0 up\nip link set d1 up\n\
         tc qdisc add dev d0 root tbf rate 8kbit burst 1540 limit 3000\n\
         ip neigh add 10.0.0.9 dev d0 lladdr 02:00:00:00:00:09 nud permanent",
    );
    let index = node.run(|| index_of("d0")).unwrap().unwrap();
    let Some(Answer::Device { name, qdisc, limit, usable, .. }) =
        node.run(|| answer(&Question::Device { netns: 0, index })).unwrap()
    else {
        panic!("no device");
    };
    assert_eq!((name.as_str(), qdisc.as_str(), usable), ("d0", "tbf", true));
    assert_eq!(limit.as_deref(), Some("limit 3000b"));
    let asked = Question::Neighbour { netns: 0, index, ip: IpAddr::from([10, 0, 0, 9]) };
    let expected = Answer::Neighbour { state: "permanent".to_owned() };
    assert_eq!(node.run(|| answer(&asked)).unwrap(), Some(expected));
}

fn index_of(name: &str) -> std::io::Result<u32> {
    let name = std::ffi::CString::new(name).map_err(std::io::Error::other)?;
    // SAFETY: a terminated string that lives for the length of the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(std::io::Error::last_os_error()),
        index => Ok(index),
    }
}

#[test]
fn a_sysctl_of_the_namespace() {
    let Some(node) = netns() else { return };
    run(&node, "sysctl -qw net.ipv4.conf.lo.rp_filter=2");
    let asked = Question::Setting { netns: 0, name: "net.ipv4.conf.lo.rp_filter".to_owned() };
    assert_eq!(node.run(|| answer(&asked)).unwrap(), Some(Answer::Setting { value: "2".to_owned() }));
}
