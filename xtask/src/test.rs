//! `cargo xtask test`: everything that must hold, in the order of how soon it can say no.

mod tally;

use std::process::Command;

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
    let mut tally = Tally::default();
    match &args.part {
        Some(Part::Unit) => unit(&mut tally),
        Some(Part::Deploy) => install(&mut tally),
        Some(Part::Fuzz(args)) => fuzz(&mut tally, args),
        Some(Part::Lab { args }) => lab(&mut tally, args),
        Some(Part::Probe) => probe(&mut tally),
        Some(Part::Vm(args)) => other_kernels(&mut tally, args),
        None => {
            tally.stage("programs of the machine");
            tally.one("programs of the machine", install_tools());
            // With the programs embedded, the tests of the probe have something to load.
            tally.stage("eBPF programs");
            tally.one("eBPF programs", build_ebpf::run().map(drop));
            unit(&mut tally);
            tally.stage("generated code");
            tally.one("generated code", proto::run(true));
            install(&mut tally);
            fuzz(&mut tally, &fuzz::Args::default());
            lab(&mut tally, &[]);
            other_kernels(&mut tally, &vm::Args::default());
        }
    }
    tally.print();
    if !tally.good() {
        bail!("not all tests passed");
    }
    if setup::is_ci() && !tally.complete() {
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
    tally.stage("format");
    tally.one("format", cargo(&["fmt", "--all", "--check"]));
    tally.stage("lints");
    let lints = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"];
    tally.one("lints", cargo(&lints));
    tally.stage("unit tests, built");
    // What does not build is told by the next stage.
    let _ = cargo(&["test", "--workspace", "--no-run", "--quiet"]);
    tally.stage("unit tests");
    match setup::cargo(&["test", "--workspace", "--no-fail-fast", "--quiet"]) {
        Ok(mut tests) => {
            // Without it the browser's test says what it leaves out.
            if let Ok(axe) = deploy::axe() {
                tests.env("EGRESS_AXE", axe);
            }
            tally.run("unit tests", &mut tests);
        }
        Err(error) => tally.one("unit tests", Err(error)),
    }
}

fn cargo(args: &[&str]) -> Result<()> {
    setup::run(&mut setup::cargo(args)?)
}

/// What a cluster installs.
fn install(tally: &mut Tally) {
    tally.stage("alert rules");
    tally.one("alert rules", deploy::alerts());
    tally.stage("manifests");
    tally.one("manifests", deploy::validate());
    tally.one("what follows from manifests", deploy::run(&deploy::Args { check: true }));
}

fn fuzz(tally: &mut Tally, args: &fuzz::Args) {
    tally.stage("fuzzer, built");
    let built = fuzz::build();
    tally.stage("fuzz");
    tally.lines("fuzz", built.and_then(|places| fuzz::run(&places, args)));
}

fn other_kernels(tally: &mut Tally, args: &vm::Args) {
    tally.stage("other kernels");
    tally.lines("other kernels", vm::run(args));
}

/// The probe's tests, with the eBPF programs inside. When everything runs they are among the unit tests.
fn probe(tally: &mut Tally) {
    tally.stage("kernel side");
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
    tally.stage("lab, built");
    if !setup::is_root() {
        tally.skip(
            "lab",
            "network namespaces and BPF programs need root: sudo --preserve-env=PATH,HOME cargo xtask test lab",
        );
        return;
    }
    let prepared = prepare_lab(args);
    tally.stage("lab");
    match prepared {
        Ok(mut lab) => tally.run("lab", lab.args(args)),
        Err(error) => tally.one("lab", Err(error)),
    }
}

/// Installs and builds what the lab needs, and for the sandbox where it is among the scenarios.
fn prepare_lab(args: &[String]) -> Result<Command> {
    setup::ensure(setup::LAB)?;
    build_ebpf::run()?;
    println!("building the agent and the lab");
    // With a test beside them, cargo builds them from what it built all tests from.
    cargo(&["build", "--package", "egress-agent", "--package", "egress-lab", "--bins", "--test", "docs"])?;
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
