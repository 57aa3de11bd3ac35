//! What the agent costs, measured on the machine at hand: `cargo xtask bench`.
//!
//! Prints figures beside their budgets and judges nobody by them: it fails only where something could not be measured.

mod agent;
mod figures;
mod history;
mod hooks;
mod kernel;
mod pipeline;
mod send;
mod site;
mod state;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Parser;

/// The core that reads.
const READER: usize = 0;
/// The core that sends.
const SENDER: usize = 1;

#[derive(Debug, Parser)]
#[command(name = "cost", about = "Measures what the agent costs")]
struct Args {
    /// Fewer and shorter windows.
    #[arg(long)]
    quick: bool,
    /// Only parts whose names contain one of these: tc, drops, flood, pipeline, agent, history.
    parts: Vec<String>,
    /// Given by `cargo bench`; nothing else is here.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| part.contains(wanted.as_str()))
    }
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cost: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    if std::thread::available_parallelism()?.get() < 2 {
        bail!("needs two CPUs: one that sends and one that reads");
    }
    egress_agent::probe::is_built()?;
    let mut table = figures::Table::default();
    let site = site::Site::build()?;
    let rounds = if args.quick { 15 } else { 50 };
    let mut recorded = pipeline::Recorded { drops: Vec::new(), names: None };
    if ["tc", "drops", "flood", "pipeline"].iter().any(|part| args.wants(part)) {
        site.node.enter(|| {
            let mut hooks = hooks::Hooks::load(rounds)?;
            if args.wants("tc") {
                println!("TC programs");
                hooks.tap(&site, &mut table)?;
            }
            if args.wants("flood") {
                println!("a flood of drops");
                hooks.flood(&site, &mut table, if args.quick { 500_000 } else { 2_000_000 })?;
            }
            if args.wants("drops") || args.wants("pipeline") {
                println!("kfree_skb");
                hooks.drops(&site, &mut table)?;
            }
            recorded = hooks.recorded();
            Ok(())
        })?;
    }
    let state = state::State::create()?;
    if args.wants("pipeline") {
        println!("the pipeline");
        pipeline::measure(&mut table, &state, &recorded)?;
    }
    if args.wants("agent") {
        println!("the agent");
        agent::measure(&mut table, &state, &site, args.quick)?;
    }
    if args.wants("history") {
        println!("the history on disk");
        history::measure(&mut table, args.quick)?;
    }
    table.print();
    println!("\nmeasured in {:.0} s; ratios: median [quartiles]", start.elapsed().as_secs_f64());
    Ok(())
}
