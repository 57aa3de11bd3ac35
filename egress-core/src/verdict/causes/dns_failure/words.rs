//! The sentence of a DNS failure.

use std::time::Duration;

use serde_json::Value;

use super::reach::Reach;
use super::{culprit, explains, who};
use crate::flow::{Closed, DnsFailure, DnsOutcome, Link, LinkOutcome, Stray, TcpFate};
use crate::verdict::case::Case;

/// The name of a response code (RFC 1035, 2136).
pub(super) fn rcode(code: u16) -> String {
    let name = match code {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        other => return format!("RCODE{other}"),
    };
    name.to_owned()
}

/// Seconds, to a tenth.
pub(super) fn tenths(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

/// The same as a fact. Whole numbers are written as such, whatever way they went.
pub(super) fn seconds(time: Duration) -> Value {
    let tenths = (time.as_millis() + 50) / 100;
    match u64::try_from(tenths / 10) {
        Ok(whole) if tenths.is_multiple_of(10) => whole.into(),
        _ => self::tenths(time).into(),
    }
}

pub(super) fn summary(case: &Case<'_>, failure: &DnsFailure, reach: Reach) -> String {
    let name = &failure.name;
    let server = servers(case, failure);
    match failure.outcome {
        DnsOutcome::NxDomain if failure.asked.len() > 1 => format!(
            "{server} says that \"{name}\" does not exist (NXDOMAIN), also with the search path ({} names asked).",
            failure.asked.len()
        ),
        DnsOutcome::NxDomain => format!("{server} says that \"{name}\" does not exist (NXDOMAIN)."),
        DnsOutcome::NoData => {
            format!("{server} knows \"{name}\" but has no {} record for it.", failure.kinds.join(" or "))
        }
        DnsOutcome::ServFail => {
            let code = rcode(failure.facts.code.unwrap_or(2));
            format!("{server} could not answer for \"{name}\" ({code}){}.", asked_on(case, failure))
        }
        DnsOutcome::Refused => refused(case, failure, &server),
        DnsOutcome::Truncated => truncated(failure, &server),
        DnsOutcome::Timeout | DnsOutcome::NoError => silent(case, failure, &server, reach),
    }
}

fn servers(case: &Case<'_>, failure: &DnsFailure) -> String {
    let named: Vec<String> = failure.servers.iter().map(|server| who::named(case, server.ip)).collect();
    match named.as_slice() {
        [] => format!("DNS server {}", who::named(case, case.event.client.destination.ip)),
        [one] => format!("DNS server {one}"),
        many => format!("DNS servers {}", many.join(", ")),
    }
}

fn refused(case: &Case<'_>, failure: &DnsFailure, server: &str) -> String {
    let name = &failure.name;
    match failure.facts.closed {
        Some(Closed::NoSocket { at, .. }) if at.ip.is_loopback() => format!(
            "The pod asks itself ({}:53) for \"{name}\" and nothing listens there: its resolv.conf names no server, \
             or this one.",
            at.ip
        ),
        Some(Closed::NoSocket { at, .. }) => format!(
            "{server} cannot answer for \"{name}\": the question reached {}, where nothing listens on UDP port {}.",
            who::named(case, at.ip),
            at.port
        ),
        Some(Closed::Icmp(_)) => format!(
            "{server} cannot answer for \"{name}\": it says that nothing listens on its UDP port {} (ICMP port \
             unreachable).",
            case.event.client.destination.port
        ),
        None => format!("{server} refuses to answer for \"{name}\" (REFUSED){}.", asked_on(case, failure)),
    }
}

fn truncated(failure: &DnsFailure, server: &str) -> String {
    let name = &failure.name;
    let tcp = match &failure.facts.tcp {
        None => "was not asked again over TCP".to_owned(),
        Some(TcpFate::Dropped(reason)) => {
            format!(
                "could not be asked again over TCP: the connection to port 53 was dropped on this node ({reason})"
            )
        }
        Some(TcpFate::Unanswered) => {
            "could not be asked again over TCP: the SYN to port 53 got no answer".to_owned()
        }
        Some(TcpFate::Refused) => {
            "could not be asked again over TCP: port 53 refused the connection".to_owned()
        }
        Some(TcpFate::Unreachable) => {
            "could not be asked again over TCP: port 53 was answered by an ICMP error".to_owned()
        }
        Some(TcpFate::Silent) => "got no answer over TCP either".to_owned(),
    };
    format!("The answer of {server} for \"{name}\" did not fit into UDP (TC bit) and the question {tcp}.")
}

fn silent(case: &Case<'_>, failure: &DnsFailure, server: &str, reach: Reach) -> String {
    let name = &failure.name;
    let facts = &failure.facts;
    let over = if case.event.client.protocol == 6 { " over TCP" } else { "" };
    let mut text = if let Some(late) = facts.late {
        format!(
            "{server} answered the question for \"{name}\" only after {} s, when the pod had given up",
            tenths(late)
        )
    } else if !facts.answered.is_empty() {
        format!(
            "{server} answered the {} question for \"{name}\", but not the {} question that was asked with it; {}",
            facts.answered.join(" and "),
            facts.unanswered.join(" and "),
            last_seen(case, reach)
        )
    } else {
        format!(
            "{server} did not answer the question for \"{name}\"{over}{}; {}",
            if facts.slow.is_some() { " in time" } else { "" },
            if facts.size.is_some_and(|size| size.fragment_seen) {
                "the question left the node".to_owned()
            } else {
                last_seen(case, reach)
            }
        )
    };
    text.push_str(&asked_on(case, failure));
    match facts.stray {
        Some(Stray::Address(ip)) => text.push_str(&format!(
            "; an answer came from {}, which the client did not ask and does not listen to",
            who::named(case, ip)
        )),
        Some(Stray::Identifier) => {
            text.push_str("; an answer came with another identifier than the question's");
        }
        None => {}
    }
    if let Some(size) = facts.size.filter(|_| explains(failure)) {
        if size.fragment_seen {
            text.push_str("; the first fragment of a large answer was seen, and it was never complete");
        } else {
            text.push_str(&format!(
                "; smaller answers arrive, and this question offers {} bytes (EDNS0): a large answer may be lost in \
                 fragments",
                size.offered
            ));
        }
    }
    if let Some(slow) = facts.slow {
        text.push_str(&format!("; it was answered after {} s", tenths(slow)));
    }
    text.push('.');
    text
}

/// How far the unanswered question was seen.
fn last_seen(case: &Case<'_>, reach: Reach) -> String {
    match reach {
        Reach::AnswerLost => "an answer was seen on its way but did not reach the pod".to_owned(),
        Reach::Server => format!("the question reached {} on this node", who::server(case)),
        Reach::LeftNode => "the question left the node and nothing came back".to_owned(),
        Reach::Node => "the question went to the node itself".to_owned(),
        Reach::Pod => "the question left the pod and was not seen after that".to_owned(),
    }
}

/// `, which asked 198.51.100.53 for it and got no answer`.
fn asked_on(case: &Case<'_>, failure: &DnsFailure) -> String {
    let Some(link) = culprit(failure) else { return String::new() };
    let asker = who::role(case, link.asker).unwrap_or_else(|| link.asker.to_string());
    // Of a server further on it has to be said which.
    let who = if failure.facts.chain.len() == 1 && asker == who::server(case) {
        if failure.outcome == DnsOutcome::Timeout { ", which".to_owned() } else { format!(": {asker}") }
    } else {
        format!("; {asker}")
    };
    format!("{who} asked {} for the same name and {}", upstreams(case, link), fate(link.outcome))
}

pub(super) fn upstreams(case: &Case<'_>, link: &Link) -> String {
    let named: Vec<String> = link.servers.iter().map(|server| who::named(case, server.ip)).collect();
    named.join(", ")
}

const fn fate(outcome: LinkOutcome) -> &'static str {
    match outcome {
        LinkOutcome::Silent => "got no answer",
        LinkOutcome::Dropped => "that question (or its answer) was dropped on this node",
        LinkOutcome::Answered(DnsOutcome::ServFail) => "got SERVFAIL",
        LinkOutcome::Answered(DnsOutcome::Refused) => "was refused",
        LinkOutcome::Answered(DnsOutcome::Truncated) => "got a cut answer",
        LinkOutcome::Answered(_) => "got an answer",
    }
}
