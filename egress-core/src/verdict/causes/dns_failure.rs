//! `dns-failure`: DNS answered with an error, or not at all.

use super::place;
use crate::decode::Tap;
use crate::flow::{DnsFailure, DnsOutcome, Outcome};
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Confidence, Stage};

pub(in crate::verdict) fn judge(case: &Case<'_>) -> Option<Judgement> {
    let Outcome::Dns(failure) = &case.event.outcome else { return None };
    let (stage, confidence) = certainty(case, failure);
    let servers: Vec<String> = failure.servers.iter().map(|server| server.ip.to_string()).collect();
    let judgement = Judgement::new(Cause::DnsFailure, confidence, stage, summary(case, failure, &servers))
        .with("outcome", failure.outcome.as_str())
        .with("name", failure.name.clone())
        .with("asked", place::list(&failure.asked))
        .with("types", place::list(&failure.kinds))
        .with("servers", place::list(&servers));
    Some(judgement.advise(advice(case, failure)))
}

fn certainty(case: &Case<'_>, failure: &DnsFailure) -> (Stage, Confidence) {
    let journey = &case.event.journey;
    if failure.outcome != DnsOutcome::Timeout {
        return (Stage::Upstream, Confidence::Certain);
    }
    let sure = if case.lost == 0 { Confidence::Certain } else { Confidence::Likely };
    if journey.request(Tap::PodIn).is_some() || journey.request(Tap::UplinkOut).is_some() {
        (Stage::Upstream, sure)
    } else {
        (Stage::Node, Confidence::Likely)
    }
}

fn summary(case: &Case<'_>, failure: &DnsFailure, servers: &[String]) -> String {
    let name = &failure.name;
    let server = servers.join(", ");
    match failure.outcome {
        DnsOutcome::NxDomain if failure.asked.len() > 1 => format!(
            "DNS server {server} says that \"{name}\" does not exist (NXDOMAIN), also with the search path \
             ({} names asked).",
            failure.asked.len()
        ),
        DnsOutcome::NxDomain => {
            format!("DNS server {server} says that \"{name}\" does not exist (NXDOMAIN).")
        }
        DnsOutcome::NoData => format!(
            "DNS server {server} knows \"{name}\" but has no {} record for it.",
            failure.kinds.join(" or ")
        ),
        DnsOutcome::ServFail => format!("DNS server {server} could not answer for \"{name}\" (SERVFAIL)."),
        DnsOutcome::Refused => format!("DNS server {server} refuses to answer for \"{name}\" (REFUSED)."),
        DnsOutcome::Truncated => {
            format!("The answer of {server} for \"{name}\" was cut (TC) and not asked again over TCP.")
        }
        DnsOutcome::Timeout | DnsOutcome::NoError => {
            format!("DNS server {server} did not answer the question for \"{name}\"; {}.", last_seen(case))
        }
    }
}

/// How far the unanswered question was seen.
fn last_seen(case: &Case<'_>) -> &'static str {
    let journey = &case.event.journey;
    if journey.answer(Tap::UplinkIn).is_some() || journey.answer(Tap::PodOut).is_some() {
        "an answer was seen on its way but did not reach the pod"
    } else if journey.request(Tap::PodIn).is_some() {
        "the question reached the DNS server's pod on this node"
    } else if journey.request(Tap::UplinkOut).is_some() {
        "the question left the node and nothing came back"
    } else {
        "the question left the pod and was not seen after that"
    }
}

fn advice(case: &Case<'_>, failure: &DnsFailure) -> String {
    match failure.outcome {
        DnsOutcome::NxDomain => {
            "Check the spelling, the namespace part of a Service name, and that the record exists.".to_owned()
        }
        DnsOutcome::NoData => {
            "Check that the record of this type exists (IPv4 and IPv6 are asked apart).".to_owned()
        }
        DnsOutcome::ServFail => {
            "Look at the DNS server: its own upstream may be unreachable, or the zone broken.".to_owned()
        }
        DnsOutcome::Refused => {
            "The server does not serve this client or zone: check the pod's dnsPolicy and nameservers."
                .to_owned()
        }
        DnsOutcome::Truncated => "Allow TCP 53 to the DNS server.".to_owned(),
        DnsOutcome::Timeout | DnsOutcome::NoError => {
            if case.event.journey.request(Tap::PodIn).is_some() {
                "Look at the DNS server's pod: it got the question and stayed silent.".to_owned()
            } else {
                "Check that the DNS server runs and that its address is right.".to_owned()
            }
        }
    }
}
