//! `dns-failure`: DNS answered with an error, or not at all.

mod advice;
mod reach;
mod who;
mod words;

use super::place;
use crate::flow::{Closed, DnsFailure, DnsOutcome, Link, Outcome, Stray, TcpFate};
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Confidence, Stage};

use reach::Reach;

pub(in crate::verdict) fn judge(case: &Case<'_>) -> Option<Judgement> {
    let Outcome::Dns(failure) = &case.event.outcome else { return None };
    let reach = Reach::of(case, failure);
    let servers: Vec<String> = failure.servers.iter().map(|server| server.ip.to_string()).collect();
    let (stage, confidence) = certainty(case, failure, reach);
    let mut judgement =
        Judgement::new(Cause::DnsFailure, confidence, stage, words::summary(case, failure, reach))
            .with("outcome", failure.outcome.as_str())
            .with("name", failure.name.clone())
            .with("asked", place::list(&failure.asked))
            .with("types", place::list(&failure.kinds))
            .with("servers", place::list(&servers))
            .with("reached", reach.as_str());
    if let Some(pod) = who::server_pod(case) {
        judgement = judgement.with("server_pod", pod);
    }
    judgement = facts(judgement, case, failure);
    for hint in advice::hints(case, failure, reach) {
        judgement = judgement.hint(hint);
    }
    Some(judgement.advise(advice::advice(case, failure, reach)))
}

fn certainty(case: &Case<'_>, failure: &DnsFailure, reach: Reach) -> (Stage, Confidence) {
    let sure = if case.lost == 0 { Confidence::Certain } else { Confidence::Likely };
    let facts = &failure.facts;
    if let Some(Closed::NoSocket { at, .. }) = facts.closed
        && at.ip.is_loopback()
    {
        return (Stage::Pod, sure);
    }
    if failure.outcome != DnsOutcome::Timeout {
        return (Stage::Upstream, Confidence::Certain);
    }
    let stage = match reach {
        Reach::Pod | Reach::AnswerLost => Stage::Node,
        Reach::Node => reach.node_stage(failure),
        Reach::LeftNode | Reach::Server => Stage::Upstream,
    };
    let confidence = match (&facts.size, reach) {
        // The silence is certain, that the size is its reason is not.
        (Some(size), _) if explains(failure) => {
            if size.fragment_seen {
                Confidence::Likely
            } else {
                Confidence::Possible
            }
        }
        _ if reach::unwatched(case).is_some() => Confidence::Possible,
        (_, Reach::Pod | Reach::AnswerLost) => Confidence::Likely,
        (_, Reach::Node) if facts.chain.is_empty() => Confidence::Likely,
        _ if facts.late.is_some() => Confidence::Likely,
        _ => sure,
    };
    (stage, confidence)
}

/// The size of the answer may be the reason: nothing nearer is known.
fn explains(failure: &DnsFailure) -> bool {
    failure.facts.chain.is_empty() && failure.facts.answered.is_empty() && failure.facts.late.is_none()
}

/// The server's own question that failed, the one farthest away.
fn culprit(failure: &DnsFailure) -> Option<&Link> {
    failure.facts.chain.last().filter(|link| link.outcome.failed())
}

fn facts(mut judgement: Judgement, case: &Case<'_>, failure: &DnsFailure) -> Judgement {
    let facts = &failure.facts;
    if case.event.client.protocol == 6 {
        judgement = judgement.with("transport", "tcp");
    }
    if let Some(code) = facts.code.filter(|_| facts.closed.is_none()) {
        judgement = judgement.with("rcode", words::rcode(code));
    }
    if let Some(link) = facts.chain.last() {
        let upstreams: Vec<String> = link.servers.iter().map(|server| server.ip.to_string()).collect();
        judgement = judgement
            .with("upstream", upstreams.first().cloned().unwrap_or_default())
            .with("upstream_outcome", link.outcome.as_str())
            .with("asked_by", link.asker.to_string());
        if upstreams.len() > 1 {
            judgement = judgement.with("upstreams", place::list(&upstreams));
        }
    }
    if !facts.answered.is_empty() {
        judgement = judgement
            .with("answered_types", place::list(&facts.answered))
            .with("unanswered_types", place::list(&facts.unanswered))
            .with("pair_losses", facts.pair_losses);
    }
    if let Some(slow) = facts.slow {
        judgement = judgement.with("slow_seconds", words::seconds(slow));
    }
    if let Some(late) = facts.late {
        judgement = judgement.with("late_seconds", words::seconds(late));
    }
    match facts.stray {
        Some(Stray::Address(ip)) => judgement = judgement.with("answer_from", ip.to_string()),
        Some(Stray::Identifier) => judgement = judgement.with("answer_identifier", "other"),
        None => {}
    }
    if let Some(size) = facts.size.filter(|_| explains(failure)) {
        judgement = judgement.with("edns_size", size.offered).with("fragment_seen", size.fragment_seen);
    }
    match facts.closed {
        Some(Closed::Icmp(ip)) => judgement = judgement.with("refused_by", ip.to_string()),
        Some(Closed::NoSocket { at, .. }) => {
            judgement = judgement.with("refused_by", at.ip.to_string()).with("reason", "NO_SOCKET");
        }
        None => {}
    }
    if let Some(tcp) = &facts.tcp {
        judgement = judgement.with("tcp", tcp_word(tcp));
    }
    if let Some(kind) = kind(case, failure) {
        judgement = judgement.with("kind", kind);
    }
    judgement
}

const fn tcp_word(fate: &TcpFate) -> &'static str {
    match fate {
        TcpFate::Dropped(_) => "dropped",
        TcpFate::Unanswered => "unanswered",
        TcpFate::Refused => "refused",
        TcpFate::Unreachable => "unreachable",
        TcpFate::Silent => "silent",
    }
}

/// What kind of failure it is, where that is more than its outcome.
fn kind(case: &Case<'_>, failure: &DnsFailure) -> Option<&'static str> {
    let facts = &failure.facts;
    if let Some(Closed::NoSocket { at, .. }) = facts.closed
        && at.ip.is_loopback()
    {
        return Some("no-nameserver");
    }
    if facts.closed.is_some() {
        return Some("not-listening");
    }
    if culprit(failure).is_some() {
        return Some("upstream");
    }
    if facts.stray.is_some() {
        return Some("stray-answer");
    }
    if !facts.answered.is_empty() {
        return Some("pair");
    }
    if facts.size.is_some() && explains(failure) {
        return Some("answer-size");
    }
    if facts.late.is_some() || facts.slow.is_some() {
        return Some("slow");
    }
    (failure.outcome == DnsOutcome::Timeout && who::is_nobody(case)).then_some("wrong-nameserver")
}
