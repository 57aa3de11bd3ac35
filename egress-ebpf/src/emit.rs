//! Reserve, fill, submit, and count what found no room.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    btf_maps::RingBuf,
    helpers::{bpf_get_smp_processor_id, bpf_jiffies64, bpf_ktime_get_ns, generated::bpf_ringbuf_query},
    maps::ring_buf::RingBufEntry,
};
use egress_common::{RecordHeader, RecordKind, Stat};

use crate::maps::{RINGS, WOKEN, config, count};

/// Bytes around a quarter of the ring within which the reader is told that it fills: a few records.
const CROSSING: u64 = 1024;

/// Whether the reader is told at once. It looks every 50 ms anyway.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// Wake it: a drop, which somebody may be waiting to hear of. Once a jiffy is enough: whoever was woken looks
    /// again 10 ms later, and waking costs ten times what the record does (an interrupt to this CPU and another to
    /// the reader's, microseconds on a virtual machine).
    Now,
    /// Only if a quarter of the ring is full; and give way (no record) when three quarters are, drops need room.
    WhenFilling,
}

/// A place in the ring of this CPU.
pub struct Slot<T: 'static> {
    entry: RingBufEntry<T>,
    wakeup: u64,
    reported: Stat,
}

impl<T: 'static> Slot<T> {
    /// Reserves a place, or counts the loss.
    #[inline(always)]
    pub fn reserve(wake: Wake, reported: Stat, lost: Stat) -> Option<Self> {
        // SAFETY: no arguments.
        let cpu = unsafe { bpf_get_smp_processor_id() };
        let place = RINGS.get(cpu).and_then(|ring| {
            let wakeup = match wake {
                Wake::Now => wakeup_once(ring),
                Wake::WhenFilling => wakeup_when_filling(ring)?,
            };
            ring.reserve_untyped::<T>(0).map(|entry| Self { entry, wakeup, reported })
        });
        if place.is_none() {
            count(lost);
        }
        place
    }

    /// Where the record goes. All of it must be written.
    #[inline(always)]
    pub fn record(&mut self) -> *mut T {
        self.entry.as_mut_ptr()
    }

    /// Hands the record over.
    #[inline(always)]
    pub fn submit(self) {
        self.entry.submit(self.wakeup);
        count(self.reported);
    }
}

/// The flags to submit with: wakes once a jiffy, and when the ring becomes a quarter full.
#[inline(always)]
fn wakeup_once(ring: &RingBuf<u64, 4096>) -> u64 {
    // SAFETY: no arguments.
    let now = unsafe { bpf_jiffies64() };
    let Some(woken) = WOKEN.get_ptr_mut(0) else {
        return u64::from(BPF_RB_FORCE_WAKEUP);
    };
    // SAFETY: a value of a per-CPU map. A program that interrupts another here wakes once more.
    let last = unsafe { woken.read_volatile() };
    if last != now {
        // SAFETY: as above.
        unsafe { woken.write_volatile(now) };
        return u64::from(BPF_RB_FORCE_WAKEUP);
    }
    let quarter = u64::from(config!(ring_bytes)) / 4;
    let used = used(ring);
    if used >= quarter && used < quarter + CROSSING {
        u64::from(BPF_RB_FORCE_WAKEUP)
    } else {
        u64::from(BPF_RB_NO_WAKEUP)
    }
}

/// Bytes in the ring that nobody has read.
#[inline(always)]
fn used(ring: &RingBuf<u64, 4096>) -> u64 {
    // SAFETY: the helper takes the map, which the reference is.
    unsafe { bpf_ringbuf_query(core::ptr::from_ref(ring).cast_mut().cast(), u64::from(BPF_RB_AVAIL_DATA)) }
}

/// The flags to submit with; `None` if the ring is too full for what is not a drop.
#[inline(always)]
fn wakeup_when_filling(ring: &RingBuf<u64, 4096>) -> Option<u64> {
    let size = u64::from(config!(ring_bytes));
    let used = used(ring);
    if used > size / 4 * 3 {
        None
    } else if used > size / 4 {
        Some(u64::from(BPF_RB_FORCE_WAKEUP))
    } else {
        Some(u64::from(BPF_RB_NO_WAKEUP))
    }
}

/// A header with the time and the CPU, the rest as given.
#[inline(always)]
pub fn header(kind: RecordKind, flags: u16, netns: u32, ifindex: u32, pod_slot: u32) -> RecordHeader {
    RecordHeader {
        // SAFETY: no arguments.
        time_ns: unsafe { bpf_ktime_get_ns() },
        kind: kind as u16,
        flags,
        // SAFETY: no arguments.
        cpu: unsafe { bpf_get_smp_processor_id() },
        netns,
        ifindex,
        pod_slot,
        len: 0,
        mark: 0,
        pad: 0,
    }
}

/// Zeroes words one by one: the compiler makes a call of a loop over bytes of anything longer than a few.
///
/// # Safety
/// There must be room for that many words.
#[inline(always)]
pub unsafe fn zero<const WORDS: usize>(to: *mut u8) {
    let to = to.cast::<u64>();
    let mut index = 0;
    while index < WORDS {
        // SAFETY: the caller vouches for the room. Volatile, or this becomes that call again.
        unsafe { to.add(index).write_volatile(0) };
        index += 1;
    }
}
