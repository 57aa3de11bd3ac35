//! The engine's mailbox: a bounded channel, and an event descriptor that ends its wait for the kernel.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use super::Message;

/// Messages that may wait.
const CAPACITY: usize = 4096;

/// The sending end.
#[derive(Clone, Debug)]
pub struct Outbox {
    sender: SyncSender<Message>,
    wake: Arc<OwnedFd>,
    lost: Arc<AtomicU64>,
}

/// The engine's end.
#[derive(Debug)]
pub struct Inbox {
    receiver: Receiver<Message>,
    wake: Arc<OwnedFd>,
    lost: Arc<AtomicU64>,
}

/// A new mailbox.
pub(super) fn channel() -> io::Result<(Outbox, Inbox)> {
    // SAFETY: eventfd takes no pointers; a negative result is checked below.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and ours alone.
    let wake = Arc::new(unsafe { OwnedFd::from_raw_fd(fd) });
    let (sender, receiver) = sync_channel(CAPACITY);
    let lost = Arc::new(AtomicU64::new(0));
    Ok((Outbox { sender, wake: Arc::clone(&wake), lost: Arc::clone(&lost) }, Inbox { receiver, wake, lost }))
}

impl Outbox {
    /// Sends without waiting. False if the box is full (counted) or the engine has ended.
    pub fn send(&self, message: Message) -> bool {
        match self.sender.try_send(message) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                return false;
            }
            Err(TrySendError::Disconnected(_)) => return false,
        }
        self.wake();
        true
    }

    /// Sends, waiting for room: for changes that must not be lost, from threads that may wait.
    pub fn deliver(&self, message: Message) -> bool {
        let sent = self.sender.send(message).is_ok();
        self.wake();
        sent
    }

    fn wake(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: writes eight bytes of a local array to a descriptor that we own. A full counter still wakes.
        unsafe { libc::write(self.wake.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }
}

impl Inbox {
    /// Becomes readable when a message waits.
    pub(super) fn fd(&self) -> RawFd {
        self.wake.as_raw_fd()
    }

    /// Takes the next message, if one waits.
    pub(super) fn take(&self) -> Option<Message> {
        self.receiver.try_recv().ok()
    }

    /// To be called before taking messages: makes the descriptor unreadable again.
    pub(super) fn rearm(&self) {
        let mut count = [0_u8; 8];
        // SAFETY: reads eight bytes into a local array from a non-blocking descriptor that we own.
        unsafe { libc::read(self.wake.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }

    /// Messages that found no room.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}
