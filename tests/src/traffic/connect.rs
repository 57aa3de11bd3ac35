//! TCP clients.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::lookup::{self, Resolver};
use crate::client::Outcome;

/// Connects to `ADDRESS:PORT`, or to `NAME:PORT` after asking the DNS server.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to dial.
    pub peer: String,
    /// Give up after this many seconds.
    #[arg(long, default_value_t = 3.0)]
    pub timeout: f64,
    /// Connect this many times, one after the other; the result is of the last that failed, or of the last.
    #[arg(long, default_value_t = 1)]
    pub count: u64,
    /// What to do with the connection.
    #[arg(long, value_enum, default_value_t = Manner::Talk)]
    pub manner: Manner,
    /// Bytes to send and to get back.
    #[arg(long, default_value_t = 64)]
    pub bytes: usize,
    /// Move to this cgroup first.
    #[arg(long, value_name = "FOLDER")]
    pub cgroup: Option<std::path::PathBuf>,
    /// TTL or hop limit of what is sent (`IP_TTL`, `IPV6_UNICAST_HOPS`).
    #[arg(long)]
    pub ttl: Option<u32>,
    /// Bytes of a piece, each sent when the one before came back.
    #[arg(long, default_value_t = 16 * 1024)]
    pub piece: usize,
    /// Seconds of the pause.
    #[arg(long, default_value_t = 4.0)]
    pub pause: f64,
    /// How to resolve a name.
    #[command(flatten)]
    pub resolver: Resolver,
}

/// What a client does with its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Manner {
    /// Sends, reads the same back, closes.
    Talk,
    /// Sends, reads until the server closes or resets.
    Listen,
    /// Sends all at once, then reads as much back.
    Upload,
    /// Sends, reads the same back, reads until the server closes or resets.
    Await,
    /// Reads until the server closes, then sends.
    Late,
    /// Sends, reads the same back, pauses, does it again.
    Pause,
    /// Reads until the server closes, and sends nothing.
    Watch,
    /// Closes at once.
    Close,
    /// Closes with a reset (SO_LINGER 0).
    Reset,
    /// Begins to connect and gives up at once.
    Abandon,
    /// Connects, sends nothing and closes.
    Open,
}

/// Runs it and prints the result.
pub fn run(args: &Args) -> Result<()> {
    if let Some(cgroup) = &args.cgroup {
        std::fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string())?;
    }
    super::print(&connect_all(args))
}

fn connect_all(args: &Args) -> Outcome {
    let start = Instant::now();
    let mut outcome = Outcome {
        outcome: "connected".to_owned(),
        peer: args.peer.clone(),
        errno: 0,
        seconds: 0.0,
        count: 0,
        addresses: Vec::new(),
    };
    let peers = match resolve(args, &mut outcome) {
        Ok(peers) => peers,
        Err(word) => {
            outcome.outcome = word;
            outcome.seconds = start.elapsed().as_secs_f64();
            return outcome;
        }
    };
    for _ in 0..args.count {
        let mut result = Err(io::Error::from_raw_os_error(libc::EADDRNOTAVAIL));
        for peer in &peers {
            result = connect(*peer, args);
            if result.is_ok() {
                break;
            }
        }
        match result {
            Ok(()) => outcome.count += 1,
            Err(error) => {
                outcome.outcome = word(&error).to_owned();
                outcome.errno = error.raw_os_error().unwrap_or(0);
            }
        }
    }
    outcome.seconds = start.elapsed().as_secs_f64();
    outcome
}

fn resolve(args: &Args, outcome: &mut Outcome) -> std::result::Result<Vec<SocketAddr>, String> {
    if let Ok(address) = args.peer.parse() {
        return Ok(vec![address]);
    }
    let (name, port) = args.peer.rsplit_once(':').ok_or("error")?;
    let port = port.parse().map_err(|_| "error")?;
    let answer = lookup::resolve(name, &args.resolver);
    let (word, addresses) = (answer.outcome, answer.addresses);
    outcome.addresses.clone_from(&addresses);
    if addresses.is_empty() {
        return Err(word);
    }
    Ok(addresses.into_iter().map(|ip: IpAddr| SocketAddr::new(ip, port)).collect())
}

fn connect(peer: SocketAddr, args: &Args) -> io::Result<()> {
    if args.manner == Manner::Abandon {
        return abandon(peer);
    }
    let timeout = Duration::from_secs_f64(args.timeout);
    let mut stream = match args.ttl {
        Some(ttl) => super::short_lived::connect(peer, timeout, ttl)?,
        None => TcpStream::connect_timeout(&peer, timeout)?,
    };
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    match args.manner {
        Manner::Talk => talk(&mut stream, args.bytes, args.piece),
        Manner::Upload => upload(stream, args.bytes),
        Manner::Await => {
            talk(&mut stream, args.bytes, args.piece)?;
            // However the server ends it: the exchange was complete.
            let _ = stream.read_to_end(&mut Vec::new());
            Ok(())
        }
        Manner::Late => {
            stream.read_to_end(&mut Vec::new())?;
            stream.write_all(&[b'x'; 16])?;
            // The reset that answers it ends the reading, if nothing else does.
            let _ = stream.read_to_end(&mut Vec::new());
            Ok(())
        }
        Manner::Pause => {
            talk(&mut stream, args.bytes, args.piece)?;
            std::thread::sleep(Duration::from_secs_f64(args.pause));
            talk(&mut stream, args.bytes, args.piece)
        }
        Manner::Listen => {
            stream.write_all(&[b'x'; 16])?;
            stream.read_to_end(&mut Vec::new()).map(drop)
        }
        Manner::Watch => stream.read_to_end(&mut Vec::new()).map(drop),
        Manner::Reset => {
            talk(&mut stream, args.bytes, args.piece)?;
            linger_zero(&stream)
        }
        Manner::Abandon | Manner::Close | Manner::Open => Ok(()),
    }
}

/// Sends `bytes` and reads as many back, in pieces, so that neither side's buffers block the other.
fn talk(stream: &mut TcpStream, bytes: usize, piece: usize) -> io::Result<()> {
    let piece = vec![b'x'; bytes.clamp(1, piece.max(1))];
    let mut back = vec![0; piece.len()];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(piece.len());
        stream.write_all(&piece[..now])?;
        stream.read_exact(&mut back[..now])?;
        left -= now;
    }
    Ok(())
}

/// Sends `bytes` while reading as many back.
fn upload(stream: TcpStream, bytes: usize) -> io::Result<()> {
    let mut reading = stream.try_clone()?;
    let reader = std::thread::spawn(move || -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        let mut left = bytes;
        while left > 0 {
            match reading.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => left = left.saturating_sub(read),
            }
        }
        Ok(())
    });
    let sent = (&stream).write_all(&vec![b'x'; bytes]);
    let read = reader.join().map_err(|_| io::Error::other("the reader panicked"))?;
    // Whichever end of it met the reset first: both mean the same.
    match (sent, read) {
        (Err(error), _) | (_, Err(error)) if word(&error) == "reset" => Err(error),
        (sent, read) => sent.and(read),
    }
}

/// Makes closing send a reset (`SO_LINGER` 0).
pub(super) fn linger_zero(stream: &TcpStream) -> io::Result<()> {
    set_option(stream, libc::SOL_SOCKET, libc::SO_LINGER, &libc::linger { l_onoff: 1, l_linger: 0 })
}

/// Sets a socket option.
pub(super) fn set_option<T>(
    stream: &TcpStream,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let length = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: the option's value is live and of the size given.
    let result = unsafe {
        libc::setsockopt(stream.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Begins a connection without waiting for it, and closes the socket.
fn abandon(peer: SocketAddr) -> io::Result<()> {
    match TcpStream::connect_timeout(&peer, Duration::from_nanos(1)) {
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(()),
        other => other.map(drop),
    }
}

/// The word for an error of `connect` or of a later read or write.
pub(super) fn word(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "timeout",
        io::ErrorKind::ConnectionRefused => "refused",
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "reset",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "unreachable",
        _ => "error",
    }
}
