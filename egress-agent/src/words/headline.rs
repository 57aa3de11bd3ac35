//! What a verdict is about, in a line: who could not reach whom, and how often.

use std::net::IpAddr;

use egress_core::protocol::Protocol;
use egress_core::time::Timestamp;
use egress_core::verdict::{Affects, Cause, Direction, PeerRef, Verdict};
use serde_json::Value;

use super::{clean, human, thousands};

/// Who could not reach whom: `default/api-client → api.stripe.com (203.0.113.4):443/TCP`.
pub(crate) fn flow(verdict: &Verdict) -> String {
    let pod = format!("{}/{}", verdict.pod.namespace, verdict.pod.name);
    let text = match verdict.direction {
        Direction::Egress if verdict.affects == Affects::Dns => format!("{pod} → {}", dns_server(verdict)),
        Direction::Egress => format!("{pod} → {}", endpoint(&verdict.peer)),
        // The port is the one that was dialled: the pod's.
        Direction::Ingress => {
            let PeerRef { port, protocol, .. } = verdict.peer;
            let client = match peer_name(&verdict.peer) {
                Some(name) => format!("{name} ({})", verdict.peer.ip),
                None => verdict.peer.ip.to_string(),
            };
            format!("{client} → {pod}{}", port_and_protocol(port, protocol))
        }
    };
    clean(&text).replace('\n', " ")
}

/// What the other end is called, if it has a name.
fn peer_name(peer: &PeerRef) -> Option<String> {
    let object =
        || peer.service.as_ref().or(peer.pod.as_ref()).map(|o| format!("{}/{}", o.namespace, o.name));
    peer.name.as_ref().map(|name| name.trim_end_matches('.').to_owned()).or_else(object)
}

fn endpoint(peer: &PeerRef) -> String {
    let port = port_and_protocol(peer.port, peer.protocol);
    match peer_name(peer) {
        Some(name) => format!("{name} ({}){port}", peer.ip),
        None => format!("{}{port}", bracketed(peer.ip, peer.port)),
    }
}

/// A question and whom it was asked of: the name is what was asked for, the address is the server's.
fn dns_server(verdict: &Verdict) -> String {
    let server = endpoint(&PeerRef { name: None, ..verdict.peer.clone() });
    let listed: Vec<&str> = match verdict.detail.get("names") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let asked = match (&verdict.peer.name, &listed[..]) {
        (Some(name), _) => name.as_str(),
        (None, [only]) => only,
        (None, [first, rest @ ..]) => {
            return format!("{first} (and {} more) asked of DNS {server}", rest.len());
        }
        (None, []) => return format!("DNS {server}"),
    };
    format!("{} asked of DNS {server}", asked.trim_end_matches('.'))
}

fn port_and_protocol(port: u16, protocol: Protocol) -> String {
    if port == 0 { format!("/{protocol}") } else { format!(":{port}/{protocol}") }
}

/// An address to which a port can be attached.
pub(crate) fn bracketed(ip: IpAddr, port: u16) -> String {
    if ip.is_ipv6() && port != 0 { format!("[{ip}]") } else { ip.to_string() }
}

/// `6 SYNs in 31s, last 2s ago`.
pub(crate) fn counted(verdict: &Verdict, now: Timestamp) -> String {
    let what = match (verdict.affects, verdict.cause) {
        (Affects::Dns, _) => "question",
        (Affects::Tcp, Cause::Mtu | Cause::UpstreamReset | Cause::TlsFailure | Cause::MeshBlocked) => {
            "attempt"
        }
        (Affects::Tcp, _) => "SYN",
        (Affects::Sctp, _) => "INIT",
        (Affects::Udp | Affects::Icmp, _) => "packet",
    };
    let ago = match now.since(verdict.last_seen) {
        ago if ago.as_secs() == 0 => "just now".to_owned(),
        ago => format!("{} ago", human(ago)),
    };
    match verdict.count {
        0 | 1 => format!("1 {what}, {ago}"),
        count => {
            let span = human(verdict.last_seen.since(verdict.first_seen));
            format!("{} {what}s in {span}, last {ago}", thousands(count))
        }
    }
}
