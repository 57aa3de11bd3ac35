//! Bad input: one clear line that names the thing, exit 1 or 2, never a panic.

use std::io;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Check;
use crate::agent;
use crate::lab::Lab;
use crate::plan::NODE_NAME;
use crate::process::Process;
use crate::tools;
use crate::topology::Topology;

/// Nobody's user id.
const NOBODY: u32 = 65534;
/// Whatever port is free.
const FREE_PORT: &str = "127.0.0.1:0";

pub(super) fn all() -> Vec<Check> {
    let check =
        |name, sentence, run| Check { name, sentence, needs: || None, alone: false, agent: true, run };
    vec![
        check("input-manifest", "a manifest that is no YAML is named by its file", manifest),
        check("input-cidr", "a NetworkPolicy with an invalid CIDR is named with its value", cidr),
        check("input-flag", "unknown values of flags are named", flag),
        check("input-port", "a taken port is named", port),
        check("input-btf", "a kernel without BTF is said", btf),
        check("input-privileges", "missing privileges are said", privileges),
    ]
}

fn manifest() -> Result<String> {
    let lab = Lab::bare(Topology::Routed)?;
    lab.cluster.write_text("broken.yaml", "apiVersion: v1\nkind: Pod\nmetadata:\n  name: [unclosed\n")?;
    refuses(run_command(&lab)?, &["broken.yaml"])
}

fn cidr() -> Result<String> {
    let lab = Lab::bare(Topology::Routed)?;
    lab.cluster.policy(
        "allow-office",
        serde_json::json!({"podSelector": {}, "policyTypes": ["Egress"],
                           "egress": [{"to": [{"ipBlock": {"cidr": "203.0.113.0/33"}}]}]}),
    )?;
    refuses(run_command(&lab)?, &["allow-office", "203.0.113.0/33"])
}

fn flag() -> Result<String> {
    let mut format = agent::command()?;
    format.args(["query", "api-client", "-o", "xml"]);
    let mut cause = agent::command()?;
    cause.args(["query", "api-client", "--cause", "gremlins"]);
    let mut since = agent::command()?;
    since.args(["query", "api-client", "--since", "yesterday-ish"]);
    let said =
        [refuses(format, &["xml"])?, refuses(cause, &["gremlins"])?, refuses(since, &["yesterday-ish"])?];
    Ok(said.join(" | "))
}

fn port() -> Result<String> {
    let lab = Lab::bare(Topology::Routed)?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let mut command = agent::command()?;
    run_args(&mut command, &lab, &address);
    refuses(command, &[&address])
}

fn btf() -> Result<String> {
    let lab = Lab::bare(Topology::Routed)?;
    let mut command = run_command(&lab)?;
    // SAFETY: unshare and mount are async-signal-safe system calls on constant strings.
    unsafe { command.pre_exec(hide_btf) };
    refuses(command, &["BTF"])
}

fn privileges() -> Result<String> {
    let lab = Lab::bare(Topology::Routed)?;
    // Where the binary lies may be closed to others.
    let copy = lab.folder().join("egress-agent");
    // Copied by a process of its own: a file that this one had open for writing may still be, in a child that another
    // thread has just forked, and cannot be started then.
    tools::run(Command::new("install").args(["--mode", "755"]).arg(agent::binary()?).arg(&copy), &[])?;
    // Only privileges are missing, not a place for the socket.
    std::os::unix::fs::chown(lab.folder(), Some(NOBODY), Some(NOBODY))?;
    let mut command = Command::new(&copy);
    run_args(&mut command, &lab, FREE_PORT);
    command.uid(NOBODY).gid(NOBODY);
    refuses(command, &["CAP_"])
}

/// `egress-agent run` on a lab, with what every check needs.
fn run_command(lab: &Lab) -> Result<Command> {
    let mut command = agent::command()?;
    run_args(&mut command, lab, FREE_PORT);
    Ok(command)
}

fn run_args(command: &mut Command, lab: &Lab, metrics: &str) {
    let socket = lab.folder().join("agent.sock");
    command.arg("run").arg("--cluster-state").arg(lab.cluster.folder());
    command.arg("--netns").arg(lab.node.path()).args(["--node-name", NODE_NAME]);
    command.arg("--grpc-listen").arg(format!("unix:{}", socket.display()));
    command.args(["--metrics-listen", metrics]);
}

/// It ends by itself with 1 or 2 and says all the words in one line.
fn refuses(command: Command, words: &[&str]) -> Result<String> {
    let mut process = Process::start(command, "egress-agent")?;
    let (_, status) = process.finish(Duration::from_secs(20))?;
    let said = process.errors();
    ensure!(matches!(status.code(), Some(1 | 2)), "it ended with {status}: {said}");
    ensure!(!said.contains("panicked"), "it panicked: {said}");
    let line = said.lines().find(|line| words.iter().all(|word| line.contains(word)));
    let line = line.with_context(|| format!("no line says {words:?}: {said}"))?;
    let lines = said.lines().filter(|line| !line.trim().is_empty()).count();
    ensure!(lines <= 6, "{lines} lines instead of a clear one: {said}");
    Ok(line.trim().to_owned())
}

/// In a mount namespace of its own: an empty file system where the kernel's BTF is.
fn hide_btf() -> io::Result<()> {
    let mount = |source: Option<&std::ffi::CStr>,
                 target: &std::ffi::CStr,
                 kind: Option<&std::ffi::CStr>,
                 flags| {
        let pointer = |text: Option<&std::ffi::CStr>| text.map_or(std::ptr::null(), std::ffi::CStr::as_ptr);
        // SAFETY: every pointer is null or to a live C string.
        let result =
            unsafe { libc::mount(pointer(source), target.as_ptr(), pointer(kind), flags, std::ptr::null()) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: a plain system call.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return Err(io::Error::last_os_error());
    }
    mount(None, c"/", None, libc::MS_REC | libc::MS_PRIVATE)?;
    mount(Some(c"none"), c"/sys/kernel/btf", Some(c"tmpfs"), libc::MS_RDONLY)
}
