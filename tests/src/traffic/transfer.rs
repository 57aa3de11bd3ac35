//! Transfers of known sizes, either way: a server that takes and gives as many bytes as it is asked to.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::connect::word;
use crate::client::Outcome;

/// Serves transfers on each address.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// Addresses with ports.
    #[arg(required = true)]
    pub listen: Vec<SocketAddr>,
}

/// Transfers bytes.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The server.
    pub peer: SocketAddr,
    /// Bytes to send.
    #[arg(long, default_value_t = 0)]
    pub up: u32,
    /// Bytes to get back.
    #[arg(long, default_value_t = 1)]
    pub down: u32,
    /// Give up after this many seconds without progress.
    #[arg(long, default_value_t = 3.0)]
    pub timeout: f64,
    /// So many side by side; the result is of the last that failed.
    #[arg(long, default_value_t = 1)]
    pub parallel: u32,
    /// So many one after the other, each with the same outcome.
    #[arg(long, default_value_t = 1)]
    pub count: u32,
    /// Send the request and its bytes in one piece: no small segment goes first.
    #[arg(long)]
    pub at_once: bool,
    /// The server keeps the connection open afterwards, as HTTP does.
    #[arg(long)]
    pub hold: bool,
}

/// Bit of the wanted bytes that asks the server to keep the connection open.
const HOLD: u32 = 1 << 31;

/// Listens until killed.
pub fn serve(args: &ServeArgs) -> Result<()> {
    let listeners: Vec<_> = args
        .listen
        .iter()
        .map(|address| TcpListener::bind(address).with_context(|| format!("listening on {address}")))
        .collect::<Result<_>>()?;
    super::announce_ready()?;
    std::thread::scope(|scope| {
        for listener in &listeners {
            scope.spawn(move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    std::thread::spawn(move || answer(stream));
                }
            });
        }
    });
    Ok(())
}

/// Reads a request (bytes up, bytes down, big endian) and fulfils it.
fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut request = [0; 8];
    stream.read_exact(&mut request)?;
    let [u0, u1, u2, u3, d0, d1, d2, d3] = request;
    let (up, down) = (u32::from_be_bytes([u0, u1, u2, u3]), u32::from_be_bytes([d0, d1, d2, d3]));
    receive(&mut stream, up)?;
    send(&mut stream, down & !HOLD)?;
    if down & HOLD != 0 {
        io::copy(&mut stream, &mut io::sink())?;
    }
    Ok(())
}

/// Transfers and prints the result.
pub fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    let mut outcome = Outcome {
        outcome: "transferred".to_owned(),
        peer: args.peer.to_string(),
        errno: 0,
        seconds: 0.0,
        count: 0,
        addresses: Vec::new(),
    };
    for _ in 0..args.count {
        let results: Vec<io::Result<()>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..args.parallel).map(|_| scope.spawn(|| transfer(args))).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())))
                .collect()
        });
        for result in results {
            match result {
                Ok(()) => outcome.count += 1,
                Err(error) => {
                    outcome.outcome = word(&error).to_owned();
                    outcome.errno = error.raw_os_error().unwrap_or(0);
                }
            }
        }
    }
    outcome.seconds = start.elapsed().as_secs_f64();
    super::print(&outcome)
}

fn transfer(args: &Args) -> io::Result<()> {
    let timeout = Duration::from_secs_f64(args.timeout);
    let mut stream = TcpStream::connect_timeout(&args.peer, timeout)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    let down = args.down | if args.hold { HOLD } else { 0 };
    let mut request = [args.up.to_be_bytes(), down.to_be_bytes()].concat();
    if args.at_once {
        request.resize(8 + usize::try_from(args.up).map_err(io::Error::other)?, b'x');
        stream.write_all(&request)?;
    } else {
        stream.write_all(&request)?;
        send(&mut stream, args.up)?;
    }
    receive(&mut stream, args.down)
}

fn send(stream: &mut TcpStream, bytes: u32) -> io::Result<()> {
    io::copy(&mut io::repeat(b'x').take(bytes.into()), stream).map(drop)
}

fn receive(stream: &mut TcpStream, bytes: u32) -> io::Result<()> {
    let received = io::copy(&mut stream.take(bytes.into()), &mut io::sink())?;
    if received == u64::from(bytes) { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
