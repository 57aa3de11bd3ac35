//! A container runtime of our own, started for one test: containerd and runc with their default seccomp profile, and
//! containers made from a pod's spec as a kubelet would make them.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::netns::Netns;
use crate::process::Process;
use crate::tools;

/// How long containerd may take to listen.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// What a container has unless it is dropped (containerd's `defaultUnixCaps`).
const DEFAULT_CAPABILITIES: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];
/// What the image is called here.
const IMAGE: &str = "egress-agent:lab";

/// What the image starts (`xtask/src/image/oci.rs`).
const ENTRYPOINT: &str = "/egress-agent";

/// A running containerd with one image. Stopped when dropped.
#[derive(Debug)]
pub struct Runtime {
    daemon: Process,
    socket: String,
}

/// A folder of the host at a place in the container.
#[derive(Clone, Debug)]
pub struct Mount {
    /// On the host.
    pub source: PathBuf,
    /// In the container.
    pub target: String,
    /// Not written by the container.
    pub read_only: bool,
}

/// A container that runs. Killed and removed when dropped.
#[derive(Debug)]
pub struct Container<'a> {
    runtime: &'a Runtime,
    name: String,
    /// `ctr run`, which passes the container's output on.
    pub process: Process,
}

impl Runtime {
    /// Starts it with its state in `folder`, and imports an image from an OCI archive.
    pub fn start(folder: &Path, archive: &Path) -> Result<Self> {
        let folder = folder.join("containerd");
        fs::create_dir_all(&folder)?;
        let path = folder.display();
        let socket = format!("{path}/sock");
        let config = folder.join("config.toml");
        fs::write(
            &config,
            format!(
                "version = 2\nroot = \"{path}/root\"\nstate = \"{path}/state\"\n\
                 disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
                 [grpc]\naddress = \"{socket}\"\n[debug]\nlevel = \"warn\"\n"
            ),
        )?;
        let mut command = Command::new("containerd");
        command.arg("--config").arg(&config);
        // SAFETY: `prepare_child` makes async-signal-safe system calls only.
        unsafe { command.pre_exec(tools::prepare_child) };
        let daemon = Process::start(command, "containerd")?;
        let mut runtime = Self { daemon, socket };
        let deadline = Instant::now() + READY_WITHIN;
        while tools::run(&mut runtime.ctr(), &["version"]).is_err() {
            ensure!(runtime.daemon.running(), "containerd ended: {}", runtime.daemon.errors());
            ensure!(Instant::now() < deadline, "containerd does not listen: {}", runtime.daemon.errors());
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut import = runtime.ctr();
        import.args(["images", "import", "--snapshotter", "native", "--index-name", IMAGE]).arg(archive);
        tools::run(&mut import, &[])?;
        Ok(runtime)
    }

    /// Runs the first container of a pod's spec: its arguments, capabilities, rights, environment. What it shares with
    /// the node's network it gets from `node`.
    pub fn run(
        &self,
        name: &str,
        pod: &Value,
        mounts: &[Mount],
        node: (&Netns, &str),
    ) -> Result<Container<'_>> {
        let container = &pod["containers"][0];
        let mut command = self.ctr();
        command.args(["run", "--rm", "--snapshotter", "native", "--seccomp"]);
        command.args(rights(pod, container)?);
        ensure!(pod["hostNetwork"] == true, "the pod does not share the node's network");
        command.arg("--with-ns").arg(format!("network:{}", node.0.path().display()));
        for variable in container["env"].as_array().into_iter().flatten() {
            let value = match variable.pointer("/valueFrom/fieldRef/fieldPath").and_then(Value::as_str) {
                Some("spec.nodeName") => node.1,
                Some(other) => bail!("no value for {other}"),
                None => variable["value"].as_str().unwrap_or_default(),
            };
            command.arg("--env").arg(format!("{}={value}", variable["name"].as_str().unwrap_or_default()));
        }
        for Mount { source, target, read_only } in mounts {
            let way = if *read_only { "ro" } else { "rw" };
            let source = source.display();
            command.arg("--mount").arg(format!("type=bind,src={source},dst={target},options=rbind:{way}"));
        }
        // `ctr` puts arguments in place of the image's entry point, a kubelet behind it.
        ensure!(container["command"].is_null(), "the container has a command of its own");
        command.args([IMAGE, name, ENTRYPOINT]);
        for argument in container["args"].as_array().into_iter().flatten() {
            command.arg(argument.as_str().context("an argument that is no string")?);
        }
        // SAFETY: `prepare_child` makes async-signal-safe system calls only.
        unsafe { command.pre_exec(tools::prepare_child) };
        let process = Process::start(command, &format!("container {name}"))?;
        Ok(Container { runtime: self, name: name.to_owned(), process })
    }

    fn ctr(&self) -> Command {
        let mut ctr = Command::new("ctr");
        ctr.args(["--address", &self.socket]);
        ctr
    }
}

impl Container<'_> {
    /// Process id of its first process, on the host.
    pub fn pid(&self) -> Result<u32> {
        let list = tools::output(&mut self.runtime.ctr(), &["tasks", "list"])?;
        let line = list.lines().find(|line| line.split_whitespace().next() == Some(&self.name));
        let pid = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        pid.with_context(|| format!("no task {} in {list}", self.name))
    }

    /// Asks it to end, as the kubelet does.
    pub fn terminate(&self) -> Result<()> {
        tools::run(&mut self.runtime.ctr(), &["tasks", "kill", "--signal", "SIGTERM", &self.name])
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        // Each fails where the container has ended already.
        let _ = tools::run(&mut self.runtime.ctr(), &["tasks", "delete", "--force", &self.name]);
        let _ = tools::run(&mut self.runtime.ctr(), &["containers", "delete", &self.name]);
    }
}

/// Flags for what a container may do.
fn rights(pod: &Value, container: &Value) -> Result<Vec<String>> {
    let security = &container["securityContext"];
    ensure!(security["privileged"] == false, "the container is privileged");
    ensure!(security["runAsUser"] == 0, "the container's user is another than the image's");
    ensure!(security["seccompProfile"]["type"] == "RuntimeDefault", "another seccomp profile is wanted");
    ensure!(
        security["capabilities"]["drop"] == serde_json::json!(["ALL"]),
        "not all capabilities are dropped"
    );
    let mut flags = Vec::new();
    for name in DEFAULT_CAPABILITIES {
        flags.extend(["--cap-drop".to_owned(), format!("CAP_{name}")]);
    }
    for name in security["capabilities"]["add"].as_array().into_iter().flatten() {
        let name = name.as_str().context("a capability that is no string")?;
        flags.extend(["--cap-add".to_owned(), format!("CAP_{name}")]);
    }
    if security["readOnlyRootFilesystem"] == true {
        flags.push("--read-only".to_owned());
    }
    if security["allowPrivilegeEscalation"] != false {
        flags.push("--allow-new-privs".to_owned());
    }
    if pod["hostPID"] == true {
        flags.extend(["--with-ns".to_owned(), "pid:/proc/1/ns/pid".to_owned()]);
    }
    Ok(flags)
}
