//! `Explain`, both ways.

use egress_core::explain::PartView;
use egress_core::policy::{BackendView, SideView};
use egress_core::protocol::Protocol;
use tonic::Status;

use super::super::proto;
use super::words::{Unknown, Word as _};
use super::{
    ConvertError, finding_from_proto, finding_to_proto, fix_from_proto, fix_to_proto, ip, object_from_proto,
    object_to_proto, port,
};
use crate::answers::{ExplainRequest, Explanation};

pub(in super::super) fn explain_request_to_proto(request: &ExplainRequest) -> proto::ExplainRequest {
    proto::ExplainRequest {
        from: request.from.clone(),
        to: request.to.clone(),
        port: request.port.into(),
        protocol: request.protocol.to_proto(),
        dns: request.dns.iter().map(|(name, ip)| (name.clone(), ip.to_string())).collect(),
    }
}

pub(in super::super) fn explain_request_from_proto(
    from: proto::ExplainRequest,
) -> Result<ExplainRequest, Status> {
    let protocol = match from.protocol {
        0 => Protocol::Tcp,
        number => Protocol::known(number).ok_or_else(|| {
            Status::invalid_argument(format!("this agent does not know the protocol numbered {number}"))
        })?,
    };
    let port = u16::try_from(from.port)
        .map_err(|_| Status::invalid_argument(format!("`port` {} is above 65535", from.port)))?;
    let dns = from.dns.into_iter().map(|(name, ip)| match ip.parse() {
        Ok(ip) => Ok((name, ip)),
        Err(_) => Err(Status::invalid_argument(format!("`dns`: \"{ip}\" is not an IP address"))),
    });
    let mut dns = dns.collect::<Result<Vec<_>, _>>()?;
    dns.sort();
    Ok(ExplainRequest { from: from.from, to: from.to, port, protocol, dns })
}

pub(in super::super) fn explanation_to_proto(explanation: &Explanation) -> proto::ExplainResponse {
    let backends = |backends: &Vec<BackendView>| proto::BackendDecisions {
        backends: backends.iter().map(backend_to_proto).collect(),
    };
    proto::ExplainResponse {
        decision: explanation.decision.to_proto(),
        egress: explanation.egress.as_ref().map(side_to_proto),
        ingress: explanation.ingress.as_ref().map(side_to_proto),
        fix: explanation.fix.as_ref().map(fix_to_proto),
        several: explanation.backends.as_ref().map(backends),
        notes: explanation.notes.clone(),
        from: explanation.from.clone(),
        to: explanation.to.clone(),
        range: explanation
            .parts
            .as_ref()
            .map(|parts| proto::RangeDecisions { parts: parts.iter().map(part_to_proto).collect() }),
    }
}

pub(in super::super) fn explanation_from_proto(
    from: proto::ExplainResponse,
) -> Result<Explanation, ConvertError> {
    let mut unknown = Unknown::default();
    let decision = unknown.word("decision", from.decision);
    let egress = from.egress.map(|side| side_from_proto(side, &mut unknown));
    let ingress = from.ingress.map(|side| side_from_proto(side, &mut unknown));
    let mut backend = |from| backend_from_proto(from, &mut unknown);
    let backends = from
        .several
        .map(|several| several.backends.into_iter().map(&mut backend).collect::<Result<Vec<_>, _>>())
        .transpose()?;
    let mut part = |from| part_from_proto(from, &mut unknown);
    let parts = from.range.map(|range| range.parts.into_iter().map(&mut part).collect::<Result<Vec<_>, _>>());
    let parts = parts.transpose()?;
    let fix = from.fix.map(fix_from_proto);
    let (mut notes, from, to) = (from.notes, from.from, from.to);
    notes.extend(unknown.into_hints());
    Ok(Explanation { decision, egress, ingress, fix, backends, parts, notes, from, to })
}

fn side_to_proto(side: &SideView) -> proto::SideDecision {
    proto::SideDecision {
        isolated: side.isolated,
        decision: side.decision.to_proto(),
        policies: side.policies.iter().map(finding_to_proto).collect(),
    }
}

fn side_from_proto(from: proto::SideDecision, unknown: &mut Unknown) -> SideView {
    SideView {
        isolated: from.isolated,
        decision: unknown.word("decision", from.decision),
        policies: from.policies.into_iter().map(|finding| finding_from_proto(finding, unknown)).collect(),
    }
}

fn backend_to_proto(backend: &BackendView) -> proto::BackendDecision {
    proto::BackendDecision {
        ip: backend.ip.to_string(),
        port: backend.port.into(),
        pod: backend.pod.as_ref().map(object_to_proto),
        ready: backend.ready,
        decision: backend.decision.to_proto(),
        egress: backend.egress.as_ref().map(side_to_proto),
        ingress: backend.ingress.as_ref().map(side_to_proto),
    }
}

fn backend_from_proto(
    from: proto::BackendDecision,
    unknown: &mut Unknown,
) -> Result<BackendView, ConvertError> {
    Ok(BackendView {
        ip: ip(&from.ip)?,
        port: port(from.port)?,
        pod: from.pod.map(object_from_proto),
        ready: from.ready,
        decision: unknown.word("decision", from.decision),
        egress: from.egress.map(|side| side_from_proto(side, unknown)),
        ingress: from.ingress.map(|side| side_from_proto(side, unknown)),
    })
}

fn part_to_proto(part: &PartView) -> proto::PartDecision {
    proto::PartDecision {
        nets: part.nets.iter().map(ToString::to_string).collect(),
        decision: part.decision.to_proto(),
        egress: part.egress.as_ref().map(side_to_proto),
        ingress: part.ingress.as_ref().map(side_to_proto),
    }
}

fn part_from_proto(from: proto::PartDecision, unknown: &mut Unknown) -> Result<PartView, ConvertError> {
    let nets = from.nets.iter().map(|text| text.parse().map_err(|_| ConvertError::Network(text.clone())));
    Ok(PartView {
        nets: nets.collect::<Result<_, _>>()?,
        decision: unknown.word("decision", from.decision),
        egress: from.egress.map(|side| side_from_proto(side, unknown)),
        ingress: from.ingress.map(|side| side_from_proto(side, unknown)),
    })
}
