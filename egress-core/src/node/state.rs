//! The node as the agent knows it now, and what traffic has shown of it.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::outgoing::Outgoing;
use super::routing::{Decision, Routed};
use super::{Device, DeviceProgram, DeviceRole, FilterAnswer, Filters, LinkState, NodeNetwork, Route};
use crate::decode::Tap;

/// Pods and devices whose filters are remembered at most.
const PLACES: usize = 4096;

/// Devices, filters, and which of them were seen to carry traffic.
#[derive(Clone, Debug, Default)]
pub struct NodeState {
    network: NodeNetwork,
    pub(super) filters: Filters,
    /// Filters inside pods, by namespace, as far as they were asked for.
    pub(super) pod_filters: HashMap<u32, Filters>,
    /// Programs at devices, by namespace and index, as far as they were asked for.
    programs: HashMap<(u32, u32), Vec<DeviceProgram>>,
    /// This kernel's nftables frees what a rule drops itself (6.7 and later).
    pub(super) rules_free_packets: bool,
    /// Name and MTU of the device inside a pod, by the pod's namespace.
    pod_devices: HashMap<u32, (String, u32)>,
    /// Devices and directions that carried traffic since they are watched.
    carried: HashSet<(u32, Tap)>,
    /// What flows of pods have shown of source translation.
    outgoing: Outgoing,
    /// Routes that went away with their device, while it is down.
    lost: Vec<(String, Route)>,
}

/// Routes of devices that went down that are remembered.
const LOST: usize = 4096;

impl NodeState {
    /// Takes in devices, addresses and routes.
    pub fn set_network(&mut self, network: NodeNetwork) {
        self.carried.retain(|(index, _)| network.devices.iter().any(|device| device.index == *index));
        self.note_lost(&network);
        self.network = network;
    }

    /// Keeps the routes that go away because their device is set down or removed, until it is up again.
    fn note_lost(&mut self, now: &NodeNetwork) {
        let up = |name: &str| {
            now.devices.iter().any(|device| device.name == name && device.link != LinkState::Down)
        };
        self.lost.retain(|(name, _)| !up(name));
        for device in &self.network.devices {
            if device.role == DeviceRole::Pod || up(&device.name) {
                continue;
            }
            let gone = self.network.routes.iter().filter(|route| {
                route.device == device.index && route.kind == "unicast" && !now.routes.contains(route)
            });
            let room = LOST.saturating_sub(self.lost.len());
            self.lost.extend(gone.take(room).map(|route| (device.name.clone(), route.clone())));
        }
    }

    /// The route to this address that went away with its device, which is still down: the device's name and the
    /// route.
    #[must_use]
    pub fn lost_route(&self, ip: IpAddr) -> Option<(&str, &Route)> {
        self.lost
            .iter()
            .filter(|(_, route)| route.destination.contains(&ip))
            .max_by_key(|(_, route)| (route.destination.prefix_len(), std::cmp::Reverse(route.priority)))
            .map(|(name, route)| (name.as_str(), route))
    }

    /// What routing of the node decides on a packet.
    #[must_use]
    pub fn route(&self, packet: &Routed<'_>) -> Decision<'_> {
        self.network.route(packet)
    }

    /// Devices of the node.
    #[must_use]
    pub fn devices(&self) -> &[Device] {
        &self.network.devices
    }

    /// Takes in the packet filters.
    pub fn set_filters(&mut self, filters: Filters) {
        self.filters = filters;
    }

    /// The packet filters.
    #[must_use]
    pub const fn filters(&self) -> &Filters {
        &self.filters
    }

    /// Takes in who filters at a device, or inside a pod.
    pub fn set_filtering(&mut self, answer: FilterAnswer) {
        if self.pod_filters.len() >= PLACES || self.programs.len() >= PLACES {
            self.pod_filters.clear();
            self.programs.clear();
        }
        match answer.filters {
            Some(filters) if self.is_node(answer.query.netns) => self.filters = filters,
            Some(filters) => {
                self.pod_filters.insert(answer.query.netns, filters);
            }
            None => {}
        }
        self.programs.insert((answer.query.netns, answer.query.device), answer.programs);
    }

    /// The programs at a device; `None` if they were not asked for.
    #[must_use]
    pub fn programs_at(&self, netns: u32, device: u32) -> Option<&[DeviceProgram]> {
        self.programs.get(&(netns, device)).map(Vec::as_slice)
    }

    /// Rules of nftables free what they drop themselves on this kernel: one was seen to, or the kernel is new enough.
    pub const fn note_rules_free_packets(&mut self) {
        self.rules_free_packets = true;
    }

    /// Takes in the name and the MTU of a pod's device.
    pub fn set_pod_device(&mut self, netns: u32, name: String, mtu: u32) {
        self.pod_devices.insert(netns, (name, mtu));
    }

    /// A packet was seen at a device.
    pub fn note_traffic(&mut self, ifindex: u32, tap: Tap) {
        self.carried.insert((ifindex, tap));
    }

    /// A flow of a pod left with this source for this destination, and was answered.
    pub fn note_answered(&mut self, client: IpAddr, source: IpAddr, destination: IpAddr) {
        self.outgoing.note(client, source, destination);
    }

    /// Flows of pods leave translated here, in this family.
    #[must_use]
    pub const fn translates(&self, v6: bool) -> bool {
        self.outgoing.translates(v6)
    }

    /// Flows of pods are answered here without translation: from networks such as this address is in.
    #[must_use]
    pub fn answers_untranslated(&self, from: IpAddr) -> bool {
        self.outgoing.answers_untranslated(from)
    }

    /// Something that left with this source was answered.
    #[must_use]
    pub fn answered_as(&self, source: IpAddr) -> bool {
        self.outgoing.answered_as(source)
    }

    /// Whether this device carried traffic in this direction since it is watched.
    #[must_use]
    pub fn carried(&self, ifindex: u32, tap: Tap) -> bool {
        self.carried.contains(&(ifindex, tap))
    }

    /// Namespace of the node, 0 if not known yet.
    #[must_use]
    pub const fn netns(&self) -> u32 {
        self.network.netns
    }

    /// A device of the node.
    #[must_use]
    pub fn device(&self, index: u32) -> Option<&Device> {
        self.network.devices.iter().find(|device| device.index == index)
    }

    /// Name of a device of the node.
    #[must_use]
    pub fn device_name(&self, index: u32) -> Option<String> {
        self.device(index).map(|device| device.name.clone())
    }

    /// Name of the first device inside a pod.
    #[must_use]
    pub fn pod_device(&self, netns: u32) -> Option<String> {
        self.pod_devices.get(&netns).map(|(name, _)| name.clone())
    }

    /// MTU of the first device inside a pod, where it is known.
    #[must_use]
    pub fn pod_mtu(&self, netns: u32) -> Option<u32> {
        self.pod_devices.get(&netns).map(|(_, mtu)| *mtu).filter(|mtu| *mtu != 0)
    }

    /// The address is the node's own.
    #[must_use]
    pub fn is_own(&self, ip: IpAddr) -> bool {
        self.network.addresses.contains(&ip)
    }

    /// The uplink that a packet to this address should leave by, if its route names one.
    #[must_use]
    pub fn uplink_to(&self, ip: IpAddr) -> Option<&Device> {
        let best = self.route_to(ip)?;
        self.device(best.device).filter(|device| device.role == DeviceRole::Uplink)
    }

    /// The most specific route of any table; policy routing may choose another.
    pub(crate) fn route_to(&self, ip: IpAddr) -> Option<&Route> {
        self.network
            .routes
            .iter()
            .filter(|route| route.kind == "unicast" && route.destination.contains(&ip))
            .max_by_key(|route| (route.destination.prefix_len(), std::cmp::Reverse(route.priority)))
    }

    /// Device of the default route of this address's family, of any table.
    pub(crate) fn default_device(&self, family: IpAddr) -> Option<u32> {
        self.network
            .routes
            .iter()
            .filter(|route| {
                route.kind == "unicast"
                    && route.destination.prefix_len() == 0
                    && route.destination.addr().is_ipv4() == family.is_ipv4()
            })
            .min_by_key(|route| route.priority)
            .map(|route| route.device)
    }
}
