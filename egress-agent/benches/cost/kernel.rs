//! BPF by system call: empty programs, links that come and go, counters.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use aya_obj::generated::{bpf_attach_type, bpf_attr, bpf_cmd, bpf_map_info, bpf_prog_info, bpf_prog_type};
use egress_common::Stat;

/// A loaded program.
#[derive(Debug)]
pub(crate) struct Program {
    fd: OwnedFd,
    /// The tracepoint it is for, as a BTF id; 0 for TC.
    attach_btf_id: u32,
}

fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<RawFd> {
    // SAFETY: the attributes are as large as we say; pointers in them are to the callers' live buffers.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command as libc::c_long, std::ptr::from_mut(attr), size_of::<bpf_attr>())
    };
    RawFd::try_from(result).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)
}

fn descriptor(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    let fd = bpf(command, attr)?;
    // SAFETY: just made, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn attributes() -> bpf_attr {
    // SAFETY: a union of integers.
    unsafe { zeroed() }
}

fn raw(fd: RawFd) -> u32 {
    u32::try_from(fd).unwrap_or(u32::MAX)
}

fn info<T: Copy>(fd: RawFd) -> io::Result<T> {
    // SAFETY: the structures of the kernel's answers are integers.
    let mut info: T = unsafe { zeroed() };
    let mut attr = attributes();
    attr.info.bpf_fd = raw(fd);
    attr.info.info_len = u32::try_from(size_of::<T>()).unwrap_or(0);
    attr.info.info = std::ptr::from_mut(&mut info) as u64;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(info)
}

fn name(raw: &[libc::c_char]) -> String {
    // SAFETY: the kernel ends names with a zero within the array.
    unsafe { CStr::from_ptr(raw.as_ptr()) }.to_string_lossy().into_owned()
}

/// This process's descriptors whose `fdinfo` has this key, with its value.
fn descriptors(key: &str) -> Result<Vec<(RawFd, u32)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc/self/fdinfo")? {
        let path = entry?.path();
        // Those of other threads come and go meanwhile.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let value =
            text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')?.trim().parse().ok());
        let fd = path.file_name().and_then(|name| name.to_str()?.parse().ok());
        found.extend(fd.zip(value));
    }
    Ok(found)
}

impl Program {
    /// The program of this process with this name (the kernel keeps 15 characters).
    pub(crate) fn of_ours(wanted: impl Fn(&str) -> bool) -> Result<Self> {
        for (fd, id) in descriptors("prog_id")? {
            let Ok(found) = info::<bpf_prog_info>(fd) else { continue };
            if found.id == id && wanted(&name(&found.name)) {
                let mut attr = attributes();
                attr.__bindgen_anon_6.__bindgen_anon_1.prog_id = id;
                let fd = descriptor(bpf_cmd::BPF_PROG_GET_FD_BY_ID, &mut attr)?;
                return Ok(Self { fd, attach_btf_id: found.attach_btf_id });
            }
        }
        bail!("the probe has not loaded the program")
    }

    /// A program that does nothing, for the same hook as another.
    pub(crate) fn empty_like(other: &Self) -> Result<Self> {
        // `r0 = result; exit`
        let tracing = other.attach_btf_id != 0;
        let result: i32 = if tracing { 0 } else { -1 };
        let instructions: [u64; 2] = [0xb7 | u64::from(result.cast_unsigned()) << 32, 0x95];
        let license = c"Dual MIT/GPL";
        let mut attr = attributes();
        attr.__bindgen_anon_3.insns = instructions.as_ptr() as u64;
        attr.__bindgen_anon_3.insn_cnt = 2;
        attr.__bindgen_anon_3.license = license.as_ptr() as u64;
        if tracing {
            attr.__bindgen_anon_3.prog_type = bpf_prog_type::BPF_PROG_TYPE_TRACING as u32;
            attr.__bindgen_anon_3.expected_attach_type = bpf_attach_type::BPF_TRACE_RAW_TP as u32;
            attr.__bindgen_anon_3.attach_btf_id = other.attach_btf_id;
        } else {
            attr.__bindgen_anon_3.prog_type = bpf_prog_type::BPF_PROG_TYPE_SCHED_CLS as u32;
        }
        let fd = descriptor(bpf_cmd::BPF_PROG_LOAD, &mut attr).context("loading an empty program")?;
        Ok(Self { fd, attach_btf_id: other.attach_btf_id })
    }

    /// A program that passes IPv4 frames on to the stack. The kernel uses their pages again without filling them anew:
    /// it writes again what forwarding changed, the time to live and the checksum. `random`: and a UDP source port.
    pub(crate) fn injector(frame: &[u8], random: bool) -> Result<Self> {
        let (ttl, checksum) = (u64::from(frame[22]), u64::from(u16::from_ne_bytes([frame[24], frame[25]])));
        let instructions: [u64; 12] = [
            0x16bf,                                          // r6 = r1
            0x85 | 7 << 32,                                  // r0 = bpf_get_prandom_u32()
            0x6261,                                          // r2 = r6->data
            0x6361 | 4 << 16,                                // r3 = r6->data_end
            0x24bf,                                          // r4 = r2
            0x0407 | 64 << 32,                               // r4 += 64
            0x342d | 3 << 16,                                // if r4 > r3 skip three
            0x0272 | 22 << 16 | ttl << 32,                   // *(u8 *)(r2 + 22) = ttl
            0x026a | 24 << 16 | checksum << 32,              // *(u16 *)(r2 + 24) = checksum
            if random { 0x026b | 34 << 16 } else { 0x00bf }, // *(u16 *)(r2 + 34) = r0, or r0 = r0
            0xb7 | 2 << 32,                                  // r0 = XDP_PASS
            0x95,                                            // exit
        ];
        let license = c"Dual MIT/GPL";
        let mut attr = attributes();
        attr.__bindgen_anon_3.insns = instructions.as_ptr() as u64;
        attr.__bindgen_anon_3.insn_cnt = u32::try_from(instructions.len())?;
        attr.__bindgen_anon_3.license = license.as_ptr() as u64;
        attr.__bindgen_anon_3.prog_type = bpf_prog_type::BPF_PROG_TYPE_XDP as u32;
        let fd =
            descriptor(bpf_cmd::BPF_PROG_LOAD, &mut attr).context("loading a program that passes frames")?;
        Ok(Self { fd, attach_btf_id: 0 })
    }

    /// Lets the stack receive copies of a frame on the loopback device of this thread's namespace; nanoseconds each,
    /// all that the stack does with them included.
    pub(crate) fn inject(&self, frame: &[u8], count: u32) -> Result<f64> {
        const LIVE_FRAMES: u32 = 1 << 1;
        let mut attr = attributes();
        attr.test.prog_fd = raw(self.fd.as_raw_fd());
        attr.test.data_in = frame.as_ptr() as u64;
        attr.test.data_size_in = u32::try_from(frame.len())?;
        attr.test.repeat = count;
        attr.test.flags = LIVE_FRAMES;
        bpf(bpf_cmd::BPF_PROG_TEST_RUN, &mut attr).context("BPF_F_TEST_XDP_LIVE_FRAMES")?;
        // SAFETY: the arm of the union that this command writes.
        Ok(f64::from(unsafe { attr.test.duration }))
    }

    /// Attaches it to its tracepoint.
    pub(crate) fn trace(&self) -> Result<OwnedFd> {
        let mut attr = attributes();
        attr.raw_tracepoint.prog_fd = raw(self.fd.as_raw_fd());
        descriptor(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attr).context("attaching to the tracepoint")
    }

    /// Attaches it to the ingress hook of a device of this thread's namespace.
    pub(crate) fn tcx_ingress(&self, index: u32) -> Result<OwnedFd> {
        let mut attr = attributes();
        attr.link_create.__bindgen_anon_1.prog_fd = raw(self.fd.as_raw_fd());
        attr.link_create.__bindgen_anon_2.target_ifindex = index;
        attr.link_create.attach_type = bpf_attach_type::BPF_TCX_INGRESS as u32;
        descriptor(bpf_cmd::BPF_LINK_CREATE, &mut attr).context("attaching to the device")
    }

    /// Runs a TC program on a frame, again and again; nanoseconds a run.
    pub(crate) fn run(&self, frame: &[u8], repeat: u32) -> Result<f64> {
        let mut attr = attributes();
        attr.test.prog_fd = raw(self.fd.as_raw_fd());
        attr.test.data_in = frame.as_ptr() as u64;
        attr.test.data_size_in = u32::try_from(frame.len())?;
        attr.test.repeat = repeat;
        let start = Instant::now();
        bpf(bpf_cmd::BPF_PROG_TEST_RUN, &mut attr).context("BPF_PROG_TEST_RUN")?;
        Ok(start.elapsed().as_nanos() as f64 / f64::from(repeat))
    }
}

/// Takes a program of the probe off its tracepoint; the probe goes on reading what it says when it is attached again.
///
/// The link's descriptor is replaced in its place, so that its owner closes something that is its own.
pub(crate) fn detach(program: &Program) -> Result<()> {
    let wanted = info::<bpf_prog_info>(program.fd.as_raw_fd())?.id;
    let null = fs::File::open("/dev/null")?;
    let links: Vec<RawFd> = descriptors("link_id")?.into_iter().map(|(fd, _)| fd).collect();
    let programs = descriptors("prog_id")?;
    for (fd, _) in programs.into_iter().filter(|(fd, id)| *id == wanted && links.contains(fd)) {
        // SAFETY: both are open descriptors of ours.
        if unsafe { libc::dup3(null.as_raw_fd(), fd, libc::O_CLOEXEC) } < 0 {
            return Err(io::Error::last_os_error()).context("detaching");
        }
    }
    Ok(())
}

/// The programs' counters, read without disturbing anybody.
#[derive(Debug)]
pub(crate) struct Counters {
    map: OwnedFd,
    cpus: usize,
}

impl Counters {
    /// Of the only probe of this process.
    pub(crate) fn find() -> Result<Self> {
        for (fd, id) in descriptors("map_id")? {
            if info::<bpf_map_info>(fd).is_ok_and(|map| map.id == id && name(&map.name) == "STATS") {
                let mut attr = attributes();
                attr.__bindgen_anon_6.__bindgen_anon_1.map_id = id;
                let map = descriptor(bpf_cmd::BPF_MAP_GET_FD_BY_ID, &mut attr)?;
                let cpus =
                    aya::util::nr_cpus().map_err(|(what, error)| anyhow::anyhow!("{what}: {error}"))?;
                return Ok(Self { map, cpus });
            }
        }
        bail!("the probe has no map STATS")
    }

    /// All CPUs together.
    pub(crate) fn read(&self, stat: Stat) -> Result<u64> {
        let width = Stat::COUNT as usize;
        let mut values = vec![0_u64; width * self.cpus];
        let key = 0_u32;
        let mut attr = attributes();
        attr.__bindgen_anon_2.map_fd = raw(self.map.as_raw_fd());
        attr.__bindgen_anon_2.key = &raw const key as u64;
        attr.__bindgen_anon_2.__bindgen_anon_1.value = values.as_mut_ptr() as u64;
        bpf(bpf_cmd::BPF_MAP_LOOKUP_ELEM, &mut attr).context("reading STATS")?;
        Ok(values.chunks(width).map(|cpu| cpu[stat as usize]).sum())
    }
}
