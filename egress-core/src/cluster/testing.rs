//! Small clusters for tests, in a few lines. Malformed text panics: these are tests.

use std::net::IpAddr;
use std::sync::Arc;

use super::{
    Backend, ClusterChange, Container, ContainerPort, EndpointSlice, Expression, IpBlock, LabelSelector,
    Labels, Namespace, NetworkPolicy, Node, Object, Operator, Peer, Pod, PodRef, PolicyPort, PortMatch, Rule,
    Service, ServicePort, ServiceTarget,
};
use crate::identity::ClusterIndex;
use crate::protocol::Protocol;
use crate::time::{Mono, Timestamp};

/// A test that does not care about time asks as of now.
pub(crate) const NOW: Mono = Mono(u64::MAX / 2);

/// A cluster under construction.
#[derive(Clone, Default)]
pub(crate) struct Topology {
    pub(crate) objects: Vec<Object>,
}

impl Topology {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A node with one address; `cidrs` are its podCIDRs, separated by commas.
    pub(crate) fn node(self, name: &str, ip: &str, cidrs: &str) -> Self {
        let pod_cidrs = list(cidrs).map(|cidr| cidr.parse().unwrap()).collect();
        self.with(Node { name: name.into(), labels: Labels::new(), ips: ips(ip), pod_cidrs })
    }

    /// A namespace; its `kubernetes.io/metadata.name` comes by itself.
    pub(crate) fn namespace(self, name: &str, text: &str) -> Self {
        let mut labels = labels(text);
        labels.insert("kubernetes.io/metadata.name", name);
        self.with(Namespace { name: name.into(), labels })
    }

    /// A ready pod `ns/name` with its addresses and labels, no node.
    pub(crate) fn pod(self, name: &str, ips: &str, labels: &str) -> Self {
        self.with(pod(name, ips, labels))
    }

    /// The last pod, changed.
    pub(crate) fn but(mut self, change: impl FnOnce(&mut Pod)) -> Self {
        let last = self.objects.iter_mut().rev().find_map(|object| match object {
            Object::Pod(pod) => Some(Arc::make_mut(pod)),
            _ => None,
        });
        change(last.expect("a pod before it"));
        self
    }

    /// The last pod runs on this node.
    pub(crate) fn on(self, node: &str) -> Self {
        self.but(|pod| pod.node = node.into())
    }

    /// The last pod declares a container port.
    pub(crate) fn container_port(self, name: &str, port: u16, protocol: Protocol) -> Self {
        self.but(|pod| {
            let port = ContainerPort { name: Some(name.into()), port, protocol };
            pod.containers.push(Container { name: "main".into(), ports: vec![port], ..Container::default() });
        })
    }

    /// A Service `ns/name`; ports as `name:port:target/PROTOCOL`, separated by commas.
    pub(crate) fn service(self, name: &str, ips_text: &str, selector: &str, ports: &str) -> Self {
        let PodRef { namespace, name } = reference(name);
        let ports = list(ports)
            .map(|text| {
                let (rest, protocol) = text.split_once('/').expect("name:port:target/PROTOCOL");
                let [name, port, target] = rest.split(':').collect::<Vec<_>>().try_into().unwrap();
                ServicePort {
                    name: (!name.is_empty()).then(|| name.to_owned()),
                    port: port.parse().unwrap(),
                    protocol: protocol.parse().unwrap(),
                    target: match target.parse() {
                        Ok(number) => ServiceTarget::Number(number),
                        Err(_) => ServiceTarget::Name(target.to_owned()),
                    },
                    node_port: None,
                }
            })
            .collect();
        let selector = (!selector.is_empty()).then(|| labels(selector));
        let cluster_ips = ips(ips_text);
        self.with(Service { namespace, name, cluster_ips, ports, selector, ..Service::default() })
    }

    /// An EndpointSlice of the Service `ns/name`: addresses (`!` before one that is not ready), ports as
    /// `name:number/PROTOCOL`.
    pub(crate) fn slice(self, service: &str, addresses: &str, ports: &str) -> Self {
        let PodRef { namespace, name } = reference(service);
        let ports = list(ports)
            .map(|text| {
                let (rest, protocol) = text.split_once('/').expect("name:number/PROTOCOL");
                let (name, number) = rest.split_once(':').expect("name:number/PROTOCOL");
                (name.to_owned(), number.parse().unwrap(), protocol.parse().unwrap())
            })
            .collect();
        let backends = list(addresses)
            .map(|text| {
                let ready = !text.starts_with('!');
                let ip = text.trim_start_matches('!').parse().unwrap();
                Backend { ip, ready, serving: ready, pod: None, node: None }
            })
            .collect();
        let slice = format!("{name}-{}", self.objects.len());
        self.with(EndpointSlice { namespace, name: slice, service: Some(name), ports, backends })
    }

    /// A policy.
    pub(crate) fn policy(self, policy: NetworkPolicy) -> Self {
        self.with(policy)
    }

    /// Any object.
    pub(crate) fn with(mut self, object: impl Into<Object>) -> Self {
        self.objects.push(object.into());
        self
    }

    /// All of it, listed at the beginning.
    pub(crate) fn index(self) -> ClusterIndex {
        let mut index = ClusterIndex::new("");
        for object in self.objects {
            index.apply(ClusterChange::Apply { object }, Mono(0));
        }
        index.apply(ClusterChange::Synced { at: Timestamp(0) }, Mono(0));
        index
    }
}

/// A ready pod `ns/name`.
pub(crate) fn pod(name: &str, addresses: &str, text: &str) -> Pod {
    let PodRef { namespace, name } = reference(name);
    let uid = format!("uid-{name}");
    Pod { namespace, name, uid, labels: labels(text), ips: ips(addresses), ready: true, ..Pod::default() }
}

/// A policy `ns/name` for the pods selected by this text, isolating neither way yet.
pub(crate) fn policy(name: &str, selects: &str) -> NetworkPolicy {
    let PodRef { namespace, name } = reference(name);
    NetworkPolicy { namespace, name, selector: selector(selects), ..NetworkPolicy::default() }
}

impl NetworkPolicy {
    /// Isolates for egress, with these rules.
    pub(crate) fn egress_to(mut self, rules: impl IntoIterator<Item = Rule>) -> Self {
        self.isolates_egress = true;
        self.egress.extend(rules);
        self
    }

    /// Isolates for ingress, with these rules.
    pub(crate) fn ingress_from(mut self, rules: impl IntoIterator<Item = Rule>) -> Self {
        self.isolates_ingress = true;
        self.ingress.extend(rules);
        self
    }
}

/// A rule for these peers and ports; ports as in [`ports`].
pub(crate) fn rule(peers: impl IntoIterator<Item = Peer>, ports_text: &str) -> Rule {
    Rule { peers: peers.into_iter().collect(), ports: ports(ports_text) }
}

/// `ipBlock`: `10.0.0.0/8` or `10.0.0.0/8 except 10.1.0.0/16,10.2.0.0/16`.
pub(crate) fn block(text: &str) -> Peer {
    let (cidr, except) = text.split_once(" except ").unwrap_or((text, ""));
    let except = list(except).map(|cidr| cidr.parse().unwrap()).collect();
    Peer::IpBlock(IpBlock { cidr: cidr.parse().unwrap(), except })
}

/// Pods of the policy's own namespace.
pub(crate) fn pods(text: &str) -> Peer {
    Peer::Pods { namespaces: None, pods: Some(selector(text)) }
}

/// All pods of the namespaces selected.
pub(crate) fn namespaces(text: &str) -> Peer {
    Peer::Pods { namespaces: Some(selector(text)), pods: None }
}

/// Pods selected, in the namespaces selected.
pub(crate) fn pods_in(namespaces: &str, pods: &str) -> Peer {
    Peer::Pods { namespaces: Some(selector(namespaces)), pods: Some(selector(pods)) }
}

/// `TCP 443`, `UDP 53`, `TCP 8000-8080`, `TCP http`, `SCTP` (every port), separated by commas.
pub(crate) fn ports(text: &str) -> Vec<PolicyPort> {
    list(text)
        .map(|text| {
            let (protocol, port) = text.split_once(' ').unwrap_or((text, ""));
            let port = match port.split_once('-') {
                _ if port.is_empty() => None,
                Some((low, high)) if low.parse::<u16>().is_ok() => {
                    Some(PortMatch::Range(low.parse().unwrap(), high.parse().unwrap()))
                }
                _ => Some(port.parse().map_or_else(|_| PortMatch::Name(port.into()), PortMatch::Number)),
            };
            PolicyPort { protocol: protocol.parse().unwrap(), port }
        })
        .collect()
}

/// `app=db,tier in (a|b),x notin (c),up,!old`.
pub(crate) fn selector(text: &str) -> LabelSelector {
    let mut selector = LabelSelector::default();
    for part in list(text) {
        let mut expression = |key: &str, operator, values: &str| {
            let values = values.trim_matches(['(', ')']).split('|').filter(|v| !v.is_empty());
            let values = values.map(str::to_owned).collect();
            selector.expressions.push(Expression { key: key.into(), operator, values });
        };
        if let Some((key, values)) = part.split_once(" in ") {
            expression(key, Operator::In, values);
        } else if let Some((key, values)) = part.split_once(" notin ") {
            expression(key, Operator::NotIn, values);
        } else if let Some(key) = part.strip_prefix('!') {
            expression(key, Operator::DoesNotExist, "");
        } else if let Some((key, value)) = part.split_once('=') {
            selector.match_labels.insert(key, value);
        } else {
            expression(part, Operator::Exists, "");
        }
    }
    selector
}

/// `app=db,tier=x`.
pub(crate) fn labels(text: &str) -> Labels {
    list(text).map(|pair| pair.split_once('=').expect("key=value")).collect()
}

/// `ns/name`.
pub(crate) fn reference(text: &str) -> PodRef {
    let (namespace, name) = text.split_once('/').expect("ns/name");
    PodRef { namespace: namespace.into(), name: name.into() }
}

/// An address.
pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ips(text: &str) -> Vec<IpAddr> {
    list(text).map(ip).collect()
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}
