//! `cargo xtask test vm`: the kernel tests on other kernels, under QEMU without KVM.
//!
//! Debian's cloud kernels come from apt and are only unpacked. An initramfs holds busybox, the test binary of the
//! probe, the programs it calls, and the kernel modules it needs. The test tells what it skips; a panic, a hang or
//! an end without a word is a failure.

mod image;
mod kernel;
mod run;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{build_ebpf, setup};

use self::kernel::Kernel;

/// Release lines that are tested by default.
const RELEASES: &[&str] = &["6.1", "6.12"];

/// What it takes besides the lab's programs.
pub(crate) const TOOLS: &[setup::Tool] = &[
    setup::Tool { program: "qemu-system-x86_64", package: "qemu-system-x86", why: "runs the other kernels" },
    setup::Tool { program: "busybox", package: "busybox-static", why: "is the first process there" },
    setup::Tool { program: "xz", package: "xz-utils", why: "unpacks kernel modules" },
    setup::Tool { program: "strip", package: "binutils", why: "makes the test binary small enough" },
];

/// Which kernels, which tests.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Release lines of Debian's kernels.
    #[arg(long = "kernel", default_values = RELEASES)]
    kernels: Vec<String>,
    /// Parts of the names of the tests.
    tests: Vec<String>,
}

impl Default for Args {
    fn default() -> Self {
        Self { kernels: RELEASES.iter().map(|release| (*release).to_owned()).collect(), tests: Vec::new() }
    }
}

impl Args {
    /// All kernels, one test.
    pub(crate) fn only(test: &str) -> Self {
        Self { tests: vec![test.to_owned()], ..Self::default() }
    }
}

/// Runs them; what the machines printed.
pub(crate) fn run(args: &Args) -> Result<Vec<String>> {
    setup::ensure(setup::LAB)?;
    setup::ensure(TOOLS)?;
    let folder = build_ebpf::target()?.join("vm");
    std::fs::create_dir_all(&folder)?;
    build_ebpf::run()?;
    let test = stripped(&test_binary()?, &folder)?;
    let mut lines = Vec::new();
    let mut failed = Vec::new();
    for release in &args.kernels {
        println!("\n--- Linux {release}");
        match one(release, &folder, &test, &args.tests) {
            Ok(output) => lines.extend(output),
            Err(error) => {
                println!("Linux {release}: {error:#}");
                failed.push(release.as_str());
            }
        }
    }
    if !failed.is_empty() {
        bail!("failed on Linux {}", failed.join(", "));
    }
    Ok(lines)
}

fn one(release: &str, folder: &Path, test: &Path, tests: &[String]) -> Result<Vec<String>> {
    let kernel = Kernel::fetch(release, folder)?;
    println!("kernel: {}", kernel.name);
    let initramfs = folder.join(format!("{release}.cpio"));
    image::build(&initramfs, &kernel, test, tests)?;
    run::boot(&kernel.image, &initramfs)
}

/// Builds the probe's test; where cargo put it.
fn test_binary() -> Result<PathBuf> {
    let mut cargo = setup::cargo(&["test", "--no-run", "--package", "egress-agent", "--test", "probe"])?;
    let output = cargo.output().context("starting cargo")?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{}: {}\n{text}", setup::shown(&cargo), output.status);
    }
    let path = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Executable ")?.rsplit_once('(')?.1.strip_suffix(')'))
        .next_back()
        .context("cargo did not say where the test is")?;
    Ok(setup::workspace()?.join(path))
}

fn stripped(binary: &Path, folder: &Path) -> Result<PathBuf> {
    let small = folder.join("probe-test");
    setup::run(Command::new("strip").arg("-o").arg(&small).arg(binary))?;
    Ok(small)
}
