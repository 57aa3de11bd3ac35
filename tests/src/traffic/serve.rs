//! TCP servers.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Context, Result};

use super::connect::{linger_zero, set_option};

/// Accepts connections on each address.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Addresses with ports.
    #[arg(required = true)]
    pub listen: Vec<SocketAddr>,
    /// What to do with a connection.
    #[arg(long, value_enum, default_value_t = Behaviour::Echo)]
    pub behaviour: Behaviour,
    /// Listen with a backlog of one and never accept.
    #[arg(long)]
    pub deaf: bool,
}

/// What a server does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Behaviour {
    /// Sends back what it gets.
    Echo,
    /// Closes it at once.
    Close,
    /// Reads a little, then resets it.
    Reset,
    /// Sends back some of what it gets, then resets it with the rest unread.
    ResetLater,
    /// Sends back one piece, pauses, then closes with a reset.
    ResetAtEnd,
    /// Sends back one piece, then forgets the connection without a word.
    Forget,
}

/// Pieces that are sent back before a reset.
const PIECES: usize = 4;
/// The pause before a reset at the end.
const PAUSE: Duration = Duration::from_millis(300);

/// Listens until killed.
pub fn run(args: &Args) -> Result<()> {
    let listeners: Vec<_> = args
        .listen
        .iter()
        .map(|address| TcpListener::bind(address).with_context(|| format!("listening on {address}")))
        .collect::<Result<_>>()?;
    if args.deaf {
        for listener in &listeners {
            shrink_backlog(listener)?;
        }
        super::announce_ready()?;
        loop {
            std::thread::park();
        }
    }
    super::announce_ready()?;
    let behaviour = args.behaviour;
    std::thread::scope(|scope| {
        for listener in &listeners {
            scope.spawn(move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    std::thread::spawn(move || serve(stream, behaviour));
                }
            });
        }
    });
    Ok(())
}

/// A listener may be told again to listen: with a backlog of one connection.
fn shrink_backlog(listener: &TcpListener) -> Result<()> {
    // SAFETY: a plain system call on an open descriptor.
    if unsafe { libc::listen(listener.as_raw_fd(), 1) } == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error()).context("setting the backlog")
    }
}

/// A connection that fails is the client's affair.
fn serve(mut stream: TcpStream, behaviour: Behaviour) {
    let mut buffer = vec![0; 16 * 1024];
    match behaviour {
        Behaviour::Echo => {
            while let Ok(read @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..read]).is_err() {
                    return;
                }
            }
        }
        Behaviour::Close => {}
        // Data left unread makes the kernel close with a reset.
        Behaviour::Reset => drop(stream.read(&mut buffer[..1])),
        Behaviour::ResetLater => {
            for _ in 0..PIECES {
                let Ok(read @ 1..) = stream.read(&mut buffer) else { return };
                if stream.write_all(&buffer[..read]).is_err() {
                    return;
                }
            }
            drop(stream.read(&mut buffer[..1]));
        }
        Behaviour::ResetAtEnd => {
            if echo_once(&mut stream, &mut buffer) {
                // A pause belongs to this exchange: the client has its answer and waits for nothing.
                std::thread::sleep(PAUSE);
                let _ = linger_zero(&stream);
            }
        }
        Behaviour::Forget => {
            if echo_once(&mut stream, &mut buffer) {
                // The acknowledgement of the answer ends the exchange; a socket under repair closes in silence.
                std::thread::sleep(PAUSE);
                let _ = repair(&stream);
            }
        }
    }
}

fn echo_once(stream: &mut TcpStream, buffer: &mut [u8]) -> bool {
    matches!(stream.read(buffer), Ok(read @ 1..) if stream.write_all(&buffer[..read]).is_ok())
}

/// Puts the socket under repair (`TCP_REPAIR`), where closing sends nothing.
fn repair(stream: &TcpStream) -> io::Result<()> {
    set_option(stream, libc::IPPROTO_TCP, libc::TCP_REPAIR, &1_i32)
}
