//! Frames of HTTP/2 (RFC 9113), written by hand: a client that breaks the rules cannot be had from a library.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What every connection begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The longest frame that a server takes without having said more.
pub const LONGEST: usize = 16 * 1024;
/// How long the other end may take nothing, or say nothing.
const PATIENCE: Duration = Duration::from_secs(5);

/// Types of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the RFC")]
pub enum Frame {
    Data = 0,
    Headers = 1,
    ResetStream = 3,
    Settings = 4,
    Ping = 6,
    Continuation = 9,
}

/// The last frame of a stream's headers.
pub const END_HEADERS: u8 = 4;
/// The last frame of a stream.
pub const END_STREAM: u8 = 1;

/// A connection that says what it is told to.
#[derive(Debug)]
pub struct Connection(TcpStream);

impl Connection {
    /// Connects and greets. `window`: bytes that the server may send on each stream.
    ///
    /// # Errors
    ///
    /// Nobody is there.
    pub fn open(to: SocketAddr, window: u32) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut connection = Self(stream);
        connection.0.write_all(PREFACE)?;
        // SETTINGS_INITIAL_WINDOW_SIZE is 4.
        let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
        connection.send(Frame::Settings, 0, 0, &settings)?;
        Ok(connection)
    }

    /// Sends a frame.
    ///
    /// # Errors
    ///
    /// The server has closed, or takes nothing.
    pub fn send(&mut self, frame: Frame, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
        let head = [&length[1..], &[frame as u8, flags], &stream.to_be_bytes()].concat();
        self.0.write_all(&[&head, payload].concat())
    }

    /// Calls a method of gRPC with a message, and asks for no more.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub fn call(&mut self, stream: u32, path: &str, message: &[u8]) -> io::Result<()> {
        self.send(Frame::Headers, END_HEADERS, stream, &headers(path))?;
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
        let body = [&[0][..], &length, message].concat();
        let mut parts = body.chunks(LONGEST).peekable();
        while let Some(part) = parts.next() {
            let flags = if parts.peek().is_none() { END_STREAM } else { 0 };
            self.send(Frame::Data, flags, stream, part)?;
        }
        Ok(())
    }

    /// Reads one byte: whether the server has said anything at all.
    ///
    /// # Errors
    ///
    /// It has closed, or is silent.
    pub fn listen(&mut self) -> io::Result<()> {
        self.0.read_exact(&mut [0])
    }
}

/// The headers of a gRPC call, each written out (RFC 7541, literal field without indexing, new name).
#[must_use]
pub fn headers(path: &str) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "agent"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        block.push(0);
        for text in [name, value] {
            // Short enough for one byte.
            block.push(u8::try_from(text.len()).unwrap_or(0));
            block.extend(text.as_bytes());
        }
    }
    block
}
