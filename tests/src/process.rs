//! Helper processes: started, awaited by a line they print, ended by id.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A line of a process's standard output and when it was read.
#[derive(Clone, Debug)]
pub struct Line {
    /// When.
    pub at: Instant,
    /// The line without its newline.
    pub text: String,
}

/// A running process whose output is read line by line; killed and reaped when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: Receiver<Line>,
    errors: Arc<Mutex<VecDeque<String>>>,
    /// Reads standard error until its end.
    reader: Option<JoinHandle<()>>,
    what: String,
}

/// Lines of standard error that are kept.
const KEPT_ERRORS: usize = 200;

impl Process {
    /// Starts it. `what` names it in errors.
    pub fn start(mut command: Command, what: &str) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("starting {what}"))?;
        let (sender, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                for text in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if sender.send(Line { at: Instant::now(), text }).is_err() {
                        break;
                    }
                }
            });
        }
        let errors = Arc::new(Mutex::new(VecDeque::new()));
        let mut reader = None;
        if let Some(stderr) = child.stderr.take() {
            let errors = Arc::clone(&errors);
            reader = Some(std::thread::spawn(move || {
                for text in BufReader::new(stderr).lines().map_while(Result::ok) {
                    let Ok(mut kept) = errors.lock() else { break };
                    if kept.len() == KEPT_ERRORS {
                        kept.pop_front();
                    }
                    kept.push_back(text);
                }
            }));
        }
        Ok(Self { child, lines, errors, reader, what: what.to_owned() })
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line, or `None` at the deadline or when the process closed its output.
    pub fn line(&self, deadline: Instant) -> Option<Line> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.lines.recv_timeout(left).ok()
    }

    /// Waits for a line that starts with `word`.
    pub fn await_line(&mut self, word: &str, within: Duration) -> Result<Line> {
        let deadline = Instant::now() + within;
        while let Some(line) = self.line(deadline) {
            if line.text.starts_with(word) {
                return Ok(line);
            }
        }
        let state = match self.child.try_wait() {
            Ok(Some(status)) => format!("it ended ({status})"),
            _ => format!("{} s passed", within.as_secs_f32()),
        };
        bail!("{}: no line \"{word}\": {state}: {}", self.what, self.errors())
    }

    /// What it wrote to standard error, the last lines.
    pub fn errors(&self) -> String {
        let Ok(kept) = self.errors.lock() else { return String::new() };
        kept.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// Waits for its end and returns the remaining lines and its status.
    pub fn finish(&mut self, within: Duration) -> Result<(Vec<String>, ExitStatus)> {
        let deadline = Instant::now() + within;
        let mut lines = Vec::new();
        while let Some(line) = self.line(deadline) {
            lines.push(line.text);
        }
        if Instant::now() >= deadline && self.child.try_wait()?.is_none() {
            bail!("{} did not end within {} s: {}", self.what, within.as_secs_f32(), self.errors());
        }
        let status = self.child.wait()?;
        // Its last words may still be on their way.
        if let Some(reader) = self.reader.take() {
            reader.join().map_err(|_| anyhow::anyhow!("{}: reading standard error panicked", self.what))?;
        }
        Ok((lines, status))
    }

    /// Whether it still runs.
    pub fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: libc::c_int) -> Result<()> {
        let pid = libc::pid_t::try_from(self.child.id())?;
        // SAFETY: a plain system call; the child is not reaped before `self` is dropped or `finish` ends.
        if unsafe { libc::kill(pid, signal) } != 0 {
            return Err(std::io::Error::last_os_error()).with_context(|| format!("signalling {}", self.what));
        }
        Ok(())
    }

    /// Ends it at once and reaps it.
    pub fn kill(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
