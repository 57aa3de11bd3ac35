//! Hostile packets: each decodes to an error or to part of what it is, and never to another flow.

use super::*;

const SOURCE: [u8; 4] = [10, 244, 1, 5];
const DESTINATION: [u8; 4] = [203, 0, 113, 4];

fn v4_with(protocol: u8, options: &[u8], fragment: u16, total: Option<u16>, payload: &[u8]) -> Vec<u8> {
    let header = 20 + options.len();
    let total = total.unwrap_or_else(|| u16::try_from(header + payload.len()).unwrap());
    let mut bytes = vec![0x40 | u8::try_from(header / 4).unwrap(), 0];
    bytes.extend(total.to_be_bytes());
    bytes.extend([0, 1]);
    bytes.extend(fragment.to_be_bytes());
    bytes.extend([64, protocol, 0, 0]);
    bytes.extend(SOURCE);
    bytes.extend(DESTINATION);
    bytes.extend(options);
    bytes.extend(payload);
    bytes
}

fn v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    v4_with(protocol, &[], 0, None, payload)
}

fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x60, 0, 0, 0];
    bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    bytes.extend([next, 64]);
    bytes.extend("fd00::5".parse::<std::net::Ipv6Addr>().unwrap().octets());
    bytes.extend("2001:db8::4".parse::<std::net::Ipv6Addr>().unwrap().octets());
    bytes.extend(payload);
    bytes
}

/// 40000 → 443, sequence number 7, SYN.
fn syn() -> Vec<u8> {
    syn_with(0x50)
}

fn syn_with(offset: u8) -> Vec<u8> {
    vec![0x9c, 0x40, 1, 0xbb, 0, 0, 0, 7, 0, 0, 0, 0, offset, 2, 1, 0, 0, 0, 0, 0]
}

fn udp_with(length: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x9c, 0x40, 0, 53];
    bytes.extend(length.to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(payload);
    bytes
}

fn icmp(kind: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> Vec<u8> {
    [&[kind, code, 0, 0], &rest[..], payload].concat()
}

/// What is known of a packet, in short: protocol, ports, what it is.
fn brief(data: &[u8]) -> String {
    let (packet, payload) = match parse(data) {
        Ok(parsed) => parsed,
        Err(error) => return error.to_owned(),
    };
    let Tuple { protocol, source, destination } = packet.tuple;
    let kind = match packet.transport {
        Transport::Tcp { flags, seq, .. } => format!("tcp flags {flags} seq {seq}"),
        Transport::Udp => "udp".to_owned(),
        Transport::EchoRequest { .. } => "echo".to_owned(),
        Transport::EchoReply { .. } => "echo reply".to_owned(),
        Transport::Icmp(error) => {
            let Tuple { protocol, source, destination } = error.about;
            format!(
                "icmp {}/{} about {protocol} {} {}",
                error.kind, error.code, source.port, destination.port
            )
        }
        Transport::Sctp { chunk } => format!("sctp chunk {chunk}"),
        Transport::Other if packet.fragment => "later fragment".to_owned(),
        Transport::Other => "other".to_owned(),
    };
    format!("{protocol} {} {} {kind} +{}", source.port, destination.port, payload.len())
}

fn says(table: &[(&str, Vec<u8>, &str)]) {
    for (name, data, wanted) in table {
        assert_eq!(brief(data), *wanted, "{name}");
    }
}

#[test]
fn lengths_and_offsets_that_lie() {
    let tcp = "6 40000 443 tcp flags 2 seq 7 +0";
    let ports = "6 40000 443 other +0";
    says(&[
        ("nothing", vec![], "neither an IPv4 nor an IPv6 header"),
        ("ARP", vec![0, 1, 8, 0, 6, 4], "neither an IPv4 nor an IPv6 header"),
        (
            "a VLAN tag where the network header should be",
            vec![0x81, 0, 0, 5, 8, 0],
            "neither an IPv4 nor an IPv6 header",
        ),
        ("an IPv4 header cut", v4(6, &syn())[..19].to_vec(), "a broken IPv4 header"),
        ("an IPv6 header cut", v6(6, &syn())[..39].to_vec(), "a broken IPv6 header"),
        ("IHL of 4", [&[0x44], &v4(6, &syn())[1..]].concat(), "a broken IPv4 header"),
        ("IHL beyond the end", [&[0x4f], &v4(6, &syn())[1..]].concat(), "a broken IPv4 header"),
        ("IPv4 options", v4_with(6, &[1, 1, 1, 0], 0, None, &syn()), tcp),
        ("total length 0, as of a large GSO segment", v4_with(6, &[], 0, Some(0), &syn()), tcp),
        ("total length below the header's", v4_with(6, &[], 0, Some(19), &syn()), tcp),
        ("total length at its most", v4_with(6, &[], 0, Some(65535), &syn()), tcp),
        ("total length ends in the ports", v4_with(6, &[], 0, Some(22), &syn()), "6 0 0 other +0"),
        ("total length ends in the TCP header", v4_with(6, &[], 0, Some(30), &syn()), ports),
        ("data offset of 4", v4(6, &syn_with(0x40)), ports),
        ("data offset beyond the end", v4(6, &syn_with(0xf0)), ports),
        ("TCP cut", v4(6, &syn())[..32].to_vec(), ports),
        ("TCP without a byte", v4(6, &[]), "6 0 0 other +0"),
        ("UDP length 0", v4(17, &udp_with(0, b"abc")), "17 40000 53 udp +0"),
        ("UDP length 7", v4(17, &udp_with(7, b"abc")), "17 40000 53 udp +0"),
        ("UDP length too long", v4(17, &udp_with(60000, b"abc")), "17 40000 53 udp +3"),
        ("UDP length short of what is there", v4(17, &udp_with(10, b"abc")), "17 40000 53 udp +2"),
        ("UDP cut behind its ports", v4(17, &udp_with(11, b""))[..25].to_vec(), "17 40000 53 udp +0"),
        ("SCTP INIT", v4(132, &[0, 5, 0, 6, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]), "132 5 6 sctp chunk 1 +0"),
        ("SCTP cut", v4(132, &[0, 5, 0, 6, 0, 0]), "132 5 6 other +0"),
        ("what the link filled up", [v4(17, &udp_with(8, b"")), vec![0; 18]].concat(), "17 40000 53 udp +0"),
        ("GRE", v4(47, &[0; 8]), "47 0 0 other +0"),
        ("ESP", v6(50, &[0; 16]), "50 0 0 other +0"),
    ]);
}

#[test]
fn fragments_and_extension_headers() {
    let tcp = "6 40000 443 tcp flags 2 seq 7 +0";
    let fragment = |next: u8, field: u16| [&[next, 0], &field.to_be_bytes()[..], &[0, 0, 0, 9]].concat();
    let options = |next: u8| vec![next, 0, 1, 4, 0, 0, 0, 0];
    let authentication = |next: u8| [&[next, 4], &[0; 22][..]].concat();
    let behind = |headers: &[Vec<u8>]| [headers.concat(), syn()].concat();
    let many = |count: usize| {
        let mut headers = vec![options(60); count];
        headers[count - 1] = options(6);
        v6(60, &behind(&headers))
    };
    let mut jumbo = v6(0, &behind(&[vec![6, 0, 0xc2, 4, 0, 1, 0, 0]]));
    jumbo[4..6].fill(0);
    says(&[
        ("the first fragment", v4_with(6, &[], 0x2000, None, &syn()), tcp),
        (
            "the first of DNS over UDP",
            v4_with(17, &[], 0x2000, None, &udp_with(4000, b"abc")),
            "17 40000 53 udp +3",
        ),
        ("a later one", v4_with(6, &[], 0x2001, None, &syn()), "6 0 0 later fragment +0"),
        ("the last one", v4_with(17, &[], 1, None, &syn()), "17 0 0 later fragment +0"),
        (
            "a later one of ICMP",
            v4_with(1, &[], 1, None, &[8, 0, 0, 0, 0, 7, 0, 1]),
            "1 0 0 later fragment +0",
        ),
        ("the first fragment, IPv6", v6(44, &behind(&[fragment(6, 1)])), tcp),
        ("a later one, IPv6", v6(44, &behind(&[fragment(6, 8)])), "6 0 0 later fragment +0"),
        (
            "a later one that begins like an extension header",
            v6(44, &[fragment(60, 9), options(17), syn()].concat()),
            "60 0 0 later fragment +0",
        ),
        ("an atomic fragment", v6(44, &behind(&[fragment(6, 0)])), tcp),
        ("a fragment header cut", v6(44, &fragment(6, 8)[..4]), "44 0 0 later fragment +0"),
        ("hop-by-hop", v6(0, &behind(&[options(6)])), tcp),
        ("a jumbogram", jumbo, tcp),
        (
            "a chain",
            v6(0, &behind(&[options(60), options(43), options(44), fragment(51, 0), authentication(6)])),
            tcp,
        ),
        ("authentication, IPv4", v4(51, &behind(&[authentication(6)])), tcp),
        ("authentication cut", v4(51, &authentication(6)[..20]), "51 0 0 other +0"),
        ("a header longer than the packet", v6(60, &[6, 255, 0, 0, 0, 0, 0, 0]), "60 0 0 other +0"),
        ("as many as are gone over", many(16), tcp),
        ("more", many(17), "60 0 0 other +0"),
        ("extension headers of IPv6 in IPv4", v4(60, &behind(&[options(6)])), "60 0 0 other +0"),
        ("no next header", v6(59, &syn()), "59 0 0 other +0"),
    ]);
}

#[test]
fn icmp_and_what_it_quotes() {
    let unreachable = |quoted: &[u8]| v4(1, &icmp(3, 1, [0; 4], quoted));
    let request = [8, 0, 0, 0, 0, 7, 0, 1];
    let inner = v4(1, &icmp(3, 3, [0, 42, 0, 0], &v4(6, &syn())));
    says(&[
        ("echo", v4(1, &request), "1 7 7 echo +0"),
        ("echo of IPv6", v6(58, &[128, 0, 0, 0, 0, 7, 0, 1]), "58 7 7 echo +0"),
        ("echo cut", v4(1, &request[..7]), "1 0 0 other +0"),
        ("ICMPv6 in IPv4", v4(58, &[128, 0, 0, 0, 0, 7, 0, 1]), "58 0 0 other +0"),
        ("ICMP in IPv6", v6(1, &request), "1 0 0 other +0"),
        ("about TCP", unreachable(&v4(6, &syn())), "1 0 0 icmp 3/1 about 6 40000 443 +0"),
        (
            "about TCP, eight bytes of it",
            unreachable(&v4(6, &syn())[..28]),
            "1 0 0 icmp 3/1 about 6 40000 443 +0",
        ),
        ("about TCP, three bytes of it", unreachable(&v4(6, &syn())[..23]), "1 0 0 other +0"),
        ("about an echo", unreachable(&v4(1, &request)), "1 0 0 icmp 3/1 about 1 7 7 +0"),
        ("about GRE", unreachable(&v4(47, &[0; 8])), "1 0 0 icmp 3/1 about 47 0 0 +0"),
        ("about an error", unreachable(&inner), "1 0 0 other +0"),
        ("about a later fragment", unreachable(&v4_with(6, &[], 1, None, &syn())), "1 0 0 other +0"),
        (
            "about a packet with options",
            unreachable(&v4_with(6, &[1; 40], 0, None, &syn())),
            "1 0 0 icmp 3/1 about 6 40000 443 +0",
        ),
        ("about a packet of the other family", unreachable(&v6(6, &syn())), "1 0 0 other +0"),
        ("about nothing", unreachable(&[]), "1 0 0 other +0"),
        (
            "about behind an extension header",
            v6(58, &icmp(1, 4, [0; 4], &v6(0, &[&[6, 0, 1, 4, 0, 0, 0, 0], &syn()[..]].concat()))),
            "58 0 0 icmp 1/4 about 6 40000 443 +0",
        ),
        (
            "about behind an extension header that is cut",
            v6(58, &icmp(1, 4, [0; 4], &v6(0, &[6, 0, 1, 4]))),
            "58 0 0 other +0",
        ),
        (
            "an error in a first fragment",
            v4_with(1, &[], 0x2000, None, &icmp(11, 0, [0; 4], &v4(6, &syn()))),
            "1 0 0 icmp 11/0 about 6 40000 443 +0",
        ),
    ]);
}

/// Everything but the ports of a packet that is cut stays, and these are there or not.
#[test]
fn a_packet_cut_anywhere_is_of_the_same_flow_or_of_none() {
    let options = vec![60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0];
    for data in [
        v4_with(6, &[1; 8], 0, None, &syn()),
        v4(17, &udp_with(11, b"abc")),
        v4(1, &icmp(3, 4, [0, 0, 5, 0], &v4(6, &syn()))),
        v6(0, &[options, syn()].concat()),
    ] {
        let (whole, _) = parse(&data).unwrap();
        for end in 0..data.len() {
            let Ok((part, _)) = parse(&data[..end]) else { continue };
            assert_eq!(part.tuple.source.ip, whole.tuple.source.ip);
            assert_eq!(part.tuple.destination.ip, whole.tuple.destination.ip);
            assert!(
                part.tuple == whole.tuple || (part.tuple.source.port, part.tuple.destination.port) == (0, 0)
            );
        }
    }
}
