//! The machine: its clocks and its kernel.

mod code;

use egress_core::time::{ClockOffset, Mono, Timestamp};

fn clock(id: libc::clockid_t) -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes into a local struct; these clocks exist on every Linux.
    unsafe { libc::clock_gettime(id, &raw mut now) };
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// `CLOCK_MONOTONIC`, which the kernel stamps records with.
#[must_use]
pub fn monotonic() -> Mono {
    Mono(u64::try_from(clock(libc::CLOCK_MONOTONIC)).unwrap_or(0))
}

/// Nanoseconds since the machine was started, those in which it slept included.
#[must_use]
pub fn since_boot() -> u64 {
    u64::try_from(clock(libc::CLOCK_BOOTTIME)).unwrap_or(0)
}

/// The wall clock.
#[must_use]
pub fn wall_clock() -> Timestamp {
    Timestamp(clock(libc::CLOCK_REALTIME) / 1000)
}

/// How far the wall clock is ahead of the monotonic one.
#[must_use]
pub fn clock_offset() -> ClockOffset {
    ClockOffset(clock(libc::CLOCK_REALTIME) - clock(libc::CLOCK_MONOTONIC))
}

/// Kernel release, as `uname -r` prints it.
#[must_use]
pub fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| String::new(), |text| text.trim().to_owned())
}

/// The host's name, empty if it has none.
#[must_use]
pub fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| String::new(), |text| text.trim().to_owned())
}

/// Bytes from which on a piece of memory is mapped by itself, so that it goes back as soon as it is freed.
const MAPPED: libc::c_int = 128 << 10;

/// One heap for all threads, to be called before any is started. By default the C library gives each thread a heap of
/// its own and keeps what was freed at its end: what reading the kernel's types and the manifests took, some 13 MiB,
/// would stay. The engine does most of the work; there is hardly anybody to wait for.
pub fn keep_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointers; no other thread is there yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED);
    }
}

/// Gives memory that was freed back to the system, and the code that only the start needed.
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointers and may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
    if let Err(error) = code::let_go() {
        tracing::debug!("the code of the start stays resident: {error}");
    }
}
