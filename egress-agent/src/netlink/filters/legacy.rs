//! iptables-legacy: tables read with `getsockopt`, as iptables does.
//!
//! Only tables that exist are asked for: asking for another one would make the kernel create it.

mod blob;

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::ruleset::Table;
use blob::{Info, Layout};

/// `IPT_SO_GET_INFO`, and the same number for IPv6.
const GET_INFO: libc::c_int = 64;
/// `IPT_SO_GET_ENTRIES`, and the same number for IPv6.
const GET_ENTRIES: libc::c_int = 65;
/// `XT_TABLE_MAXNAMELEN`
const NAME: usize = 32;
/// Tables larger than this are not read.
const LARGEST: usize = 64 << 20;
/// A table that is replaced while it is read is read again this often.
const ATTEMPTS: usize = 5;

/// One of the two families.
struct Family {
    name: &'static str,
    /// Lists the tables of the namespace; missing where the module is not loaded.
    names: &'static str,
    domain: libc::c_int,
    level: libc::c_int,
    layout: Layout,
}

const FAMILIES: [Family; 2] = [
    Family {
        name: "ip",
        names: "/proc/thread-self/net/ip_tables_names",
        domain: libc::AF_INET,
        level: libc::IPPROTO_IP,
        layout: blob::IPV4,
    },
    Family {
        name: "ip6",
        names: "/proc/thread-self/net/ip6_tables_names",
        domain: libc::AF_INET6,
        level: libc::IPPROTO_IPV6,
        layout: blob::IPV6,
    },
];

/// Reads all tables of the calling thread's namespace; what cannot be read is told in words.
pub(super) fn read(unread: &mut Vec<String>) -> Vec<Table> {
    let mut tables = Vec::new();
    for family in &FAMILIES {
        let names = match std::fs::read_to_string(family.names) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                unread.push(format!("iptables-legacy, family {}: {}: {error}", family.name, family.names));
                continue;
            }
        };
        for name in names.lines() {
            match read_table(family, name) {
                Ok(table) => tables.push(table),
                Err(error) => {
                    unread.push(format!("iptables-legacy, family {}, table {name}: {error}", family.name));
                }
            }
        }
    }
    tables
}

fn read_table(family: &Family, name: &str) -> io::Result<Table> {
    // Any socket of the family will do; this one needs no privilege of its own.
    // SAFETY: a plain system call that returns a new descriptor or -1.
    let fd = unsafe { libc::socket(family.domain, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just opened and nobody else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut attempt = 0;
    loop {
        attempt += 1;
        let mut info = vec![0u8; blob::INFO];
        put_name(&mut info, name)?;
        get(&socket, family.level, GET_INFO, &mut info)?;
        let malformed = || io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer cannot be read");
        let info = Info::parse(&info).ok_or_else(malformed)?;
        if info.size > LARGEST {
            return Err(io::Error::other(format!("{} bytes are too many to read", info.size)));
        }
        // struct ipt_get_entries: the name, the size, padding, then the entries.
        let mut answer = vec![0u8; blob::ENTRIES + info.size];
        put_name(&mut answer, name)?;
        let size = u32::try_from(info.size).map_err(io::Error::other)?;
        answer[NAME..NAME + 4].copy_from_slice(&size.to_ne_bytes());
        match get(&socket, family.level, GET_ENTRIES, &mut answer) {
            // The table was replaced in between.
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && attempt < ATTEMPTS => {}
            Err(error) => return Err(error),
            Ok(()) => {
                let entries = &answer[blob::ENTRIES..];
                let chains = family.layout.chains(name, &info, entries).ok_or_else(malformed)?;
                return Ok(Table {
                    backend: "iptables-legacy",
                    family: family.name,
                    name: name.to_owned(),
                    chains,
                });
            }
        }
    }
}

/// The table of an image and what was said of it.
pub(super) fn decode(v6: bool, info: &[u8], image: &[u8]) -> Option<Table> {
    let family = &FAMILIES[usize::from(v6)];
    let (name, info) = ("filter", Info::parse(info)?);
    let chains = family.layout.chains(name, &info, image)?;
    Some(Table { backend: "iptables-legacy", family: family.name, name: name.to_owned(), chains })
}

fn put_name(buffer: &mut [u8], name: &str) -> io::Result<()> {
    if name.len() >= NAME {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a table name of more than 31 bytes"));
    }
    buffer[..name.len()].copy_from_slice(name.as_bytes());
    Ok(())
}

fn get(socket: &OwnedFd, level: libc::c_int, option: libc::c_int, buffer: &mut [u8]) -> io::Result<()> {
    let mut length = libc::socklen_t::try_from(buffer.len()).map_err(io::Error::other)?;
    // SAFETY: the kernel writes at most `length` bytes to the buffer, which is that long.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, option, buffer.as_mut_ptr().cast(), &raw mut length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
