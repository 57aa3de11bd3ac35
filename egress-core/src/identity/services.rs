//! Services by address, and the EndpointSlices behind them.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::cluster::{EndpointSlice, Service, ServicePort};
use crate::protocol::Protocol;
use crate::time::Mono;

type ByName<T> = BTreeMap<String, BTreeMap<String, Arc<T>>>;

/// All Services and EndpointSlices known.
#[derive(Clone, Debug, Default)]
pub(super) struct ServiceIndex {
    by_name: ByName<Service>,
    /// By ClusterIP, external IP, load balancer IP. Services may share the latter two, by port.
    by_ip: HashMap<IpAddr, Vec<Arc<Service>>>,
    by_node_port: HashMap<(u16, Protocol), Arc<Service>>,
    slices: ByName<EndpointSlice>,
    /// Names of slices by namespace, then Service.
    slices_of: HashMap<String, HashMap<String, Vec<String>>>,
    /// Where ClusterIPs were seen: the largest range that can be a Service CIDR → lowest and highest address.
    ranges: HashMap<IpNet, (IpAddr, IpAddr)>,
    /// When a Service or its slices last changed, by namespace and name; not what was listed at the beginning.
    changed: HashMap<String, HashMap<String, Mono>>,
}

impl ServiceIndex {
    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Service>> {
        self.by_name.get(namespace)?.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.by_name.values().flat_map(BTreeMap::values)
    }

    pub(super) fn slices(&self) -> impl Iterator<Item = &Arc<EndpointSlice>> {
        self.slices.values().flat_map(BTreeMap::values)
    }

    /// The EndpointSlices of a Service.
    pub(super) fn slices_of(
        &self,
        namespace: &str,
        service: &str,
    ) -> impl Iterator<Item = &Arc<EndpointSlice>> {
        let names = self.slices_of.get(namespace).and_then(|services| services.get(service));
        let slices = self.slices.get(namespace);
        names.into_iter().flatten().filter_map(move |name| slices?.get(name))
    }

    /// The Service at this address, and its port if it has that one.
    pub(super) fn at(
        &self,
        ip: IpAddr,
        port: u16,
        protocol: Protocol,
    ) -> Option<(&Arc<Service>, Option<&ServicePort>)> {
        let services = self.by_ip.get(&ip)?;
        let with_port = services.iter().find_map(|service| {
            let found = service.ports.iter().find(|p| p.port == port && p.protocol == protocol)?;
            Some((service, Some(found)))
        });
        with_port.or_else(|| services.first().map(|service| (service, None)))
    }

    /// The Service with this node port.
    pub(super) fn at_node_port(
        &self,
        port: u16,
        protocol: Protocol,
    ) -> Option<(&Arc<Service>, &ServicePort)> {
        let service = self.by_node_port.get(&(port, protocol))?;
        let found = service.ports.iter().find(|p| p.node_port == Some(port) && p.protocol == protocol)?;
        Some((service, found))
    }

    /// When the Service of this name or its slices changed last, since they are watched.
    pub(super) fn changed(&self, namespace: &str, service: &str) -> Option<Mono> {
        self.changed.get(namespace)?.get(service).copied()
    }

    /// Notes that a Service changed; `service` is its name.
    fn note_change(&mut self, namespace: &str, service: &str, at: Mono) {
        self.changed.entry(namespace.to_owned()).or_default().insert(service.to_owned(), at);
    }

    /// The address lies where ClusterIPs come from, as far as those seen tell.
    pub(super) fn in_service_range(&self, ip: IpAddr) -> bool {
        self.ranges.get(&largest_range(ip)).is_some_and(|(lowest, highest)| {
            let shared = common_prefix(*lowest, *highest);
            common_prefix(*lowest, ip) >= shared
        })
    }

    /// The networks of [`ServiceIndex::in_service_range`].
    pub(super) fn ranges(&self) -> impl Iterator<Item = IpNet> {
        self.ranges.values().filter_map(|(lowest, highest)| {
            let shared = u8::try_from(common_prefix(*lowest, *highest)).ok()?;
            Some(IpNet::new(*lowest, shared).ok()?.trunc())
        })
    }

    /// Adds or replaces a Service. `changed`: when, unless it was listed at the beginning.
    pub(super) fn apply(&mut self, service: Arc<Service>, changed: Option<Mono>) {
        if let Some(at) = changed
            && self.get(&service.namespace, &service.name).is_none_or(|known| *known != service)
        {
            self.note_change(&service.namespace, &service.name, at);
        }
        self.remove(&service.namespace, &service.name);
        for ip in service.cluster_ips.iter().chain(&service.external_ips) {
            self.by_ip.entry(*ip).or_default().push(Arc::clone(&service));
        }
        for ip in &service.cluster_ips {
            let (lowest, highest) = self.ranges.entry(largest_range(*ip)).or_insert((*ip, *ip));
            *lowest = (*lowest).min(*ip);
            *highest = (*highest).max(*ip);
        }
        for port in &service.ports {
            if let Some(node_port) = port.node_port {
                self.by_node_port.insert((node_port, port.protocol), Arc::clone(&service));
            }
        }
        self.by_name.entry(service.namespace.clone()).or_default().insert(service.name.clone(), service);
    }

    pub(super) fn delete(&mut self, namespace: &str, name: &str) {
        self.remove(namespace, name);
        if let Some(services) = self.changed.get_mut(namespace) {
            services.remove(name);
            if services.is_empty() {
                self.changed.remove(namespace);
            }
        }
    }

    fn remove(&mut self, namespace: &str, name: &str) {
        let Some(service) = self.by_name.get_mut(namespace).and_then(|services| services.remove(name)) else {
            return;
        };
        for ip in service.cluster_ips.iter().chain(&service.external_ips) {
            if let Some(services) = self.by_ip.get_mut(ip) {
                services.retain(|held| !Arc::ptr_eq(held, &service));
                if services.is_empty() {
                    self.by_ip.remove(ip);
                }
            }
        }
        for port in &service.ports {
            if let Some(node_port) = port.node_port {
                let key = (node_port, port.protocol);
                if self.by_node_port.get(&key).is_some_and(|held| Arc::ptr_eq(held, &service)) {
                    self.by_node_port.remove(&key);
                }
            }
        }
    }

    /// Adds or replaces a slice. `changed`: when, unless it was listed at the beginning.
    pub(super) fn apply_slice(&mut self, slice: Arc<EndpointSlice>, changed: Option<Mono>) {
        let known = self.slices.get(&slice.namespace).and_then(|slices| slices.get(&slice.name));
        if let Some(at) = changed
            && let Some(service) = &slice.service
            && known.is_none_or(|known| *known != slice)
        {
            self.note_change(&slice.namespace, service, at);
        }
        self.remove_slice(&slice.namespace, &slice.name);
        if let Some(service) = &slice.service {
            let services = self.slices_of.entry(slice.namespace.clone()).or_default();
            services.entry(service.clone()).or_default().push(slice.name.clone());
        }
        self.slices.entry(slice.namespace.clone()).or_default().insert(slice.name.clone(), slice);
    }

    pub(super) fn delete_slice(&mut self, namespace: &str, name: &str, at: Mono) {
        let service = self.slices.get(namespace).and_then(|slices| slices.get(name)?.service.clone());
        // Nothing is remembered of a Service that is gone itself.
        if let Some(service) = service.filter(|service| self.get(namespace, service).is_some()) {
            self.note_change(namespace, &service, at);
        }
        self.remove_slice(namespace, name);
    }

    fn remove_slice(&mut self, namespace: &str, name: &str) {
        let Some(slice) = self.slices.get_mut(namespace).and_then(|slices| slices.remove(name)) else {
            return;
        };
        let services = self.slices_of.get_mut(namespace);
        if let (Some(services), Some(service)) = (services, &slice.service)
            && let Some(names) = services.get_mut(service)
        {
            names.retain(|held| held != name);
            if names.is_empty() {
                services.remove(service);
            }
        }
    }
}

/// The largest Service CIDR that could hold this address: kube-apiserver takes at most 20 bits of host part
/// (`--service-cluster-ip-range`).
fn largest_range(ip: IpAddr) -> IpNet {
    let length = if ip.is_ipv4() { 12 } else { 108 };
    IpNet::new(ip, length).unwrap_or_else(|_| ip.into()).trunc()
}

/// How many leading bits two addresses of one family share.
fn common_prefix(a: IpAddr, b: IpAddr) -> u32 {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        _ => 0,
    }
}
