//! A killed agent leaves nothing in the kernel, disturbs nobody, and is back at once.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{Check, denied_lab};
use crate::agent::Agent;
use crate::bpf::{self, Foreign, Objects};
use crate::lab::{Lab, Place};
use crate::plan::UPLINK;
use crate::tools;

/// From the start of the agent to a verdict, traffic flowing. Two seconds are promised; a debug build on a busy machine
/// is slower, so the time is told and only one out of all proportion fails.
const BACK_WITHIN: Duration = Duration::from_secs(30);
/// The kernel frees programs in the background.
const GONE_WITHIN: Duration = Duration::from_secs(30);

pub(super) fn check() -> Check {
    Check {
        name: "kill",
        sentence: "kill -9 mid-traffic: no program, map, link or pin is left, no other program is touched, and a \
                   new agent has a verdict within 2 s",
        needs: || super::super::program("tc"),
        agent: true,
        alone: true,
        run,
    }
}

fn run() -> Result<String> {
    let (lab, _) = denied_lab()?;
    let device = lab.client().device.clone();
    let _foreign = Foreign::attach(&lab.node, &device)?;
    for device in [device.as_str(), UPLINK] {
        add_filter(&lab, device)?;
    }
    let before = neighbours(&lab, &device)?;

    // Four SYNs a second from the blocked pod, and good connections from the other, throughout.
    let peer = "203.0.113.4:443";
    let blocked = lab.run(Place::Client, &["connect", peer, "--timeout", "0.25", "--count", "60"])?;
    let healthy = lab.run(Place::Server, &["connect", peer, "--count", "20000"])?;

    let agent = Agent::start(&lab, &[])?;
    await_verdict(&agent)?;
    let objects = Objects::of_process(agent.id())?;
    ensure!(objects.programs.len() >= 3 && !objects.links.is_empty(), "the agent holds {objects:?}");
    ensure!(bpf::tcx(&lab.node, &device)?.0.len() == 2, "not beside the foreign program on {device}");
    agent.kill();
    await_gone(&objects)?;
    ensure!(neighbours(&lab, &device)? == before, "other programs were disturbed by the kill");

    let start = Instant::now();
    let agent = Agent::start(&lab, &[])?;
    let ready = start.elapsed();
    await_verdict(&agent)?;
    let back = start.elapsed();
    ensure!(
        back <= BACK_WITHIN,
        "a verdict after {:.2} s, ready after {:.2} s",
        back.as_secs_f64(),
        ready.as_secs_f64()
    );

    let objects = Objects::of_process(agent.id())?;
    agent.terminate()?;
    await_gone(&objects)?;
    ensure!(neighbours(&lab, &device)? == before, "other programs were disturbed by the end");
    drop(blocked);
    let healthy = healthy.outcome(Duration::from_secs(60))?;
    ensure!(healthy.outcome == "connected", "the healthy pod's traffic suffered: {healthy:?}");
    Ok(format!("ready {:.2} s, verdict {:.2} s after the start", ready.as_secs_f64(), back.as_secs_f64()))
}

/// A clsact filter of another tool that lets everything go on.
fn add_filter(lab: &Lab, device: &str) -> Result<()> {
    tools::run(&mut lab.node.command("tc"), &["qdisc", "add", "dev", device, "clsact"])?;
    for direction in ["ingress", "egress"] {
        tools::run(
            &mut lab.node.command("tc"),
            &["filter", "add", "dev", device, direction, "bpf", "da", "bytecode", "1,6 0 0 4294967295"],
        )?;
    }
    Ok(())
}

/// All that others have on the two devices, and every pin with our name.
fn neighbours(lab: &Lab, device: &str) -> Result<String> {
    let mut all = String::new();
    for device in [device, UPLINK] {
        all.push_str(&format!("{:?}\n", bpf::tcx(&lab.node, device)?));
        for direction in ["ingress", "egress"] {
            all.push_str(&tools::output(
                &mut lab.node.command("tc"),
                &["filter", "show", "dev", device, direction],
            )?);
        }
    }
    for entry in std::fs::read_dir("/sys/fs/bpf").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.contains("egress") {
            all.push_str(&name);
        }
    }
    Ok(all)
}

fn await_verdict(agent: &Agent) -> Result<()> {
    let follower = agent.follow("default/api-client")?;
    let line = follower.line(Instant::now() + Duration::from_secs(30));
    let line = line.with_context(|| format!("no verdict: {} {}", follower.errors(), agent.errors()))?;
    ensure!(line.text.contains("policy-drop"), "the verdict is {}", line.text);
    Ok(())
}

fn await_gone(objects: &Objects) -> Result<()> {
    let deadline = Instant::now() + GONE_WITHIN;
    loop {
        let alive = objects.alive();
        if alive.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("still in the kernel: {alive:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
