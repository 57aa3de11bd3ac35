//! Boots a kernel and listens to its console.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// What the first process says at its end.
const ENDED: &str = "vm: ended with ";
/// What a kernel says that is in trouble.
const TROUBLE: &[&str] =
    &["Kernel panic", "BUG:", "Oops:", "general protection fault", "soft lockup", "rcu_sched self-detected"];

/// A machine, gone when this is.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How long a machine may say nothing. Emulated on processors that others use, a test takes minutes.
const SILENCE: Duration = Duration::from_secs(600);
/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(1500);

/// Boots, prints what it says, and gives it back if the test ended well.
pub(super) fn boot(kernel: &Path, initramfs: &Path) -> Result<Vec<String>> {
    let began = Instant::now();
    let mut machine = Machine(
        Command::new("qemu-system-x86_64")
            .args(["-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "1024", "-nographic", "-no-reboot"])
            .args(["-nic", "none", "-append", "console=ttyS0 panic=-1 quiet"])
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(initramfs)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting qemu-system-x86_64")?,
    );
    let console = machine.0.stdout.take().context("no console")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                return;
            }
        }
    });
    let mut lines = Vec::new();
    let mut trouble = None;
    loop {
        let left = PATIENCE.saturating_sub(began.elapsed());
        match receiver.recv_timeout(left.min(SILENCE)) {
            Ok(line) => {
                println!("| {line}");
                if TROUBLE.iter().any(|word| line.contains(word)) {
                    trouble.get_or_insert(line.clone());
                }
                if let Some(status) = line.trim().strip_prefix(ENDED) {
                    let seconds = began.elapsed().as_secs();
                    return match (trouble, status) {
                        (None, "0") => {
                            println!("passed in {seconds} s");
                            Ok(lines)
                        }
                        (Some(trouble), _) => bail!("the kernel is in trouble: {trouble}"),
                        (None, status) => bail!("the tests ended with {status} after {seconds} s"),
                    };
                }
                lines.push(line);
            }
            Err(RecvTimeoutError::Timeout) if left > SILENCE => {
                bail!("hangs: it has said nothing for {} s", SILENCE.as_secs())
            }
            Err(RecvTimeoutError::Timeout) => bail!("hangs: no end after {} s", PATIENCE.as_secs()),
            Err(RecvTimeoutError::Disconnected) => match trouble {
                Some(trouble) => bail!("the kernel is in trouble: {trouble}"),
                None => bail!("ended without a word"),
            },
        }
    }
}
