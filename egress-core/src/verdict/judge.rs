//! From a case to a cause: the causes are asked in their order, the first that has its evidence decides.

use serde_json::{Map, Value};

use super::case::Case;
use super::{Cause, Confidence, Direction, Fix, PeerKind, Stage, causes};
use crate::flow::Outcome;

/// What a cause says of a case.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Why.
    pub cause: Cause,
    /// How sure.
    pub confidence: Confidence,
    /// Where.
    pub stage: Stage,
    /// One sentence.
    pub summary: String,
    /// Facts by key.
    pub detail: Map<String, Value>,
    /// What to do.
    pub fix: Option<Fix>,
    /// Where exactly it broke, for the path.
    pub place: Option<String>,
    /// Observations beside the cause.
    pub hints: Vec<String>,
}

impl Judgement {
    /// A judgement without detail.
    pub(super) fn new(cause: Cause, confidence: Confidence, stage: Stage, summary: String) -> Self {
        Self {
            cause,
            confidence,
            stage,
            summary,
            detail: Map::new(),
            fix: None,
            place: None,
            hints: Vec::new(),
        }
    }

    /// Adds a fact.
    pub(super) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.detail.insert(key.to_owned(), value.into());
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    pub(super) fn fix(mut self, fix: Option<Fix>) -> Self {
        self.fix = fix;
        self
    }

    /// Advice without a manifest.
    pub(super) fn advise(self, text: impl Into<String>) -> Self {
        self.fix(Some(Fix { text: text.into(), manifest: None }))
    }

    pub(super) fn at(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }
}

/// A cause: its judgement, if it has the evidence it needs.
type Judge = fn(&Case<'_>) -> Option<Judgement>;

/// The order in which causes are asked. `conntrack-full`, `nat-exhausted` and `service-no-endpoints` stand before
/// `policy-drop`; the local causes before those that reason from silence.
const ORDER: &[Judge] = &[
    causes::conntrack_full::judge,
    causes::nat_exhausted::judge,
    causes::service_no_endpoints::judge,
    causes::mesh_blocked::judge,
    causes::policy_drop::judge,
    causes::firewall_drop::judge,
    causes::route_drop::judge,
    causes::mtu::judge,
    causes::local_resource::judge,
    causes::dns_failure::judge,
    causes::tls_failure::judge,
    causes::upstream_reset::judge,
    causes::upstream_refused::judge,
    causes::upstream_unreachable::judge,
    causes::nat_missing::judge,
    causes::upstream_silence::judge,
    causes::upstream_timeout::judge,
    causes::lost_answer::judge,
];

/// Decides. `None` for what is no failure.
#[must_use]
pub fn judge(case: &Case<'_>) -> Option<Judgement> {
    if !is_harm(case) || causes::route_drop::is_routed(case) {
        return None;
    }
    if matches!(case.event.outcome, crate::flow::Outcome::Diverted(_)) {
        // Sockets tell of it, and no packet: without a sidecar there is nothing to say.
        return causes::mesh_blocked::judge(case);
    }
    Some(ORDER.iter().find_map(|judge| judge(case)).unwrap_or_else(|| causes::unknown::judge(case)))
}

/// Strangers that vanish, reset or scan are no failure of the pod that they came to.
fn is_harm(case: &Case<'_>) -> bool {
    match &case.event.outcome {
        Outcome::Succeeded | Outcome::Served => false,
        Outcome::Reset(_) | Outcome::Silence(_) => case.direction == Direction::Egress,
        Outcome::Tls(failure) => {
            case.direction == Direction::Egress
                || case.peer.kind != PeerKind::External
                || causes::tls_failure::is_about_trust(failure)
        }
        _ => true,
    }
}
