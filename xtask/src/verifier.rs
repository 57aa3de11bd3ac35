//! `cargo xtask verifier`: how many instructions the verifier goes through, against the ceilings.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail};

use crate::{build_ebpf, setup, vm};

/// The test that counts.
const TEST: &str = "programs_stay_below_their_ceilings";
/// How its lines begin.
const MARK: &str = "verified: ";

/// What to do.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write new ceilings, a quarter above what is found on this kernel and in the VMs.
    #[arg(long)]
    refresh: bool,
}

/// Compares, or refreshes.
pub(crate) fn run(args: &Args) -> Result<()> {
    if !setup::is_root() {
        bail!("loading programs needs root: sudo --preserve-env=PATH,HOME cargo xtask verifier");
    }
    build_ebpf::run()?;
    let mut cargo =
        setup::cargo(&["test", "--package", "egress-agent", "--test", "probe", TEST, "--", "--nocapture"])?;
    let path = setup::workspace()?.join("tests/golden/verifier.txt");
    if !args.refresh {
        return setup::run(&mut cargo);
    }
    // Without ceilings the test only counts.
    if path.exists() {
        fs::remove_file(&path)?;
    }
    let output = cargo.output().context("starting cargo")?;
    if !output.status.success() {
        bail!("{}: {}\n{}", setup::shown(&cargo), output.status, String::from_utf8_lossy(&output.stderr));
    }
    let here = String::from_utf8_lossy(&output.stdout);
    let others = vm::run(&vm::Args::only(TEST))?;
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for line in here.lines().chain(others.iter().map(String::as_str)) {
        let found = line.split(MARK).nth(1).and_then(|text| text.trim().split_once(' '));
        if let Some((program, count)) = found {
            let count: u32 = count.parse().with_context(|| format!("in {line:?}"))?;
            let largest = counts.entry(program).or_default();
            *largest = count.max(*largest);
        }
    }
    let mut text =
        "# Instructions the verifier may go through, by program: a quarter above the most of any kernel tried.\n\
         # Refresh: cargo xtask verifier --refresh\n"
            .to_owned();
    for (program, count) in &counts {
        text.push_str(&format!("{program} {}\n", (count + count / 4).next_multiple_of(100)));
    }
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    println!("wrote {}", path.display());
    Ok(())
}
