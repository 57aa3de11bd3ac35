//! Where the datapath and the policies disagree: told only from what was seen, and only once policies have been as
//! they are for a while, because network plugins need some time to follow.

use std::collections::HashMap;
use std::time::Duration;

use super::Pipeline;
use crate::cluster::{ClusterChange, ObjectKind};
use crate::decode::{Tap, Tuple};
use crate::flow::FlowEvent;
use crate::policy::{self, PolicyFlow, PolicyView};
use crate::tally::{Counted, Tally};
use crate::time::Mono;
use crate::verdict::{Case, Cause, Judgement, PolicyResult, Stage};

/// Network plugins follow a change of policies within this time.
const GRACE: Duration = Duration::from_secs(10);
/// The same connection is compared again after this time.
const AGAIN: Duration = Duration::from_secs(60);
/// Connections compared within that time at most: a comparison costs more than an event may.
const COMPARED: usize = 512;

/// What was compared lately, and since when policies are as they are.
#[derive(Debug, Default)]
pub(super) struct Drift {
    changed: Mono,
    compared: HashMap<Tuple, Mono>,
    /// Connections that policies deny and that were accepted.
    passed: Told,
    /// Drops by the network plugin of what policies allow.
    pub(super) dropped: Told,
}

/// How often, and the last in words.
#[derive(Debug, Default)]
pub(super) struct Told {
    count: u64,
    last: String,
}

impl Told {
    pub(super) fn note(&mut self, last: String) {
        self.count += 1;
        self.last = last;
    }
}

impl Drift {
    /// A change of the cluster that may change what policies say.
    pub(super) fn note_change(&mut self, change: &ClusterChange, at: Mono) {
        let kind = match change {
            ClusterChange::Apply { object } => object.kind(),
            ClusterChange::Delete { object } => object.kind,
            ClusterChange::Reset { kind, .. } => *kind,
            _ => return,
        };
        if kind.is_policy() || kind == ObjectKind::Namespace {
            self.changed = at;
            self.compared.clear();
        }
    }

    /// Policies were as they are when this began, and long enough before.
    fn is_settled(&self, began: Mono) -> bool {
        began.since(self.changed) >= GRACE
    }

    /// Whether to compare this connection now. The client's port does not matter.
    fn is_due(&mut self, client: &Tuple, now: Mono) -> bool {
        let mut key = *client;
        key.source.port = 0;
        if self.compared.get(&key).is_some_and(|at| now.since(*at) < AGAIN) {
            return false;
        }
        if self.compared.len() >= COMPARED {
            self.compared.retain(|_, at| now.since(*at) < AGAIN);
        }
        let room = self.compared.len() < COMPARED;
        if room {
            self.compared.insert(key, now);
        }
        room
    }
}

impl Pipeline {
    /// Where datapath and policies were seen to disagree, in words.
    #[must_use]
    pub fn drifts(&self) -> Vec<String> {
        let Drift { passed, dropped, .. } = &self.drift;
        let mut words = Vec::new();
        if passed.count > 0 {
            words.push(format!(
                "drift: this node's network plugin does not enforce what policies say: {} {} that they deny, last {}",
                passed.count,
                if passed.count == 1 { "connection was opened" } else { "connections were opened" },
                passed.last
            ));
        }
        if dropped.count > 0 {
            words.push(format!(
                "drift: this node's network plugin drops what policies allow: {} {}, last {}",
                dropped.count,
                if dropped.count == 1 { "failure" } else { "failures" },
                dropped.last
            ));
        }
        words
    }

    /// A connection was accepted: do policies deny it?
    pub(super) fn compare(&mut self, event: &FlowEvent) {
        let client = &event.client;
        if client.protocol != 6 || !self.drift.is_settled(event.first) || !self.drift.is_due(client, event.at)
        {
            return;
        }
        // After translation, where it was seen translated.
        let seen = event.journey.request(Tap::PodIn).or_else(|| event.journey.request(Tap::UplinkOut));
        let to = seen.map_or(client.destination, |seen| seen.tuple.destination);
        let Some(frame) = self.frame(client, Some(to), event.first) else { return };
        let target = self.index.resolve(to.ip, to.port, client.transport(), event.first);
        let asked = PolicyFlow {
            from: frame.client,
            to: target,
            port: to.port,
            protocol: client.transport(),
            names: self.names_of(client, event.first),
        };
        let view = policy::evaluate(&self.index, &asked);
        if view.denies() {
            let by = denying(&view);
            let (pod, ip, port) = (frame.pod.reference(), client.destination.ip, client.destination.port);
            self.drift.passed.note(format!("{pod} and {ip} port {port}, which {by} does not admit"));
            self.tallies.push(Tally { pod: frame.pod, what: Counted::Drift { kind: "denied-but-passed" } });
        }
    }

    /// What a verdict shows of it: a hint, and whether the plugin dropped what policies allow.
    pub(super) fn drift(&self, case: &Case<'_>, judgement: &mut Judgement) -> Option<(Counted, String)> {
        if !self.drift.is_settled(case.event.first) {
            return None;
        }
        if judgement.cause == Cause::FirewallDrop && case.event.failed > 0 {
            let owner = judgement.detail.get("owner").and_then(serde_json::Value::as_str);
            let plugin = owner.is_some_and(crate::verdict::enforces_policies);
            let pod = case.pod.pod_ref().map_or_else(|| "a pod".to_owned(), |pod| pod.to_string());
            let last = format!("{pod} and {}, dropped by {}", case.address(), owner.unwrap_or_default());
            return plugin.then_some((Counted::Drift { kind: "allowed-but-dropped" }, last));
        }
        let journey = &case.event.journey;
        let passed = journey.request(Tap::UplinkOut).is_some() || journey.request(Tap::PodIn).is_some();
        if case.denied() && passed && judgement.stage == Stage::Upstream && case.filtered().is_none() {
            let names: Vec<&str> = case
                .policy
                .denying_sides()
                .flat_map(|(_, side)| &side.policies)
                .map(|finding| finding.name.as_str())
                .collect();
            judgement.hints.push(format!(
                "the CNI lets through what policy denies: the {} went on although {} does not admit it",
                case.packet_word(),
                names.join(", "),
            ));
        }
        None
    }
}

/// The policies that deny it, by kind and name.
fn denying(view: &PolicyView) -> String {
    let names: Vec<String> = view
        .denying_sides()
        .flat_map(|(_, side)| &side.policies)
        .filter(|finding| matches!(finding.result, PolicyResult::DoesNotAdmit | PolicyResult::Denies))
        .map(|finding| match &finding.namespace {
            Some(namespace) => format!("{} {namespace}/{}", finding.kind, finding.name),
            None => format!("{} {}", finding.kind, finding.name),
        })
        .collect();
    names.join(", ")
}
