//! System calls that the loader library does not offer.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use aya_obj::generated::{
    bpf_attach_type, bpf_attr, bpf_btf_info, bpf_cmd, bpf_insn, bpf_prog_info, bpf_prog_type,
};

/// `bpf(2)`
fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i64> {
    // SAFETY: the attributes are as large as we say; the pointers in them are the caller's.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command as libc::c_long, std::ptr::from_mut(attr), size_of::<bpf_attr>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn attributes() -> bpf_attr {
    // SAFETY: a union of integers.
    unsafe { zeroed() }
}

/// Size of a type, as the kernel wants it.
pub(super) fn length<T>() -> u32 {
    u32::try_from(size_of::<T>()).unwrap_or(u32::MAX)
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    u32::try_from(fd.as_raw_fd()).unwrap_or(u32::MAX)
}

/// Runs a TC program once on a made-up packet; its return value.
pub(super) fn run_once(program: BorrowedFd<'_>) -> io::Result<u32> {
    // The kernel wants at least an Ethernet header.
    const PACKET: usize = 64;
    let packet = [0_u8; PACKET];
    let mut attr = attributes();
    attr.test.prog_fd = raw(program);
    attr.test.data_in = packet.as_ptr() as u64;
    attr.test.data_size_in = length::<[u8; PACKET]>();
    attr.test.repeat = 1;
    bpf(bpf_cmd::BPF_PROG_TEST_RUN, &mut attr)?;
    // SAFETY: the arm of the union that this command writes.
    Ok(unsafe { attr.test.retval })
}

/// What the kernel says about a program.
pub(super) fn program_info(program: BorrowedFd<'_>) -> io::Result<bpf_prog_info> {
    // SAFETY: a structure of integers.
    let mut info: bpf_prog_info = unsafe { zeroed() };
    let mut attr = attributes();
    attr.info.bpf_fd = raw(program);
    attr.info.info_len = length::<bpf_prog_info>();
    attr.info.info = std::ptr::from_mut(&mut info) as u64;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(info)
}

/// Opens a program by its id. Needs `CAP_SYS_ADMIN`.
pub(super) fn program_by_id(id: u32) -> io::Result<OwnedFd> {
    let mut attr = attributes();
    attr.__bindgen_anon_6.__bindgen_anon_1.prog_id = id;
    descriptor(bpf(bpf_cmd::BPF_PROG_GET_FD_BY_ID, &mut attr)?)
}

/// A program for the entry or the exit of a function.
pub(super) struct Tracing<'a> {
    /// Its name, of which the kernel keeps 15 bytes.
    pub(super) name: &'a str,
    /// Entry or exit.
    pub(super) kind: bpf_attach_type,
    /// Its code, with descriptors of maps in it.
    pub(super) code: &'a [bpf_insn],
    /// Its license.
    pub(super) license: &'a CString,
    /// The types of the module that has the function; `None`: the kernel proper.
    pub(super) types: Option<BorrowedFd<'a>>,
    /// The function's number among them.
    pub(super) target: u32,
}

/// Loads it.
pub(super) fn load_tracing(program: &Tracing<'_>) -> io::Result<OwnedFd> {
    let mut attr = attributes();
    // SAFETY: a union of integers.
    let load = unsafe { &mut attr.__bindgen_anon_3 };
    load.prog_type = bpf_prog_type::BPF_PROG_TYPE_TRACING as u32;
    load.expected_attach_type = program.kind as u32;
    load.insns = program.code.as_ptr() as u64;
    load.insn_cnt = u32::try_from(program.code.len()).unwrap_or(u32::MAX);
    load.license = program.license.as_ptr() as u64;
    load.attach_btf_id = program.target;
    if let Some(types) = program.types {
        load.__bindgen_anon_1.attach_btf_obj_fd = raw(types);
    }
    let last = load.prog_name.len() - 1;
    for (to, from) in load.prog_name[..last].iter_mut().zip(program.name.bytes()) {
        *to = from.cast_signed();
    }
    descriptor(bpf(bpf_cmd::BPF_PROG_LOAD, &mut attr)?)
}

/// Attaches it; the link goes with its descriptor.
pub(super) fn attach_tracing(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = attributes();
    attr.raw_tracepoint.prog_fd = raw(program);
    descriptor(bpf(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attr)?)
}

/// The types of a module that is loaded. Needs `CAP_SYS_ADMIN`.
pub(super) fn module_types(module: &str) -> io::Result<OwnedFd> {
    let mut id = 0;
    loop {
        let mut attr = attributes();
        attr.__bindgen_anon_6.__bindgen_anon_1.start_id = id;
        // Ends with ENOENT.
        bpf(bpf_cmd::BPF_BTF_GET_NEXT_ID, &mut attr)?;
        // SAFETY: the arm of the union that this command writes.
        id = unsafe { attr.__bindgen_anon_6.next_id };
        let mut attr = attributes();
        attr.__bindgen_anon_6.__bindgen_anon_1.btf_id = id;
        let types = match bpf(bpf_cmd::BPF_BTF_GET_FD_BY_ID, &mut attr) {
            Ok(fd) => descriptor(fd)?,
            // Gone meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => continue,
            Err(error) => return Err(error),
        };
        if is_types_of(types.as_fd(), module)? {
            return Ok(types);
        }
    }
}

fn is_types_of(types: BorrowedFd<'_>, module: &str) -> io::Result<bool> {
    // Longer names are cut, which the kernel calls an error.
    let mut name = [0_u8; 64];
    // SAFETY: a structure of integers.
    let mut info: bpf_btf_info = unsafe { zeroed() };
    info.name = name.as_mut_ptr() as u64;
    info.name_len = length::<[u8; 64]>();
    let mut attr = attributes();
    attr.info.bpf_fd = raw(types);
    attr.info.info_len = length::<bpf_btf_info>();
    attr.info.info = std::ptr::from_mut(&mut info) as u64;
    match bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr) {
        Ok(_) => {}
        Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => return Ok(false),
        Err(error) => return Err(error),
    }
    let name = CStr::from_bytes_until_nul(&name).unwrap_or_default();
    Ok(info.kernel_btf != 0 && name.to_bytes() == module.as_bytes())
}

/// Takes over a descriptor that a command returned.
fn descriptor(fd: i64) -> io::Result<OwnedFd> {
    let fd = i32::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the command returned a new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Ids of the programs at a device of this thread's namespace, in their order.
pub(super) fn programs_at(device: u32, attach_type: u32) -> io::Result<Vec<u32>> {
    let mut ids = [0_u32; 64];
    let mut attr = attributes();
    attr.query.__bindgen_anon_1.target_ifindex = device;
    attr.query.attach_type = attach_type;
    attr.query.prog_ids = ids.as_mut_ptr() as u64;
    attr.query.__bindgen_anon_2.prog_cnt = u32::try_from(ids.len()).unwrap_or(0);
    bpf(bpf_cmd::BPF_PROG_QUERY, &mut attr)?;
    // SAFETY: the arm of the union that this command writes.
    let count = unsafe { attr.query.__bindgen_anon_2.prog_cnt };
    let count = usize::try_from(count).unwrap_or(0).min(ids.len());
    Ok(ids[..count].to_vec())
}

/// Whether the kernel has TCX: whether it can list the programs of the loopback device.
pub(super) fn has_tcx() -> bool {
    let mut attr = attributes();
    attr.query.__bindgen_anon_1.target_ifindex = 1;
    attr.query.attach_type = bpf_attach_type::BPF_TCX_INGRESS as u32;
    bpf(bpf_cmd::BPF_PROG_QUERY, &mut attr).is_ok()
}

/// Reads a hash map in batches: calls `each` with keys and values side by side.
///
/// The map may change meanwhile; what is in it throughout is seen exactly once.
pub(super) fn for_each_entry<K: Copy, V: Copy>(
    map: BorrowedFd<'_>,
    batch: usize,
    mut each: impl FnMut(&K, &V),
) -> io::Result<()> {
    let mut keys: Vec<K> = Vec::with_capacity(batch);
    let mut values: Vec<V> = Vec::with_capacity(batch);
    let mut position = [0_u8; 64];
    let mut started = false;
    loop {
        let mut attr = attributes();
        // The buffers hold `batch` keys and values.
        attr.batch.map_fd = raw(map);
        attr.batch.in_batch = if started { position.as_ptr() as u64 } else { 0 };
        attr.batch.out_batch = position.as_mut_ptr() as u64;
        attr.batch.keys = keys.as_mut_ptr() as u64;
        attr.batch.values = values.as_mut_ptr() as u64;
        attr.batch.count = u32::try_from(batch).unwrap_or(u32::MAX);
        let done = match bpf(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attr) {
            Ok(_) => false,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            // One bucket holds more than the batch.
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) && batch < 1 << 20 => {
                return if started { Err(error) } else { for_each_entry(map, batch * 2, each) };
            }
            Err(error) => return Err(error),
        };
        // SAFETY: the kernel wrote `count` keys and values, which are plain data.
        unsafe {
            let count = (attr.batch.count as usize).min(batch);
            keys.set_len(count);
            values.set_len(count);
        }
        keys.iter().zip(&values).for_each(|(key, value)| each(key, value));
        keys.clear();
        values.clear();
        if done {
            return Ok(());
        }
        started = true;
    }
}

/// Ticks a second of the kernel's `jiffies`: the resolution of the coarse clock is one tick.
pub(super) fn ticks_per_second() -> u64 {
    let mut resolution = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the buffer is ours.
    let result = unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &raw mut resolution) };
    match u64::try_from(resolution.tv_nsec) {
        Ok(nanoseconds) if result == 0 && nanoseconds > 0 => 1_000_000_000_u64.div_ceil(nanoseconds).max(1),
        _ => 100,
    }
}

/// Inode number of the network namespace of this thread.
pub(super) fn own_netns() -> io::Result<u32> {
    use std::os::unix::fs::MetadataExt;
    let inode = std::fs::metadata("/proc/thread-self/ns/net")?.ino();
    u32::try_from(inode).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Effective capabilities of this thread, as bits.
pub(super) fn capabilities() -> u64 {
    std::fs::read_to_string("/proc/thread-self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?.trim().to_owned();
            u64::from_str_radix(&line, 16).ok()
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_tick_is_a_usual_one() {
        let ticks = super::ticks_per_second();
        assert!([100, 250, 300, 1000].contains(&ticks), "{ticks}");
    }
}
