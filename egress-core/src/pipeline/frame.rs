//! A failure of a flow gets its names, its policies and its verdict.

use std::sync::Arc;

use super::Pipeline;
use crate::cluster::PodRef;
use crate::decode::{DropSeen, Tap, Tuple};
use crate::flow::{FlowEvent, Outcome};
use crate::identity::Endpoint;
use crate::node::ConntrackQuery;
use crate::policy::{self, PolicyFlow};
use crate::protocol::Protocol;
use crate::tally::Tally;
use crate::time::Mono;
use crate::verdict::{
    self, Case, Dialler, Direction, PodIdentity, SCHEMA, SocketAddress, State, Subject, Surroundings,
    Translation, Verdict,
};

/// Who the ends of a flow are, from the local pod's side.
pub(super) struct Frame {
    pub(super) direction: Direction,
    pub(super) pod: Arc<crate::cluster::Pod>,
    pub(super) client: Endpoint,
    /// As dialled.
    pub(super) dialled: Endpoint,
    /// The pod is on the host's network.
    pub(super) on_host: bool,
}

impl Frame {
    /// What a verdict on this flow is about.
    pub(super) fn subject(&self, client: &Tuple, name: Option<String>) -> Subject {
        let protocol = client.transport();
        let port = if protocol == Protocol::Icmp { 0 } else { client.destination.port };
        let ip = if self.direction == Direction::Egress { client.destination.ip } else { client.source.ip };
        Subject {
            pod: PodRef { namespace: self.pod.namespace.clone(), name: self.pod.name.clone() },
            direction: self.direction,
            peer: SocketAddress { ip, port },
            protocol,
            name,
        }
    }

    fn peer(&self) -> &Endpoint {
        if self.direction == Direction::Egress { &self.dialled } else { &self.client }
    }
}

impl Pipeline {
    /// The ends of a flow; `None` if neither is a local pod. `forwarded`: its destination after translation.
    pub(super) fn frame(&self, client: &Tuple, forwarded: Option<SocketAddress>, at: Mono) -> Option<Frame> {
        let protocol = client.transport();
        let from = self.index.resolve_client(client.source.ip, at);
        let mut dialled = self.index.resolve(client.destination.ip, client.destination.port, protocol, at);
        if let Some(pod) = from.pod.clone().filter(|pod| self.index.is_local(pod)) {
            if client.destination.ip.is_loopback() {
                // Its own loopback: nobody else's address.
                dialled = Endpoint { ip: client.destination.ip, ..from.clone() };
            }
            return Some(Frame { direction: Direction::Egress, pod, client: from, dialled, on_host: false });
        }
        if let Some(pod) = self.host_pod(client, at) {
            return Some(Frame { direction: Direction::Egress, pod, client: from, dialled, on_host: true });
        }
        let server = match forwarded {
            Some(to) => self.index.resolve(to.ip, to.port, protocol, at).pod,
            None => dialled.pod.clone(),
        };
        let pod = server.filter(|pod| self.index.is_local(pod))?;
        Some(Frame { direction: Direction::Ingress, pod, client: from, dialled, on_host: false })
    }

    /// The process that opened a flow, where a socket told.
    fn dialler(&self, frame: &Frame, event: &FlowEvent) -> Option<Dialler> {
        if frame.direction != Direction::Egress {
            return None;
        }
        let dialled = self.dialled(&frame.pod, event)?;
        let container = self.container(&frame.pod, &dialled);
        Some(Dialler { at: dialled.at, command: dialled.command_name(), pid: dialled.pid, container })
    }

    /// What the client resolved to the address it dialled.
    pub(super) fn names_of(&self, client: &Tuple, at: Mono) -> Vec<String> {
        self.dns_names.all(self.first_address(client.source.ip, at), client.destination.ip).to_vec()
    }

    /// Makes the verdict of a failure, or revises one.
    pub(super) fn judge(&mut self, event: &FlowEvent) {
        let drop = event.outcome.dropped();
        let translation = translation(event, drop);
        let forwarded = translation.destination;
        let Some(frame) = self.frame(&event.client, forwarded, event.first) else { return };
        let protocol = event.client.transport();
        let to = match forwarded {
            // The Service that was dialled stays known behind its backend.
            Some(to) => Endpoint {
                service: frame.dialled.service.clone(),
                service_port: frame.dialled.service_port.clone(),
                ..self.index.resolve(to.ip, to.port, protocol, event.first)
            },
            None => frame.dialled.clone(),
        };
        let port = match forwarded.map_or(event.client.destination.port, |to| to.port) {
            _ if protocol == Protocol::Icmp => 0,
            port => port,
        };
        let asked = PolicyFlow {
            from: frame.client.clone(),
            to,
            port,
            protocol,
            names: self.names_of(&event.client, event.first),
        };
        let view = policy::evaluate(&self.index, &asked);
        let fix = if view.denies() { policy::fix(&self.index, &asked, &view) } else { None };
        let dns_name = match &event.outcome {
            Outcome::Dns(failure) => Some(failure.name.clone()),
            _ => None,
        };
        let known_name = self
            .dns_names
            .of(self.first_address(event.client.source.ip, event.first), event.client.destination.ip)
            .map(str::to_owned);
        let pod_endpoint = self.index.pod_endpoint(&frame.pod, event.client.source.ip);
        let netns_of = |pod: &Arc<crate::cluster::Pod>| self.index.netns_of(&pod.reference());
        let behind = self.index.behind(&frame.dialled);
        let pod_netns = netns_of(&frame.pod);
        let case = Case {
            event,
            direction: frame.direction,
            pod: &pod_endpoint,
            peer: frame.peer(),
            behind: behind.as_ref(),
            policy: &view,
            policies_as_of: self.index.synced_at(),
            fix,
            node: &self.node,
            cluster: &self.index,
            readings: &self.readings,
            peer_netns: asked
                .to
                .pod
                .as_ref()
                .filter(|_| frame.direction == Direction::Egress)
                .and_then(netns_of),
            translation: translation.clone(),
            lost: self.lost_since(event.first),
            pod_netns,
            pod_device: pod_netns.and_then(|netns| self.node.pod_device(netns)),
            pod_mtu: pod_netns.and_then(|netns| self.node.pod_mtu(netns)),
            name: if dns_name.is_some() { None } else { known_name.clone() },
        };
        let Some(mut judgement) = verdict::judge(&case) else { return };
        let dialler = self.dialler(&frame, event);
        if let Some(dialler) = &dialler {
            judgement = dialler.name(judgement);
        }
        let drift = self.drift(&case, &mut judgement);
        let around = Surroundings { reach: &self.reach, index: &self.index };
        verdict::hint(&case, &mut judgement, &around);
        let subject_name = dns_name.filter(|_| judgement.cause == verdict::Cause::DnsFailure);
        let subject = frame.subject(&event.client, subject_name.clone());
        let mut peer = frame.peer().peer_ref(subject.peer.port, protocol, subject_name.or(known_name));
        peer.ip = subject.peer.ip;
        if peer.pod.is_none()
            && let Some(to) = forwarded
        {
            peer.pod = self.index.resolve(to.ip, to.port, protocol, event.first).pod_ref();
        }
        let local_ip = match frame.direction {
            Direction::Egress => event.client.source.ip,
            Direction::Ingress => forwarded.map_or(event.client.destination.ip, |to| to.ip),
        };
        let fresh = Verdict {
            schema: SCHEMA.to_owned(),
            id: String::new(),
            state: State::Active,
            policies_as_of: self.index.synced_at(),
            pod: PodIdentity {
                namespace: frame.pod.namespace.clone(),
                name: frame.pod.name.clone(),
                uid: frame.pod.uid.clone(),
                ip: local_ip,
                node: frame.pod.node.clone(),
                workload: frame.pod.workload.clone(),
            },
            direction: frame.direction,
            peer,
            cause: judgement.cause,
            confidence: judgement.confidence,
            stage: judgement.stage,
            affects: case.affects(),
            summary: judgement.summary.clone(),
            path: verdict::path(&case, &judgement),
            evidence: verdict::evidence(&case, judgement.stage, dialler.as_ref(), self.clock),
            detail: judgement.detail,
            translation: translation.clone(),
            policies: view.findings().cloned().collect(),
            fix: judgement.fix,
            hints: judgement.hints,
            count: event.failed,
            first_seen: event.first.wall(self.clock),
            last_seen: event.last.wall(self.clock),
            lost_events: case.lost,
        };
        if let Some((what, last)) = drift {
            self.drift.dropped.note(last);
            self.tallies.push(Tally { pod: Arc::clone(&frame.pod), what });
        }
        if let Some(filtered) = case.filtered() {
            self.filters.note(event, filtered, &self.node);
        }
        if let Some(drop) = drop {
            let tuple = drop.packet.tuple;
            self.remember_drop(tuple.source.ip, tuple.destination, tuple.protocol, subject.clone());
        }
        let unseen = translation.source.is_none() || translation.destination.is_none();
        if unseen && event.client.source.port != 0 {
            // An echo is known by its identifier, which stands in the place of the source port.
            let port = if protocol == Protocol::Icmp { 0 } else { event.client.destination.port };
            let query = ConntrackQuery {
                protocol,
                source: event.client.source,
                destination: SocketAddress { ip: event.client.destination.ip, port },
            };
            self.ask(query, subject.clone());
        }
        let filed = self.book.file(subject, event.attempt, event.outcome.is_after_opening(), fresh);
        self.out.push(filed);
    }
}

/// Addresses after translation: from the drop's conntrack entry, else from where TC saw the packet.
pub(super) fn translation(event: &FlowEvent, drop: Option<&DropSeen>) -> Translation {
    let client = &event.client;
    let mut translation = Translation::default();
    if let Some(ct) = drop.and_then(|drop| drop.conntrack.as_ref())
        && ct.original == *client
    {
        let (forwarded, left) = (ct.reply.source, ct.reply.destination);
        translation.destination = (forwarded != client.destination).then_some(forwarded);
        translation.source = (left.ip != client.source.ip).then_some(left);
    } else if let Some(drop) = drop
        && drop.packet.tuple.source == client.source
        && drop.packet.tuple.destination != client.destination
    {
        translation.destination = Some(drop.packet.tuple.destination);
    }
    for seen in
        [event.journey.request(Tap::UplinkOut), event.journey.request(Tap::PodIn)].into_iter().flatten()
    {
        if translation.source.is_none() && seen.tuple.source.ip != client.source.ip {
            translation.source = Some(seen.tuple.source);
        }
        if translation.destination.is_none() && seen.tuple.destination != client.destination {
            translation.destination = Some(seen.tuple.destination);
        }
    }
    if client.transport() == Protocol::Icmp {
        translation.destination = translation.destination.filter(|to| to.ip != client.destination.ip);
    }
    translation
}
