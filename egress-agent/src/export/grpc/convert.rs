//! The mapping between our types and the generated ones: the only place that knows both.
//!
//! Towards the wire nothing can fail. From the wire, a value that this build does not know (an enum value of a newer
//! agent) is not an error: the nearest cautious value takes its place and a hint says what was sent.

mod explain;
mod request;
mod status;
mod structs;
mod words;

pub(super) use explain::{
    explain_request_from_proto, explain_request_to_proto, explanation_from_proto, explanation_to_proto,
};
pub(super) use request::{filter_from_proto, query_to_proto};
pub(super) use status::{status_from_proto, status_to_proto};

use std::net::IpAddr;

use egress_core::cluster::PodRef;
use egress_core::time::Timestamp;
use egress_core::verdict::{
    Cause, Evidence, Fix, PathHop, PeerRef, PodIdentity, PolicyFinding, SocketAddress, Translation, Verdict,
};

use super::proto;
use words::{Unknown, Word as _};

/// A message that cannot be what the interface says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// A field that is always set is not.
    #[error("the agent's answer lacks `{0}`")]
    Missing(&'static str),
    /// Not an IP address.
    #[error("the agent's answer has \"{0}\" where an IP address belongs")]
    Address(String),
    /// Not a network.
    #[error("the agent's answer has \"{0}\" where a CIDR belongs")]
    Network(String),
    /// Not a port.
    #[error("the agent's answer has {0} where a port belongs")]
    Port(u32),
}

pub(super) fn verdict_to_proto(verdict: &Verdict) -> proto::Verdict {
    proto::Verdict {
        schema: verdict.schema.clone(),
        id: verdict.id.clone(),
        state: verdict.state.to_proto(),
        policies_as_of: verdict.policies_as_of.map(time_to_proto),
        pod: Some(proto::PodIdentity {
            namespace: verdict.pod.namespace.clone(),
            name: verdict.pod.name.clone(),
            uid: verdict.pod.uid.clone(),
            ip: verdict.pod.ip.to_string(),
            node: verdict.pod.node.clone(),
            workload: verdict.pod.workload.clone(),
        }),
        direction: verdict.direction.to_proto(),
        peer: Some(proto::PeerRef {
            ip: verdict.peer.ip.to_string(),
            port: verdict.peer.port.into(),
            protocol: verdict.peer.protocol.to_proto(),
            name: verdict.peer.name.clone(),
            kind: verdict.peer.kind.to_proto(),
            pod: verdict.peer.pod.as_ref().map(object_to_proto),
            service: verdict.peer.service.as_ref().map(object_to_proto),
        }),
        cause: verdict.cause.to_proto(),
        cause_word: verdict.cause.as_str().to_owned(),
        confidence: verdict.confidence.to_proto(),
        stage: verdict.stage.to_proto(),
        affects: verdict.affects.to_proto(),
        summary: verdict.summary.clone(),
        detail: Some(structs::to_struct(&verdict.detail)),
        path: verdict.path.iter().map(hop_to_proto).collect(),
        translation: Some(proto::Translation {
            source: verdict.translation.source.map(socket_to_proto),
            destination: verdict.translation.destination.map(socket_to_proto),
        }),
        policies: verdict.policies.iter().map(finding_to_proto).collect(),
        fix: verdict.fix.as_ref().map(fix_to_proto),
        hints: verdict.hints.clone(),
        evidence: verdict.evidence.iter().map(evidence_to_proto).collect(),
        count: verdict.count,
        first_seen: Some(time_to_proto(verdict.first_seen)),
        last_seen: Some(time_to_proto(verdict.last_seen)),
        lost_events: verdict.lost_events,
    }
}

pub(super) fn verdict_from_proto(from: proto::Verdict) -> Result<Verdict, ConvertError> {
    let mut unknown = Unknown::default();
    let mut detail = from.detail.map(structs::from_struct).unwrap_or_default();
    let cause = match Cause::known(from.cause) {
        Some(cause) => cause,
        None => {
            // The word came along for this case.
            unknown.note(format!("cause \"{}\"", from.cause_word), Cause::Unknown.as_str());
            detail.insert("cause".to_owned(), from.cause_word.into());
            Cause::Unknown
        }
    };
    let pod = from.pod.ok_or(ConvertError::Missing("pod"))?;
    let peer = from.peer.ok_or(ConvertError::Missing("peer"))?;
    let translation = from.translation.unwrap_or_default();
    let mut verdict = Verdict {
        schema: from.schema,
        id: from.id,
        state: unknown.word("state", from.state),
        policies_as_of: from.policies_as_of.map(time_from_proto),
        pod: PodIdentity {
            namespace: pod.namespace,
            name: pod.name,
            uid: pod.uid,
            ip: ip(&pod.ip)?,
            node: pod.node,
            workload: pod.workload,
        },
        direction: unknown.word("direction", from.direction),
        peer: PeerRef {
            ip: ip(&peer.ip)?,
            port: port(peer.port)?,
            protocol: unknown.word("peer.protocol", peer.protocol),
            name: peer.name,
            kind: unknown.word("peer.kind", peer.kind),
            pod: peer.pod.map(object_from_proto),
            service: peer.service.map(object_from_proto),
        },
        cause,
        confidence: unknown.word("confidence", from.confidence),
        stage: unknown.word("stage", from.stage),
        affects: unknown.word("affects", from.affects),
        summary: from.summary,
        detail,
        path: from.path.into_iter().map(|hop| hop_from_proto(hop, &mut unknown)).collect(),
        translation: Translation {
            source: translation.source.map(socket_from_proto).transpose()?,
            destination: translation.destination.map(socket_from_proto).transpose()?,
        },
        policies: from.policies.into_iter().map(|f| finding_from_proto(f, &mut unknown)).collect(),
        fix: from.fix.map(fix_from_proto),
        hints: from.hints,
        evidence: from.evidence.into_iter().map(|e| evidence_from_proto(e, &mut unknown)).collect(),
        count: from.count,
        first_seen: time_from_proto(from.first_seen.ok_or(ConvertError::Missing("first_seen"))?),
        last_seen: time_from_proto(from.last_seen.ok_or(ConvertError::Missing("last_seen"))?),
        lost_events: from.lost_events,
    };
    verdict.hints.extend(unknown.into_hints());
    Ok(verdict)
}

fn hop_to_proto(hop: &PathHop) -> proto::PathHop {
    proto::PathHop {
        hop: hop.hop.to_proto(),
        device: hop.device.clone(),
        outcome: hop.outcome.to_proto(),
        r#where: hop.r#where.clone(),
    }
}

fn hop_from_proto(from: proto::PathHop, unknown: &mut Unknown) -> PathHop {
    PathHop {
        hop: unknown.word("path.hop", from.hop),
        device: from.device,
        outcome: unknown.word("path.outcome", from.outcome),
        r#where: from.r#where,
    }
}

fn finding_to_proto(finding: &PolicyFinding) -> proto::PolicyFinding {
    proto::PolicyFinding {
        kind: finding.kind.clone(),
        namespace: finding.namespace.clone(),
        name: finding.name.clone(),
        side: finding.side.to_proto(),
        result: finding.result.to_proto(),
        why: finding.why.clone(),
    }
}

fn finding_from_proto(from: proto::PolicyFinding, unknown: &mut Unknown) -> PolicyFinding {
    PolicyFinding {
        side: unknown.word("policies.side", from.side),
        result: unknown.word("policies.result", from.result),
        kind: from.kind,
        namespace: from.namespace,
        name: from.name,
        why: from.why,
    }
}

fn evidence_to_proto(evidence: &Evidence) -> proto::Evidence {
    proto::Evidence {
        time: Some(time_to_proto(evidence.time)),
        stage: evidence.stage.to_proto(),
        text: evidence.text.clone(),
    }
}

fn evidence_from_proto(from: proto::Evidence, unknown: &mut Unknown) -> Evidence {
    Evidence {
        time: from.time.map(time_from_proto).unwrap_or_default(),
        stage: unknown.word("evidence.stage", from.stage),
        text: from.text,
    }
}

fn fix_to_proto(fix: &Fix) -> proto::Fix {
    proto::Fix { text: fix.text.clone(), manifest: fix.manifest.clone() }
}

fn fix_from_proto(from: proto::Fix) -> Fix {
    Fix { text: from.text, manifest: from.manifest }
}

fn object_to_proto(object: &PodRef) -> proto::ObjectName {
    proto::ObjectName { namespace: object.namespace.clone(), name: object.name.clone() }
}

fn object_from_proto(from: proto::ObjectName) -> PodRef {
    PodRef { namespace: from.namespace, name: from.name }
}

fn socket_to_proto(at: SocketAddress) -> proto::SocketAddress {
    proto::SocketAddress { ip: at.ip.to_string(), port: at.port.into() }
}

fn socket_from_proto(from: proto::SocketAddress) -> Result<SocketAddress, ConvertError> {
    Ok(SocketAddress { ip: ip(&from.ip)?, port: port(from.port)? })
}

fn ip(text: &str) -> Result<IpAddr, ConvertError> {
    text.parse().map_err(|_| ConvertError::Address(text.to_owned()))
}

fn port(number: u32) -> Result<u16, ConvertError> {
    number.try_into().map_err(|_| ConvertError::Port(number))
}

fn time_to_proto(at: Timestamp) -> prost_types::Timestamp {
    // The remainder is below 1,000,000 by definition of the operation.
    let micros = i32::try_from(at.0.rem_euclid(1_000_000)).unwrap_or(0);
    prost_types::Timestamp { seconds: at.0.div_euclid(1_000_000), nanos: micros * 1000 }
}

fn time_from_proto(from: prost_types::Timestamp) -> Timestamp {
    Timestamp(from.seconds.saturating_mul(1_000_000).saturating_add(i64::from(from.nanos) / 1000))
}

#[cfg(test)]
mod tests;
