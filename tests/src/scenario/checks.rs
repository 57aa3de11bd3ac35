//! Checks that are no single verdict: exact counts under a flood, a killed agent, bad input.

mod apiserver;
mod clients;
mod drift;
mod flood;
mod history;
mod hostile;
mod input;
mod interfaces;
mod kill;
mod lab;
mod monitoring;
mod reach;
mod sandbox;

use anyhow::Result;

use crate::enforce::{Backend, Enforced, Match, Refusal};
use crate::lab::Lab;
use crate::topology::Topology;

/// A check.
pub struct Check {
    /// Name, the filter's subject.
    pub name: &'static str,
    /// What must hold, in a sentence.
    pub sentence: &'static str,
    /// What must be there; a reason why it is not skips the check.
    pub needs: fn() -> Option<String>,
    /// It asks the agent; false: it proves the lab alone.
    pub agent: bool,
    /// Runs beside nothing else.
    pub alone: bool,
    /// Returns what was measured, in words.
    pub run: fn() -> Result<String>,
}

/// Every check.
pub fn all() -> Vec<Check> {
    let mut checks = lab::all();
    checks.extend(input::all());
    checks.push(interfaces::check());
    checks.push(monitoring::check());
    checks.push(sandbox::check());
    checks.push(history::check());
    checks.push(reach::check());
    checks.extend(apiserver::all());
    checks.push(drift::check());
    checks.push(kill::check());
    checks.push(hostile::check());
    checks.push(clients::check());
    checks.push(flood::check());
    checks
}

/// A routed lab whose client may send nothing: by policy, and by the node's rules, which can be taken out again.
fn denied_lab() -> Result<(Lab, Enforced)> {
    let lab = Lab::new(Topology::Routed)?;
    lab.cluster.deny_all_egress()?;
    let client = Match::From(lab.client().ips);
    let enforced = Backend::Nft.refuse(&lab.node, "pod-api-client", client, Refusal::Drop)?;
    Ok((lab, enforced))
}
