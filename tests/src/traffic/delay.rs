//! A line that delays packets: a tunnel device in each of two namespaces, and this process between them.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Joins this namespace (device `slow0`) to another (device `wan0`).
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Path of the other namespace.
    #[arg(long)]
    pub far: PathBuf,
    /// Delay of packets that come back from there, milliseconds.
    #[arg(long)]
    pub milliseconds: u64,
}

/// A packet and when it is due.
type Queued = (Instant, Vec<u8>);

/// Carries packets until killed.
pub fn run(args: &Args) -> Result<()> {
    let near = tunnel("slow0")?;
    let netns = File::open(&args.far).with_context(|| format!("opening {}", args.far.display()))?;
    // SAFETY: a plain system call on an open descriptor; this process has one thread.
    if unsafe { libc::setns(netns.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
        return Err(io::Error::last_os_error()).context("entering the far namespace");
    }
    let far = tunnel("wan0")?;
    super::announce_ready()?;

    let delay = Duration::from_millis(args.milliseconds);
    let mut queue: VecDeque<Queued> = VecDeque::new();
    loop {
        let wait = queue.front().map(|(due, _)| due.saturating_duration_since(Instant::now()));
        let [from_near, from_far] = readable([near.as_raw_fd(), far.as_raw_fd()], wait)?;
        if from_near && let Some(packet) = take(&near)? {
            give(&far, &packet);
        }
        if from_far && let Some(packet) = take(&far)? {
            queue.push_back((Instant::now() + delay, packet));
        }
        while let Some((due, _)) = queue.front()
            && *due <= Instant::now()
        {
            if let Some((_, packet)) = queue.pop_front() {
                give(&near, &packet);
            }
        }
    }
}

/// Makes a tunnel device of bare IP packets in the current namespace.
fn tunnel(name: &str) -> Result<File> {
    let file =
        OpenOptions::new().read(true).write(true).open("/dev/net/tun").context("opening /dev/net/tun")?;
    // SAFETY: all zeros is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    let flags = libc::c_short::try_from(libc::IFF_TUN | libc::IFF_NO_PI)?;
    request.ifr_ifru.ifru_flags = flags;
    // SAFETY: TUNSETIFF reads and writes one ifreq.
    if unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) } != 0 {
        return Err(io::Error::last_os_error()).with_context(|| format!("making tunnel device {name}"));
    }
    Ok(file)
}

/// Waits until one can be read, or the time is up.
fn readable(fds: [RawFd; 2], wait: Option<Duration>) -> Result<[bool; 2]> {
    let mut polled = fds.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    // Rounded up: waking early would spin until the packet is due.
    let wait = wait.map_or(-1, |d| libc::c_int::try_from(d.as_millis() + 1).unwrap_or(libc::c_int::MAX));
    // SAFETY: `polled` is a live array of the length given.
    if unsafe { libc::poll(polled.as_mut_ptr(), 2, wait) } < 0 {
        return Err(io::Error::last_os_error()).context("waiting for packets");
    }
    Ok(polled.map(|p| p.revents & libc::POLLIN != 0))
}

fn take(mut device: &File) -> Result<Option<Vec<u8>>> {
    let mut buffer = vec![0; 65_536];
    match device.read(&mut buffer) {
        Ok(length) => {
            buffer.truncate(length);
            Ok(Some(buffer))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        // The device is down (EIO) until the lab brings it up.
        Err(error) if error.raw_os_error() == Some(libc::EIO) => Ok(None),
        Err(error) => Err(error).context("reading a tunnel device"),
    }
}

/// A packet that the device refuses is lost, as on a real line.
fn give(mut device: &File, packet: &[u8]) {
    let _ = device.write(packet);
}
