//! One run of a scenario, judged by what the agent says.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use super::Args;
use super::recording::Recording;
use crate::agent::Agent;
use crate::api::ApiCluster;
use crate::expect::Expect;
use crate::lab::Lab;
use crate::process::{Line, Process};
use crate::scenario::{Health, Run, Scenario};

/// How long a verdict is waited for after its traffic has ended.
const PATIENCE: Duration = Duration::from_secs(20);
/// A verdict fails by its time only beyond this multiple of what is promised.
const SLACK: u32 = 10;

/// Every pod of the lab.
const PODS: [&str; 3] = ["default/api-client", "default/api-server", "kube-system/coredns"];

/// What was found out about one run.
#[derive(Debug, Default)]
pub(super) struct Trial {
    /// The causes that a fault must have, its own first; `none` for healthy traffic.
    pub(super) expected: Vec<&'static str>,
    /// How soon the verdict is promised.
    pub(super) within: Option<Duration>,
    /// The causes that were reported.
    pub(super) reported: Vec<String>,
    /// From the first packet to the verdict.
    pub(super) delay: Option<Duration>,
    /// The verdict's confidence, or what a check measured.
    pub(super) note: String,
}

impl Trial {
    /// Builds the lab, starts the agent, drives the traffic, asks for verdicts and compares.
    pub(super) fn perform(&mut self, scenario: &Scenario, health: Health, args: &Args) -> Result<()> {
        let with_agent = !args.no_agent;
        let expect = scenario.expect.filter(|_| health == Health::Broken).map(|expect| expect());
        if with_agent {
            self.expected = match &expect {
                Some(expect) => {
                    let mut causes: Vec<_> = (scenario.also)().iter().map(|also| also.cause).collect();
                    causes.insert(0, expect.cause);
                    causes
                }
                None => vec!["none"],
            };
            self.within = expect.as_ref().map(|expect| expect.within);
        }
        let mut lab = Lab::new(scenario.topology)?;
        (scenario.set_up)(&mut lab, health).context("setting up")?;
        let recording = Recording::of(&lab);
        let arguments = recording.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let api = scenario.on_api.then(|| ApiCluster::start(&lab)).transpose()?;
        let start = || match &api {
            Some(api) => Agent::start_on_api(&lab, api.kubeconfig(), &arguments),
            None => Agent::start(&lab, &arguments),
        };
        let agent = with_agent.then(start).transpose()?;
        let followed = expect.as_ref().map_or_else(|| "default/api-client".to_owned(), Expect::pod_path);
        let mut follower = agent.as_ref().map(|agent| agent.follow(&followed)).transpose()?;
        let mut run = Run { lab, health, agent, api, began: Instant::now() };
        (scenario.traffic)(&mut run)?;

        let (Some(agent), Some(follower)) = (&run.agent, &mut follower) else { return Ok(()) };
        let judged = match &expect {
            Some(expect) => self.judge_fault(follower, run.began, expect).and_then(|()| {
                let mut all = (scenario.also)();
                all.insert(0, expect.clone());
                self.judge_end(agent, &all)
            }),
            None => self.judge_health(agent, follower, scenario.quiet),
        };
        // What is wrong comes first; the agent's log follows.
        judged
            .map_err(|error| anyhow!("{error:#}\nthe agent {}: {}", run_state(agent.id()), agent.errors()))?;
        // The fault, or noise, which has none. A twin would take the name of its fault.
        let keep = args.record.as_deref().filter(|_| expect.is_some() || scenario.expect.is_none());
        // The lab and the API server live until their agent has ended.
        let Run { agent, lab: _lab, api: _api, .. } = run;
        agent.map_or(Ok(()), |agent| recording.prove(agent, keep.map(|folder| (folder, scenario.name))))
    }

    /// The expected verdict comes in time, and no other.
    fn judge_fault(&mut self, follower: &mut Process, began: Instant, expect: &Expect) -> Result<()> {
        let mut latest: BTreeMap<String, Value> = BTreeMap::new();
        let mut closest: Option<Vec<String>> = None;
        // Traffic has ended by now: what comes late came late for a person too, but let it say what it is.
        let deadline = (began + expect.within).max(Instant::now()) + PATIENCE;
        while let Some(Line { at, text }) = follower.line(deadline) {
            let verdict: Value =
                serde_json::from_str(&text).with_context(|| format!("the follower printed {text}"))?;
            latest.insert(verdict["id"].to_string(), verdict.clone());
            let differences = expect.differences(&verdict);
            if differences.is_empty() {
                self.delay = Some(at.saturating_duration_since(began));
                self.note = verdict["confidence"].as_str().unwrap_or_default().to_owned();
                break;
            }
            if closest.as_ref().is_none_or(|c| differences.len() <= c.len()) {
                closest = Some(differences);
            }
        }
        self.reported = causes(latest.values());
        let Some(delay) = self.delay else {
            let Some(differences) = closest else {
                bail!("no verdict: {}", follower.errors());
            };
            let shown: Vec<_> = latest.values().map(ToString::to_string).collect();
            bail!("no verdict as expected: {}\n{}", differences.join("; "), shown.join("\n"));
        };
        if delay > expect.within {
            // A busy machine is late too: the time is told, and only a verdict out of all proportion fails.
            let limit = expect.within.as_secs_f64();
            self.note = format!("{}, late: promised within {limit} s", self.note);
            if delay > expect.within * SLACK {
                bail!("the verdict took {:.2} s, far more than {limit} s", delay.as_secs_f64());
            }
        }
        Ok(())
    }

    /// What the history holds at the end says the same, and nothing else.
    fn judge_end(&mut self, agent: &Agent, expected: &[Expect]) -> Result<()> {
        self.reported.clear();
        let deadline = Instant::now() + PATIENCE;
        for pod in PODS {
            let wanted: Vec<_> = expected
                .iter()
                .filter(|e| e.pod_path() == pod || (e.shown_on_server && pod == "default/api-server"))
                .collect();
            let mut found = agent.query(&[pod])?;
            // Several faults need not be told at the same time.
            while found.len() < wanted.len() && expected.len() > 1 && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(100));
                found = agent.query(&[pod])?;
            }
            // A failure between two pods is found under both; it is compared where it is told, and at the server
            // where the scenario says so.
            let (own, shown): (Vec<_>, Vec<_>) = found.into_iter().partition(|verdict| {
                format!("{}/{}", text(&verdict["pod"]["namespace"]), text(&verdict["pod"]["name"])) == pod
            });
            let mut found = own;
            found.extend(shown.into_iter().filter(|verdict| {
                let known = expected.iter().any(|e| e.differences(verdict).is_empty() && !e.shown_on_server);
                !known
            }));
            self.reported.extend(causes(&found));
            compare(pod, &wanted, &found)?;
        }
        self.reported.sort();
        self.reported.dedup();
        Ok(())
    }

    /// No verdict of any pod, until long enough after the traffic.
    fn judge_health(&mut self, agent: &Agent, follower: &mut Process, quiet: Duration) -> Result<()> {
        let heard = follower.line(Instant::now() + quiet);
        let mut wrong = Vec::new();
        for pod in PODS {
            wrong.extend(agent.query(&[pod])?);
        }
        self.reported = causes(&wrong);
        if let Some(line) = heard {
            bail!("a verdict on healthy traffic: {}", line.text);
        }
        if !wrong.is_empty() {
            bail!("verdicts on healthy traffic: {}", Value::from(wrong));
        }
        if !follower.running() {
            bail!("the follower ended: {}", follower.errors());
        }
        Ok(())
    }
}

/// Each expected verdict is there once, and no other.
fn compare(pod: &str, wanted: &[&Expect], found: &[Value]) -> Result<()> {
    for expect in wanted {
        let closest = found.iter().map(|verdict| expect.differences(verdict)).min_by_key(Vec::len);
        match closest {
            Some(differences) if differences.is_empty() => {}
            Some(differences) => bail!(
                "query of {pod} says something else in the end: {}\n{}",
                differences.join("; "),
                Value::from(found.to_vec())
            ),
            None => bail!("query of {pod} shows no {}", expect.cause),
        }
    }
    if found.len() != wanted.len() {
        bail!(
            "{pod} has {} verdicts instead of {}: {}",
            found.len(),
            wanted.len(),
            Value::from(found.to_vec())
        );
    }
    Ok(())
}

/// Whether the process is there, in words.
fn run_state(pid: u32) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    match status.rsplit(')').next().map(str::trim_start).and_then(|rest| rest.chars().next()) {
        Some('Z') | None => "has ended".to_owned(),
        Some(_) => "runs".to_owned(),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn causes<'a>(verdicts: impl IntoIterator<Item = &'a Value>) -> Vec<String> {
    let mut causes: Vec<_> =
        verdicts.into_iter().map(|v| v["cause"].as_str().unwrap_or("?").to_owned()).collect();
    causes.sort();
    causes.dedup();
    causes
}
