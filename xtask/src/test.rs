//! `cargo xtask test`: everything that must hold, in the order of how soon it can say no.

mod tally;

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};

use self::tally::Tally;
use crate::{build_ebpf, deploy, fuzz, proto, setup, unpacked, vm};

/// Which tests.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to run; everything without it.
    #[command(subcommand)]
    part: Option<Part>,
}

/// A part of the suite.
#[derive(Debug, clap::Subcommand)]
enum Part {
    /// Format, lints, unit tests: no root, no eBPF toolchain.
    Unit,
    /// What a cluster installs: alert rules, manifests (no root).
    Deploy,
    /// Arbitrary input for every parser: no root, a C++ compiler.
    Fuzz(fuzz::Args),
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

/// Runs them and says what they came to; a part that fails does not keep the next from running.
pub(crate) fn run(args: &Args) -> Result<()> {
    let began = Instant::now();
    let mut tally = Tally::default();
    match &args.part {
        Some(Part::Unit) => unit(&mut tally),
        Some(Part::Deploy) => install(&mut tally),
        Some(Part::Fuzz(args)) => tally.lines("fuzz", fuzz::run(args)),
        Some(Part::Lab { args }) => lab(&mut tally, args),
        Some(Part::Probe) => probe(&mut tally),
        Some(Part::Vm(args)) => tally.lines("other kernels", vm::run(args)),
        None => {
            step("programs of the machine");
            tally.one("programs of the machine", install_tools());
            // With the programs embedded, the tests of the probe have something to load.
            step("eBPF programs");
            tally.one("eBPF programs", build_ebpf::run().map(drop));
            unit(&mut tally);
            step("generated code");
            tally.one("generated code", proto::run(true));
            install(&mut tally);
            step("fuzz");
            tally.lines("fuzz", fuzz::run(&fuzz::Args::default()));
            lab(&mut tally, &[]);
            step("other kernels");
            tally.lines("other kernels", vm::run(&vm::Args::default()));
        }
    }
    println!("\nall of it took {:.0} s", began.elapsed().as_secs_f64());
    tally.print();
    if !tally.good() {
        bail!("not all tests passed");
    }
    if is_ci() && !tally.complete() {
        bail!("skipped what must not be skipped in CI");
    }
    Ok(())
}

/// Installs what the tests run, where that can be done: the unit tests that want a browser or `nft` are skipped without.
fn install_tools() -> Result<()> {
    if !setup::is_root() {
        println!("not root: what is missing stays missing");
        return Ok(());
    }
    [setup::LAB, setup::BROWSER, vm::TOOLS].into_iter().try_for_each(setup::ensure)
}

fn unit(tally: &mut Tally) {
    step("format");
    tally.one("format", cargo(&["fmt", "--all", "--check"]));
    step("lints");
    let lints = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"];
    tally.one("lints", cargo(&lints));
    step("unit tests");
    match setup::cargo(&["test", "--workspace", "--no-fail-fast", "--quiet"]) {
        Ok(mut tests) => tally.run("unit tests", &mut tests),
        Err(error) => tally.one("unit tests", Err(error)),
    }
}

fn cargo(args: &[&str]) -> Result<()> {
    setup::run(&mut setup::cargo(args)?)
}

/// What a cluster installs.
fn install(tally: &mut Tally) {
    step("alert rules");
    tally.one("alert rules", deploy::alerts());
    step("manifests");
    tally.one("manifests", deploy::validate());
    tally.one("what follows from manifests", deploy::run(&deploy::Args { check: true }));
}

/// The probe's tests, with the eBPF programs inside. When everything runs they are among the unit tests.
fn probe(tally: &mut Tally) {
    step("kernel side");
    if !setup::is_root() {
        tally.skip(
            "probe",
            "loading eBPF programs needs root: sudo --preserve-env=PATH,HOME cargo xtask test probe",
        );
        return;
    }
    let prepare = || {
        setup::ensure(setup::LAB)?;
        build_ebpf::run()?;
        setup::cargo(&["test", "--package", "egress-agent", "--test", "probe"])
    };
    match prepare() {
        Ok(mut tests) => tally.run("probe", &mut tests),
        Err(error) => tally.one("probe", Err(error)),
    }
}

fn lab(tally: &mut Tally, args: &[String]) {
    step("lab");
    if !setup::is_root() {
        tally.skip(
            "lab",
            "network namespaces and BPF programs need root: sudo --preserve-env=PATH,HOME cargo xtask test lab",
        );
        return;
    }
    match prepare_lab(args) {
        Ok(mut lab) => tally.run("lab", lab.args(args)),
        Err(error) => tally.one("lab", Err(error)),
    }
}

/// Installs and builds what the lab needs, and for the sandbox where it is among the scenarios.
fn prepare_lab(args: &[String]) -> Result<Command> {
    setup::ensure(setup::LAB)?;
    setup::build()?;
    let mut lab = Command::new(setup::binaries()?.join("egress-lab"));
    let mut programs = vec![deploy::prometheus()?];
    let mut filters = args.iter().filter(|arg| !arg.starts_with('-')).peekable();
    if filters.peek().is_none() || filters.any(|filter| "sandbox".contains(filter.as_str())) {
        let (folder, runtime) = deploy::sandbox()?;
        programs.extend(runtime);
        lab.env("EGRESS_DEPLOY", folder);
    }
    lab.arg("test").env("PATH", unpacked::path_with(&programs));
    Ok(lab)
}

fn step(what: &str) {
    println!("\n--- {what}");
}

fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|ci| ci != "false" && !ci.is_empty())
}
