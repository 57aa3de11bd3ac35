//! Which verdicts are asked for.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use crate::cluster::PodRef;
use crate::time::Timestamp;
use crate::verdict::{Cause, SocketAddress, Verdict};

/// Which verdicts are asked for. The default asks for all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Of which pods.
    pub pods: PodFilter,
    /// Last seen then or later.
    pub since: Option<Timestamp>,
    /// Any of these causes; empty: every cause.
    pub causes: Vec<Cause>,
    /// Towards this peer.
    pub to: Option<ToFilter>,
}

/// Of which pods. A failure between two pods is found under both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PodFilter {
    /// Of every pod.
    #[default]
    All,
    /// Of the pods of this namespace.
    Namespace(String),
    /// Of this pod.
    Pod(PodRef),
}

impl PodFilter {
    fn matches(&self, namespace: &str, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(wanted) => wanted == namespace,
            Self::Pod(wanted) => wanted.namespace == namespace && wanted.name == name,
        }
    }
}

impl Filter {
    /// Whether a verdict is asked for.
    #[must_use]
    pub fn matches(&self, verdict: &Verdict) -> bool {
        let own = self.pods.matches(&verdict.pod.namespace, &verdict.pod.name);
        let pods = own
            || verdict.peer.pod.as_ref().is_some_and(|peer| self.pods.matches(&peer.namespace, &peer.name));
        pods && self.since.is_none_or(|since| verdict.last_seen >= since)
            && (self.causes.is_empty() || self.causes.contains(&verdict.cause))
            && self.to.as_ref().is_none_or(|to| to.matches(verdict))
    }
}

/// A peer: `HOST`, `HOST:PORT`, `IP`, `IPv4:PORT`, `[IPv6]` or `[IPv6]:PORT`.
///
/// A name is compared with the name the pod asked for, whole, without regard to case and a final dot. An address is
/// compared with the one the pod dialled and with the one it was translated to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToFilter {
    peer: Peer,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Peer {
    /// Lower case, no final dot.
    Host(String),
    Ip(IpAddr),
}

impl ToFilter {
    /// Whether the verdict's peer is meant.
    #[must_use]
    pub fn matches(&self, verdict: &Verdict) -> bool {
        let peer = &verdict.peer;
        match &self.peer {
            Peer::Host(host) => {
                let name = peer.name.as_deref().unwrap_or_default();
                let same = name.strip_suffix('.').unwrap_or(name).eq_ignore_ascii_case(host);
                same && self.port.is_none_or(|port| port == peer.port)
            }
            Peer::Ip(ip) => {
                let dialled = SocketAddress { ip: peer.ip, port: peer.port };
                [Some(dialled), verdict.translation.destination]
                    .into_iter()
                    .flatten()
                    .any(|at| at.ip.to_canonical() == *ip && self.port.is_none_or(|port| port == at.port))
            }
        }
    }
}

impl ToFilter {
    /// The name or address that is asked for, as [`peer_keys`] writes it: an index finds by it every verdict that
    /// this filter lets through, and others.
    #[must_use]
    pub fn key(&self) -> String {
        match &self.peer {
            Peer::Host(host) => host.clone(),
            Peer::Ip(ip) => ip.to_string(),
        }
    }
}

/// The names and addresses by which a [`ToFilter`] may let a verdict through, for an index.
#[must_use]
pub fn peer_keys(verdict: &Verdict) -> Vec<String> {
    let name = verdict.peer.name.as_deref().map(|name| name.strip_suffix('.').unwrap_or(name));
    let addresses = [Some(verdict.peer.ip), verdict.translation.destination.map(|at| at.ip)];
    let mut keys: Vec<String> = name.map(str::to_ascii_lowercase).into_iter().collect();
    keys.extend(addresses.into_iter().flatten().map(|ip| ip.to_canonical().to_string()));
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Not a peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not HOST, HOST:PORT, IP, IPv4:PORT or [IPv6]:PORT")]
pub struct ToFilterError(String);

impl FromStr for ToFilter {
    type Err = ToFilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ToFilterError(text.to_owned());
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self { peer: Peer::Ip(ip.to_canonical()), port: None });
        }
        if let Ok(at) = text.parse::<SocketAddr>() {
            return Ok(Self { peer: Peer::Ip(at.ip().to_canonical()), port: Some(at.port()) });
        }
        if let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            let ip: IpAddr = inner.parse().map_err(|_| error())?;
            return Ok(Self { peer: Peer::Ip(ip.to_canonical()), port: None });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port.parse().map_err(|_| error())?)),
            None => (text, None),
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        // An address that is almost one must not become a name that never matches.
        let numeric = host.split('.').all(|label| label.bytes().all(|b| b.is_ascii_digit()));
        let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'*');
        if numeric || !host.bytes().all(valid) || host.split('.').any(str::is_empty) {
            return Err(error());
        }
        Ok(Self { peer: Peer::Host(host.to_ascii_lowercase()), port })
    }
}

impl fmt::Display for ToFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.peer, self.port) {
            (Peer::Host(host), None) => f.write_str(host),
            (Peer::Host(host), Some(port)) => write!(f, "{host}:{port}"),
            (Peer::Ip(ip), None) => write!(f, "{ip}"),
            (Peer::Ip(ip), Some(port)) => write!(f, "{}", SocketAddr::new(*ip, port)),
        }
    }
}
