//! `cargo xtask bench`: what the agent costs on this machine, beside the budgets.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{build_ebpf, setup};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Fewer and shorter windows.
    #[arg(long)]
    quick: bool,
    /// Parts: tc, drops, flood, pipeline, agent, history; all without.
    parts: Vec<String>,
}

/// Builds for release, and measures.
pub(crate) fn run(args: &Args) -> Result<()> {
    if !setup::is_root() {
        bail!(
            "measuring loads BPF programs and builds network namespaces, which needs root: \
             sudo --preserve-env=PATH,HOME cargo xtask bench"
        );
    }
    setup::ensure(setup::LAB)?;
    build_ebpf::run()?;
    println!("building for release (the first time takes minutes)");
    let bench = ["bench", "--package", "egress-agent", "--bench", "cost"];
    setup::run(setup::cargo(&bench)?.arg("--no-run"))?;
    println!("measuring; other work on this machine disturbs it");
    let mut cost: Command = setup::cargo(&bench)?;
    cost.args(["--quiet", "--"]).args(&args.parts);
    if args.quick {
        cost.arg("--quick");
    }
    setup::run(&mut cost)
}
