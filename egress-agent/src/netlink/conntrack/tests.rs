//! Real flows through a masquerading node, in namespaces of their own.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc::{Receiver, channel};

use egress_core::node::{
    Answer, ConntrackAnswer, ConntrackQuery, Holder, NodeChange, Question, RangeInUse, Towards,
};
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

/// Two clients hold the only two ports of a masquerade rule, and a third one fails.
#[test]
fn ports_in_use_and_the_rule_that_gives_them_are_found() {
    let Some(lab) = Topology::build() else { return };
    run(&lab.node, "nft 'insert rule inet nat post oifname up0 meta l4proto tcp masquerade to :61000-61001'");
    let (tell, told) = channel();
    let conntrack = Conntrack::start(&lab.node, move |change| {
        if let NodeChange::Reading(reading) = change {
            tell.send(reading).unwrap();
        }
    })
    .unwrap();
    let netns = lab.node.inode();
    for (server, node) in [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")] {
        let [server, node]: [IpAddr; 2] = [server, node].map(|ip| ip.parse().unwrap());
        let listener = lab.outside.run(|| TcpListener::bind((server, 8443)).unwrap()).unwrap();
        let connect = || {
            let wait = std::time::Duration::from_millis(300);
            lab.pod.run(|| TcpStream::connect_timeout(&(server, 8443).into(), wait)).unwrap()
        };
        let held: Vec<TcpStream> = (0..2).map(|_| connect().unwrap()).collect();
        assert!(connect().is_err());
        let destination = SocketAddress { ip: server, port: 8443 };
        let towards = Towards { protocol: Protocol::Tcp, source: node, destination };
        let question = Question::Table { netns, towards: Some(towards) };
        assert!(conntrack.read(question.clone()));
        let reading = await_event(&told, |reading| reading.question == question).0;
        let Some(Answer::Table(table)) = reading.answer else { panic!("{reading:?}") };
        assert!(table.insert_failed >= 1 && table.dropped >= table.insert_failed, "{table:?}");
        assert!(table.entries >= 2 && table.limit >= 1000 && table.holders.is_empty(), "{table:?}");
        let ports = table.ports.unwrap();
        assert_eq!(ports.count, 2);
        let client = held[0].local_addr().unwrap().ip();
        let holders = vec![Holder { ip: client, entries: 2 }];
        assert_eq!(ports.holders, holders);
        assert_eq!(ports.ranges, vec![RangeInUse { lowest: 61000, highest: 61001, count: 2, holders }]);
        drop(listener);
    }
    let question = Question::Translations { netns };
    assert!(conntrack.read(question.clone()));
    let reading = await_event(&told, |reading| reading.question == question).0;
    let Some(Answer::Translations(read)) = reading.answer else { panic!("{reading:?}") };
    let said: Vec<(String, Option<(u16, u16)>)> =
        read.rules.iter().map(|rule| (rule.action.clone(), rule.ports)).collect();
    assert_eq!(said, [("masquerade".to_owned(), Some((61000, 61001))), ("masquerade".to_owned(), None)]);
    assert!(read.unread.is_empty() && read.rules[0].place.starts_with("inet nat post handle "));
}

/// Rules of iptables-nft are told with their ports, addresses and comments.
#[test]
fn rules_of_iptables_that_translate_are_read() {
    if !have("iptables-nft") || !have("ip6tables-nft") {
        return;
    }
    let Some(node) = netns() else { return };
    run(
        &node,
        "iptables-nft -t nat -A POSTROUTING -p tcp -m comment --comment cali:x -j MASQUERADE --to-ports 61000-61001
         iptables-nft -t nat -A POSTROUTING -j SNAT --to-source 192.0.2.9
         iptables-nft -t nat -A PREROUTING -j DNAT --to-destination 192.0.2.8
         ip6tables-nft -t nat -A POSTROUTING -p udp -j MASQUERADE --to-ports 50000-50009
         ip6tables-nft -t nat -A POSTROUTING -p tcp -j SNAT --to-source [2001:db8::9]:40000-40001",
    );
    let (tell, told) = channel();
    let conntrack = Conntrack::start(&node, move |change| {
        if let NodeChange::Reading(reading) = change {
            tell.send(reading).unwrap();
        }
    })
    .unwrap();
    let question = Question::Translations { netns: node.inode() };
    assert!(conntrack.read(question.clone()));
    let reading = await_event(&told, |reading| reading.question == question).0;
    let Some(Answer::Translations(read)) = reading.answer else { panic!("{reading:?}") };
    let said: Vec<String> = read
        .rules
        .iter()
        .map(|rule| format!("{} {} {:?} {:?}", rule.family, rule.action, rule.ports, rule.comment.as_deref()))
        .collect();
    assert_eq!(
        said,
        [
            "ip masquerade Some((61000, 61001)) Some(\"cali:x\")",
            "ip snat to 192.0.2.9 None None",
            "ip6 masquerade Some((50000, 50009)) None",
            "ip6 snat to 2001:db8::9 Some((40000, 40001)) None",
        ]
    );
}
