//! Connections whose packets have a time to live of their own: the standard library connects before it lets one be
//! set.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Connects with packets of this TTL (or hop limit).
pub(super) fn connect(peer: SocketAddr, timeout: Duration, ttl: u32) -> io::Result<TcpStream> {
    let (family, level, option) = match peer {
        SocketAddr::V4(_) => (libc::AF_INET, libc::IPPROTO_IP, libc::IP_TTL),
        SocketAddr::V6(_) => (libc::AF_INET6, libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS),
    };
    // SAFETY: no pointers; a negative result is checked.
    let fd = unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and ours alone.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let ttl = libc::c_int::try_from(ttl).map_err(io::Error::other)?;
    set(&socket, level, option, &ttl)?;
    // A blocking `connect` ends after the send timeout, with EINPROGRESS.
    let wait = libc::timeval {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).map_err(io::Error::other)?,
        tv_usec: libc::suseconds_t::from(timeout.subsec_micros()),
    };
    set(&socket, libc::SOL_SOCKET, libc::SO_SNDTIMEO, &wait)?;
    match dial(&socket, peer) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
            Err(io::Error::from(io::ErrorKind::TimedOut))
        }
        result => result.map(|()| TcpStream::from(socket)),
    }
}

/// Sets an option of a socket.
pub(super) fn set<T>(socket: &OwnedFd, level: i32, option: i32, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: the option's value is a live value of the size given.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn dial(socket: &OwnedFd, peer: SocketAddr) -> io::Result<()> {
    let connect = |address: *const libc::sockaddr, length: usize| {
        let length = libc::socklen_t::try_from(length).map_err(io::Error::other)?;
        // SAFETY: the callers below pass a live address of this length.
        let result = unsafe { libc::connect(socket.as_raw_fd(), address, length) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    match peer {
        SocketAddr::V4(peer) => {
            // SAFETY: all zeros is a valid sockaddr_in.
            let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
            address.sin_family = family(libc::AF_INET);
            address.sin_port = peer.port().to_be();
            address.sin_addr.s_addr = u32::from_ne_bytes(peer.ip().octets());
            connect((&raw const address).cast(), size_of::<libc::sockaddr_in>())
        }
        SocketAddr::V6(peer) => {
            // SAFETY: all zeros is a valid sockaddr_in6.
            let mut address: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
            address.sin6_family = family(libc::AF_INET6);
            address.sin6_port = peer.port().to_be();
            address.sin6_addr.s6_addr = peer.ip().octets();
            connect((&raw const address).cast(), size_of::<libc::sockaddr_in6>())
        }
    }
}

/// An address family as socket addresses have it.
fn family(number: libc::c_int) -> libc::sa_family_t {
    libc::sa_family_t::try_from(number).unwrap_or_default()
}
