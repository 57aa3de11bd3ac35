//! The same destination as others of this node see it.

use std::time::Duration;

use serde_json::{Value, json};

use super::Surroundings;
use crate::cluster::PodRef;
use crate::reach::{Try, Who};
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Direction};

/// Pods named at most.
const NAMED: usize = 3;

/// The node and the other pods, on the destination and port in question.
struct Others {
    node: Option<Try>,
    reached: Vec<(PodRef, Try)>,
    failed: Vec<(PodRef, Try)>,
}

pub(super) fn hint(case: &Case<'_>, judgement: &mut Judgement, around: &Surroundings<'_>) {
    if case.direction != Direction::Egress || !comparable(judgement.cause) {
        return;
    }
    let now = case.event.at;
    let others = others(case, around);
    let ports = around.reach.answering_ports(&case.event.client, now);
    let reached = others.node.as_ref().is_some_and(Try::reached) || !others.reached.is_empty();
    let failed = others.node.as_ref().is_some_and(Try::failed) || !others.failed.is_empty();
    let dead = !reached && judgement.is_beyond() && case.event.client.protocol == 6;
    judgement.hints.extend(words(case, &others));
    if dead && !ports.is_empty() {
        judgement.hints.push(only_this_port(case, around, &ports));
    }
    let scope = if reached {
        "this-pod"
    } else if dead && !ports.is_empty() {
        "this-port"
    } else if failed {
        "every-client"
    } else {
        return;
    };
    judgement.detail.insert("scope".to_owned(), scope.into());
    judgement.detail.insert("reach".to_owned(), facts(&others, &ports));
    if judgement.cause == Cause::UpstreamTimeout {
        let sentence = advice(case, &others, scope);
        judgement.advise_also(&sentence);
    }
}

/// Causes for which it matters who else gets through.
const fn comparable(cause: Cause) -> bool {
    !matches!(
        cause,
        Cause::DnsFailure | Cause::ServiceNoEndpoints | Cause::ConntrackFull | Cause::LocalResource
    )
}

impl Judgement {
    /// It failed beyond this node.
    const fn is_beyond(&self) -> bool {
        matches!(
            self.cause,
            Cause::UpstreamTimeout
                | Cause::UpstreamRefused
                | Cause::UpstreamUnreachable
                | Cause::UpstreamReset
        )
    }
}

fn others(case: &Case<'_>, around: &Surroundings<'_>) -> Others {
    let mut others = Others { node: None, reached: Vec::new(), failed: Vec::new() };
    let me = case.pod.pod_ref();
    for one in around.reach.tries(&case.event.client, case.event.at) {
        match one.who {
            // It is one of the node's own tries.
            Who::Node if case.is_on_host() => {}
            Who::Node => others.node = Some(one),
            Who::Pod(ip) if case.node.is_own(ip) => {}
            Who::Pod(ip) => {
                let Some(pod) = around.index.pod_by_ip(ip, one.last()) else { continue };
                let name = pod.reference();
                if Some(&name) == me.as_ref() || !around.index.is_local(&pod) {
                    continue;
                }
                let list = if one.reached() { &mut others.reached } else { &mut others.failed };
                if one.reached() || one.failed() {
                    list.push((name, one));
                }
            }
        }
    }
    others
}

fn words(case: &Case<'_>, others: &Others) -> Vec<String> {
    let now = case.event.at;
    let target = case.address();
    let mut words = Vec::new();
    match &others.node {
        Some(node) if node.reached() => words.push(format!(
            "the node itself connected to {target} {}{}, this pod does not get through",
            ago(now.since(node.last())),
            leaving(node)
        )),
        Some(node) if node.failed() => words.push(format!(
            "the node itself could not connect to {target} either ({})",
            ago(now.since(node.last()))
        )),
        _ => {}
    }
    for (pod, one) in others.reached.iter().take(NAMED) {
        words.push(format!(
            "pod {pod} on this node reaches {target} (connected {}{})",
            ago(now.since(one.last())),
            leaving(one)
        ));
    }
    if let Some(more @ 1..) = others.reached.len().checked_sub(NAMED) {
        words.push(format!("{more} more pods of this node reach it"));
    }
    if others.reached.is_empty() && !others.failed.is_empty() {
        words.push(format!("no pod of this node reaches {target}: {} tried", others.failed.len() + 1));
    }
    words
}

fn leaving(one: &Try) -> String {
    one.source.map_or_else(String::new, |source| format!(", leaving as {source}"))
}

fn only_this_port(case: &Case<'_>, around: &Surroundings<'_>, ports: &[Try]) -> String {
    let now = case.event.at;
    let host = case.event.client.destination.ip;
    let list: Vec<String> = ports.iter().map(|one| one.port.to_string()).collect();
    let who = ports.iter().max_by_key(|one| one.last()).map_or_else(String::new, |one| {
        let name = match one.who {
            Who::Node => "the node itself".to_owned(),
            Who::Pod(ip) => around
                .index
                .pod_by_ip(ip, one.last())
                .map_or_else(|| ip.to_string(), |pod| format!("pod {}", pod.reference())),
        };
        format!(" ({name} connected {})", ago(now.since(one.last())))
    });
    let word = if list.len() == 1 { "port" } else { "ports" };
    format!(
        "{host} answers on {word} {}{who}, only {} is dead",
        list.join(", "),
        case.event.client.destination.port
    )
}

/// For scripts: the same as the hints say.
fn facts(others: &Others, ports: &[Try]) -> Value {
    let node = match &others.node {
        Some(node) if node.reached() => "reached",
        Some(node) if node.failed() => "failed",
        _ => "not-tried",
    };
    let names = |list: &[(PodRef, Try)]| -> Vec<String> {
        list.iter().take(16).map(|(pod, _)| pod.to_string()).collect()
    };
    json!({
        "node": node,
        "pods_reached": names(&others.reached),
        "pods_failed": names(&others.failed),
        "ports_answering": ports.iter().map(|one| one.port).collect::<Vec<_>>(),
    })
}

/// What the comparison leaves to do where nothing came back.
fn advice(case: &Case<'_>, others: &Others, scope: &str) -> String {
    let left = case.event.journey.request(crate::decode::Tap::UplinkOut).map(|left| left.tuple.source.ip);
    let port = case.event.client.destination.port;
    match scope {
        "this-pod" => {
            let sources = others
                .reached
                .iter()
                .map(|(_, one)| one)
                .chain(others.node.iter().filter(|node| node.reached()))
                .filter_map(|one| one.source);
            let sources: Vec<_> = sources.collect();
            match (left, sources.iter().find(|source| Some(**source) != left)) {
                (Some(left), _) if sources.contains(&left) => format!(
                    "Others of this node get answers there with the same source address {left}, so an allow-list of \
                     source addresses is not the reason: look for a limit of connections or rate a source, for \
                     one broken path of several, or for state of this flow in a firewall between."
                ),
                (Some(left), Some(other)) => format!(
                    "Others of this node get answers there as {other}, this pod leaves as {left}: that {left} is \
                     not admitted there is the first thing to check."
                ),
                _ => "Others of this node get answers there, so the remote is up.".to_owned(),
            }
        }
        "this-port" => format!(
            "The host answers on other ports: something there, or in front of it, drops port {port}."
        ),
        _ => "Nobody on this node who tried gets an answer: the remote is down, unreachable from here, or drops this \
              node's addresses."
            .to_owned(),
    }
}

/// `12 s ago`, `3 min ago`.
fn ago(time: Duration) -> String {
    match time.as_secs() {
        0 => "just now".to_owned(),
        seconds @ 1..=119 => format!("{seconds} s ago"),
        seconds => format!("{} min ago", seconds / 60),
    }
}
