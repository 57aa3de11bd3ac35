//! Packets, and sending them as fast as one core can.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// Packets a system call.
const BATCH: usize = 64;

/// An IPv4 packet with a UDP header; the kernel fills in the header's checksum.
pub(crate) fn udp(from: Ipv4Addr, source: u16, to: Ipv4Addr, port: u16, payload: usize) -> Vec<u8> {
    let mut packet = ip(from, to, 17, 8 + payload);
    packet[20..22].copy_from_slice(&source.to_be_bytes());
    packet[22..24].copy_from_slice(&port.to_be_bytes());
    let length = u16::try_from(8 + payload).unwrap_or(u16::MAX);
    packet[24..26].copy_from_slice(&length.to_be_bytes());
    packet
}

/// An IPv4 packet with a TCP header of these flags.
pub(crate) fn tcp(
    from: Ipv4Addr,
    source: u16,
    to: Ipv4Addr,
    port: u16,
    flags: u8,
    payload: usize,
) -> Vec<u8> {
    let mut packet = ip(from, to, 6, 20 + payload);
    packet[20..22].copy_from_slice(&source.to_be_bytes());
    packet[22..24].copy_from_slice(&port.to_be_bytes());
    packet[24..28].copy_from_slice(&u32::from(source).wrapping_mul(2_654_435_761).to_be_bytes());
    packet[32] = 5 << 4;
    packet[33] = flags;
    packet[34..36].copy_from_slice(&64_240_u16.to_be_bytes());
    packet
}

fn ip(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, length: usize) -> Vec<u8> {
    let total = 20 + length;
    let mut packet = vec![0; total];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&u16::try_from(total).unwrap_or(u16::MAX).to_be_bytes());
    packet[8] = 64;
    packet[9] = protocol;
    packet[12..16].copy_from_slice(&from.octets());
    packet[16..20].copy_from_slice(&to.octets());
    packet
}

/// Packets that are sent in turn.
pub(crate) struct Train<'a> {
    socket: &'a OwnedFd,
    // The headers point to these.
    _packets: Vec<Vec<u8>>,
    _parts: Vec<libc::iovec>,
    _to: Box<libc::sockaddr_in>,
    messages: Vec<libc::mmsghdr>,
    next: usize,
}

impl<'a> Train<'a> {
    /// All to the destination of the first.
    pub(crate) fn new(socket: &'a OwnedFd, mut packets: Vec<Vec<u8>>) -> Result<Self> {
        let first = packets.first().context("no packets")?;
        // SAFETY: a structure of integers.
        let mut to: Box<libc::sockaddr_in> = Box::new(unsafe { std::mem::zeroed() });
        to.sin_family = libc::sa_family_t::try_from(libc::AF_INET)?;
        to.sin_addr.s_addr = u32::from_ne_bytes([first[16], first[17], first[18], first[19]]);
        let mut parts: Vec<libc::iovec> = packets
            .iter_mut()
            .map(|packet| libc::iovec { iov_base: packet.as_mut_ptr().cast(), iov_len: packet.len() })
            .collect();
        let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_in>())?;
        let address = std::ptr::from_mut(&mut *to);
        let messages = parts
            .iter_mut()
            .map(|part| {
                // SAFETY: all zeros is a valid header; the pointers are to buffers that live as long as it.
                let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
                message.msg_hdr.msg_name = address.cast();
                message.msg_hdr.msg_namelen = length;
                message.msg_hdr.msg_iov = part;
                message.msg_hdr.msg_iovlen = 1;
                message
            })
            .collect();
        Ok(Self { socket, _packets: packets, _parts: parts, _to: to, messages, next: 0 })
    }

    /// Sends so many; nanoseconds a packet.
    pub(crate) fn send(&mut self, count: usize) -> Result<f64> {
        let mut left = count;
        let start = Instant::now();
        while left > 0 {
            let now = left.min(BATCH).min(self.messages.len() - self.next);
            let size = libc::c_uint::try_from(now)?;
            // SAFETY: as many headers as we say, with pointers to live buffers.
            let sent = unsafe {
                libc::sendmmsg(self.socket.as_raw_fd(), self.messages[self.next..].as_mut_ptr(), size, 0)
            };
            let Ok(sent) = usize::try_from(sent) else {
                let error = io::Error::last_os_error();
                if error.raw_os_error() == Some(libc::ENOBUFS) {
                    continue;
                }
                return Err(error).context("sending");
            };
            if sent == 0 {
                bail!("the kernel takes no packets");
            }
            left -= sent;
            self.next = (self.next + sent) % self.messages.len();
        }
        Ok(start.elapsed().as_nanos() as f64 / count as f64)
    }

    /// How many packets there are.
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }
}

/// Binds this thread to a CPU, and lets nothing ordinary come between.
pub(crate) fn settle(cpu: usize, alone: bool) -> Result<()> {
    // SAFETY: structures of integers, of the sizes given; 0 is the calling thread.
    let failed = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        let bound = libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
        let mut parameter: libc::sched_param = std::mem::zeroed();
        parameter.sched_priority = if alone { 10 } else { 0 };
        let policy = if alone { libc::SCHED_FIFO } else { libc::SCHED_OTHER };
        bound != 0 || libc::sched_setscheduler(0, policy, &raw const parameter) != 0
    };
    if failed {
        return Err(io::Error::last_os_error()).with_context(|| format!("a thread of its own on CPU {cpu}"));
    }
    Ok(())
}
