//! A SYN flood is counted to the last packet, and costs no memory.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::Check;
use crate::agent::Agent;
use crate::enforce::{Backend, Match, Refusal};
use crate::lab::{Lab, Place};
use crate::topology::Topology;

/// SYNs of the flood.
const FLOOD: u64 = 200_000;
/// SYNs before it, which make the flow, the verdict and the buffers.
const WARM_UP: u64 = 10_000;
/// What the agent may grow by, KiB: allocator slack, not something for each packet (that would be 10 MiB or more).
const GROWTH: u64 = 2048;
/// How long the counters may take to show everything.
const SETTLE_WITHIN: Duration = Duration::from_secs(10);

pub(super) fn check() -> Check {
    Check {
        name: "flood",
        sentence: "200,000 SYNs dropped by policy: delivered + aggregated + lost = sent, and memory does not grow",
        needs: || None,
        agent: true,
        alone: true,
        run,
    }
}

fn run() -> Result<String> {
    let lab = Lab::new(Topology::Routed)?;
    lab.cluster.deny_all_egress()?;
    Backend::Nft.refuse(&lab.node, "pod-api-client", Match::From(lab.client().ips), Refusal::Drop)?;
    let agent = Agent::start(&lab, &[])?;
    let warmed = flood(&lab, &agent, WARM_UP)?;
    let before = agent.resident()?;
    let start = Instant::now();
    let counts = flood(&lab, &agent, FLOOD)?;
    let seconds = start.elapsed().as_secs_f64();
    let after = agent.resident()?;
    let grown = after.saturating_sub(before);
    ensure!(grown <= GROWTH, "the agent grew by {grown} KiB, from {before} to {after}");
    await_count(&agent, WARM_UP + FLOOD - warmed.lost - counts.lost)?;
    agent.terminate()?;
    let Counts { delivered, aggregated, lost } = counts;
    Ok(format!(
        "{FLOOD} sent in {seconds:.1} s = {delivered} delivered + {aggregated} aggregated + {lost} lost; \
         RSS {before} → {after} KiB"
    ))
}

/// The one verdict counts every attempt that was not lost.
fn await_count(agent: &Agent, wanted: u64) -> Result<()> {
    let deadline = Instant::now() + SETTLE_WITHIN;
    loop {
        let verdicts = agent.query(&["default/api-client"])?;
        ensure!(
            verdicts.len() == 1 && verdicts[0]["cause"] == "policy-drop",
            "the verdicts after the flood: {}",
            Value::from(verdicts)
        );
        let count = verdicts[0]["count"].as_u64().unwrap_or(0);
        if count == wanted {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the verdict counts {count} attempts, not {wanted}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Drops, by what became of them.
#[derive(Clone, Copy, Debug)]
struct Counts {
    delivered: u64,
    aggregated: u64,
    lost: u64,
}

impl Counts {
    const fn sum(self) -> u64 {
        self.delivered + self.aggregated + self.lost
    }

    const fn since(self, before: Self) -> Self {
        Self {
            delivered: self.delivered - before.delivered,
            aggregated: self.aggregated - before.aggregated,
            lost: self.lost - before.lost,
        }
    }

    fn of(agent: &Agent) -> Result<Self> {
        let status = agent.status()?;
        let drops = status["events"].as_array().into_iter().flatten().find(|event| event["kind"] == "drop");
        let drops = drops.with_context(|| format!("status has no events of kind drop: {status}"))?;
        let number = |key: &str| drops[key].as_u64().with_context(|| format!("status: {key} in {drops}"));
        // Stages are a list of (stage, count).
        let lost = drops["lost"].as_array().into_iter().flatten().filter_map(|stage| stage[1].as_u64()).sum();
        Ok(Self { delivered: number("delivered")?, aggregated: number("aggregated")?, lost })
    }
}

/// Sends exactly that many SYNs and waits until each is accounted for; more or fewer is an error.
fn flood(lab: &Lab, agent: &Agent, count: u64) -> Result<Counts> {
    let before = Counts::of(agent)?;
    let args = ["flood", "203.0.113.4:443", "--count", &count.to_string()];
    let sent = lab.run(Place::Client, &args)?.outcome(Duration::from_secs(120))?.count;
    ensure!(sent == count, "{sent} of {count} SYNs were sent");
    let deadline = Instant::now() + SETTLE_WITHIN;
    loop {
        let counts = Counts::of(agent)?.since(before);
        match counts.sum() {
            sum if sum == sent => return Ok(counts),
            sum if sum > sent => bail!("{sum} drops are accounted for, {sent} SYNs were sent: {counts:?}"),
            sum if Instant::now() > deadline => bail!("{sum} of {sent} drops are accounted for: {counts:?}"),
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
