//! All rings, one a CPU: waiting for any of them, and reading them in the order of time.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::error::ProbeError;
use super::ring::Ring;

/// Bytes of all rings together, and the bounds of one.
const ALL: u32 = 4 << 20;
const SMALLEST: u32 = 128 << 10;
const LARGEST: u32 = 1 << 20;
/// Once a ring has woken us we look again after this: the programs wake once a jiffy only, and no jiffy is longer.
const AGAIN: Duration = Duration::from_millis(10);
/// Marks the event of a descriptor that is no ring.
const EXTRA: u64 = 1;
/// Records after which room is given back, within one reading.
const RELEASE_EVERY: u32 = 256;
/// A record is in its ring this long after it was stamped, nanoseconds.
const SETTLE: u64 = 1_000_000;
/// Wait for records that are held back.
const HELD: Duration = Duration::from_millis(2);

/// Size of each ring.
pub(super) fn size(cpus: u32) -> u32 {
    let share = (ALL / cpus.max(1)).clamp(SMALLEST, LARGEST);
    // The kernel takes powers of two only.
    1 << share.ilog2()
}

/// The rings and what waits for them.
pub(super) struct Rings {
    rings: Vec<Ring>,
    epoll: OwnedFd,
    extra: Option<RawFd>,
    /// The last reading left records behind because they were too young.
    held: bool,
    /// A ring ended the last wait.
    woken: bool,
}

impl Rings {
    /// Makes a ring for every possible CPU.
    pub(super) fn create(cpus: u32, bytes: u32) -> Result<Self, ProbeError> {
        // SAFETY: a new descriptor.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if epoll < 0 {
            return Err(ProbeError::last_os("epoll_create1"));
        }
        // SAFETY: just made, and nobody else's.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        let rings = (0..cpus).map(|_| Ring::create(bytes)).collect::<Result<Vec<_>, _>>()?;
        let this = Self { rings, epoll, extra: None, held: false, woken: false };
        for ring in &this.rings {
            this.watch(ring.as_raw_fd())
                .map_err(|source| ProbeError::System { what: "epoll_ctl", source })?;
        }
        Ok(this)
    }

    /// The rings, by CPU.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Ring> {
        self.rings.iter()
    }

    fn watch(&self, fd: RawFd) -> io::Result<()> {
        let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET).cast_unsigned(), u64: 0 };
        if Some(fd) == self.extra {
            // Somebody else's, and read by them: told until it is.
            event.events = libc::EPOLLIN.cast_unsigned();
            event.u64 = EXTRA;
        }
        // SAFETY: both descriptors are open, the event is ours.
        let result =
            unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits until a ring wakes us, `extra` is readable, or the time is up.
    pub(super) fn wait(&mut self, timeout: Duration, extra: Option<RawFd>) {
        if extra != self.extra {
            if let Some(old) = self.extra.take() {
                // SAFETY: the kernel ignores what is not (or no longer) watched.
                unsafe {
                    libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_DEL, old, std::ptr::null_mut());
                }
            }
            self.extra = extra;
            if let Some(fd) = extra
                && self.watch(fd).is_err()
            {
                self.extra = None;
            }
        }
        let timeout = match (self.held, self.woken) {
            (true, _) => timeout.min(HELD),
            (false, true) => timeout.min(AGAIN),
            (false, false) => timeout,
        };
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 16];
        let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the buffer holds 16 events. An interruption is as good as an event.
        let count =
            unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), 16, milliseconds) };
        let events = events.get(..usize::try_from(count).unwrap_or(0)).unwrap_or_default();
        // Somebody else's event tells nothing of the rings: what was owed to them still is.
        let is_extra = |event: &libc::epoll_event| event.u64 == EXTRA;
        if events.is_empty() || !events.iter().all(is_extra) {
            self.woken = !events.is_empty();
        }
    }

    /// Hands over what is in the rings now, in the order of time, without copying. Returns how many.
    ///
    /// Records younger than [`SETTLE`] stay for the next reading, which comes soon: a CPU may just be about to submit
    /// an older one, and what is handed over must be in order.
    pub(super) fn read(&mut self, now_ns: u64, each: &mut dyn FnMut(&[u8])) -> u64 {
        let horizon = now_ns.saturating_sub(SETTLE);
        self.held = false;
        // What comes later is for the next reading: this one ends also in a flood.
        let limits: Vec<usize> = self.rings.iter().map(Ring::produced).collect();
        let mut times: Vec<Option<u64>> =
            self.rings.iter_mut().zip(&limits).map(|(ring, limit)| ring.peek(*limit).map(time)).collect();
        let (mut count, mut since_release) = (0, 0);
        while let Some((index, oldest)) = times
            .iter()
            .enumerate()
            .filter_map(|(index, time)| Some((index, (*time)?)))
            .min_by_key(|(_, time)| *time)
        {
            if oldest > horizon {
                self.held = true;
                break;
            }
            let ring = &mut self.rings[index];
            let Some(record) = ring.peek(limits[index]) else {
                times[index] = None;
                continue;
            };
            let length = record.len();
            each(record);
            ring.step(length);
            times[index] = ring.peek(limits[index]).map(time);
            count += 1;
            since_release += 1;
            if since_release == RELEASE_EVERY {
                since_release = 0;
                self.rings.iter().for_each(Ring::release);
            }
        }
        self.rings.iter().for_each(Ring::release);
        count
    }
}

/// The time a record begins with.
fn time(record: &[u8]) -> u64 {
    record.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn rings_are_powers_of_two_within_bounds() {
        assert_eq!(size(1), 1 << 20);
        assert_eq!(size(2), 1 << 20);
        assert_eq!(size(6), 512 << 10);
        assert_eq!(size(32), 128 << 10);
        assert_eq!(size(512), 128 << 10);
    }
}
