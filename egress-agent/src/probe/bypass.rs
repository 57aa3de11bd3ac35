//! Who stands before our TC programs on a device, or takes packets past them.

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use aya::programs::{SchedClassifier, TcAttachType};

/// `IFLA_XDP` and, nested in it, `IFLA_XDP_ATTACHED` of `linux/if_link.h`.
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
/// Offset of the attributes: behind `struct nlmsghdr` and `struct ifinfomsg`.
const ATTRIBUTES: usize = 32;

/// In words; `None` if nobody does.
pub(super) fn find(index: u32, name: &str, tcx: bool) -> Option<String> {
    let mut found = Vec::new();
    if tcx {
        for (hook, word) in [(TcAttachType::Ingress, "ingress"), (TcAttachType::Egress, "egress")] {
            found.extend(
                before_us(name, hook)
                    .into_iter()
                    .map(|other| format!("{other} runs before us at TCX {word}")),
            );
        }
    }
    if has_xdp(index).unwrap_or(false) {
        found.push("an XDP program may take packets before they come in".to_owned());
    }
    (!found.is_empty()).then(|| found.join("; "))
}

/// Names of the programs that run before ours at a TCX hook.
fn before_us(device: &str, hook: TcAttachType) -> Vec<String> {
    let Ok((_, programs)) = SchedClassifier::query_tcx(device, hook) else {
        return Vec::new();
    };
    programs
        .iter()
        .map(|program| program.name_as_str().unwrap_or("an unnamed program").to_owned())
        .take_while(|name| !name.starts_with("egress_"))
        .collect()
}

/// Asks the kernel whether the device has an XDP program, of whatever kind.
fn has_xdp(index: u32) -> io::Result<bool> {
    // SAFETY: a new socket, in this thread's namespace.
    let socket =
        unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let mut request = [0_u8; ATTRIBUTES];
    request[0..4].copy_from_slice(&32_u32.to_ne_bytes());
    request[4..6].copy_from_slice(&libc::RTM_GETLINK.to_ne_bytes());
    request[6..8].copy_from_slice(&1_u16.to_ne_bytes());
    request[20..24].copy_from_slice(&index.to_ne_bytes());
    // SAFETY: a structure of plain data.
    let mut kernel: libc::sockaddr_nl = unsafe { zeroed() };
    kernel.nl_family = libc::sa_family_t::try_from(libc::AF_NETLINK).unwrap_or_default();
    let mut answer = vec![0_u8; 32 * 1024];
    // SAFETY: buffers and address are ours and as long as we say.
    let received = unsafe {
        let length = super::sys::length::<libc::sockaddr_nl>();
        let address = (&raw const kernel).cast();
        if libc::sendto(socket.as_raw_fd(), request.as_ptr().cast(), request.len(), 0, address, length) < 0 {
            return Err(io::Error::last_os_error());
        }
        libc::recv(socket.as_raw_fd(), answer.as_mut_ptr().cast(), answer.len(), 0)
    };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    answer.truncate(received);
    Ok(is_xdp_attached(&answer))
}

/// Whether an `RTM_NEWLINK` message says so.
fn is_xdp_attached(message: &[u8]) -> bool {
    let kind = message.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    if kind != Some(libc::RTM_NEWLINK) {
        return false;
    }
    let attributes = message.get(ATTRIBUTES..).unwrap_or_default();
    attribute(attributes, IFLA_XDP)
        .and_then(|nested| attribute(nested, IFLA_XDP_ATTACHED))
        .is_some_and(|attached| attached.first().is_some_and(|mode| *mode != 0))
}

/// The contents of the first attribute of a kind.
fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    while bytes.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        // The highest bits say "nested" and "network byte order".
        let kind = u16::from_ne_bytes([bytes[2], bytes[3]]) & 0x3fff;
        let contents = bytes.get(4..length)?;
        if kind == wanted {
            return Some(contents);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(mode: u8) -> Vec<u8> {
        let mut message = vec![0_u8; ATTRIBUTES];
        message[4..6].copy_from_slice(&libc::RTM_NEWLINK.to_ne_bytes());
        // IFLA_MTU, then IFLA_XDP with IFLA_XDP_ATTACHED in it.
        message.extend([8, 0, 4, 0, 220, 5, 0, 0]);
        message.extend([12, 0, 43, 0x80, 5, 0, 2, 0, mode, 0, 0, 0]);
        message
    }

    #[test]
    fn xdp_shows_in_the_link_message() {
        assert!(is_xdp_attached(&link(2)));
        assert!(!is_xdp_attached(&link(0)));
        for length in 0..link(2).len() - 4 {
            assert!(!is_xdp_attached(&link(2)[..length]));
        }
    }

    #[test]
    fn the_loopback_device_has_none() {
        assert!(!has_xdp(1).unwrap());
    }
}
