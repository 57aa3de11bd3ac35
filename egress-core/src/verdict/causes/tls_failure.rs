//! `tls-failure`: a TLS alert ended the handshake.

mod alerts;

use super::place::list;
use crate::flow::{End, Outcome, TlsFailure, differently_far};
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Confidence, Direction, Stage};

/// The IANA name of an alert.
pub(in crate::verdict) fn name(alert: u8) -> String {
    alerts::find(alert).map_or_else(|| format!("alert {alert}"), |known| known.name.to_owned())
}

/// The alert is about certificates: no scanner's doing, but an end that does not trust the other.
pub(in crate::verdict) fn is_about_trust(failure: &TlsFailure) -> bool {
    failure.alert.and_then(alerts::find).is_some_and(|alert| alert.trust)
}

pub(in crate::verdict) fn judge(case: &Case<'_>) -> Option<Judgement> {
    let Outcome::Tls(failure) = &case.event.outcome else { return None };
    let hello = failure.hello.as_deref();
    let sni = hello.and_then(|hello| hello.sni.as_deref());
    let asked = match (hello, sni) {
        (_, Some(sni)) => format!(" for {sni}"),
        (Some(hello), None) if hello.complete => " (without a server name)".to_owned(),
        _ => String::new(),
    };
    let who = sender(case, failure.by);
    let millis = failure.after.as_millis();
    let versions = hello.map(|hello| hello.version_names()).unwrap_or_default();
    let offered = versions.join(", ");
    let (alert, meaning, fix, confidence) = match failure.alert.map(|code| (code, alerts::find(code))) {
        Some((code, Some(known))) => {
            let say = if failure.by == End::Client { &known.by_client } else { &known.by_server };
            let alert = format!("the fatal alert {} ({code})", known.name);
            (alert, say.meaning.to_owned(), say.fix.to_owned(), Confidence::Certain)
        }
        Some((code, None)) => (
            format!("the fatal alert {code}"),
            "it is not in IANA's registry".to_owned(),
            "Look into the log of whoever sent it.".to_owned(),
            Confidence::Certain,
        ),
        None => {
            let (meaning, fix) = alerts::sealed(failure.by);
            ("an encrypted alert".to_owned(), meaning.to_owned(), fix.to_owned(), Confidence::Likely)
        }
    };
    let summary = format!(
        "TLS with {}{asked} failed {millis} ms after connecting: {who} sent {alert}: {meaning}.",
        case.target()
    );
    let fix = fix
        .replace("{address}", &address(case))
        .replace("{name}", sni.unwrap_or("the name that is dialled"))
        .replace("{versions}", if offered.is_empty() { "what the ClientHello says" } else { &offered });
    let mut judgement = Judgement::new(Cause::TlsFailure, confidence, stage(case, failure.by), summary)
        .with("alert", failure.alert.map_or_else(|| "encrypted".to_owned(), name))
        .with("sent_by", failure.by.as_str())
        .with("sni", sni)
        .with("after_ms", u64::try_from(millis).unwrap_or(u64::MAX))
        .advise(fix);
    if let Some(code) = failure.alert {
        judgement = judgement.with("alert_code", code);
    }
    if let Some(hello) = hello {
        judgement = judgement.with("versions", list(&versions));
        if !hello.alpn.is_empty() {
            judgement = judgement.with("alpn", list(&hello.alpn));
        }
        if sni.is_none() && !hello.complete {
            judgement = judgement
                .hint("the ClientHello is longer than what was captured of it: its server name is not known");
        }
    } else {
        judgement.confidence = judgement.confidence.max(Confidence::Likely);
        judgement = judgement.hint("the ClientHello was not seen");
    }
    if let Some((ttl, answer)) = failure.ttl.filter(|(ttl, answer)| differently_far(*ttl, *answer)) {
        judgement = judgement.with("ttl", ttl).hint(format!(
            "the alert came with TTL {ttl} and the SYN-ACK with {answer}: a device on the way may have made it"
        ));
    }
    let named = case.name.as_deref().zip(sni).filter(|(dialled, sni)| !dialled.eq_ignore_ascii_case(sni));
    if let Some((dialled, sni)) = named {
        judgement = judgement.hint(format!("the pod resolved {dialled} to this address and asks for {sni}"));
    }
    Some(
        judgement.at(failure
            .alert
            .map_or_else(|| "TLS alert".to_owned(), |code| format!("TLS alert {}", name(code)))),
    )
}

/// What was dialled, as `openssl s_client -connect` takes it.
pub(in crate::verdict) fn address(case: &Case<'_>) -> String {
    let to = case.event.client.destination;
    std::net::SocketAddr::new(to.ip, to.port).to_string()
}

fn sender(case: &Case<'_>, by: End) -> String {
    let local =
        matches!((case.direction, by), (Direction::Egress, End::Client) | (Direction::Ingress, End::Server));
    match (by, local) {
        (End::Client, true) => "the client in the pod".to_owned(),
        (End::Server, true) => "the server in the pod".to_owned(),
        (End::Client, false) => "the client".to_owned(),
        (End::Server, false) => match case.peer.pod_ref() {
            Some(pod) => format!("the server in pod {}/{}", pod.namespace, pod.name),
            None => "the server".to_owned(),
        },
    }
}

/// Where it broke: with whoever would not go on.
fn stage(case: &Case<'_>, by: End) -> Stage {
    match (case.direction, by) {
        (Direction::Egress, End::Client) | (Direction::Ingress, End::Server) => Stage::Pod,
        _ => Stage::Upstream,
    }
}
