//! A netlink socket: requests, dumps, and notifications.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rtnetlink::sys::{Socket, SocketAddr};

use super::NetlinkError;
use super::wire::{Message, Messages, Request, u32_at};

/// `NLM_F_DUMP_INTR`: the table changed while it was read.
const DUMP_INTERRUPTED: u16 = 0x10;
/// `NLMSG_ERROR`
const ERROR: u16 = 2;
/// `NLMSG_DONE`
const DONE: u16 = 3;

/// Datagrams of a dump are at most 32 KiB; a single message (a long nftables rule) can be 64 KiB.
const BUFFER: usize = 1 << 17;
/// A dump that changes under our hands is read again this often.
const ATTEMPTS: usize = 5;

/// A netlink socket of the namespace of the thread that opened it.
#[derive(Debug)]
pub(super) struct NetlinkSocket {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

/// What a socket with subscriptions had to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notified {
    /// Everything that was waiting has been handed over.
    All,
    /// The kernel dropped notifications (`ENOBUFS`): read everything again.
    Overrun,
}

impl NetlinkSocket {
    /// Opens a socket of a protocol (`NETLINK_ROUTE`, `NETLINK_NETFILTER`).
    pub(super) fn open(protocol: i32) -> Result<Self, NetlinkError> {
        let io = |source| NetlinkError::Io { doing: "open a netlink socket", source };
        let protocol = isize::try_from(protocol).unwrap_or_default();
        let mut socket = Socket::new(protocol).map_err(io)?;
        socket.bind_auto().map_err(io)?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(io)?;
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(BUFFER) })
    }

    /// Subscribes to a multicast group.
    pub(super) fn subscribe(&self, group: u32) -> Result<(), NetlinkError> {
        self.socket
            .add_membership(group)
            .map_err(|source| NetlinkError::Io { doing: "subscribe to netlink notifications", source })
    }

    /// Hands over the notifications that are waiting, without blocking.
    pub(super) fn notifications(
        &mut self,
        mut each: impl FnMut(Message<'_>),
    ) -> Result<Notified, NetlinkError> {
        let doing = "read netlink notifications";
        let mut overrun = Notified::All;
        loop {
            match self.receive(libc::MSG_DONTWAIT) {
                Ok(datagram) => Messages(datagram).for_each(&mut each),
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => return Ok(overrun),
                    Some(libc::ENOBUFS | libc::EMSGSIZE) => overrun = Notified::Overrun,
                    Some(libc::EINTR) => {}
                    _ => return Err(NetlinkError::Io { doing, source: error }),
                },
            }
        }
    }

    /// Reads a whole table. `decode` is called for each entry; what it makes of them is returned. A table that
    /// changes while it is read is read again.
    pub(super) fn dump<T>(
        &mut self,
        doing: &'static str,
        request: &Request,
        mut decode: impl FnMut(Message<'_>) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut entries = Vec::new();
            let interrupted = self.exchange(doing, request, |message| entries.extend(decode(message)))?;
            if !interrupted || attempt == ATTEMPTS {
                return Ok(entries);
            }
        }
    }

    /// Goes through a whole table once, as it changes: for large tables of which nothing is kept.
    pub(super) fn scan(
        &mut self,
        doing: &'static str,
        request: &Request,
        each: impl FnMut(Message<'_>),
    ) -> Result<(), NetlinkError> {
        self.exchange(doing, request, each).map(drop)
    }

    /// Asks for one entry. `None`: the kernel has none (`ENOENT`).
    pub(super) fn get<T>(
        &mut self,
        doing: &'static str,
        request: &Request,
        decode: impl FnOnce(Message<'_>) -> Option<T>,
    ) -> Result<Option<T>, NetlinkError> {
        let mut decode = Some(decode);
        let mut entry = None;
        let asked = self.exchange(doing, request, |message| {
            if let Some(decode) = decode.take() {
                entry = decode(message);
            }
        });
        match asked {
            Ok(_) if entry.is_none() => {
                Err(NetlinkError::Malformed { doing, what: "an entry without its keys" })
            }
            Ok(_) => Ok(entry),
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a request and hands over the answers up to the end of the dump, the acknowledgement, or (without
    /// either) the first. Returns whether the dump was interrupted.
    fn exchange(
        &mut self,
        doing: &'static str,
        request: &Request,
        mut each: impl FnMut(Message<'_>),
    ) -> Result<bool, NetlinkError> {
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        let bytes = request.clone().finish(sequence);
        self.socket.send(&bytes, 0).map_err(|source| NetlinkError::Io { doing, source })?;
        let multipart = request.is_dump();
        let mut interrupted = false;
        loop {
            let datagram = match self.receive(0) {
                Ok(datagram) => datagram,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(NetlinkError::Io { doing, source }),
            };
            // Answers to an earlier request that was given up on carry its number.
            for message in Messages(datagram).filter(|message| message.sequence == sequence) {
                interrupted |= message.flags & DUMP_INTERRUPTED != 0;
                match message.kind {
                    ERROR | DONE => {
                        let code = u32_at(message.payload, 0).map_or(0, u32::cast_signed);
                        if code == 0 {
                            return Ok(interrupted);
                        }
                        let source = io::Error::from_raw_os_error(code.saturating_neg());
                        return Err(NetlinkError::Refused { doing, source });
                    }
                    _ => each(message),
                }
                if !multipart {
                    return Ok(interrupted);
                }
            }
        }
    }

    fn receive(&mut self, flags: libc::c_int) -> io::Result<&[u8]> {
        self.buffer.clear();
        let length = self.socket.recv(&mut self.buffer, flags | libc::MSG_TRUNC)?;
        if length > self.buffer.len() {
            return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
        }
        Ok(&self.buffer)
    }
}

impl AsFd for NetlinkSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
