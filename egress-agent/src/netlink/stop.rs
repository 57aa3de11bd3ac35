//! Stopping a watcher thread: it waits on its socket and on this at once.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::Duration;

/// Keeps a watcher thread running; dropping it ends the thread and waits for that.
#[derive(Debug)]
pub(super) struct Watch {
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

/// The thread's side of a [`Watch`].
#[derive(Debug)]
pub(super) struct Stopped(UnixStream);

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// The socket has something, or an error.
    Ready,
    /// [`Watch::nudge`] was called.
    Nudged,
    /// Time is up.
    Timeout,
    /// The watcher is to end.
    Stop,
}

impl Watch {
    /// Starts a thread that is handed the means to notice its end.
    pub(super) fn spawn(name: &str, run: impl FnOnce(Stopped) + Send + 'static) -> io::Result<Self> {
        let (stop, stopped) = UnixStream::pair()?;
        stop.set_nonblocking(true)?;
        let thread =
            std::thread::Builder::new().name(name.to_owned()).spawn(move || run(Stopped(stopped)))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }

    /// Wakes the thread.
    pub(super) fn nudge(&self) {
        // Fails where many nudges wait already, which is as good, or where the thread has ended.
        let _ = self.stop.as_ref().map(|mut stop| stop.write(&[1]));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic of the thread has been reported by the panic hook already.
            let _ = thread.join();
        }
    }
}

impl Stopped {
    /// Waits until the descriptor can be read, the time is up (`None`: never), or the watcher is to end.
    pub(super) fn wait(&self, readable: &impl AsFd, timeout: Option<Duration>) -> io::Result<Woken> {
        let timeout =
            timeout.map_or(-1, |t| i32::try_from(t.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX));
        let mut waited = [readable.as_fd(), self.0.as_fd()].map(|fd| libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        });
        // SAFETY: the array has two entries, both descriptors are open for the length of the call.
        let ready = unsafe { libc::poll(waited.as_mut_ptr(), 2, timeout) };
        match ready {
            0 => Ok(Woken::Timeout),
            // Nudges are bytes, the end is the end of the stream.
            1.. if waited[1].revents != 0 => match (&self.0).read(&mut [0; 64]) {
                Ok(0) => Ok(Woken::Stop),
                Ok(_) => Ok(Woken::Nudged),
                Err(error) => Err(error),
            },
            1.. => Ok(Woken::Ready),
            _ => match io::Error::last_os_error() {
                // As if nothing had come: the caller looks at its clock and waits again.
                error if error.kind() == io::ErrorKind::Interrupted => Ok(Woken::Timeout),
                error => Err(error),
            },
        }
    }
}
