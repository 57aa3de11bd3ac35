//! `Explain`, both ways.

use tonic::Status;

use super::super::proto;
use super::words::{Unknown, Word as _};
use super::{
    ConvertError, finding_from_proto, finding_to_proto, fix_from_proto, fix_to_proto, object_from_proto,
    object_to_proto, socket_from_proto, socket_to_proto,
};
use crate::answers::{BackendDecision, ExplainRequest, Explanation, SideDecision};
use egress_core::protocol::Protocol;

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
    proto::ExplainResponse {
        decision: explanation.decision.to_proto(),
        egress: explanation.egress.as_ref().map(side_to_proto),
        ingress: explanation.ingress.as_ref().map(side_to_proto),
        fix: explanation.fix.as_ref().map(fix_to_proto),
        backends: explanation.backends.iter().map(backend_to_proto).collect(),
    }
}

pub(in super::super) fn explanation_from_proto(
    from: proto::ExplainResponse,
) -> Result<Explanation, ConvertError> {
    let mut unknown = Unknown::default();
    let decision = unknown.word("decision", from.decision);
    let egress = from.egress.map(|side| side_from_proto(side, &mut unknown));
    let ingress = from.ingress.map(|side| side_from_proto(side, &mut unknown));
    let backends = from
        .backends
        .into_iter()
        .map(|backend| backend_from_proto(backend, &mut unknown))
        .collect::<Result<_, _>>()?;
    Ok(Explanation { decision, egress, ingress, fix: from.fix.map(fix_from_proto), backends })
}

fn side_to_proto(side: &SideDecision) -> proto::SideDecision {
    proto::SideDecision {
        isolated: side.isolated,
        decision: side.decision.to_proto(),
        policies: side.policies.iter().map(finding_to_proto).collect(),
    }
}

fn side_from_proto(from: proto::SideDecision, unknown: &mut Unknown) -> SideDecision {
    SideDecision {
        isolated: from.isolated,
        decision: unknown.word("decision", from.decision),
        policies: from.policies.into_iter().map(|finding| finding_from_proto(finding, unknown)).collect(),
    }
}

fn backend_to_proto(backend: &BackendDecision) -> proto::BackendDecision {
    proto::BackendDecision {
        pod: backend.pod.as_ref().map(object_to_proto),
        address: Some(socket_to_proto(backend.address)),
        decision: backend.decision.to_proto(),
        egress: backend.egress.as_ref().map(side_to_proto),
        ingress: backend.ingress.as_ref().map(side_to_proto),
    }
}

fn backend_from_proto(
    from: proto::BackendDecision,
    unknown: &mut Unknown,
) -> Result<BackendDecision, ConvertError> {
    Ok(BackendDecision {
        pod: from.pod.map(object_from_proto),
        address: socket_from_proto(from.address.ok_or(ConvertError::Missing("backends.address"))?)?,
        decision: unknown.word("decision", from.decision),
        egress: from.egress.map(|side| side_from_proto(side, unknown)),
        ingress: from.ingress.map(|side| side_from_proto(side, unknown)),
    })
}
