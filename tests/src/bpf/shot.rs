//! Programs that drop what goes to one address and let everything else go on, as a network plugin or another agent
//! would attach them.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};

use super::{Attr, LINK_CREATE, PROG_LOAD, PROG_TYPE_SCHED_CLS, TCX_EGRESS, TCX_INGRESS, index_of};
use crate::netns::Netns;

const PROG_TYPE_XDP: u32 = 6;
const PROG_TYPE_CGROUP_SKB: u32 = 8;
const CGROUP_INET_EGRESS: u32 = 1;
const XDP: u32 = 37;
/// `BPF_F_BEFORE` without another program: first of all.
const BEFORE: u32 = 1 << 3;

/// Where a program stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// TCX ingress, before everybody else.
    TcxIngress,
    /// TCX egress, before everybody else.
    TcxEgress,
    /// XDP.
    Xdp,
}

/// An attached program; detached when dropped.
#[derive(Debug)]
pub struct Shot {
    _link: OwnedFd,
}

impl Shot {
    /// Attaches one to a device.
    pub fn attach(netns: &Netns, device: &str, hook: Hook, name: &str, to: IpAddr) -> Result<Self> {
        let (kind, attach_type, flags) = match hook {
            Hook::TcxIngress => (PROG_TYPE_SCHED_CLS, TCX_INGRESS, BEFORE),
            Hook::TcxEgress => (PROG_TYPE_SCHED_CLS, TCX_EGRESS, BEFORE),
            Hook::Xdp => (PROG_TYPE_XDP, XDP, 0),
        };
        let program = load(kind, name, to, 14)?;
        let device = device.to_owned();
        let link = netns.enter(move || {
            let fd = u32::try_from(program.as_raw_fd())?;
            let index = index_of(&device)?;
            let mut attr = Attr::new().u32(0, fd).u32(4, index).u32(8, attach_type).u32(12, flags);
            attr.open(LINK_CREATE).with_context(|| format!("attaching a program to {device}"))
        })?;
        Ok(Self { _link: link })
    }

    /// Attaches one to what the sockets of a cgroup send.
    pub fn attach_cgroup(cgroup: &Path, name: &str, to: IpAddr) -> Result<Self> {
        let program = load(PROG_TYPE_CGROUP_SKB, name, to, 0)?;
        let folder = File::open(cgroup).with_context(|| format!("opening {}", cgroup.display()))?;
        let program = u32::try_from(program.as_raw_fd())?;
        let target = u32::try_from(folder.as_raw_fd())?;
        let mut attr = Attr::new().u32(0, program).u32(4, target).u32(8, CGROUP_INET_EGRESS);
        let link = attr.open(LINK_CREATE).with_context(|| format!("attaching to {}", cgroup.display()))?;
        Ok(Self { _link: link })
    }
}

/// One instruction.
const fn instruction(code: u8, to: u8, from: u8, offset: i16, value: i32) -> u64 {
    code as u64
        | ((to as u64) | ((from as u64) << 4)) << 8
        | (offset.cast_unsigned() as u64) << 16
        | (value.cast_unsigned() as u64) << 32
}

/// A program that compares the last four bytes of the destination address, `link` bytes behind the packet's begin.
fn load(kind: u32, name: &str, to: IpAddr, link: i16) -> Result<OwnedFd> {
    let (at, last): (i16, [u8; 4]) = match to {
        IpAddr::V4(v4) => (link + 16, v4.octets()),
        IpAddr::V6(v6) => {
            let octets = v6.octets();
            (link + 36, [octets[12], octets[13], octets[14], octets[15]])
        }
    };
    // Offsets of `data` and `data_end` in the context; what drops and what lets go on.
    let (data, end, drop, pass) = match kind {
        PROG_TYPE_XDP => (0, 4, 1, 2),
        PROG_TYPE_CGROUP_SKB => (76, 80, 0, 1),
        _ => (76, 80, 2, -1),
    };
    let program = [
        instruction(0x61, 2, 1, data, 0),                     // r2 = ctx->data
        instruction(0x61, 3, 1, end, 0),                      // r3 = ctx->data_end
        instruction(0xbf, 4, 2, 0, 0),                        // r4 = r2
        instruction(0x07, 4, 0, 0, i32::from(at) + 4),        // r4 += at + 4
        instruction(0x2d, 4, 3, 4, 0),                        // if r4 > r3 goto pass
        instruction(0x61, 5, 2, at, 0),                       // r5 = *(u32 *)(r2 + at)
        instruction(0x56, 5, 0, 2, i32::from_ne_bytes(last)), // if w5 != address goto pass
        instruction(0xb7, 0, 0, 0, drop),                     // r0 = drop
        instruction(0x95, 0, 0, 0, 0),                        // exit
        instruction(0xb7, 0, 0, 0, pass),                     // pass: r0 = pass
        instruction(0x95, 0, 0, 0, 0),                        // exit
    ];
    let mut short = [0; 8];
    let mut rest = [0; 8];
    for (place, byte) in short.iter_mut().chain(rest.iter_mut()).zip(name.bytes().take(15)) {
        *place = byte;
    }
    let expected = if kind == PROG_TYPE_CGROUP_SKB { CGROUP_INET_EGRESS } else { 0 };
    Attr::new()
        .u32(0, kind)
        .u32(4, u32::try_from(program.len())?)
        .u64(8, program.as_ptr() as u64)
        .u64(16, c"Dual MIT/GPL".as_ptr() as u64)
        .u64(48, u64::from_ne_bytes(short))
        .u64(56, u64::from_ne_bytes(rest))
        .u32(68, expected)
        .open(PROG_LOAD)
        .with_context(|| format!("loading {name}"))
}
