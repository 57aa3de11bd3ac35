//! What the machine must have: found, or installed by apt with a word on why.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A program that a chore runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool {
    /// The program.
    pub(crate) program: &'static str,
    /// The Debian package that has it.
    pub(crate) package: &'static str,
    /// What for.
    pub(crate) why: &'static str,
}

/// What the lab runs.
pub(crate) const LAB: &[Tool] = &[
    Tool { program: "ip", package: "iproute2", why: "builds the lab's namespaces, devices and routes" },
    Tool { program: "tc", package: "iproute2", why: "attaches a foreign tc program in scenarios" },
    Tool { program: "nft", package: "nftables", why: "enforces policies and masquerades in the routed lab" },
    Tool { program: "iptables-nft", package: "iptables", why: "enforces policies in the bridge lab" },
    Tool { program: "ping", package: "iputils-ping", why: "is a ping as people run it, with its own length" },
    Tool { program: "openssl", package: "openssl", why: "speaks TLS, well and badly" },
    Tool {
        program: "gnutls-cli",
        package: "gnutls-bin",
        why: "is a TLS 1.3 client that encrypts its alerts",
    },
    Tool { program: "curl", package: "curl", why: "asks over TLS with a client certificate and without" },
    Tool { program: "iptables-legacy", package: "iptables", why: "enforces a policy the old way" },
    Tool { program: "ipset", package: "ipset", why: "enforces policies by sets of addresses" },
];

/// What looks at the page for people.
pub(crate) const BROWSER: &[Tool] =
    &[Tool { program: "chromium", package: "chromium", why: "opens the agent's page as a person would" }];

/// Installs what is missing. Works again when run twice.
pub(crate) fn ensure(tools: &[Tool]) -> Result<()> {
    let missing: Vec<_> = tools.iter().filter(|tool| find(tool.program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<_> = missing.iter().map(|tool| tool.package).collect();
    packages.dedup();
    for tool in &missing {
        println!("missing: {} (package {}): {}", tool.program, tool.package, tool.why);
    }
    install(&packages)?;
    for tool in &missing {
        if find(tool.program).is_none() {
            bail!("{} is still missing after installing {}", tool.program, tool.package);
        }
    }
    Ok(())
}

/// Installs Debian packages, showing apt's own progress.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if find("apt-get").is_none() {
        bail!("apt-get is not there: install {} by hand", packages.join(", "));
    }
    println!("installing {}", packages.join(", "));
    if apt(&install_args(packages)).is_ok() {
        return Ok(());
    }
    println!("not found or out of date: refreshing the package lists");
    apt(&["update"])?;
    apt(&install_args(packages))
}

fn install_args<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["install", "--yes", "--no-install-recommends"];
    args.extend(packages);
    args
}

fn apt(args: &[&str]) -> Result<()> {
    let mut apt = as_root("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive").args(args).stdin(Stdio::null());
    run(&mut apt)
}

/// A command run as root: by itself, or by `sudo`.
pub(crate) fn as_root(program: &str) -> Command {
    if is_root() {
        Command::new(program)
    } else {
        let mut sudo = Command::new("sudo");
        sudo.arg(program);
        sudo
    }
}

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    // The owner of a process's own folder is its effective user.
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// Runs a command with the terminal's output; an end other than success is an error that names it.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command.status().with_context(|| format!("starting {shown}"))?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

/// The command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|arg| arg.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Where a program is, on `PATH` or where root's programs are.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"])
        .map(|folder| Path::new(folder).join(program))
        .find(|file| file.is_file())
}

/// The workspace's folder.
pub(crate) fn workspace() -> Result<PathBuf> {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().map(Path::to_path_buf).context("xtask has no folder above it")
}

/// `cargo` in the workspace's folder.
pub(crate) fn cargo(args: &[&str]) -> Result<Command> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(args).current_dir(workspace()?);
    // What `cargo run` told this program about itself: build scripts that look at it would run again, and all that
    // depends on them be built again, whenever a person and this program build by turns.
    for (name, _) in std::env::vars_os() {
        let told = |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|start| name.starts_with(start));
        if name.to_str().is_some_and(told) {
            cargo.env_remove(name);
        }
    }
    if is_ci() {
        // Nobody builds there twice, and half-built crates for a second time cost time and disk.
        cargo.env("CARGO_INCREMENTAL", "0");
    }
    Ok(cargo)
}

/// Whether this is a machine that tests what somebody pushed.
pub(crate) fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|ci| ci != "false" && !ci.is_empty())
}

/// Folder of the binaries of a debug build.
pub(crate) fn binaries() -> Result<PathBuf> {
    Ok(crate::build_ebpf::target()?.join("debug"))
}

/// Builds the eBPF programs, the agent with them inside, and the lab.
pub(crate) fn build() -> Result<()> {
    crate::build_ebpf::run()?;
    println!("building the agent and the lab");
    run(&mut cargo(&["build", "--package", "egress-agent", "--package", "egress-lab"])?)
}
