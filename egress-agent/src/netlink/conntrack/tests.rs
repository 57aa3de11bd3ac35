//! Real flows through a masquerading node, in namespaces of their own.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc::{Receiver, channel};

use egress_core::node::{ConntrackAnswer, ConntrackQuery, NodeChange};
use egress_core::protocol::Protocol;
use egress_core::verdict::SocketAddress;

use super::{Conntrack, ConntrackTable};
use crate::netlink::netns::Netns;
use crate::netlink::testing::{await_event, have, netns, run, veth};

/// A pod, a node that masquerades it, and a server outside.
struct Topology {
    pod: Netns,
    node: Netns,
    outside: Netns,
}

impl Topology {
    fn build() -> Option<Self> {
        if !have("nft") {
            return None;
        }
        let (pod, node, outside) = (netns()?, netns()?, netns()?);
        veth(&node, "veth0", &pod, "eth0");
        veth(&node, "up0", &outside, "eth0");
        run(
            &node,
            "ip addr add 10.1.0.1/24 dev veth0
             ip -6 addr add fd00:1::1/64 dev veth0 nodad
             ip addr add 192.0.2.2/24 dev up0
             ip -6 addr add 2001:db8::2/64 dev up0 nodad
             ip link set veth0 up
             ip link set up0 up
             echo 1 > /proc/sys/net/ipv4/ip_forward
             echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
             nft 'table inet nat { chain post { type nat hook postrouting priority 100; oifname up0 masquerade; }; }'
             nft 'table ip svc { chain pre { type nat hook prerouting priority -100; ip daddr 10.96.0.1 dnat to 192.0.2.1; }; }'",
        );
        run(
            &pod,
            "ip addr add 10.1.0.5/24 dev eth0
             ip -6 addr add fd00:1::5/64 dev eth0 nodad
             ip link set eth0 up
             ip route add default via 10.1.0.1
             ip -6 route add default via fd00:1::1",
        );
        run(
            &outside,
            "ip addr add 192.0.2.1/24 dev eth0
             ip -6 addr add 2001:db8::1/64 dev eth0 nodad
             ip link set eth0 up",
        );
        Some(Self { pod, node, outside })
    }

    fn conntrack(&self) -> (Conntrack, Receiver<ConntrackAnswer>) {
        let (tell, told) = channel();
        let conntrack = Conntrack::start(&self.node, move |change| {
            if let NodeChange::Conntrack(answer) = change {
                tell.send(answer).unwrap();
            }
        });
        (conntrack.unwrap(), told)
    }
}

fn end(address: SocketAddr) -> SocketAddress {
    SocketAddress { ip: address.ip(), port: address.port() }
}

#[test]
fn the_translation_of_tcp_and_udp_flows_is_found() {
    let Some(lab) = Topology::build() else { return };
    let (conntrack, told) = lab.conntrack();
    let ask = |query| {
        assert!(conntrack.ask(query));
        await_event(&told, |answer| answer.query == query).0.reply
    };
    for (server, node, dialled) in [
        ("192.0.2.1", "192.0.2.2", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::2", "2001:db8::1"),
        // A Service's address: both ends are translated.
        ("192.0.2.1", "192.0.2.2", "10.96.0.1"),
    ] {
        let [server, node, dialled]: [IpAddr; 3] = [server, node, dialled].map(|ip| ip.parse().unwrap());
        let any: IpAddr = if server.is_ipv4() { [0, 0, 0, 0].into() } else { [0u16; 8].into() };

        let listener = lab.outside.run(|| TcpListener::bind((server, 8443)).unwrap()).unwrap();
        let mut client = lab.pod.run(|| TcpStream::connect((dialled, 8443)).unwrap()).unwrap();
        let (mut accepted, seen) = listener.accept().unwrap();
        client.write_all(b"x").unwrap();
        accepted.read_exact(&mut [0]).unwrap();
        let source = end(client.local_addr().unwrap());
        let destination = SocketAddress { ip: dialled, port: 8443 };
        let query = ConntrackQuery { protocol: Protocol::Tcp, source, destination };
        assert_eq!(seen.ip(), node);
        assert_eq!(ask(query), Some((SocketAddress { ip: server, port: 8443 }, end(seen))));
        // Asked from the other side, the translation is the original tuple.
        let reverse = ConntrackQuery {
            protocol: Protocol::Tcp,
            source: SocketAddress { ip: server, port: 8443 },
            destination: end(seen),
        };
        assert_eq!(ask(reverse), Some((source, destination)));
        let other = SocketAddress { port: source.port ^ 1, ..source };
        assert_eq!(ask(ConntrackQuery { source: other, ..query }), None);

        let listener = lab.outside.run(|| UdpSocket::bind((server, 5300)).unwrap()).unwrap();
        let client = lab.pod.run(|| UdpSocket::bind((any, 0)).unwrap()).unwrap();
        client.connect((dialled, 5300)).unwrap();
        client.send(b"question").unwrap();
        let (_, seen) = listener.recv_from(&mut [0; 16]).unwrap();
        let query = ConntrackQuery {
            protocol: Protocol::Udp,
            source: end(client.local_addr().unwrap()),
            destination: SocketAddress { ip: dialled, port: 5300 },
        };
        assert_eq!(ask(query), Some((SocketAddress { ip: server, port: 5300 }, end(seen))));
    }
    let counts = conntrack.counts();
    assert_eq!((counts.found, counts.missing, counts.failed, counts.shed), (9, 3, 0, 0));
    let unaskable = ConntrackQuery {
        protocol: Protocol::Other,
        source: SocketAddress { ip: [10, 1, 0, 5].into(), port: 0 },
        destination: SocketAddress { ip: [192, 0, 2, 1].into(), port: 0 },
    };
    assert!(conntrack.ask(unaskable));
    drop(conntrack);

    let usage = ConntrackTable::open(&lab.node).unwrap().usage().unwrap();
    assert!((6..100).contains(&usage.entries), "{usage:?}");
    assert!(usage.limit >= 1000, "{usage:?}");
    let entries =
        lab.node.run(|| std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count").unwrap());
    assert_eq!(entries.unwrap().trim().parse(), Ok(usage.entries));
}

#[test]
fn the_translation_of_an_echo_request_is_found() {
    let Some(lab) = Topology::build() else { return };
    let (conntrack, told) = lab.conntrack();
    for (server, node, domain, protocol) in [
        ("192.0.2.1", "192.0.2.2", libc::AF_INET, libc::IPPROTO_ICMP),
        ("2001:db8::1", "2001:db8::2", libc::AF_INET6, libc::IPPROTO_ICMPV6),
    ] {
        let [server, node]: [IpAddr; 2] = [server, node].map(|ip| ip.parse().unwrap());
        // An unprivileged ping socket: its port is the identifier.
        let client = lab
            .pod
            .run(|| {
                run(&lab.pod, "echo '0 2147483647' > /proc/sys/net/ipv4/ping_group_range");
                // SAFETY: a plain system call; the descriptor is owned by the socket made from it.
                unsafe {
                    let fd = libc::socket(domain, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, protocol);
                    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
                    <UdpSocket as std::os::fd::FromRawFd>::from_raw_fd(fd)
                }
            })
            .unwrap();
        client.connect((server, 0)).unwrap();
        let kind = if server.is_ipv4() { 8 } else { 128 };
        client.send(&[kind, 0, 0, 0, 0, 0, 0, 1]).unwrap();
        client.recv(&mut [0; 64]).unwrap();
        let source = end(client.local_addr().unwrap());
        let query = ConntrackQuery {
            protocol: Protocol::Icmp,
            source,
            destination: SocketAddress { ip: server, port: 0 },
        };
        assert!(conntrack.ask(query));
        let (from, to) = await_event(&told, |answer| answer.query == query).0.reply.unwrap();
        assert_eq!((from.ip, to.ip, to.port != 0), (server, node, true));
    }
}
