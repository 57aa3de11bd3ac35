//! `cargo xtask test`: everything that must hold, in the order of how soon it can say no.

use std::time::Instant;

use anyhow::{Result, bail};

use crate::{setup, vm};

/// Which tests.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to run; all but the VMs without it.
    #[command(subcommand)]
    part: Option<Part>,
}

/// A part of the suite.
#[derive(Debug, clap::Subcommand)]
enum Part {
    /// Format, lints, unit tests: no root, no eBPF toolchain.
    Unit,
    /// The scenarios on this kernel (root).
    Lab {
        /// Passed to `egress-lab test`: parts of names, `--list`, `--no-agent`, …
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// The kernel side on this kernel (root).
    Probe,
    /// The kernel side on other kernels, under QEMU.
    Vm(vm::Args),
}

/// Runs them.
pub(crate) fn run(args: &Args) -> Result<()> {
    let began = Instant::now();
    match &args.part {
        Some(Part::Unit) => unit()?,
        Some(Part::Lab { args }) => lab(args)?,
        Some(Part::Probe) => probe()?,
        Some(Part::Vm(args)) => vm::run(args).map(|_| ())?,
        None => {
            unit()?;
            probe()?;
            lab(&[])?;
        }
    }
    println!("all of it took {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}

fn unit() -> Result<()> {
    step("format");
    setup::run(&mut setup::cargo(&["fmt", "--all", "--check"])?)?;
    step("lints");
    setup::run(&mut setup::cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "--deny",
        "warnings",
    ])?)?;
    step("unit tests");
    setup::run(&mut setup::cargo(&["test", "--workspace", "--quiet"])?)
}

/// The probe's tests, with the eBPF programs inside: among the unit tests they are skipped where those were not
/// built yet.
fn probe() -> Result<()> {
    step("kernel side");
    if !setup::is_root() {
        println!("skipped: loading eBPF programs needs root");
        println!("         run: sudo --preserve-env=PATH,HOME cargo xtask test probe");
        if is_ci() {
            bail!("the kernel side must not be skipped in CI");
        }
        return Ok(());
    }
    setup::ensure(setup::LAB)?;
    crate::build_ebpf::run()?;
    setup::run(&mut setup::cargo(&["test", "--package", "egress-agent", "--test", "probe"])?)
}

fn lab(args: &[String]) -> Result<()> {
    step("lab");
    if !setup::is_root() {
        // Said aloud, and fatal where nobody listens.
        println!("skipped: the lab builds network namespaces and loads BPF programs, which needs root");
        println!("         run: sudo --preserve-env=PATH,HOME cargo xtask test lab");
        if is_ci() {
            bail!("the lab must not be skipped in CI");
        }
        return Ok(());
    }
    setup::ensure(setup::LAB)?;
    setup::build()?;
    let mut lab = std::process::Command::new(setup::binaries()?.join("egress-lab"));
    lab.arg("test").args(args);
    if is_ci() {
        lab.arg("--no-skip");
    }
    setup::run(&mut lab)
}

fn step(what: &str) {
    println!("\n--- {what}");
}

fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|ci| ci != "false" && !ci.is_empty())
}
