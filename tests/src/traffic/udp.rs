//! UDP servers and clients.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::connect::word;
use crate::client::Outcome;

/// Receives datagrams on each address.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// Addresses with ports.
    #[arg(required = true)]
    pub listen: Vec<SocketAddr>,
    /// Do not answer.
    #[arg(long)]
    pub silent: bool,
    /// Do not even read, with the smallest receive buffer there is.
    #[arg(long)]
    pub deaf: bool,
}

/// Sends datagrams.
#[derive(Debug, clap::Args)]
pub struct SendArgs {
    /// Where to.
    pub peer: SocketAddr,
    /// How many.
    #[arg(long, default_value_t = 1)]
    pub count: u64,
    /// Wait this many seconds for an answer to each; 0: send only.
    #[arg(long, default_value_t = 0.0)]
    pub answer: f64,
    /// Make each datagram so many bytes long.
    #[arg(long)]
    pub size: Option<usize>,
    /// Forbid fragmentation and ignore what path-MTU discovery says (`IP_PMTUDISC_PROBE`).
    #[arg(long)]
    pub no_fragment: bool,
}

/// Receives until killed.
pub fn serve(args: &ServeArgs) -> Result<()> {
    let sockets: Vec<_> = args
        .listen
        .iter()
        .map(|address| UdpSocket::bind(address).with_context(|| format!("binding {address}")))
        .collect::<Result<_>>()?;
    if args.deaf {
        for socket in &sockets {
            shrink_buffer(socket)?;
        }
        super::announce_ready()?;
        loop {
            std::thread::park();
        }
    }
    super::announce_ready()?;
    let silent = args.silent;
    std::thread::scope(|scope| {
        for socket in &sockets {
            scope.spawn(move || {
                let mut buffer = [0; 2048];
                while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    if !silent {
                        // A client that is gone is no failure of the server.
                        let _ = socket.send_to(&buffer[..length], from);
                    }
                }
            });
        }
    });
    Ok(())
}

/// The smallest receive buffer: a few packets.
fn shrink_buffer(socket: &UdpSocket) -> Result<()> {
    let bytes: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>())?;
    // SAFETY: the option's value is a live integer of the size given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUF,
            (&raw const bytes).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()).context("setting the buffer") }
}

/// Sends and prints the result.
pub fn send(args: &SendArgs) -> Result<()> {
    let start = Instant::now();
    let (count, result) = exchange(args);
    super::print(&Outcome {
        outcome: match &result {
            Ok(()) if args.answer > 0.0 => "answered",
            Ok(()) => "sent",
            Err(error) => word(error),
        }
        .to_owned(),
        peer: args.peer.to_string(),
        errno: result.err().and_then(|e| e.raw_os_error()).unwrap_or(0),
        seconds: start.elapsed().as_secs_f64(),
        count,
        addresses: Vec::new(),
    })
}

fn exchange(args: &SendArgs) -> (u64, std::io::Result<()>) {
    let local: SocketAddr =
        if args.peer.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let mut done = 0;
    let result = (|| {
        let socket = UdpSocket::bind(local)?;
        socket.connect(args.peer)?;
        if args.answer > 0.0 {
            socket.set_read_timeout(Some(Duration::from_secs_f64(args.answer)))?;
        }
        if args.no_fragment {
            forbid_fragments(&socket, args.peer.is_ipv4())?;
        }
        let mut message = b"<13>Oct 11 22:14:15 api-client app: hello".to_vec();
        message.resize(args.size.unwrap_or(message.len()), b'x');
        let mut last = Ok(());
        for _ in 0..args.count {
            socket.send(&message)?;
            last = if args.answer > 0.0 { socket.recv(&mut [0; 2048]).map(drop) } else { Ok(()) };
            if last.is_ok() {
                done += 1;
            }
        }
        last
    })();
    (done, result)
}

fn forbid_fragments(socket: &UdpSocket, v4: bool) -> std::io::Result<()> {
    use std::os::fd::AsRawFd;
    let (level, option, value) = if v4 {
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE)
    };
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).map_err(std::io::Error::other)?;
    // SAFETY: the option's value is a live `int` of the size given.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
