//! What to do about a DNS failure, and what stands beside it.

use super::reach::{self, Reach};
use super::words::{rcode, tenths, upstreams};
use super::{culprit, explains, who};
use crate::flow::{Closed, DnsFailure, DnsOutcome, LinkOutcome, Stray, TcpFate};
use crate::verdict::case::Case;

/// The size of UDP answers that passes everywhere (DNS flag day 2020).
const SAFE_SIZE: u16 = 1232;

pub(super) fn advice(case: &Case<'_>, failure: &DnsFailure, reach: Reach) -> String {
    let facts = &failure.facts;
    if let Some(link) = culprit(failure) {
        let asker = who::role(case, link.asker).unwrap_or_else(|| link.asker.to_string());
        let upstream = upstreams(case, link);
        return match link.outcome {
            LinkOutcome::Dropped => {
                format!("See the verdict of {asker}: its own question to {upstream} is dropped on this node.")
            }
            LinkOutcome::Silent => format!(
                "Check the way from {asker} to its upstream {upstream} (UDP and TCP 53: firewalls, security groups, \
                 whether it runs), or give it another upstream (\"forward\" in the Corefile of CoreDNS)."
            ),
            LinkOutcome::Answered(_) => format!(
                "The upstream {upstream} of {asker} fails: ask it directly (dig @{} {}), or give the server another \
                 upstream (\"forward\" in the Corefile of CoreDNS).",
                link.servers.first().map(|server| server.ip.to_string()).unwrap_or_default(),
                failure.name
            ),
        };
    }
    match failure.outcome {
        DnsOutcome::NxDomain => {
            "Check the spelling, the namespace part of a Service name, and that the record exists.".to_owned()
        }
        DnsOutcome::NoData => {
            "Check that the record of this type exists (IPv4 and IPv6 are asked apart).".to_owned()
        }
        DnsOutcome::ServFail => match facts.code {
            Some(code @ (1 | 4)) => format!(
                "The server does not understand the question ({}): an old server or a middlebox that EDNS0 or this \
                 type is strange to.",
                rcode(code)
            ),
            _ => "Look at the DNS server's log: its own upstream may be unreachable, or the zone broken or not \
                  validated (DNSSEC)."
                .to_owned(),
        },
        DnsOutcome::Refused => refused(case, failure),
        DnsOutcome::Truncated => truncated(failure),
        DnsOutcome::Timeout | DnsOutcome::NoError => silent(case, failure, reach),
    }
}

fn refused(case: &Case<'_>, failure: &DnsFailure) -> String {
    match failure.facts.closed {
        Some(Closed::NoSocket { at, .. }) if at.ip.is_loopback() => match who::cluster_dns(case) {
            Some(service) => format!(
                "Give the pod a nameserver: dnsPolicy ClusterFirst (the cluster's DNS is {}), or \
                 dnsConfig.nameservers with dnsPolicy None; look at /etc/resolv.conf in the container.",
                service.cluster_ips[0]
            ),
            None => "Give the pod a nameserver (dnsPolicy, dnsConfig.nameservers); look at /etc/resolv.conf in the \
                     container."
                .to_owned(),
        },
        Some(_) => "Start a DNS server there, or correct the nameserver's address or the Service's targetPort."
            .to_owned(),
        None => "The server does not serve this client or zone: check its access list (\"acl\", \
                 \"allow-query\", \"allow-recursion\"), and the pod's dnsPolicy and nameservers."
            .to_owned(),
    }
}

fn truncated(failure: &DnsFailure) -> String {
    match failure.facts.tcp {
        Some(TcpFate::Refused) => {
            "Let the DNS server listen on TCP 53 as well, and its Service forward it.".to_owned()
        }
        Some(TcpFate::Dropped(_)) => {
            "Allow TCP 53 to the DNS server beside UDP 53: see the verdict on that connection.".to_owned()
        }
        _ => "Allow TCP 53 to the DNS server, and let the client ask again over TCP.".to_owned(),
    }
}

fn silent(case: &Case<'_>, failure: &DnsFailure, reach: Reach) -> String {
    let facts = &failure.facts;
    if facts.late.is_some() || facts.slow.is_some() {
        return "Find out why the server is slow (its CPU limit, its own upstream), or let the client wait longer \
                (\"options timeout:\" in dnsConfig)."
            .to_owned();
    }
    if !facts.answered.is_empty() {
        return "Ask for both families one after the other (\"options single-request-reopen\" in dnsConfig), run \
                NodeLocal DNSCache, or mend what drops the second of two questions from one socket."
            .to_owned();
    }
    if facts.size.is_some() && explains(failure) {
        return format!(
            "Keep answers in one packet: an EDNS0 size of {SAFE_SIZE} bytes in the client or the server (CoreDNS: \
             \"bufsize {SAFE_SIZE}\"), or let fragments pass."
        );
    }
    if let Some(Stray::Address(_)) = facts.stray {
        return "Let answers leave with the address that was asked: a server with several addresses must bind to \
                each, and its answers must come back through the same translation."
            .to_owned();
    }
    match reach {
        Reach::Server => format!(
            "Look at {}: it got the question and stayed silent (its log, its CPU limit, its upstreams).",
            who::server(case)
        ),
        Reach::Node => {
            "Look at the DNS server on the node (NodeLocal DNSCache, or one on the host's network): is it \
                        running and listening on this address?"
                .to_owned()
        }
        Reach::AnswerLost => {
            "Look for what drops the answer on this node: `egress-agent doctor`, and filters that \
                              do not know the flow."
                .to_owned()
        }
        Reach::LeftNode | Reach::Pod => format!(
            "Check that a DNS server runs at {} and that UDP 53 to it is open on the way (firewalls, security \
             groups).",
            case.event.client.destination.ip
        ),
    }
}

pub(super) fn hints(case: &Case<'_>, failure: &DnsFailure, reach: Reach) -> Vec<String> {
    let facts = &failure.facts;
    let mut hints = Vec::new();
    if who::is_foreign(case)
        && let Some(service) = who::cluster_dns(case)
        && (failure.outcome >= DnsOutcome::Refused || in_cluster(&failure.name))
    {
        let asked = case.event.client.destination.ip;
        let how = who::policy(case).map_or_else(String::new, |policy| format!(" ({policy})"));
        let own = service.cluster_ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        hints.push(format!(
            "the pod asks {asked}{how}; the cluster's DNS is Service {} at {own}, and only that knows the cluster's \
             names",
            service.reference()
        ));
    }
    if facts.closed.is_some_and(|closed| matches!(closed, Closed::NoSocket { at, .. } if at.ip.is_loopback()))
        && let Some(policy) = who::policy(case)
    {
        hints.push(format!("the pod has {policy}"));
    }
    if failure.outcome == DnsOutcome::Timeout
        && let Some(blind) = reach::unwatched(case)
    {
        hints.push(blind);
    }
    if let Some(link) = culprit(failure).filter(|link| link.outcome == LinkOutcome::Dropped)
        && let Some(asker) = who::role(case, link.asker)
    {
        hints.push(format!("{asker} has a verdict of its own for the dropped question"));
    }
    if failure.outcome == DnsOutcome::ServFail && facts.chain.is_empty() && reach == Reach::Server {
        hints.push(format!(
            "{} was not seen to ask anyone for this name: it knew the answer, remembers a failure, or asks over TLS",
            who::server(case)
        ));
    }
    if facts.pair_losses > 1 {
        hints.push(format!(
            "one of a pair of questions from the same socket was lost {} times within minutes: parallel questions can \
             meet in conntrack, which then drops the second (insert_failed in `conntrack -S`)",
            facts.pair_losses
        ));
    }
    if let Some((count, longest)) = facts.slow_answers {
        hints.push(format!(
            "answers of this server to this pod took more than 1 s {count} times in the last minutes, up to {} s",
            tenths(longest)
        ));
    }
    hints
}

/// A name that only the cluster's DNS knows.
fn in_cluster(name: &str) -> bool {
    name.ends_with(".svc") || name.ends_with(".cluster.local") || name.contains(".svc.")
}
