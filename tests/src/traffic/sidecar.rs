//! The sidecar of a service mesh, reduced to what the network sees of it.

use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};

/// Takes diverted connections on the loopback of both families.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Port to listen on.
    pub port: u16,
    /// Listen on every address: what comes to a pod is diverted to its device's.
    #[arg(long)]
    pub inbound: bool,
    /// What to do with a connection.
    #[arg(long, value_enum, default_value_t = Behaviour::Proxy)]
    pub behaviour: Behaviour,
}

/// What a sidecar does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Behaviour {
    /// Connects to where it was meant to go, and carries bytes both ways.
    Proxy,
    /// Reads a little, then resets it.
    Reset,
    /// Closes it at once.
    Close,
}

/// Mark of the sidecar's own packets, which the pod's rules do not divert.
pub const MARK: u32 = 1337;

/// Listens until killed.
pub fn run(args: &Args) -> Result<()> {
    let ips: &[IpAddr] = if args.inbound {
        // Of both families.
        &[IpAddr::V6(Ipv6Addr::UNSPECIFIED)]
    } else {
        &[IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
    };
    let listeners: Vec<_> = ips
        .iter()
        .map(|ip| {
            TcpListener::bind((*ip, args.port)).with_context(|| format!("listening on {ip}:{}", args.port))
        })
        .collect::<Result<_>>()?;
    super::announce_ready()?;
    let behaviour = args.behaviour;
    std::thread::scope(|scope| {
        for listener in &listeners {
            scope.spawn(move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    // A connection that fails is the client's affair.
                    std::thread::spawn(move || drop(serve(stream, behaviour)));
                }
            });
        }
    });
    Ok(())
}

fn serve(mut stream: TcpStream, behaviour: Behaviour) -> io::Result<()> {
    match behaviour {
        Behaviour::Proxy => carry(stream),
        // Data left unread makes the kernel close with a reset.
        Behaviour::Reset => stream.read(&mut [0; 1]).map(drop),
        Behaviour::Close => Ok(()),
    }
}

/// Both ways, until either side closes.
fn carry(near: TcpStream) -> io::Result<()> {
    let far = connect_marked(original_destination(&near)?)?;
    let (near_in, far_in) = (near.try_clone()?, far.try_clone()?);
    std::thread::scope(|scope| {
        scope.spawn(move || copy(near_in, far));
        copy(far_in, near);
    });
    Ok(())
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    // The end is told; a connection that is over already has heard it.
    let _ = to.shutdown(std::net::Shutdown::Write);
}

/// Where a diverted connection was meant to go (`SO_ORIGINAL_DST`, `IP6T_SO_ORIGINAL_DST`).
fn original_destination(stream: &TcpStream) -> io::Result<SocketAddr> {
    const ORIGINAL: libc::c_int = 80;
    let v4 = stream.local_addr()?.ip().to_canonical().is_ipv4();
    let level = if v4 { libc::SOL_IP } else { libc::SOL_IPV6 };
    let mut address = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut length =
        libc::socklen_t::try_from(size_of::<libc::sockaddr_storage>()).map_err(io::Error::other)?;
    // SAFETY: the buffer is live and of the length given.
    let result = unsafe {
        libc::getsockopt(stream.as_raw_fd(), level, ORIGINAL, address.as_mut_ptr().cast(), &raw mut length)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    if v4 {
        // SAFETY: zeroed, and filled with a `sockaddr_in`, of which every bit pattern is valid.
        let raw = unsafe { address.as_ptr().cast::<libc::sockaddr_in>().read() };
        let ip = Ipv4Addr::from(u32::from_be(raw.sin_addr.s_addr));
        Ok(SocketAddr::from((ip, u16::from_be(raw.sin_port))))
    } else {
        // SAFETY: the same with `sockaddr_in6`.
        let raw = unsafe { address.as_ptr().cast::<libc::sockaddr_in6>().read() };
        Ok(SocketAddr::from((Ipv6Addr::from(raw.sin6_addr.s6_addr), u16::from_be(raw.sin6_port))))
    }
}

/// Connects with the mark that exempts from being diverted.
fn connect_marked(to: SocketAddr) -> io::Result<TcpStream> {
    let family = if to.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: a plain system call.
    let fd = unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and is nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let mark = MARK;
    let length = libc::socklen_t::try_from(size_of::<u32>()).map_err(io::Error::other)?;
    // SAFETY: the option's value is a live `u32` of the size given.
    let marked =
        unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_MARK, (&raw const mark).cast(), length) };
    if marked != 0 {
        return Err(io::Error::last_os_error());
    }
    let connected = match to {
        SocketAddr::V4(to) => {
            // SAFETY: all zeros is a valid `sockaddr_in`.
            let mut raw: libc::sockaddr_in = unsafe { std::mem::zeroed() };
            raw.sin_family = libc::sa_family_t::try_from(family).map_err(io::Error::other)?;
            raw.sin_port = to.port().to_be();
            raw.sin_addr.s_addr = u32::from(*to.ip()).to_be();
            connect(fd, &raw)
        }
        SocketAddr::V6(to) => {
            // SAFETY: all zeros is a valid `sockaddr_in6`.
            let mut raw: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
            raw.sin6_family = libc::sa_family_t::try_from(family).map_err(io::Error::other)?;
            raw.sin6_port = to.port().to_be();
            raw.sin6_addr.s6_addr = to.ip().octets();
            connect(fd, &raw)
        }
    };
    connected?;
    Ok(TcpStream::from(socket))
}

fn connect<T>(fd: libc::c_int, address: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: the address is live and of the length given.
    let result = unsafe { libc::connect(fd, std::ptr::from_ref(address).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
