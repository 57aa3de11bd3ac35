//! A SYN flood is counted to the last packet, and costs no memory.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{Check, denied_lab};
use crate::agent::Agent;
use crate::lab::{Lab, Place};

/// SYNs of the flood.
const FLOOD: u64 = 200_000;
/// How often it is repeated.
const REPETITIONS: usize = 4;
/// What the agent may grow by in a flood, KiB. Something for each packet would be 10 MiB or more.
const GROWTH: u64 = 2 * 1024;
/// What the agent may grow by in single steps, KiB (the kernel's symbols are read when a new function drops).
const STEPS: u64 = 24 * 1024;
/// Drops that are none of the flood's, at most: devices that are new tell of their multicast groups, and ask for routers.
const STRAYS: u64 = 32;
/// How long the counters may take to show everything.
const SETTLE_WITHIN: Duration = Duration::from_secs(30);

pub(super) fn check() -> Check {
    Check {
        name: "flood",
        sentence: "200,000 SYNs dropped by policy: delivered + aggregated + lost are all of them, the verdict counts each \
                   that was not lost, and memory does not grow",
        needs: || None,
        agent: true,
        alone: true,
        run,
    }
}

fn run() -> Result<String> {
    let (lab, _) = denied_lab()?;
    let agent = Agent::start(&lab, &[])?;
    // What it sets up once, it has set up after the first flood.
    let mut total = flood(&lab, &agent, 0, FLOOD)?;
    let mut resident = vec![agent.resident()?];
    let mut last = (Counts::default(), Duration::ZERO);
    let mut sent = FLOOD;
    for _ in 0..REPETITIONS {
        let start = Instant::now();
        let counts = flood(&lab, &agent, sent, FLOOD)?;
        sent += FLOOD;
        last = (counts, start.elapsed());
        total = total.plus(counts);
        resident.push(agent.resident()?);
    }
    let growth: Vec<u64> = resident.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
    // Memory that grows with the packets grows each time; a single step is something else that was set up.
    ensure!(growth.iter().any(|&grown| grown <= GROWTH), "the agent grows with the flood, KiB: {resident:?}");
    ensure!(growth.iter().sum::<u64>() <= STEPS, "the agent grew too much, KiB: {resident:?}");
    await_count(&agent, sent - total.lost)?;
    agent.terminate()?;
    let (Counts { delivered, aggregated, lost }, took) = last;
    Ok(format!(
        "{FLOOD} sent in {:.1} s = {delivered} delivered + {aggregated} aggregated + {lost} lost; RSS after each \
         flood {resident:?} KiB",
        took.as_secs_f64()
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
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    delivered: u64,
    aggregated: u64,
    pub(super) lost: u64,
}

impl Counts {
    const fn sum(self) -> u64 {
        self.delivered + self.aggregated + self.lost
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            delivered: self.delivered + other.delivered,
            aggregated: self.aggregated + other.aggregated,
            lost: self.lost + other.lost,
        }
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

/// Sends exactly that many SYNs and waits until each is accounted for. None is sent twice: a SYN that is seen for the
/// third time counts as unanswered, even where its drop was only counted.
pub(super) fn flood(lab: &Lab, agent: &Agent, first: u64, count: u64) -> Result<Counts> {
    let before = Counts::of(agent)?;
    let (first, number) = (first.to_string(), count.to_string());
    let args = ["flood", "203.0.113.4:443", "--first", &first, "--count", &number];
    let sent = lab.run(Place::Client, &args)?.outcome(Duration::from_secs(120))?.count;
    ensure!(sent == count, "{sent} of {count} SYNs were sent");
    let deadline = Instant::now() + SETTLE_WITHIN;
    loop {
        let counts = Counts::of(agent)?.since(before);
        match counts.sum() {
            sum if sum > sent + STRAYS => {
                bail!("{sum} drops are accounted for, {sent} SYNs were sent: {counts:?}")
            }
            sum if sum >= sent => return Ok(counts),
            sum if Instant::now() > deadline => bail!("{sum} of {sent} drops are accounted for: {counts:?}"),
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
