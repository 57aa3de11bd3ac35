//! Pods of other nodes: asked for when a failure is about them, kept for a short while.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::ClusterIndex;
use crate::cluster::{PeerAnswer, PeerQuestion, Pod};
use crate::protocol::Protocol;
use crate::time::Mono;
use crate::verdict::PeerKind;

/// An answer holds for so long, before and after: addresses are reused, and nobody tells.
const HOLDS: Duration = Duration::from_secs(60);
/// After this time it is asked again.
const FRESH: Duration = Duration::from_secs(30);
/// What could not be found out is asked again after this time.
const RETRY: Duration = Duration::from_secs(5);
/// Answers kept at most; the oldest go first.
const CAPACITY: usize = 4096;
/// Backends of a Service that are asked for at most.
const BACKENDS: usize = 8;

/// What was answered of late.
#[derive(Clone, Debug, Default)]
pub(super) struct Peers {
    /// Whether there is somebody to ask.
    on_demand: bool,
    answers: HashMap<IpAddr, (Mono, PeerAnswer)>,
    /// Answers in the order they came; of an address that was answered again the last counts.
    order: VecDeque<(Mono, IpAddr)>,
}

impl Peers {
    /// From now on there is somebody to ask.
    pub(super) fn on_demand(&mut self) {
        self.on_demand = true;
    }

    /// Takes in an answer.
    pub(super) fn note(&mut self, ip: IpAddr, answer: PeerAnswer, at: Mono) {
        self.answers.insert(ip, (at, answer));
        self.order.push_back((at, ip));
        while self.order.len() > CAPACITY {
            self.drop_oldest();
        }
    }

    /// The pod that has this address, as far as an answer of about that time says.
    pub(super) fn pod(&self, ip: IpAddr, at: Mono) -> Option<&Arc<Pod>> {
        match self.answers.get(&ip)? {
            (answered, PeerAnswer::Pod { pod }) => {
                let now = at == Mono(u64::MAX);
                let near = answered.since(at) <= HOLDS && (now || at.since(*answered) <= HOLDS);
                near.then_some(pod)
            }
            _ => None,
        }
    }

    /// Forgets what no longer holds.
    pub(super) fn expire(&mut self, now: Mono) {
        while self.order.front().is_some_and(|(at, _)| now.since(*at) > HOLDS) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some((at, ip)) = self.order.pop_front() else { return };
        if self.answers.get(&ip).is_some_and(|(answered, _)| *answered == at) {
            self.answers.remove(&ip);
        }
    }

    fn is_answered(&self, ip: IpAddr, at: Mono) -> bool {
        self.answers.get(&ip).is_some_and(|(answered, answer)| {
            at.since(*answered) <= if *answer == PeerAnswer::Unknown { RETRY } else { FRESH }
        })
    }
}

impl ClusterIndex {
    /// Who has to be asked for before this end of a flow is judged: an address that is, or may be, a pod's of another
    /// node; behind a Service, its backends'.
    #[must_use]
    pub fn peer_questions(&self, ip: IpAddr, port: u16, protocol: Protocol, at: Mono) -> Vec<PeerQuestion> {
        if !self.peers.on_demand {
            return Vec::new();
        }
        let end = self.resolve(ip, port, protocol, at);
        if let (Some(service), Some(port)) = (&end.service, &end.service_port) {
            let backends = self.backends(service, port).into_iter().take(BACKENDS);
            return backends.filter_map(|backend| self.peer_question(backend.ip, at)).collect();
        }
        self.peer_question(ip, at).into_iter().collect()
    }

    fn peer_question(&self, ip: IpAddr, at: Mono) -> Option<PeerQuestion> {
        let ip = ip.to_canonical();
        let unknown = match self.resolve(ip, 0, Protocol::Other, at).kind {
            PeerKind::Unresolved => true,
            PeerKind::External => self.may_be_a_pods(ip),
            // Known by an answer, which may have grown old.
            PeerKind::Pod => self.peers.answers.contains_key(&ip),
            PeerKind::Service | PeerKind::Node => false,
        };
        if !unknown || self.peers.is_answered(ip, at) {
            return None;
        }
        let backends = || self.services.slices().flat_map(|slice| &slice.backends);
        let pod = backends().find(|backend| backend.ip == ip).and_then(|backend| backend.pod.clone());
        Some(PeerQuestion { ip, pod })
    }

    /// Networks that assign pods' addresses without telling the nodes' `podCIDR` take private ones, or those that the
    /// pods of this node have.
    fn may_be_a_pods(&self, ip: IpAddr) -> bool {
        let private = match ip {
            // RFC 1918, and the shared space of RFC 6598 that clouds give to pods.
            IpAddr::V4(ip) => ip.is_private() || (ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64),
            IpAddr::V6(ip) => ip.is_unique_local(),
        };
        let near = |other: &IpAddr| match (ip, other) {
            (IpAddr::V4(ip), IpAddr::V4(other)) => ip.octets()[..2] == other.octets()[..2],
            (IpAddr::V6(ip), IpAddr::V6(other)) => ip.segments()[..3] == other.segments()[..3],
            _ => false,
        };
        private || self.local_pods().any(|pod| pod.own_ips().iter().any(near))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testing::{Topology, ip, pod};
    use crate::cluster::{ClusterChange, PodRef};

    fn seconds(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    fn index() -> ClusterIndex {
        let topology = Topology::new()
            .node("n2", "192.0.2.2", "10.244.2.0/24")
            .service("shop/db", "10.96.0.5", "app=db", "sql:5432:5432/TCP")
            .slice("shop/db", "10.244.2.7,10.244.2.8", "sql:5432/TCP");
        let mut index = topology.index();
        index.apply(ClusterChange::PeersOnDemand, Mono(0));
        index
    }

    fn asked(index: &ClusterIndex, text: &str, port: u16, at: u64) -> Vec<String> {
        let questions = index.peer_questions(ip(text), port, Protocol::Tcp, seconds(at));
        questions.iter().map(|question| question.ip.to_string()).collect()
    }

    fn answer(index: &mut ClusterIndex, text: &str, answer: PeerAnswer, at: u64) {
        index.apply(ClusterChange::Peer { ip: ip(text), answer }, seconds(at));
    }

    #[test]
    fn only_what_may_be_a_pod_elsewhere_is_asked_for_and_only_where_somebody_answers() {
        let index = index();
        let table: &[(&str, u16, &[&str])] = &[
            ("10.244.2.7", 5432, &["10.244.2.7"]),
            // A network that tells no podCIDR.
            ("10.77.0.1", 80, &["10.77.0.1"]),
            ("100.64.0.1", 80, &["100.64.0.1"]),
            ("fd00::1", 80, &["fd00::1"]),
            ("203.0.113.4", 443, &[]),
            ("192.0.2.2", 22, &[]),
            ("10.96.0.5", 5432, &["10.244.2.7", "10.244.2.8"]),
        ];
        for (text, port, expected) in table {
            assert_eq!(asked(&index, text, *port, 1), *expected, "{text}");
        }
        let files = Topology::new().node("n2", "192.0.2.2", "10.244.2.0/24").index();
        assert_eq!(asked(&files, "10.244.2.7", 5432, 1), Vec::<String>::new());
    }

    #[test]
    fn an_answer_holds_for_a_minute_and_is_asked_for_again_after_half_of_it() {
        let mut index = index();
        let far = Arc::new(pod("shop/far", "10.244.2.7", "app=db"));
        answer(&mut index, "10.244.2.7", PeerAnswer::Pod { pod: far }, 100);
        let who = |index: &ClusterIndex, at| {
            index.resolve(ip("10.244.2.7"), 0, Protocol::Tcp, seconds(at)).pod_ref()
        };
        let far = Some(PodRef { namespace: "shop".into(), name: "far".into() });
        assert_eq!((who(&index, 90), who(&index, 150)), (far.clone(), far));
        assert_eq!((who(&index, 30), who(&index, 170)), (None, None), "it may have been another's");
        assert_eq!(asked(&index, "10.244.2.7", 0, 120), Vec::<String>::new());
        assert_eq!(asked(&index, "10.244.2.7", 0, 140), ["10.244.2.7"]);
        index.expire(seconds(161));
        assert_eq!(who(&index, 150), None);
    }

    #[test]
    fn nobody_and_not_known_are_answers_too() {
        let mut index = index();
        answer(&mut index, "10.244.2.7", PeerAnswer::Nobody, 100);
        answer(&mut index, "10.244.2.8", PeerAnswer::Unknown, 100);
        assert_eq!(asked(&index, "10.96.0.5", 5432, 104), Vec::<String>::new());
        assert_eq!(asked(&index, "10.96.0.5", 5432, 106), ["10.244.2.8"]);
        let end = index.resolve(ip("10.244.2.7"), 0, Protocol::Tcp, seconds(100));
        assert_eq!(end.kind, PeerKind::Unresolved, "in the cluster, and not known");
    }

    #[test]
    fn answers_are_bounded() {
        let mut peers = Peers::default();
        for number in 0..20_000_u32 {
            peers.note(IpAddr::V4(number.into()), PeerAnswer::Nobody, Mono(u64::from(number)));
        }
        assert_eq!((peers.answers.len(), peers.order.len()), (CAPACITY, CAPACITY));
    }
}
