//! The lab itself: labs do not meet, and nothing stays behind.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Check;
use crate::bpf::{self, Foreign};
use crate::cleanup;
use crate::enforce::{Backend, Match, Refusal};
use crate::lab::{Lab, Place};
use crate::process::Process;
use crate::topology::Topology;

pub(super) fn all() -> Vec<Check> {
    let check =
        |name, sentence, run| Check { name, sentence, needs: || None, alone: false, agent: false, run };
    vec![
        check(
            "lab-apart",
            "two labs with the same addresses do not meet, and leave nothing when they are taken down",
            apart,
        ),
        check("lab-interrupt", "Ctrl-C takes a lab down", || ended(libc::SIGINT)),
        check("lab-killed", "what a killed lab leaves is removed by the next sweep", || ended(libc::SIGKILL)),
    ]
}

fn apart() -> Result<String> {
    let (one, two) = (Lab::new(Topology::Routed)?, Lab::new(Topology::Bridge)?);
    Backend::Nft.refuse(&one.node, "pod-api-client", Match::From(one.client().ips), Refusal::Drop)?;
    let foreign = Foreign::attach(&two.node, &two.client().device)?;
    ensure!(
        bpf::tcx(&two.node, &two.client().device)?.0.len() == 1,
        "a program was attached and is not there"
    );
    ensure!(bpf::tcx(&one.node, &one.client().device)?.0.is_empty(), "it is at the other lab's device");
    drop(foreign);
    ensure!(bpf::tcx(&two.node, &two.client().device)?.0.is_empty(), "it was detached and is still there");
    for (lab, wanted) in [(&one, "timeout"), (&two, "connected")] {
        let args = ["connect", "203.0.113.4:443", "--timeout", "0.5"];
        let outcome = lab.run(Place::Client, &args)?.outcome(Duration::from_secs(30))?;
        ensure!(outcome.outcome == wanted, "{}: {outcome:?}, not {wanted}", lab.tag());
    }
    let tags = [one.tag().to_owned(), two.tag().to_owned()];
    drop((one, two));
    for tag in &tags {
        nothing_left(tag)?;
    }
    Ok(String::new())
}

/// Ends a process that keeps a lab.
fn ended(signal: libc::c_int) -> Result<String> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("up");
    let mut lab = Process::start(command, "egress-lab up")?;
    let line = lab.await_line("node", Duration::from_secs(20))?;
    let name = line.text.rsplit(' ').next().context("a line without a name")?.to_owned();
    let tag = name.trim_end_matches("-node").to_owned();
    ensure!(Path::new("/run/netns").join(&name).exists(), "{name} is not there");
    lab.signal(signal)?;
    lab.finish(Duration::from_secs(30))?;
    if signal == libc::SIGKILL {
        ensure!(Path::new("/run/netns").join(&name).exists(), "{name} is gone without a sweep");
        cleanup::sweep();
    }
    nothing_left(&tag)?;
    Ok(String::new())
}

fn nothing_left(tag: &str) -> Result<()> {
    let left = cleanup::left_of(tag);
    ensure!(left.is_empty(), "left behind: {}", left.join(", "));
    Ok(())
}
