//! The reading, round by round: what a round brings says what the next one needs.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use egress_core::cluster::{ObjectKind, Pod, PodRef, Service};
use egress_core::explain::{ExplainRequest, Mention, qualified};
use egress_core::protocol::Protocol;
use egress_core::time::Mono;
use egress_core::verdict::PeerKind;

use super::concern::{Bare, Concern};
use super::reader::Reader;
use super::want::Want;
use super::{Snapshot, SnapshotError};
use crate::k8s::api::fault::Fault;
use crate::k8s::api::kinds::{Resource, Use, WATCHED};

/// Backends without a known pod that are looked up by address.
const LOOKED_UP: usize = 32;
/// Now, for an index that knows no other time.
const NOW: Mono = Mono(u64::MAX);
/// Policies whose rules name Services.
const OF_PLUGINS: &[ObjectKind] = &[
    ObjectKind::CiliumNetworkPolicy,
    ObjectKind::CiliumClusterwideNetworkPolicy,
    ObjectKind::CalicoNetworkPolicy,
    ObjectKind::CalicoGlobalNetworkPolicy,
];

impl Reader<'_> {
    /// Reads what the question needs.
    pub(super) async fn read(mut self, request: &ExplainRequest) -> Result<Snapshot, SnapshotError> {
        let concern = Concern::of(request, self.home)?;
        let mut request = request.clone();
        self.first(&concern).await?;
        for bare in &concern.bare {
            self.settle_name(bare, &concern, &mut request).await?;
        }
        if !concern.everything {
            self.settle_addresses(&concern).await?;
            if let Some(service) = self.service_meant(&concern, &request) {
                self.stand_behind(&service).await?;
            }
            let counts = self.index.counts();
            if counts.iter().any(|(kind, count)| OF_PLUGINS.contains(kind) && *count > 0) {
                self.round(vec![Want::Services(None), Want::Slices(None)], &concern).await?;
            }
        }
        self.settle_nodes(&concern).await?;
        Ok(Snapshot { index: self.index, request, unseen: self.unseen })
    }

    /// What the words of the question ask for, and the kinds that concern every pod.
    async fn first(&mut self, concern: &Concern) -> Result<(), SnapshotError> {
        let mut wants = self.custom_kinds().await?;
        if concern.everything {
            wants.extend([Want::Pods(None), Want::Policies(None), Want::Namespaces(None)]);
            wants.extend([Want::Services(None), Want::Slices(None), Want::Nodes]);
        } else {
            if !concern.addresses.is_empty() {
                wants.extend([Want::Services(None), Want::Nodes]);
                wants.extend(concern.addresses.iter().map(|ip| Want::Holders(*ip)));
            }
            wants.extend(
                concern.service.iter().map(|service| Want::Services(Some(service.namespace.clone()))),
            );
            wants.extend(self.visit(concern.namespaces.clone()));
        }
        self.round(wants, concern).await?;
        if concern.everything && !self.index.sees(ObjectKind::Pod) {
            // Of all namespaces one may not; of those that are named perhaps.
            let wants = self.visit(concern.namespaces.clone());
            self.round(wants, concern).await?;
        }
        if let (Some(why), Some(PodRef { namespace, name })) = (&self.no_services, &concern.service)
            && self.index.pod(namespace, name).is_none()
            && self.index.service(namespace, name).is_none()
        {
            return Err(SnapshotError::Forbidden(why.clone()));
        }
        self.read_by_namespace(concern).await
    }

    /// The policies of network plugins.
    async fn custom_kinds(&mut self) -> Result<Vec<Want>, SnapshotError> {
        match self.lists.custom().await {
            Ok(resources) => Ok(resources.into_iter().map(|resource| Want::Custom(resource, None)).collect()),
            Err(Fault::Forbidden(message)) => {
                for row in WATCHED.iter().filter(|row| row.is_custom() && row.use_ == Use::Policies) {
                    let Some(api_version) = row.versions.first() else { continue };
                    let why = format!("which kinds there are may not be asked ({message})");
                    self.put_stand_in(&Resource { row, api_version }, None, why);
                }
                Ok(Vec::new())
            }
            Err(fault) => Err(self.failure("find out which kinds there are", fault)),
        }
    }

    /// A name without a namespace means the one at home; else the only one there is.
    async fn settle_name(
        &mut self,
        bare: &Bare,
        concern: &Concern,
        request: &mut ExplainRequest,
    ) -> Result<(), SnapshotError> {
        let Bare { dialled, workload, name } = bare;
        let home = self.home;
        let here = self.index.pod(home, name).is_some()
            || (*dialled && self.index.service(home, name).is_some())
            // The pods of a workload are not looked for anywhere else.
            || *workload;
        if !here {
            let mut wants = vec![Want::PodsNamed(name.clone())];
            wants.extend(dialled.then(|| Want::ServicesNamed(name.clone())));
            self.round(wants, concern).await?;
            self.visit_all(concern).await?;
        }
        let elsewhere = self.index.pods().any(|pod| pod.name == *name)
            || (*dialled && self.index.services().any(|service| service.name == *name));
        if here || !elsewhere {
            let text = if *dialled { &mut request.to } else { &mut request.from };
            *text = qualified(text, home);
        }
        Ok(())
    }

    /// Pods that have the addresses named: their namespaces are read as if they had been named.
    async fn settle_addresses(&mut self, concern: &Concern) -> Result<(), SnapshotError> {
        self.visit_all(concern).await?;
        // A pod is found by its first address alone.
        let second = |ip: &IpAddr| {
            let held = self.index.pod_by_ip(*ip, NOW).is_some();
            !held && self.first_family().is_none_or(|is_ipv4| ip.is_ipv4() != is_ipv4)
        };
        if self.index.sees(ObjectKind::Pod) && concern.addresses.iter().any(second) {
            self.round(vec![Want::Pods(None)], concern).await?;
            let held = concern.addresses.iter().filter_map(|ip| self.index.pod_by_ip(*ip, NOW));
            let namespaces: Vec<String> = held.map(|pod| pod.namespace.clone()).collect();
            let wants = self.visit(namespaces);
            self.round(wants, concern).await?;
            self.read_by_namespace(concern).await?;
        }
        Ok(())
    }

    /// Whether pods have IPv4 addresses first, if any address shows it.
    fn first_family(&self) -> Option<bool> {
        let pods = self.index.pods().find_map(|pod| pod.own_ips().first().copied());
        let services = || self.index.services().find_map(|service| service.cluster_ips.first().copied());
        pods.or_else(services).map(|ip| ip.is_ipv4())
    }

    /// The Service that is dialled, by its name or by an address.
    fn service_meant(&self, concern: &Concern, request: &ExplainRequest) -> Option<PodRef> {
        let by_name = || match request.destination().ok()?.pop()? {
            Mention::Object { namespace, name, workload: false } => {
                let meant = |service: &&Arc<Service>| {
                    service.name == name && namespace.as_ref().is_none_or(|own| service.namespace == *own)
                };
                self.index.services().find(meant).map(|service| service.reference())
            }
            _ => None,
        };
        let at = |ip: &IpAddr| {
            let end = self.index.resolve(*ip, request.port, request.protocol, NOW);
            end.service.map(|service| service.reference())
        };
        by_name().or_else(|| concern.addresses.iter().find_map(at))
    }

    /// What stands behind a Service: its slices, and the pods that they name.
    async fn stand_behind(&mut self, service: &PodRef) -> Result<(), SnapshotError> {
        let PodRef { namespace, name } = service.clone();
        // Nothing of this is named in the question: what may not be read is no reason to give up.
        let concern = Concern::default();
        let mut wants = self.visit([namespace.clone()]);
        wants.push(Want::Slices(Some((namespace, name))));
        self.round(wants, &concern).await?;
        let Some(service) = self.index.service(&service.namespace, &service.name).cloned() else {
            return Ok(());
        };
        let backends: Vec<_> =
            self.index.slices_of(&service).flat_map(|slice| slice.backends.clone()).collect();
        self.behind.extend(backends.iter().filter_map(|backend| backend.pod.clone()));
        let namespaces: BTreeSet<String> = self.behind.iter().map(|pod| pod.namespace.clone()).collect();
        let wants = self.visit(namespaces);
        self.round(wants, &concern).await?;
        let outside =
            |ip: &IpAddr| self.index.resolve(*ip, 0, Protocol::Other, NOW).kind == PeerKind::External;
        let bare = backends.iter().filter(|backend| backend.pod.is_none()).map(|backend| backend.ip);
        let unknown: Vec<IpAddr> = bare.filter(outside).collect();
        if unknown.len() > LOOKED_UP {
            self.index.cannot_see(ObjectKind::Pod);
            self.say(format!(
                "{} endpoints of Service {} name no pod: what they are was not looked up",
                unknown.len(),
                service.reference()
            ));
        } else if !unknown.is_empty() {
            let mut wants: Vec<Want> = unknown.into_iter().map(Want::Holders).collect();
            wants.extend([Want::Services(None), Want::Nodes]);
            self.round(wants, &concern).await?;
        }
        self.visit_all(&concern).await
    }

    /// The nodes of ends on the host's network, where nodes were no matter so far.
    async fn settle_nodes(&mut self, concern: &Concern) -> Result<(), SnapshotError> {
        let counts = self.index.counts();
        let listed = counts.iter().any(|(kind, count)| *kind == ObjectKind::Node && *count > 0);
        let is_end = |pod: &Arc<Pod>| {
            let named = |object: &PodRef| {
                let owner = pod.workload.as_ref().and_then(|owner| owner.split_once('/'));
                let owned = owner.is_some_and(|(_, name)| name == object.name);
                object.namespace == pod.namespace && (object.name == pod.name || owned)
            };
            concern.objects.iter().any(named) || self.behind.contains(&pod.reference())
        };
        let on_host = || self.index.pods().any(|pod| pod.host_network && is_end(pod));
        if !listed && self.index.sees(ObjectKind::Node) && on_host() {
            self.round(vec![Want::Nodes], concern).await?;
        }
        // What a pod says of its node is true; it is not all.
        for (name, node) in std::mem::take(&mut self.hosts) {
            if self.index.node(&name).is_none() {
                self.put(node.into());
            }
        }
        Ok(())
    }

    /// Requests for what governs the pods of namespaces that were not read yet.
    fn visit(&mut self, namespaces: impl IntoIterator<Item = String>) -> Vec<Want> {
        let mut wants = Vec::new();
        for namespace in namespaces {
            if self.visited.insert(namespace.clone()) {
                wants.push(Want::Pods(Some(namespace.clone())));
                wants.push(Want::Policies(Some(namespace.clone())));
                wants.push(Want::Namespaces(Some(namespace)));
            }
        }
        wants
    }

    /// Reads the namespaces of all pods that are known by now.
    async fn visit_all(&mut self, concern: &Concern) -> Result<(), SnapshotError> {
        let namespaces: BTreeSet<String> = self.index.pods().map(|pod| pod.namespace.clone()).collect();
        let wants = self.visit(namespaces);
        self.round(wants, concern).await?;
        self.read_by_namespace(concern).await
    }

    /// Policies of network plugins that may be read of single namespaces alone.
    async fn read_by_namespace(&mut self, concern: &Concern) -> Result<(), SnapshotError> {
        let mut wants = Vec::new();
        for resource in &self.by_namespace {
            wants.extend(self.visited.iter().map(|place| Want::Custom(*resource, Some(place.clone()))));
        }
        self.round(wants, concern).await
    }
}
