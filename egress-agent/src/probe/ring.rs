//! One BPF ring buffer, read in place.
//!
//! Layout: `kernel/bpf/ringbuf.c`. A page with the consumer's position (ours to write), a page with the
//! producer's, then the data mapped twice in a row, so that a record is never split.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use aya::maps::MapData;
use aya_obj::generated::bpf_map_type;

use super::error::ProbeError;

/// The record is still being written.
const BUSY: u32 = 1 << 31;
/// The record was given up.
const DISCARDED: u32 = 1 << 30;
/// Bytes in front of a record.
const HEADER: usize = 8;

/// A memory mapping.
struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

impl Mapping {
    fn new(fd: BorrowedFd<'_>, length: usize, protection: i32, offset: usize) -> io::Result<Self> {
        let offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: a new mapping wherever the kernel likes.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, fd.as_raw_fd(), offset)
        };
        match NonNull::new(start.cast()) {
            Some(start) if start.as_ptr() != libc::MAP_FAILED.cast() => Ok(Self { start, length }),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our own mapping, and nothing borrows from it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// A ring: the map and its two mappings.
pub(super) struct Ring {
    map: MapData,
    consumer: Mapping,
    producer: Mapping,
    page: usize,
    mask: usize,
    position: usize,
}

impl Ring {
    /// Makes a ring of `bytes`, a power of two and at least a page.
    pub(super) fn create(bytes: u32) -> Result<Self, ProbeError> {
        let definition =
            aya_obj::Map::new_from_params(bpf_map_type::BPF_MAP_TYPE_RINGBUF as u32, 0, 0, bytes, 0);
        let map = MapData::create(definition, "egress_ring", None)
            .map_err(|error| super::load::map_error("RINGS", &error))?;
        let failed = |source| ProbeError::Map { map: "RINGS", source };
        // SAFETY: no arguments.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
        let size = bytes as usize;
        let fd = map.fd().as_fd();
        let consumer = Mapping::new(fd, page, libc::PROT_READ | libc::PROT_WRITE, 0).map_err(failed)?;
        let producer = Mapping::new(fd, page + 2 * size, libc::PROT_READ, page).map_err(failed)?;
        Ok(Self { map, consumer, producer, page, mask: size - 1, position: 0 })
    }

    /// The map, to put into the map of rings.
    pub(super) fn map(&self) -> &MapData {
        &self.map
    }

    /// Up to where the kernel has reserved.
    pub(super) fn produced(&self) -> usize {
        // SAFETY: the first word of the producer's page, which the kernel writes atomically.
        unsafe { self.producer.start.cast::<AtomicUsize>().as_ref() }.load(Ordering::Acquire)
    }

    /// The next record before `limit`, if it is complete. Given-up records are skipped.
    pub(super) fn peek(&mut self, limit: usize) -> Option<&[u8]> {
        loop {
            // Positions only grow and may wrap.
            if self.position.wrapping_sub(limit) as isize >= 0 {
                return None;
            }
            let at = self.page + (self.position & self.mask);
            // SAFETY: within the data pages; records begin at multiples of 8, and the length word is written
            // atomically.
            let word =
                unsafe { self.producer.start.add(at).cast::<AtomicU32>().as_ref() }.load(Ordering::Acquire);
            if word & BUSY != 0 {
                return None;
            }
            if word & DISCARDED == 0 {
                let length = (word as usize).min(self.mask + 1 - HEADER);
                // SAFETY: a complete record lies there, thanks to the double mapping in one piece; the kernel does
                // not write to it before we move on.
                return Some(unsafe {
                    std::slice::from_raw_parts(self.producer.start.add(at + HEADER).as_ptr(), length)
                });
            }
            self.step((word & !DISCARDED) as usize);
        }
    }

    /// Moves behind the record just seen, which was `length` bytes.
    pub(super) fn step(&mut self, length: usize) {
        self.position = self.position.wrapping_add((length + HEADER).next_multiple_of(8));
    }

    /// Gives the room of all records passed back to the kernel.
    pub(super) fn release(&self) {
        // SAFETY: the first word of the consumer's page, which the kernel reads atomically.
        unsafe { self.consumer.start.cast::<AtomicUsize>().as_ref() }.store(self.position, Ordering::Release);
    }
}

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.map.fd().as_fd().as_raw_fd()
    }
}
