//! Running the system's tools: quiet when they succeed, complete when they fail.

use std::io::{self, Write};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// Runs a tool to its end; its output is part of the error if it fails.
pub fn run(command: &mut Command, args: &[&str]) -> Result<()> {
    let output = command.args(args).stdin(Stdio::null()).output();
    check(command, output, "")
}

/// Runs a tool to its end and returns its standard output.
pub fn output(command: &mut Command, args: &[&str]) -> Result<String> {
    let output = command.args(args).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("starting {command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    check(command, Ok(output), "")?;
    Ok(text)
}

/// Runs a tool to its end with `input` on its standard input.
pub fn feed(command: &mut Command, args: &[&str], input: &str) -> Result<()> {
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.spawn().and_then(|mut child| {
        if let Some(mut stdin) = child.stdin.take() {
            // A tool that fails early closes the pipe; its own message says more than EPIPE.
            match stdin.write_all(input.as_bytes()) {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
                _ => {}
            }
        }
        child.wait_with_output()
    });
    check(command, output, input)
}

fn check(command: &Command, output: io::Result<Output>, input: &str) -> Result<()> {
    let program = command.get_program().to_string_lossy();
    let output = output.with_context(|| format!("starting {program}"))?;
    if output.status.success() {
        return Ok(());
    }
    let args: Vec<_> = command.get_args().map(|a| a.to_string_lossy()).collect();
    let complaint = String::from_utf8_lossy(&output.stderr);
    bail!("{program} {}: {}: {}\n{input}", args.join(" "), output.status, complaint.trim())
}

/// In a child between fork and exec: takes signals again, and dies when the parent's thread does.
pub(crate) fn prepare_child() -> io::Result<()> {
    // SAFETY: `set` is initialised by sigemptyset before use; all calls are async-signal-safe.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        if libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) != 0
            || libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0
        {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Whether a program can be found on the usual paths.
pub fn available(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').chain(["/usr/sbin", "/sbin"]).any(|dir| std::path::Path::new(dir).join(program).exists())
}
