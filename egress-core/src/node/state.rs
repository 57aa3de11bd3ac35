//! The node as the agent knows it now, and what traffic has shown of it.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::{Device, DeviceRole, Filters, NodeNetwork, Route};
use crate::decode::{FilterKind, Hook, Tap};

/// Devices, filters, and which of them were seen to carry traffic.
#[derive(Clone, Debug, Default)]
pub struct NodeState {
    network: NodeNetwork,
    filters: Filters,
    /// Name and MTU of the device inside a pod, by the pod's namespace.
    pod_devices: HashMap<u32, (String, u32)>,
    /// Devices and directions that carried traffic since they are watched.
    carried: HashSet<(u32, Tap)>,
    /// Some flow of a pod left translated.
    translates: bool,
    /// Some flow that left with its pod's own address was answered from outside.
    untranslated_answered: bool,
}

/// Who may have dropped a packet in a netfilter hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribution {
    /// Nothing else filters there: the table, and the chain if it is one.
    Only {
        /// `family table`.
        table: String,
        /// `family table chain`.
        chain: Option<String>,
    },
    /// Several could have.
    Several(Vec<String>),
    /// What filters there is not known.
    Unknown,
}

impl NodeState {
    /// Takes in devices, addresses and routes.
    pub fn set_network(&mut self, network: NodeNetwork) {
        self.carried.retain(|(index, _)| network.devices.iter().any(|device| device.index == *index));
        self.network = network;
    }

    /// Takes in the packet filters.
    pub fn set_filters(&mut self, filters: Filters) {
        self.filters = filters;
    }

    /// Takes in the name and the MTU of a pod's device.
    pub fn set_pod_device(&mut self, netns: u32, name: String, mtu: u32) {
        self.pod_devices.insert(netns, (name, mtu));
    }

    /// A packet was seen at a device.
    pub fn note_traffic(&mut self, ifindex: u32, tap: Tap) {
        self.carried.insert((ifindex, tap));
    }

    /// A flow of a pod was seen to leave with another source.
    pub const fn note_translated(&mut self) {
        self.translates = true;
    }

    /// A flow that left with its pod's own address was answered.
    pub const fn note_untranslated_answer(&mut self) {
        self.untranslated_answered = true;
    }

    /// Flows of pods leave translated here.
    #[must_use]
    pub const fn translates(&self) -> bool {
        self.translates
    }

    /// Flows of pods are answered here without translation.
    #[must_use]
    pub const fn answers_untranslated(&self) -> bool {
        self.untranslated_answered
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

    /// Who could have dropped a packet of this family in this hook of the node.
    #[must_use]
    pub fn attribute(&self, kind: FilterKind, hook: Hook, v6: bool) -> Attribution {
        // The function that freed the packet tells the engines apart.
        let backend = if kind == FilterKind::Nftables { "nftables" } else { "iptables-legacy" };
        if self.filters.unread.iter().any(|unread| unread.starts_with(backend)) {
            return Attribution::Unknown;
        }
        let hook = hook.as_str().to_ascii_lowercase();
        let fits = |family: &str| match family {
            "ip" => !v6,
            "ip6" => v6,
            "arp" => false,
            _ => true,
        };
        let chains: Vec<_> = self
            .filters
            .chains
            .iter()
            .filter(|chain| {
                chain.backend == backend && fits(&chain.family) && (hook.is_empty() || chain.hook == hook)
            })
            .filter(|chain| chain.drops_by_default || !chain.dropping_rules.is_empty())
            .collect();
        let mut tables: Vec<String> = chains.iter().map(|c| format!("{} {}", c.family, c.table)).collect();
        tables.sort();
        tables.dedup();
        match tables.len() {
            0 => Attribution::Unknown,
            1 => {
                let chain = match chains.as_slice() {
                    [one] => Some(format!("{} {} {}", one.family, one.table, one.chain)),
                    _ => None,
                };
                Attribution::Only { table: tables.swap_remove(0), chain }
            }
            _ => Attribution::Several(tables),
        }
    }
}
