//! What was seen, in words and in order.

use super::case::Case;
use super::{Dialler, Evidence, Stage};
use crate::decode::{ClientHello, Tap};
use crate::flow::{DivertedEnd, DivertedFailure, Outcome};
use crate::time::{ClockOffset, Mono};

/// Pieces of evidence that a verdict keeps.
pub(super) const KEPT: usize = 16;

/// The evidence of one event.
#[must_use]
pub fn evidence(
    case: &Case<'_>,
    stage: Stage,
    dialler: Option<&Dialler>,
    clock: ClockOffset,
) -> Vec<Evidence> {
    let mut list = Vec::new();
    let mut say = |at: Mono, stage, text: String| list.push(Evidence { time: at.wall(clock), stage, text });
    let journey = &case.event.journey;
    // A diverted connection tells its process itself.
    if let Some(dialler) = dialler.filter(|_| !matches!(case.event.outcome, Outcome::Diverted(_))) {
        say(dialler.at, Stage::Pod, format!("{} dialled {}", dialler.words(), case.address()));
    }
    let packet = match &case.event.outcome {
        // Of an established connection its opening was seen.
        Outcome::TooBig(_) if case.event.client.protocol == 6 => "SYN",
        _ => case.packet_word(),
    };
    let request = if packet == "SYN" { packet } else { case.request_word() };
    let device = |index| case.node.device_name(index).unwrap_or_else(|| format!("device {index}"));
    let sightings = [
        (journey.request(Tap::PodOut), Stage::Pod, "left the pod by"),
        (journey.request(Tap::UplinkOut), Stage::Uplink, "left the node by"),
        (journey.request(Tap::PodIn), Stage::Node, "was delivered to"),
    ];
    for (seen, stage, what) in sightings {
        if let Some(seen) = seen {
            let t = seen.tuple;
            let text = format!(
                "{request} {what} {} as {} → {}",
                device(seen.ifindex),
                t.source.ip,
                t.destination.ip
            );
            say(seen.at, stage, text);
        }
    }
    let answers = [
        (journey.answer(Tap::PodOut), Stage::Node, "left the other pod by"),
        (journey.answer(Tap::UplinkIn), Stage::Upstream, "came in by"),
        (journey.answer(Tap::PodIn), Stage::Pod, "reached the pod by"),
    ];
    for (seen, stage, what) in answers {
        if let Some(seen) = seen {
            say(seen.at, stage, format!("an answer {what} {} (TTL {})", device(seen.ifindex), seen.ttl));
        }
    }
    match &case.event.outcome {
        Outcome::Dropped { drop, .. } => {
            let hook = match super::causes::place::hook(case, drop).as_str() {
                "" => String::new(),
                hook => format!(" ({hook})"),
            };
            let text = format!("kernel dropped the {packet}: {} in {}{hook}", drop.reason, drop.function);
            say(case.event.last, stage, text);
        }
        Outcome::Unanswered => {
            let text = match case.event.failed {
                0 | 1 => format!("{packet} sent without an answer"),
                times => format!("{packet} sent {times} times without an answer"),
            };
            say(case.event.at, stage, text);
        }
        Outcome::Refused { ttl } => {
            say(case.event.at, stage, format!("a reset answered the SYN (TTL {ttl} where first seen)"));
        }
        Outcome::Unreachable { error, router } => {
            let text = format!("ICMP type {} code {} from {router}", error.kind, error.code);
            say(case.event.at, stage, text);
        }
        Outcome::Diverted(failure) => say(case.event.at, stage, diverted(case, failure)),
        Outcome::Unroutable { .. } => {
            let text = "the pod's own routing refused the destination: connect() failed at once".to_owned();
            say(case.event.last, stage, text);
        }
        Outcome::Dns(failure) => {
            let text =
                format!("DNS outcome {} after asking {}", failure.outcome.as_str(), failure.asked.join(", "));
            say(case.event.at, stage, text);
        }
        Outcome::Tls(failure) => {
            hello(failure.hello.as_deref(), case.event.at.before(failure.after), &mut say);
            let what = match failure.alert {
                Some(alert) => format!("the fatal TLS alert {}", super::causes::tls_failure::name(alert)),
                None => {
                    "an encrypted TLS record that only an alert is as short as, and then closed".to_owned()
                }
            };
            say(case.event.at, stage, format!("the {} sent {what}", failure.by.as_str()));
        }
        Outcome::Reset(failure) => {
            hello(failure.hello.as_deref(), case.event.at.before(failure.lived), &mut say);
            let ttl = match (failure.ttl, failure.answer_ttl) {
                (Some(ttl), Some(answer)) => format!(" with TTL {ttl}; the SYN-ACK had {answer}"),
                _ => String::new(),
            };
            say(case.event.at, stage, format!("a reset reached the established connection{ttl}"));
            if failure.node_reset {
                let text =
                    "the node itself had sent a reset to the server before, which the pod had not sent";
                say(case.event.at, Stage::Node, text.to_owned());
            }
        }
        Outcome::Silence(failure) => {
            let whose = failure.of.as_str();
            let text = match failure.times {
                0 => format!("the {whose}'s socket gave up: nothing answered its probes"),
                times => {
                    format!("the {whose} sent the same data again {times} times without an acknowledgement")
                }
            };
            say(case.event.at, stage, text);
            if failure.gave_up && failure.times > 0 {
                say(case.event.at, Stage::Pod, format!("the {whose}'s socket gave up"));
            }
        }
        Outcome::TooBig(found) => {
            for (at, stage, text) in super::causes::mtu::evidence(case, found) {
                say(at, stage, text);
            }
        }
        Outcome::Fits | Outcome::Succeeded | Outcome::Served => {}
    }
    list.sort_by_key(|piece| piece.time);
    list
}

/// What the sockets of the pod told.
fn diverted(case: &Case<'_>, failure: &DivertedFailure) -> String {
    let who = if failure.command.is_empty() { "a process" } else { failure.command.as_str() };
    let end = match failure.end {
        DivertedEnd::Refused => "was refused",
        DivertedEnd::Reset => "was reset",
        DivertedEnd::Closed | DivertedEnd::Served => "was closed by the other end",
    };
    let by = failure.listener.map_or_else(
        || " inside the pod".to_owned(),
        |at| format!(", met the listener {} inside the pod and", socket_address(at)),
    );
    let after = failure.after.as_micros();
    format!("{who} dialled {}{by} {end} after {after} µs", case.address())
}

fn socket_address(at: crate::verdict::SocketAddress) -> String {
    std::net::SocketAddr::new(at.ip, at.port).to_string()
}

/// What the client offered; said at the begin, where the connection is not old.
fn hello(hello: Option<&ClientHello>, at: Mono, say: &mut impl FnMut(Mono, Stage, String)) {
    let Some(hello) = hello else { return };
    let name =
        hello.sni.as_ref().map_or_else(|| "no server name".to_owned(), |name| format!("server name {name}"));
    let versions = hello.version_names().join(", ");
    say(at, Stage::Pod, format!("ClientHello with {name}, versions {versions}"));
}
