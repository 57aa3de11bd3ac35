//! TCP servers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};

/// Accepts connections on each address.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Addresses with ports.
    #[arg(required = true)]
    pub listen: Vec<SocketAddr>,
    /// What to do with a connection: `echo`, `close` or `reset`.
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
}

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
    }
}
