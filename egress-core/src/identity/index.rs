//! The cluster as the agent knows it now, and a little of how it was.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::nodes::NodeIndex;
use super::peers::Peers;
use super::pods::PodIndex;
use super::policies::{Policies, Shelved};
use super::services::ServiceIndex;
use crate::cluster::{
    ClusterChange, EndpointSlice, Namespace, NetworkPolicy, Node, Object, ObjectKind, ObjectRef, Pod, PodRef,
    Policy, Service,
};
use crate::time::{Mono, Timestamp};
use crate::truth::Truth;

/// Every object of the cluster that identity and policy need, by all the keys they are asked for.
#[derive(Clone, Debug, Default)]
pub struct ClusterIndex {
    node_name: String,
    pub(super) pods: PodIndex,
    pub(super) nodes: NodeIndex,
    pub(super) peers: Peers,
    pub(super) services: ServiceIndex,
    pub(super) policies: Policies,
    namespaces: BTreeMap<String, Arc<Namespace>>,
    synced_at: Option<Timestamp>,
    /// Kinds of which not all that matters is known.
    unseen: BTreeSet<ObjectKind>,
}

impl ClusterIndex {
    /// An empty index. `node_name` says which pods are local; empty: those whose network namespace a file names.
    #[must_use]
    pub fn new(node_name: impl Into<String>) -> Self {
        Self { node_name: node_name.into(), ..Self::default() }
    }

    /// Takes in a change that was learned at `at`.
    pub fn apply(&mut self, change: ClusterChange, at: Mono) {
        match change {
            ClusterChange::Apply { object } => self.put(object, at),
            ClusterChange::Delete { object } => self.remove(&object, at),
            ClusterChange::Reset { kind, objects } => self.reset(kind, objects, at),
            ClusterChange::PeersOnDemand => self.peers.on_demand(),
            ClusterChange::Peer { ip, answer } => self.peers.note(ip.to_canonical(), answer, at),
            ClusterChange::Synced { at } => self.synced_at = Some(at),
        }
        self.expire(at);
    }

    /// Not all objects of this kind that matter can be read: an address that none of those known has may be one of the
    /// others', and is not called external.
    pub fn cannot_see(&mut self, kind: ObjectKind) {
        self.unseen.insert(kind);
    }

    /// Forgets pods that have been gone for five minutes at `now`. Every change does so too.
    pub fn expire(&mut self, now: Mono) {
        self.pods.expire(now);
        self.peers.expire(now);
    }

    /// Which network namespace a pod turned out to run in, learned at `at`. False if there is no such pod with a
    /// network namespace of its own.
    pub fn set_pod_netns(&mut self, namespace: &str, name: &str, netns: u32, at: Mono) -> bool {
        self.pods.set_netns(namespace, name, netns, at)
    }

    fn put(&mut self, object: Object, at: Mono) {
        let changed = self.synced_at.map(|_| at);
        match object {
            Object::Pod(pod) => self.pods.apply(pod, at, self.synced_at.is_none()),
            Object::Node(node) => self.nodes.apply(node),
            Object::Service(service) => self.services.apply(service, changed),
            Object::EndpointSlice(slice) => self.services.apply_slice(slice, changed),
            Object::Namespace(namespace) => {
                self.namespaces.insert(namespace.name.clone(), namespace);
            }
            policy => self.policies.apply(policy),
        }
    }

    fn remove(&mut self, object: &ObjectRef, at: Mono) {
        let ObjectRef { kind, namespace, name } = object;
        match kind {
            ObjectKind::Pod => self.pods.delete(namespace, name, at),
            ObjectKind::Node => self.nodes.delete(name),
            ObjectKind::Service => self.services.delete(namespace, name),
            ObjectKind::EndpointSlice => self.services.delete_slice(namespace, name, at),
            ObjectKind::Namespace => {
                self.namespaces.remove(name);
            }
            policy => self.policies.delete(*policy, namespace, name),
        }
    }

    fn reset(&mut self, kind: ObjectKind, mut objects: Vec<Object>, at: Mono) {
        objects.retain(|object| object.reference().kind == kind);
        let kept: BTreeSet<ObjectRef> = objects.iter().map(Object::reference).collect();
        for gone in self.references(kind).into_iter().filter(|held| !kept.contains(held)) {
            self.remove(&gone, at);
        }
        // A terminating pod may still list an address that its successor has: the ready one claims it last.
        objects.sort_by_key(|object| matches!(object, Object::Pod(pod) if pod.ready));
        for object in objects {
            self.put(object, at);
        }
    }

    fn references(&self, kind: ObjectKind) -> Vec<ObjectRef> {
        let named = |namespace: &str, name: &str| ObjectRef {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        match kind {
            ObjectKind::Pod => self.pods.iter().map(|o| named(&o.namespace, &o.name)).collect(),
            ObjectKind::Node => self.nodes.iter().map(|o| named("", &o.name)).collect(),
            ObjectKind::Service => self.services.iter().map(|o| named(&o.namespace, &o.name)).collect(),
            ObjectKind::EndpointSlice => {
                self.services.slices().map(|o| named(&o.namespace, &o.name)).collect()
            }
            ObjectKind::Namespace => self.namespaces.keys().map(|name| named("", name)).collect(),
            policy => {
                let names = self.policies.names(policy).into_iter();
                names.map(|(namespace, name)| named(namespace, name)).collect()
            }
        }
    }
}

/// Look-ups.
impl ClusterIndex {
    /// "Policies as of": when the source was last in step with the cluster; `None` before the first time.
    #[must_use]
    pub fn synced_at(&self) -> Option<Timestamp> {
        self.synced_at
    }

    /// All objects of this kind that matter are known, as far as the source was said to tell.
    #[must_use]
    pub fn sees(&self, kind: ObjectKind) -> bool {
        !self.unseen.contains(&kind)
    }

    /// Whose addresses there are is known: of pods, of Services and of nodes.
    pub(super) fn sees_addresses(&self) -> bool {
        [ObjectKind::Pod, ObjectKind::Service, ObjectKind::Node].into_iter().all(|kind| self.sees(kind))
    }

    /// Name of the node the agent runs on, empty if not known.
    #[must_use]
    pub fn node_name(&self) -> &str {
        &self.node_name
    }

    /// The pod runs on this node. Without a node's name, every pod whose network namespace a file names does.
    #[must_use]
    pub fn is_local(&self, pod: &Pod) -> bool {
        if self.node_name.is_empty() { pod.netns_path.is_some() } else { pod.node == self.node_name }
    }

    /// The pod that held this address at that time. Pods on the host's network hold none.
    #[must_use]
    pub fn pod_by_ip(&self, ip: IpAddr, at: Mono) -> Option<Arc<Pod>> {
        self.pods.by_ip(ip.to_canonical(), at).cloned()
    }

    /// The pod that ran in this network namespace (inode number) at that time.
    #[must_use]
    pub fn pod_by_netns(&self, netns: u32, at: Mono) -> Option<Arc<Pod>> {
        self.pods.by_netns(netns, at).cloned()
    }

    /// The pod that the container runtime calls by this UID now.
    #[must_use]
    pub fn pod_by_uid(&self, uid: &str) -> Option<&Arc<Pod>> {
        self.pods.by_uid(uid)
    }

    /// Inode number of a pod's network namespace, if known.
    #[must_use]
    pub fn netns_of(&self, pod: &PodRef) -> Option<u32> {
        self.pods.netns_of(pod)
    }

    /// The pod of this name now.
    #[must_use]
    pub fn pod(&self, namespace: &str, name: &str) -> Option<&Arc<Pod>> {
        self.pods.get(namespace, name)
    }

    /// All pods now, by namespace and name.
    pub fn pods(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.pods.iter()
    }

    /// The pods of a namespace now, by name.
    pub fn pods_in(&self, namespace: &str) -> impl Iterator<Item = &Arc<Pod>> {
        self.pods.in_namespace(namespace)
    }

    /// Pods of this node that have a network namespace of their own and have not finished.
    pub fn local_pods(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.pods.iter().filter(|pod| self.is_local(pod) && !pod.host_network && !pod.finished)
    }

    /// Pods of this node that are on the host's network and have not finished.
    pub fn host_pods(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.pods.iter().filter(|pod| self.is_local(pod) && pod.host_network && !pod.finished)
    }

    /// The Service of this name.
    #[must_use]
    pub fn service(&self, namespace: &str, name: &str) -> Option<&Arc<Service>> {
        self.services.get(namespace, name)
    }

    /// All Services.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.iter()
    }

    /// The EndpointSlices of a Service.
    pub fn slices_of<'a>(&'a self, service: &Service) -> impl Iterator<Item = &'a Arc<EndpointSlice>> {
        self.services.slices_of(&service.namespace, &service.name)
    }

    /// The node of this name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Arc<Node>> {
        self.nodes.get(name)
    }

    /// The node with this address.
    #[must_use]
    pub fn node_by_ip(&self, ip: IpAddr) -> Option<&Arc<Node>> {
        self.nodes.by_ip(ip.to_canonical())
    }

    /// The namespace of this name.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Option<&Arc<Namespace>> {
        self.namespaces.get(name)
    }

    /// The NetworkPolicy of this name.
    #[must_use]
    pub fn network_policy(&self, namespace: &str, name: &str) -> Option<&Arc<NetworkPolicy>> {
        self.policy_named(ObjectKind::NetworkPolicy, namespace, name)
    }

    /// The NetworkPolicies whose `podSelector` selects this pod, by name, for whichever direction.
    #[must_use]
    pub fn network_policies_selecting(&self, pod: &Pod) -> Vec<Arc<NetworkPolicy>> {
        self.policies_selecting::<NetworkPolicy>(pod).into_iter().map(|(policy, _)| policy).collect()
    }

    /// The policies of a kind that select this pod, and whether that is certain; by namespace and name.
    pub(crate) fn policies_selecting<P: Policy + Shelved>(&self, pod: &Pod) -> Vec<(Arc<P>, Truth)> {
        let namespace = self.namespaces.get(&pod.namespace);
        P::shelves(&self.policies).selecting(pod, namespace.map(Arc::as_ref))
    }

    /// The policy of this kind and name.
    pub(crate) fn policy_named<P: Policy + Shelved>(
        &self,
        kind: ObjectKind,
        namespace: &str,
        name: &str,
    ) -> Option<&Arc<P>> {
        P::shelves(&self.policies).get(kind, namespace, name)
    }

    /// Some policy of this kind is known.
    pub(crate) fn has_policies<P: Policy + Shelved>(&self) -> bool {
        !P::shelves(&self.policies).is_empty()
    }

    /// How many objects of each kind are known. Of kinds of policies only those that there are.
    #[must_use]
    pub fn counts(&self) -> Vec<(ObjectKind, usize)> {
        let count = |kind| match kind {
            ObjectKind::Pod => self.pods.iter().count(),
            ObjectKind::Namespace => self.namespaces.len(),
            ObjectKind::Node => self.nodes.len(),
            ObjectKind::Service => self.services.iter().count(),
            ObjectKind::EndpointSlice => self.services.slices().count(),
            policy => self.policies.names(policy).len(),
        };
        let counted = ObjectKind::all().map(|kind| (kind, count(kind)));
        let always = |kind: ObjectKind| !kind.is_policy() || kind == ObjectKind::NetworkPolicy;
        counted.filter(|(kind, count)| *count > 0 || always(*kind)).collect()
    }
}
