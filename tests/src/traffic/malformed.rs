//! Malformed packets, as a pod that may send raw frames can send them: cut, with lengths and offsets that lie, with VLAN
//! tags, fragments, extension headers. Which they are depends on their number alone.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::client::Outcome;

/// Sends malformed packets.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the packets seem to go (IPv4); a server listens there, so that the next hop can be found.
    pub peer: std::net::SocketAddrV4,
    /// How many.
    #[arg(long, default_value_t = 5000)]
    pub count: u64,
}

/// EtherTypes that are claimed: IPv4, IPv6, VLAN, QinQ, ARP.
const KINDS: [u16; 5] = [0x0800, 0x86dd, 0x8100, 0x88a8, 0x0806];

/// Sends and prints the result.
pub fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    let target = SocketAddr::V4(args.peer);
    let stream =
        TcpStream::connect_timeout(&target, Duration::from_secs(2)).context("nobody is at the peer")?;
    let std::net::IpAddr::V4(source) = stream.local_addr()?.ip() else { anyhow::bail!("not IPv4") };
    let (device, hop) = next_hop()?;
    // SAFETY: a plain system call; the descriptor is checked before it is owned.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        ensure!(fd >= 0, "opening a packet socket: {}", io::Error::last_os_error());
        OwnedFd::from_raw_fd(fd)
    };
    let mut sent = 0;
    for number in 0..args.count {
        let mut dice = Dice(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let (kind, packet) = packet(&mut dice, source, *args.peer.ip());
        sent += u64::from(send(&socket, device, hop, kind, &packet)?);
    }
    super::print(&Outcome {
        outcome: "sent".to_owned(),
        peer: args.peer.to_string(),
        errno: 0,
        seconds: start.elapsed().as_secs_f64(),
        count: sent,
        addresses: Vec::new(),
    })
}

/// Index of the pod's device and the link-layer address behind it, of the neighbour that was just spoken to.
fn next_hop() -> Result<(u32, [u8; 6])> {
    let table = std::fs::read_to_string("/proc/net/arp")?;
    let line = table.lines().nth(1).context("no neighbour is known")?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let (address, device) = words.get(3).zip(words.get(5)).context("a neighbour without an address")?;
    let bytes: Vec<u8> = address.split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    let hop = bytes.try_into().ok().context("an address that is not of Ethernet")?;
    let name = std::ffi::CString::new(*device)?;
    // SAFETY: the name is a live C string.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    ensure!(index != 0, "no device {device}");
    Ok((index, hop))
}

/// Whether the kernel took it.
fn send(socket: &OwnedFd, device: u32, hop: [u8; 6], kind: u16, packet: &[u8]) -> Result<bool> {
    // SAFETY: all fields are integers.
    let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    to.sll_family = u16::try_from(libc::AF_PACKET)?;
    to.sll_protocol = kind.to_be();
    to.sll_ifindex = i32::try_from(device)?;
    to.sll_halen = 6;
    to.sll_addr[..6].copy_from_slice(&hop);
    let length = libc::socklen_t::try_from(size_of_val(&to))?;
    // SAFETY: packet and address are as long as is said.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            packet.as_ptr().cast(),
            packet.len(),
            0,
            (&raw const to).cast(),
            length,
        )
    };
    Ok(sent >= 0)
}

/// Numbers that look random and are the same each time (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % limit.max(1)
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap_or(0)
    }
}

/// EtherType and packet: a sound one, spoilt in a few places, and cut.
fn packet(dice: &mut Dice, source: Ipv4Addr, destination: Ipv4Addr) -> (u16, Vec<u8>) {
    let protocol = [6, 17, 1, 132, 51, 47][dice.below(6)];
    let mut packet = vec![0x45, 0, 0, 60, 0, 1, 0, 0, 64, protocol, 0, 0];
    packet.extend(source.octets());
    packet.extend(destination.octets());
    let port = 20_000 + u16::from(dice.byte());
    packet.extend(port.to_be_bytes());
    packet.extend([443_u16, 53, 8080][dice.below(3)].to_be_bytes());
    packet.extend((0..36).map(|_| dice.byte()));
    let sum = checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    // Addresses stay: it is this pod's packet, to that host.
    for _ in 0..dice.below(5) {
        let at = [0, 2, 3, 6, 7, 9, 20, 22, 23, 24, 26, 32, 33, 40][dice.below(14)];
        packet[at] = dice.byte();
    }
    if dice.below(3) == 0 {
        packet.truncate(dice.below(packet.len()));
    }
    match KINDS[dice.below(KINDS.len())] {
        // The tag's number, then the type inside: IPv4, or another tag.
        tag @ (0x8100 | 0x88a8) => {
            let inside: [u8; 2] = if dice.below(2) == 0 { [8, 0] } else { [0x81, 0] };
            (tag, [&[0, dice.byte()], &inside[..], &packet].concat())
        }
        kind => (kind, packet),
    }
}

fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from(folded & 0xffff).unwrap_or(0)
}
