//! Protocols without a socket type of their own, or that this kernel was built without: raw sockets.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use super::short_lived::set;

/// A raw socket of one IP protocol.
#[derive(Debug)]
pub(super) struct RawSocket {
    fd: OwnedFd,
    v6: bool,
}

impl RawSocket {
    /// Opens one of the family of an address and binds it to the address, if it is not the unspecified one.
    pub(super) fn bind(address: IpAddr, protocol: i32) -> io::Result<Self> {
        let domain = if address.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET };
        // SAFETY: a plain system call; a negative result is checked below.
        let fd = unsafe { libc::socket(domain, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        let socket = Self { fd: unsafe { OwnedFd::from_raw_fd(fd) }, v6: address.is_ipv6() };
        if !address.is_unspecified() {
            let (name, length) = name(address);
            // SAFETY: the address is live and as long as said.
            let result = unsafe { libc::bind(socket.fd.as_raw_fd(), (&raw const name).cast(), length) };
            if result != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(socket)
    }

    /// What is sent from now on has this TTL (or hop limit).
    pub(super) fn set_ttl(&self, ttl: u8) -> io::Result<()> {
        let (level, option) = if self.v6 {
            (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS)
        } else {
            (libc::IPPROTO_IP, libc::IP_TTL)
        };
        set(&self.fd, level, option, &libc::c_int::from(ttl))
    }

    /// Sends what follows the IP header.
    pub(super) fn send(&self, to: IpAddr, payload: &[u8]) -> io::Result<()> {
        let (name, length) = name(to);
        // SAFETY: buffer and address are live and as long as said.
        let sent = unsafe {
            let (data, size) = (payload.as_ptr().cast(), payload.len());
            libc::sendto(self.fd.as_raw_fd(), data, size, 0, (&raw const name).cast(), length)
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Receives what follows the IP header, and from whom. `TimedOut` at the deadline.
    pub(super) fn receive(&self, deadline: Option<Instant>) -> io::Result<(Vec<u8>, IpAddr)> {
        let left = deadline.map_or(Ok(Duration::ZERO), |deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() { Err(io::Error::from(io::ErrorKind::TimedOut)) } else { Ok(left) }
        })?;
        // A zero timeout waits for ever.
        let timeout = libc::timeval {
            tv_sec: libc::time_t::try_from(left.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_usec: left.subsec_micros().into(),
        };
        let mut buffer = [0_u8; 2048];
        // SAFETY: a structure of plain data.
        let mut from: libc::sockaddr_storage = unsafe { zeroed() };
        let mut length = socklen::<libc::sockaddr_storage>();
        // SAFETY: buffers are live and as long as said.
        let received = unsafe {
            let fd = self.fd.as_raw_fd();
            let size = socklen::<libc::timeval>();
            libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, (&raw const timeout).cast(), size);
            let from = (&raw mut from).cast();
            libc::recvfrom(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0, from, &raw mut length)
        };
        let received = usize::try_from(received).map_err(|_| match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
            error => error,
        })?;
        // IPv4 hands over its header as well.
        let skip = if self.v6 { 0 } else { usize::from(buffer[0] & 0xf) * 4 };
        Ok((buffer.get(skip..received).unwrap_or_default().to_vec(), address(&from)))
    }
}

fn socklen<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or_default()
}

fn name(address: IpAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: a structure of plain data.
    let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
    let place = &raw mut storage;
    match SocketAddr::new(address, 0) {
        SocketAddr::V4(v4) => {
            // SAFETY: storage is large and aligned enough for every kind of address.
            let to = unsafe { &mut *place.cast::<libc::sockaddr_in>() };
            to.sin_family = libc::sa_family_t::try_from(libc::AF_INET).unwrap_or_default();
            to.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
            (storage, socklen::<libc::sockaddr_in>())
        }
        SocketAddr::V6(v6) => {
            // SAFETY: as above.
            let to = unsafe { &mut *place.cast::<libc::sockaddr_in6>() };
            to.sin6_family = libc::sa_family_t::try_from(libc::AF_INET6).unwrap_or_default();
            to.sin6_addr.s6_addr = v6.ip().octets();
            (storage, socklen::<libc::sockaddr_in6>())
        }
    }
}

fn address(from: &libc::sockaddr_storage) -> IpAddr {
    let place = std::ptr::from_ref(from);
    if i32::from(from.ss_family) == libc::AF_INET6 {
        // SAFETY: the family says which structure it is.
        IpAddr::from(unsafe { (*place.cast::<libc::sockaddr_in6>()).sin6_addr.s6_addr })
    } else {
        // SAFETY: as above.
        IpAddr::from(unsafe { (*place.cast::<libc::sockaddr_in>()).sin_addr.s_addr }.to_ne_bytes())
    }
}
