//! Ping.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::connect::word;
use super::raw::RawSocket;
use crate::client::Outcome;

/// Sends ICMP echo requests, a second apart, until one is answered.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Whom to ask.
    pub peer: IpAddr,
    /// How many at most.
    #[arg(long, default_value_t = 2)]
    pub count: u16,
    /// TTL (or hop limit) of the requests.
    #[arg(long)]
    pub ttl: Option<u8>,
}

/// Runs it and prints the result.
pub fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    let result = ask(args);
    super::print(&Outcome {
        outcome: result.as_ref().map_or_else(word, |_| "answered").to_owned(),
        peer: args.peer.to_string(),
        errno: result.as_ref().err().and_then(io::Error::raw_os_error).unwrap_or(0),
        seconds: start.elapsed().as_secs_f64(),
        count: result.unwrap_or(0),
        addresses: Vec::new(),
    })
}

fn ask(args: &Args) -> io::Result<u64> {
    let (protocol, request, reply) =
        if args.peer.is_ipv6() { (libc::IPPROTO_ICMPV6, 128, 129) } else { (libc::IPPROTO_ICMP, 8, 0) };
    let any: IpAddr = if args.peer.is_ipv6() { [0_u16; 8].into() } else { [0_u8; 4].into() };
    let socket = RawSocket::bind(any, protocol)?;
    if let Some(ttl) = args.ttl {
        socket.set_ttl(ttl)?;
    }
    let [.., high, low] = std::process::id().to_be_bytes();
    for sequence in 0..args.count {
        let [upper, lower] = sequence.to_be_bytes();
        let mut packet = vec![request, 0, 0, 0, high, low, upper, lower];
        packet.extend(b"is anybody there");
        // The kernel fills in the checksum of ICMPv6.
        if !args.peer.is_ipv6() {
            let sum = checksum(&packet).to_be_bytes();
            packet[2..4].copy_from_slice(&sum);
        }
        socket.send(args.peer, &packet)?;
        let deadline = Instant::now() + Duration::from_secs(1);
        loop {
            match socket.receive(Some(deadline)) {
                Ok((answer, from)) => {
                    if from == args.peer
                        && answer.first() == Some(&reply)
                        && answer.get(4..6) == Some(&[high, low])
                    {
                        return Ok(u64::from(sequence) + 1);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut => break,
                Err(error) => return Err(error),
            }
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}
