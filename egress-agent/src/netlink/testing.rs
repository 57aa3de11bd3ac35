//! Network namespaces for tests, on the real kernel. They vanish with their last descriptor.

use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::netns::Netns;

/// How long a test waits for something that must happen.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A namespace of its own with the loopback up, or `None` (and the reason, printed) where that is not permitted.
pub(super) fn netns() -> Option<Netns> {
    let made = std::thread::spawn(|| {
        // SAFETY: only this thread, which ends at once, moves to the new namespace.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
        Ok(Netns::of_thread().unwrap())
    });
    match made.join().unwrap() {
        Ok(netns) => {
            run(&netns, "ip link set lo up");
            Some(netns)
        }
        Err(error) => {
            println!("SKIPPED: no network namespace of its own ({error}); run as root");
            None
        }
    }
}

/// Runs commands inside, one a line; a failure fails the test.
pub(super) fn run(netns: &Netns, commands: &str) {
    let failed = netns
        .run(|| {
            let lines = commands.lines().map(str::trim).filter(|line| !line.is_empty());
            lines.map(|line| (line, output(line))).find(|(_, output)| !output.status.success())
        })
        .unwrap();
    if let Some((line, output)) = failed {
        panic!("{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

fn output(line: &str) -> std::process::Output {
    Command::new("sh").args(["-ec", line]).output().unwrap()
}

/// Whether a program is installed; prints why the test is skipped otherwise.
pub(super) fn have(program: &str) -> bool {
    let found = output(&format!("command -v {program}")).status.success();
    if !found {
        println!("SKIPPED: {program} is not installed");
    }
    found
}

/// Moves one end of a veth pair of `a` into `b`.
pub(super) fn veth(a: &Netns, host: &str, b: &Netns, inside: &str) {
    // `ip link set netns` takes a path only by name or process, so the move names a thread that is inside.
    let (ready, told) = channel();
    let (done, end) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            b.run(move || {
                // SAFETY: takes no arguments, cannot fail.
                ready.send(unsafe { libc::gettid() }).unwrap();
                let _ = end.recv();
            })
            .unwrap();
        });
        let thread: i32 = told.recv().unwrap();
        run(a, &format!("ip link add {host} type veth peer name {inside} netns {thread}"));
        drop(done);
    });
}

/// Waits for an event that satisfies the condition; returns it and how long it took.
pub(super) fn await_event<T>(events: &Receiver<T>, mut condition: impl FnMut(&T) -> bool) -> (T, Duration) {
    let begun = Instant::now();
    loop {
        let left = PATIENCE.checked_sub(begun.elapsed()).expect("the event did not come");
        let event = events.recv_timeout(left).expect("the event did not come");
        if condition(&event) {
            return (event, begun.elapsed());
        }
    }
}
