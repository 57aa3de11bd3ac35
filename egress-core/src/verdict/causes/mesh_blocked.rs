//! `mesh-blocked`: the connection was diverted to a sidecar on the pod's loopback, which refused, reset or closed it
//! without going on to anywhere.

mod advice;
mod sidecar;

use std::net::SocketAddr;

use serde_json::Value;

use crate::flow::{DivertedEnd, DivertedFailure, Outcome};
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Confidence, PeerKind, Stage};

use sidecar::Sidecar;

pub(in crate::verdict) fn judge(case: &Case<'_>) -> Option<Judgement> {
    let Outcome::Diverted(failure) = &case.event.outcome else { return None };
    if failure.listener.is_some_and(|at| !at.ip.is_loopback()) {
        return Some(inbound(case, failure));
    }
    let sidecar = Sidecar::of(case.pod.pod.as_deref(), failure.listener.map(|at| at.port));
    let confidence = confidence(case, failure, &sidecar)?;
    let listener = failure.listener.map(|at| SocketAddr::new(at.ip, at.port));
    let place = match (&sidecar.container, listener) {
        (Some(container), Some(at)) => format!("{} (container {container}, {at})", sidecar.mesh.article()),
        (Some(container), None) => format!("{} (container {container})", sidecar.mesh.article()),
        (None, Some(at)) => format!("{} ({at})", sidecar.mesh.article()),
        (None, None) => sidecar.mesh.article().to_owned(),
    };
    let after = failure.after.as_millis();
    let what = match failure.end {
        DivertedEnd::Refused => "on whose port nothing listens: refused".to_owned(),
        DivertedEnd::Reset => {
            format!("which reset it {after} ms after accepting it, without connecting anywhere")
        }
        _ => format!(
            "which closed it {after} ms after accepting it, without connecting anywhere or sending a byte"
        ),
    };
    let summary = format!(
        "The connection to {} never left the pod: it was diverted to {place}, {what}.",
        case.target()
    );
    let mut judgement = Judgement::new(Cause::MeshBlocked, confidence, Stage::Pod, summary)
        .with("kind", failure.end.as_str())
        .with("mesh", sidecar.mesh.as_str())
        .with("container", sidecar.container.clone().map_or(Value::Null, Value::from))
        .with("listener", listener.map_or(Value::Null, |at| at.to_string().into()))
        .at(listener.map_or_else(|| "the pod's loopback".to_owned(), |at| at.to_string()));
    if !failure.command.is_empty() {
        judgement = judgement.with("command", failure.command.clone());
    }
    if let Some(sent) = failure.sent {
        judgement = judgement.with("bytes_sent", sent);
    }
    if listener.is_none() {
        judgement =
            judgement.hint("this kernel does not tell which listener refused; the SYN did not leave the pod");
    }
    Some(judgement.fix(Some(advice::fix(case, failure, &sidecar))))
}

/// The sidecar of the destination took it, read, and ended it without asking the application.
fn inbound(case: &Case<'_>, failure: &DivertedFailure) -> Judgement {
    let listener = failure.listener.map(|at| SocketAddr::new(at.ip, at.port));
    let there = case.peer.pod.as_deref();
    let sidecar = Sidecar::of(there, failure.listener.map(|at| at.port));
    let here = Sidecar::of(case.pod.pod.as_deref(), None);
    let pod =
        there.map_or_else(|| "the destination pod".to_owned(), |pod| format!("pod {}", pod.reference()));
    let at = listener.map_or_else(String::new, |at| format!(" ({at})"));
    let summary = format!(
        "The connection to {} was taken by {}{at} in {pod}, which ended it {} ms later without an answer and without \
         passing it to the application.",
        case.target(),
        sidecar.mesh.article(),
        failure.after.as_millis(),
    );
    let mut judgement = Judgement::new(Cause::MeshBlocked, Confidence::Likely, Stage::Upstream, summary)
        .with("kind", failure.end.as_str())
        .with("side", "inbound")
        .with("mesh", sidecar.mesh.as_str())
        .with("container", sidecar.container.clone().map_or(Value::Null, Value::from))
        .with("listener", listener.map_or(Value::Null, |at| at.to_string().into()))
        .at(listener.map_or_else(String::new, |at| at.to_string()));
    if !here.is_known() {
        judgement =
            judgement.hint("this pod has no sidecar, so what it sends there is no mutual TLS of the mesh");
    }
    judgement.advise(advice::inbound(case, &sidecar, &pod))
}

/// How sure it is that a sidecar did it. `None`: nothing says that there is one.
fn confidence(case: &Case<'_>, failure: &DivertedFailure, sidecar: &Sidecar) -> Option<Confidence> {
    if failure.listener.is_none() {
        // Only that the SYN did not leave the pod is known: then the sidecar must be in the spec at least.
        return sidecar.container.is_some().then_some(Confidence::Likely);
    }
    let known = sidecar.is_known();
    // A tunnel that the sidecar keeps open may end at a server that closes; to outside each connection is its own.
    let own = failure.end == DivertedEnd::Refused || case.peer.kind == PeerKind::External;
    Some(if known && own { Confidence::Certain } else { Confidence::Likely })
}
