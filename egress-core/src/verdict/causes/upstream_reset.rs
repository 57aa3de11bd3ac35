//! `upstream-reset`: established, then reset by the remote, and something was lost by it.

use super::tls_failure::address;
use crate::flow::{After, Outcome, ResetBy, ResetFailure};
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Confidence, Stage};

/// An answer that did not come for so long may not have been waited for.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

pub(in crate::verdict) fn judge(case: &Case<'_>) -> Option<Judgement> {
    let Outcome::Reset(reset) = &case.event.outcome else { return None };
    let who = who(case, reset);
    let stage = if reset.by == ResetBy::Node { Stage::Node } else { Stage::Upstream };
    let summary = format!(
        "{} was established, and reset after {} by {who}, {}{}.",
        case.target(),
        seconds(reset.lived),
        when(reset),
        ttl_words(reset),
    );
    let sni = reset.hello.as_ref().and_then(|hello| hello.sni.clone());
    let mut judgement = Judgement::new(Cause::UpstreamReset, confidence(reset), stage, summary)
        .with("after", reset.after.as_str())
        .with("by", by(reset))
        .with("after_ms", millis(reset.lived))
        .advise(fix(case, reset, sni.as_deref()));
    if reset.hello.is_some() {
        judgement = judgement.with("sni", sni.as_deref());
    }
    let counts = [
        ("sent_bytes", reset.sent),
        ("unacknowledged_bytes", reset.unacknowledged),
        ("received_bytes", reset.received),
    ];
    for (key, value) in counts {
        if let Some(value) = value {
            judgement = judgement.with(key, value);
        }
    }
    for (key, value) in [("ttl", reset.ttl), ("ttl_of_syn_ack", reset.answer_ttl)] {
        if let Some(value) = value {
            judgement = judgement.with(key, value);
        }
    }
    if let (After::Idle, Some(idle)) = (reset.after, reset.idle) {
        judgement = judgement.with("idle_ms", millis(idle));
    }
    if case.lost > 0 && reset.by != ResetBy::Upstream && reset.by != ResetBy::Pod {
        judgement.confidence = Confidence::Possible;
        judgement = judgement.hint("events were lost meanwhile, so where the reset came from is not sure");
    }
    if reset.node_reset {
        judgement = judgement.hint(
            "before that the node itself had sent the server a reset: it took the server's segments for strays. \
             Look at conntrack (invalid packets, entries that time out too early): \
             conntrack -S, and net.netfilter.nf_conntrack_tcp_be_liberal",
        );
    }
    Some(judgement.at("RST"))
}

fn confidence(reset: &ResetFailure) -> Confidence {
    match (reset.by, reset.after) {
        (_, After::Download) => Confidence::Possible,
        (ResetBy::Node | ResetBy::Unseen, _) | (_, After::Connect) => Confidence::Likely,
        (_, After::ClientHello | After::Handshake | After::Idle) => Confidence::Certain,
        (_, After::Data) if reset.received == Some(0) || reset.unacknowledged > Some(0) => {
            Confidence::Certain
        }
        (_, After::Data) if reset.waited.is_some_and(|waited| waited > PATIENCE) => Confidence::Possible,
        (_, After::Data) => Confidence::Likely,
    }
}

/// The word of `detail.by`.
fn by(reset: &ResetFailure) -> &'static str {
    match reset.by {
        ResetBy::Upstream if reset.foreign() => "middlebox",
        ResetBy::Upstream => "remote",
        ResetBy::Pod => "pod",
        ResetBy::Node => "node",
        ResetBy::Unseen => "unseen",
    }
}

fn who(case: &Case<'_>, reset: &ResetFailure) -> String {
    match reset.by {
        ResetBy::Upstream if reset.foreign() => "another machine than the one that accepted it (a firewall or proxy on the way, or the server behind one)".to_owned(),
        ResetBy::Upstream => "the remote".to_owned(),
        ResetBy::Pod => case.peer.pod_ref().map_or_else(
            || "the other pod on this node".to_owned(),
            |pod| format!("pod {}/{} on this node", pod.namespace, pod.name),
        ),
        ResetBy::Node => "this node itself (the reset was seen to come in from nowhere)".to_owned(),
        ResetBy::Unseen => "the other side (where the reset came from was not watched)".to_owned(),
    }
}

fn when(reset: &ResetFailure) -> String {
    let sent = reset.sent.map_or_else(String::new, |sent| format!(" of {sent} bytes"));
    let received = reset.received.unwrap_or(0);
    let sni = reset.hello.as_ref().and_then(|hello| hello.sni.as_ref());
    match reset.after {
        After::Connect => "before a byte was exchanged".to_owned(),
        After::ClientHello => match sni {
            Some(sni) => format!("right after the ClientHello for {sni}, without a byte in answer"),
            None => "right after the ClientHello, without a byte in answer".to_owned(),
        },
        After::Handshake => {
            format!("in the middle of the TLS handshake, after {received} bytes from the server")
        }
        After::Idle => format!(
            "when the client sent data after {} without traffic ({received} bytes received before)",
            seconds(reset.idle.unwrap_or_default()),
        ),
        After::Download => format!("while it was sending, after {received} bytes"),
        After::Data => match (received, reset.unacknowledged) {
            (0, _) => format!("after the client's data{sent}, without a byte in answer"),
            (_, Some(open @ 1..)) => {
                format!(
                    "at byte {} from the client ({open} bytes not acknowledged) and byte {received} from the server",
                    reset.sent.unwrap_or(0).wrapping_sub(open)
                )
            }
            _ => format!(
                "after the client's last data{sent} was taken and not answered ({received} bytes received before)"
            ),
        },
    }
}

fn ttl_words(reset: &ResetFailure) -> String {
    match (reset.foreign(), reset.ttl, reset.answer_ttl) {
        (true, Some(ttl), Some(answer)) => {
            format!("; the reset came with TTL {ttl}, the SYN-ACK with {answer}")
        }
        _ => String::new(),
    }
}

fn fix(case: &Case<'_>, reset: &ResetFailure, sni: Option<&str>) -> String {
    let source = case.translation.source.map(|source| source.ip.to_string());
    let from = source.map_or_else(String::new, |source| format!(" (the source address there is {source})"));
    match (reset.by, reset.after) {
        (ResetBy::Node, _) => {
            "Look on the node for a rule that rejects with tcp-reset (nft list ruleset, iptables-save), a \
            proxy, or a Service whose endpoints just changed."
                .to_owned()
        }
        (_, After::Idle) => format!(
            "The other side had forgotten the idle connection. Keep connections alive more often than the shortest idle \
             timeout on the way (load balancer, NAT gateway, the server's keep-alive), or drop them from the client's pool \
             before {}.",
            seconds(reset.idle.unwrap_or_default()),
        ),
        (ResetBy::Pod, _) => {
            "Look into that pod's log and restarts: its process closed or died with the request unread."
                .to_owned()
        }
        (_, After::ClientHello) => {
            let name = sni.map_or_else(String::new, |sni| format!(" -servername {sni}"));
            format!(
                "Check whether a firewall, egress gateway or proxy allows the server name {}{from}; from a place where it \
                 works, compare openssl s_client -connect {}{name}.",
                sni.unwrap_or("in the ClientHello"),
                address(case),
            )
        }
        _ if reset.foreign() => format!(
            "Ask who runs the firewalls and proxies on the way to {}: one of them ends this connection{from}.",
            case.event.client.destination.ip,
        ),
        (_, After::Connect) => format!(
            "Something accepts connections there and drops them at once: a load balancer without healthy backends, a full \
             accept queue, or an allow-list of source addresses{from}."
        ),
        _ => format!(
            "Look into the server's log at this moment: it died, restarted, or refused the request{from}."
        ),
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn seconds(duration: std::time::Duration) -> String {
    match duration.as_millis() {
        under @ 0..1000 => format!("{under} ms"),
        millis => format!("{:.1} s", millis as f64 / 1000.0),
    }
}
