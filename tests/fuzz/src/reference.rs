//! Packet headers read a second time, straight from the RFCs and without a library: what a decoded packet is held
//! against.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where a packet's transport header is, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// Protocol behind the extension headers that are there; `None` where these are cut.
    pub(crate) protocol: Option<u8>,
    /// Source and destination port; `None` in later fragments, for other protocols, and where they are cut.
    pub(crate) ports: Option<(u16, u16)>,
}

/// TCP, UDP, SCTP.
const WITH_PORTS: [u8; 3] = [6, 17, 132];

/// Reads a packet from its network header on. `None`: it has none.
pub(crate) fn read(data: &[u8]) -> Option<Reference> {
    match data.first()? >> 4 {
        4 => v4(data),
        6 => v6(data),
        _ => None,
    }
}

fn v4(data: &[u8]) -> Option<Reference> {
    let header: &[u8; 20] = data.first_chunk()?;
    let at = usize::from(header[0] & 15) * 4;
    let address = |from: usize| -> IpAddr {
        Ipv4Addr::new(header[from], header[from + 1], header[from + 2], header[from + 3]).into()
    };
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0;
    let (protocol, ports) = transport(data, header[9], at, fragment);
    Some(Reference { source: address(12), destination: address(16), protocol, ports })
}

fn v6(data: &[u8]) -> Option<Reference> {
    let header: &[u8; 40] = data.first_chunk()?;
    let address =
        |bytes: &[u8]| <[u8; 16]>::try_from(bytes).ok().map(|octets| IpAddr::from(Ipv6Addr::from(octets)));
    let (protocol, ports) = transport(data, header[6], 40, false);
    Some(Reference {
        source: address(&header[8..24])?,
        destination: address(&header[24..40])?,
        protocol,
        ports,
    })
}

/// Goes over the extension headers (RFC 8200, RFC 4302) to the ports.
fn transport(data: &[u8], first: u8, start: usize, fragment: bool) -> (Option<u8>, Option<(u16, u16)>) {
    let (mut next, mut at, mut fragment) = (first, start, fragment);
    loop {
        let byte = |offset: usize| data.get(at + offset).copied();
        let length = match next {
            _ if fragment => break,
            0 | 43 | 60 | 135 | 139 | 140 => byte(1).map(|length| (usize::from(length) + 1) * 8),
            44 => byte(3).zip(byte(2)).map(|(low, high)| {
                fragment = u16::from_be_bytes([high, low]) >> 3 != 0;
                8
            }),
            51 => byte(1).map(|length| (usize::from(length) + 2) * 4),
            _ => break,
        };
        let (Some(following), Some(length)) = (byte(0), length) else { return (None, None) };
        (next, at) = (following, at + length);
    }
    let ports = data
        .get(at..at + 4)
        .filter(|_| !fragment && WITH_PORTS.contains(&next))
        .map(|b| (u16::from_be_bytes([b[0], b[1]]), u16::from_be_bytes([b[2], b[3]])));
    (Some(next), ports)
}
