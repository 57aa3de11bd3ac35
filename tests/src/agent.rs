//! The real agent, run on a lab's node and asked as a user asks it.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::lab::Lab;
use crate::plan::NODE_NAME;
use crate::process::Process;
use crate::tools;

/// How long an agent may take to be ready. The budget for 250 pods is 2 s; a debug build on a busy machine is slower.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Pause between two questions whether it is ready.
const READY_POLL: Duration = Duration::from_millis(20);
/// How long it may take to end after SIGTERM.
const END_WITHIN: Duration = Duration::from_secs(5);

/// A running agent. Killed when dropped.
#[derive(Debug)]
pub struct Agent {
    process: Process,
    server: String,
    metrics: SocketAddr,
}

impl Agent {
    /// Starts it on the node of a lab, outside the node's namespace, and waits until it is ready.
    pub fn start(lab: &Lab, extra: &[&str]) -> Result<Self> {
        Self::start_as(lab, NODE_NAME, extra)
    }

    /// The same on a node of another name.
    pub fn start_as(lab: &Lab, node: &str, extra: &[&str]) -> Result<Self> {
        let mut agent = Self::launch_as(lab, node, extra)?;
        agent.await_ready()?;
        Ok(agent)
    }

    /// Starts it on the node of a lab with the cluster of an API server, and waits until it is ready.
    pub fn start_on_api(lab: &Lab, kubeconfig: &Path, extra: &[&str]) -> Result<Self> {
        let mut command = command()?;
        command.arg("run").env("KUBECONFIG", kubeconfig);
        let mut agent = Self::spawn(lab, NODE_NAME, command, extra)?;
        agent.await_ready()?;
        Ok(agent)
    }

    /// Starts it without waiting.
    pub fn launch(lab: &Lab, extra: &[&str]) -> Result<Self> {
        Self::launch_as(lab, NODE_NAME, extra)
    }

    fn launch_as(lab: &Lab, node: &str, extra: &[&str]) -> Result<Self> {
        let mut command = command()?;
        command.arg("run").arg("--cluster-state").arg(lab.cluster.folder());
        Self::spawn(lab, node, command, extra)
    }

    fn spawn(lab: &Lab, node: &str, mut command: Command, extra: &[&str]) -> Result<Self> {
        let socket = lab.folder().join("agent.sock");
        // Where one was killed; binding is the agent's affair, but a test starts clean.
        let _ = fs::remove_file(&socket);
        let server = format!("unix:{}", socket.display());
        let metrics = metrics_address(lab.tag());
        command.arg("--netns").arg(lab.node.path());
        command.args(["--node-name", node, "--grpc-listen", &server]);
        command.args(["--metrics-listen", &metrics.to_string()]);
        command.args(extra);
        let process = Process::start(command, "egress-agent run")?;
        Ok(Self { process, server, metrics })
    }

    /// Waits until `/readyz` answers 200, or the log says so.
    pub fn await_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        let mut last = String::from("no answer");
        while Instant::now() < deadline {
            if self.errors().lines().any(|line| line.ends_with(": ready")) {
                return Ok(());
            }
            match self.get("/readyz") {
                Ok((200, _)) => return Ok(()),
                Ok((status, body)) => last = format!("{status} {}", body.trim()),
                Err(error) => last = format!("{error:#}"),
            }
            if !self.process.running() {
                bail!("the agent ended before it was ready: {}", self.process.errors());
            }
            std::thread::sleep(READY_POLL);
        }
        bail!("the agent is not ready after {READY_WITHIN:?} ({last}): {}", self.process.errors())
    }

    /// Where its HTTP server listens.
    pub const fn metrics(&self) -> SocketAddr {
        self.metrics
    }

    /// A page of its HTTP server: status and body.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        self.get_as(path, "*/*")
    }

    /// A page of its HTTP server for a client that reads this type.
    pub fn get_as(&self, path: &str, accept: &str) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect_timeout(&self.metrics, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let host = self.metrics;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) =
            answer.split_once("\r\n\r\n").context("an HTTP answer without an end of its head")?;
        let status = head.split(' ').nth(1).context("an HTTP answer without a status")?.parse()?;
        Ok((status, body.to_owned()))
    }

    /// `egress-agent query … -o json`: the verdicts.
    pub fn query(&self, args: &[&str]) -> Result<Vec<Value>> {
        let mut query = command()?;
        query.args(["query", "--server", &self.server, "-o", "json"]);
        let text = tools::output(&mut query, args)?;
        serde_json::from_str(&text).with_context(|| format!("query printed: {text}"))
    }

    /// `egress-agent status -o json`.
    pub fn status(&self) -> Result<Value> {
        let text =
            tools::output(&mut command()?, &["status", "--server", self.server.as_str(), "-o", "json"])?;
        serde_json::from_str(&text).with_context(|| format!("status printed: {text}"))
    }

    /// Waits until it knows this many objects of a kind (its name in lower case).
    pub fn await_objects(&self, kind: &str, count: u64) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let status = self.status()?;
            let known = status["objects"].as_array().into_iter().flatten().find_map(|entry| {
                let name = entry[0].as_str()?.to_lowercase().replace('-', "");
                (name == kind).then(|| entry[1].as_u64())?
            });
            if known.unwrap_or(0) == count {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the agent knows {} objects of {kind}, not {count}: {status}", known.unwrap_or(0));
            }
            std::thread::sleep(READY_POLL);
        }
    }

    /// Follows the verdicts of a pod, one JSON object a line.
    pub fn follow(&self, pod: &str) -> Result<Process> {
        let mut query = command()?;
        query.args(["query", "--server", &self.server, "-o", "json", "--follow", pod]);
        Process::start(query, "egress-agent query --follow")
    }

    /// `unix:PATH` of its gRPC socket.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Resident memory, KiB.
    pub fn resident(&self) -> Result<u64> {
        resident(self.id())
    }

    /// What it wrote to standard error, the last lines.
    pub fn errors(&self) -> String {
        self.process.errors()
    }

    /// Ends it with SIGTERM and checks that it ends well.
    pub fn terminate(mut self) -> Result<()> {
        self.process.signal(libc::SIGTERM)?;
        let (_, status) = self.process.finish(END_WITHIN)?;
        if !status.success() {
            bail!("the agent ended with {status} after SIGTERM: {}", self.process.errors());
        }
        Ok(())
    }

    /// Ends it with SIGKILL.
    pub fn kill(mut self) {
        self.process.kill();
    }
}

/// Resident memory of a process, KiB.
pub fn resident(id: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

/// The agent's binary: beside this program, unless `EGRESS_AGENT` names another.
pub fn binary() -> Result<PathBuf> {
    match std::env::var_os("EGRESS_AGENT") {
        Some(path) => Ok(path.into()),
        None => Ok(std::env::current_exe()
            .context("finding this program's own file")?
            .with_file_name("egress-agent")),
    }
}

/// A command of the agent's binary that dies with the calling thread.
pub fn command() -> Result<Command> {
    let binary = binary()?;
    if !binary.exists() {
        bail!("{} is not there: build egress-agent, or set EGRESS_AGENT", binary.display());
    }
    let mut command = Command::new(binary);
    die_with_parent(&mut command);
    Ok(command)
}

/// Has a command die with the calling thread.
pub fn die_with_parent(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    // SAFETY: `prepare_child` makes async-signal-safe system calls only.
    unsafe { command.pre_exec(tools::prepare_child) };
}

/// A loopback address of this lab alone, so that agents side by side do not meet at a port.
fn metrics_address(tag: &str) -> SocketAddr {
    let mut numbers = tag.split('-').filter_map(|part| part.parse::<u32>().ok());
    let (pid, lab) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let [_, _, high, low] = pid.to_be_bytes();
    let [_, _, hundreds, number] = lab.to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(127, high | 0x80, low, number), 9750 + u16::from(hundreds)))
}
