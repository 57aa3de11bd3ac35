//! What of BPF is in the kernel, asked by system call: bpftool of many distributions does not know TCX.

mod shot;

pub use shot::{Hook, Shot};

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};

use crate::netns::Netns;

// Numbers of `enum bpf_cmd`, `enum bpf_prog_type` and `enum bpf_attach_type` in include/uapi/linux/bpf.h.
const PROG_LOAD: libc::c_long = 5;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const MAP_GET_FD_BY_ID: libc::c_long = 14;
const PROG_QUERY: libc::c_long = 16;
const LINK_CREATE: libc::c_long = 28;
const LINK_GET_FD_BY_ID: libc::c_long = 30;
const PROG_TYPE_SCHED_CLS: u32 = 3;
const TCX_INGRESS: u32 = 46;
const TCX_EGRESS: u32 = 47;

/// `union bpf_attr`, as bytes; large enough for every command used here, zeros beyond what is set.
#[repr(C, align(8))]
struct Attr([u8; 128]);

impl Attr {
    fn new() -> Self {
        Self([0; 128])
    }

    fn u32(mut self, offset: usize, value: u32) -> Self {
        self.0[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    fn u64(mut self, offset: usize, value: u64) -> Self {
        self.0[offset..offset + 8].copy_from_slice(&value.to_ne_bytes());
        self
    }

    fn get_u32(&self, offset: usize) -> u32 {
        let [a, b, c, d] = [0, 1, 2, 3].map(|n| self.0[offset + n]);
        u32::from_ne_bytes([a, b, c, d])
    }

    fn call(&mut self, command: libc::c_long) -> io::Result<i32> {
        // SAFETY: the attribute is live and as long as said; addresses in it are of live buffers of the callers.
        let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut self.0, self.0.len()) };
        match i32::try_from(result) {
            Ok(value @ 0..) => Ok(value),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn open(&mut self, command: libc::c_long) -> io::Result<OwnedFd> {
        let fd = self.call(command)?;
        // SAFETY: the command returned a new descriptor.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

/// Programs, maps and links by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// Program ids.
    pub programs: BTreeSet<u32>,
    /// Map ids.
    pub maps: BTreeSet<u32>,
    /// Link ids.
    pub links: BTreeSet<u32>,
}

impl Objects {
    /// Those a process holds by descriptors.
    pub fn of_process(pid: u32) -> Result<Self> {
        let mut objects = Self::default();
        let folder = format!("/proc/{pid}/fdinfo");
        for entry in fs::read_dir(&folder).with_context(|| format!("reading {folder}"))?.flatten() {
            // A descriptor may be closed while we read.
            let Ok(info) = fs::read_to_string(entry.path()) else { continue };
            for line in info.lines() {
                let Some((key, value)) = line.split_once(':') else { continue };
                let Ok(id) = value.trim().parse() else { continue };
                match key {
                    "prog_id" => objects.programs.insert(id),
                    "map_id" => objects.maps.insert(id),
                    "link_id" => objects.links.insert(id),
                    _ => false,
                };
            }
        }
        Ok(objects)
    }

    /// Those that are still in the kernel.
    pub fn alive(&self) -> Self {
        let alive = |ids: &BTreeSet<u32>, command| {
            ids.iter().copied().filter(|&id| Attr::new().u32(0, id).open(command).is_ok()).collect()
        };
        Self {
            programs: alive(&self.programs, PROG_GET_FD_BY_ID),
            maps: alive(&self.maps, MAP_GET_FD_BY_ID),
            links: alive(&self.links, LINK_GET_FD_BY_ID),
        }
    }

    /// None at all.
    pub fn is_empty(&self) -> bool {
        self.programs.is_empty() && self.maps.is_empty() && self.links.is_empty()
    }
}

/// Ids of the programs at a device by TCX, in order: (ingress, egress).
pub fn tcx(netns: &Netns, device: &str) -> Result<(Vec<u32>, Vec<u32>)> {
    let device = device.to_owned();
    netns.enter(move || {
        let index = index_of(&device)?;
        Ok((query(index, TCX_INGRESS)?, query(index, TCX_EGRESS)?))
    })
}

fn query(index: u32, attach_type: u32) -> Result<Vec<u32>> {
    let mut ids = vec![0u32; 64];
    let mut attr = Attr::new()
        .u32(0, index)
        .u32(4, attach_type)
        .u64(16, ids.as_mut_ptr() as u64)
        .u32(24, u32::try_from(ids.len())?);
    attr.call(PROG_QUERY).context("asking for the TCX programs of a device")?;
    ids.truncate(usize::try_from(attr.get_u32(24))?);
    Ok(ids)
}

/// A foreign program on a device's TCX ingress that lets everything go on; detached when dropped.
#[derive(Debug)]
pub struct Foreign {
    _link: OwnedFd,
}

impl Foreign {
    /// Loads and attaches it.
    pub fn attach(netns: &Netns, device: &str) -> Result<Self> {
        // r0 = -1 (TCX_NEXT); exit
        let instructions: [u64; 2] = [0xffff_ffff_0000_00b7, 0x95];
        let license = c"Dual MIT/GPL";
        let program = Attr::new()
            .u32(0, PROG_TYPE_SCHED_CLS)
            .u32(4, 2)
            .u64(8, instructions.as_ptr() as u64)
            .u64(16, license.as_ptr() as u64)
            .open(PROG_LOAD)
            .context("loading a program")?;
        let device = device.to_owned();
        let link = netns.enter(move || {
            let fd = u32::try_from(program.as_raw_fd())?;
            let mut attr = Attr::new().u32(0, fd).u32(4, index_of(&device)?).u32(8, TCX_INGRESS);
            attr.open(LINK_CREATE).with_context(|| format!("attaching a program to {device}"))
        })?;
        Ok(Self { _link: link })
    }
}

fn index_of(device: &str) -> Result<u32> {
    let name = std::ffi::CString::new(device)?;
    // SAFETY: the name is a live C string.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()).with_context(|| format!("no device {device}")),
        index => Ok(index),
    }
}
