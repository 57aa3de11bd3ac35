//! SCTP, as much as opens and refuses an association: INIT, INIT ACK, ABORT (RFC 9260), over raw sockets.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::connect::word;
use super::raw::RawSocket;
use crate::client::Outcome;

/// Chunk types.
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const ABORT: u8 = 6;
/// Tag and first sequence number; any but zero will do.
const TAG: u32 = 0x2a2a_2a2a;
/// Bytes of the common header.
const HEADER: usize = 12;

/// Answers INITs.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// Addresses with ports.
    #[arg(required = true)]
    pub listen: Vec<SocketAddr>,
    /// Refuse every association by ABORT.
    #[arg(long)]
    pub abort: bool,
}

/// Opens an association.
#[derive(Debug, clap::Args)]
pub struct ConnectArgs {
    /// What to dial.
    pub peer: SocketAddr,
    /// How many INITs to send, a second apart.
    #[arg(long, default_value_t = 2)]
    pub count: u64,
}

/// Answers until killed.
pub fn serve(args: &ServeArgs) -> Result<()> {
    let sockets: Vec<_> = args
        .listen
        .iter()
        .map(|at| {
            let socket = RawSocket::bind(at.ip(), libc::IPPROTO_SCTP);
            Ok((socket.with_context(|| format!("binding {at}"))?, at.port()))
        })
        .collect::<Result<_>>()?;
    super::announce_ready()?;
    std::thread::scope(|scope| {
        for (socket, port) in &sockets {
            scope.spawn(move || {
                while let Ok((packet, from)) = socket.receive(None) {
                    if let Some(answer) = answer(&packet, *port, args.abort) {
                        // A client that is gone is no failure of the server.
                        let _ = socket.send(from, &answer);
                    }
                }
            });
        }
    });
    Ok(())
}

/// What an INIT to this port is answered with.
fn answer(packet: &[u8], port: u16, abort: bool) -> Option<Vec<u8>> {
    let (ports, tag) = (packet.get(0..4)?, packet.get(16..20)?);
    if ports[2..4] != port.to_be_bytes() || packet.get(HEADER) != Some(&INIT) {
        return None;
    }
    let theirs = u16::from_be_bytes([ports[0], ports[1]]);
    let tag = u32::from_be_bytes([tag[0], tag[1], tag[2], tag[3]]);
    Some(packet_of(if abort { ABORT } else { INIT_ACK }, port, theirs, tag))
}

/// Runs the client and prints the result.
pub fn connect(args: &ConnectArgs) -> Result<()> {
    let start = Instant::now();
    let result = open(args);
    super::print(&Outcome {
        outcome: result.as_ref().copied().unwrap_or_else(word).to_owned(),
        peer: args.peer.to_string(),
        errno: result.err().and_then(|error| error.raw_os_error()).unwrap_or(0),
        seconds: start.elapsed().as_secs_f64(),
        count: 1,
        addresses: Vec::new(),
    })
}

fn open(args: &ConnectArgs) -> io::Result<&'static str> {
    let any: IpAddr = if args.peer.is_ipv6() { [0_u16; 8].into() } else { [0_u8; 4].into() };
    let socket = RawSocket::bind(any, libc::IPPROTO_SCTP)?;
    let port = 40_000 + u16::try_from(std::process::id() % 20_000).unwrap_or_default();
    for _ in 0..args.count {
        socket.send(args.peer.ip(), &packet_of(INIT, port, args.peer.port(), 0))?;
        let deadline = Instant::now() + Duration::from_secs(1);
        loop {
            match socket.receive(Some(deadline)) {
                Ok((packet, _)) if packet.get(2..4) == Some(&port.to_be_bytes()) => {
                    match packet.get(HEADER) {
                        Some(&INIT_ACK) => return Ok("connected"),
                        Some(&ABORT) => return Ok("refused"),
                        _ => {}
                    }
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => break,
                Err(error) => return Err(error),
            }
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// A packet with one chunk.
fn packet_of(chunk: u8, from: u16, to: u16, tag: u32) -> Vec<u8> {
    let mut packet = Vec::new();
    packet.extend(from.to_be_bytes());
    packet.extend(to.to_be_bytes());
    packet.extend(tag.to_be_bytes());
    packet.extend([0; 4]);
    let mut body = Vec::new();
    if chunk != ABORT {
        // Tag, window, streams out and in, first sequence number.
        body.extend(TAG.to_be_bytes());
        body.extend(0x1_0000_u32.to_be_bytes());
        body.extend([0, 1, 0, 1]);
        body.extend(TAG.to_be_bytes());
    }
    if chunk == INIT_ACK {
        // The state cookie that every INIT ACK carries.
        body.extend([0, 7, 0, 8, 1, 2, 3, 4]);
    }
    packet.extend([chunk, 0]);
    // No body here is that long.
    packet.extend(u16::try_from(body.len() + 4).unwrap_or(u16::MAX).to_be_bytes());
    packet.extend(body);
    let sum = crc32c(&packet).to_le_bytes();
    packet[8..HEADER].copy_from_slice(&sum);
    packet
}

/// CRC-32C of the packet with its checksum zero.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checksum_is_the_one_of_the_rfc() {
        // RFC 3720, B.4.
        assert_eq!(super::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(super::crc32c(&[0xff; 32]), 0x62a8_ab43);
    }
}
