//! What the agent knows of its node: devices, routes, and who else filters packets there.

mod attribution;
mod outgoing;
mod reading;
mod routing;
mod state;
mod table;

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::protocol::Protocol;
use crate::time::Mono;
use crate::verdict::SocketAddress;

pub use attribution::Attribution;
pub use outgoing::is_private;
pub use reading::{Answer, Question, Queue, Reading, Readings, Refusal, RouteAnswer};
pub use routing::{Decision as RoutingDecision, Routed, Rule, RuleAction};
pub use state::NodeState;
pub use table::{Holder, PortsInUse, RangeInUse, Table, Towards, TranslationRule, Translations};

/// A change of the node, from netlink. Each replaces what was known of its subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
pub enum NodeChange {
    /// Devices, addresses and routes of the node's namespace.
    Network(NodeNetwork),
    /// The packet filters of the node's namespace.
    Filters(Filters),
    /// Which namespace a pod's `netns_path` turned out to be.
    PodNetns {
        /// Namespace of the pod.
        namespace: String,
        /// Name of the pod.
        name: String,
        /// Inode number of its network namespace.
        netns: u32,
        /// Name of its first device inside (such as `eth0`), if it could be read.
        device: Option<String>,
        /// MTU of that device, 0 where unknown.
        #[serde(default)]
        mtu: u32,
    },
    /// A conntrack entry that was asked for.
    Conntrack(ConntrackAnswer),
    /// A state of the kernel that was asked for.
    Reading(Reading),
    /// Who filters at a place that was asked for.
    Filtering(FilterAnswer),
    /// Whose a socket is that was asked for.
    Owner(OwnerAnswer),
}

/// Asks whose a socket is: by its cgroup, else by the process that dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OwnerQuery {
    /// cgroup v2 id: the inode number of its directory; 0 where unknown.
    pub cgroup: u64,
    /// Process in the host's numbering, 0 where unknown.
    pub pid: u32,
    /// When it dialled: a process that began later is another one.
    pub at: Mono,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerAnswer {
    /// What was asked.
    pub query: OwnerQuery,
    /// The pod, if it is one's.
    pub owner: Option<Owner>,
    /// The process told, not the cgroup of the socket.
    pub by_process: bool,
}

/// Whose a cgroup is, as the container runtime names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// UID of the pod; of a static pod the hash of its manifest.
    pub pod_uid: String,
    /// Id of the container; `None` for the pod's own cgroup.
    pub container: Option<String>,
}

/// Devices, addresses and routes of the node's namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeNetwork {
    /// Inode number of the node's network namespace.
    pub netns: u32,
    /// Devices.
    pub devices: Vec<Device>,
    /// The node's own addresses.
    pub addresses: Vec<IpAddr>,
    /// Routes of all tables (unicast and those that refuse).
    pub routes: Vec<Route>,
    /// Rules of policy routing, both families, in the order in which the kernel asks them. Empty where not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

/// A device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// `ifindex`
    pub index: u32,
    /// Name.
    pub name: String,
    /// `IFLA_INFO_KIND` (`veth`, `bridge`, `vxlan`, …), empty for hardware.
    pub kind: String,
    /// MTU, bytes.
    pub mtu: u32,
    /// `IFLA_MASTER`: the bridge it is a port of, 0 if none.
    pub master: u32,
    /// What it is to us.
    pub role: DeviceRole,
    /// Whether it can carry packets.
    #[serde(default)]
    pub link: LinkState,
    /// Watched by TC, in the direction from the pod, or out of the uplink.
    pub watched_out: bool,
    /// Watched by TC, in the direction to the pod, or in from the uplink.
    pub watched_in: bool,
    /// Another program stands before ours or may bypass us; says which.
    pub bypass: Option<String>,
}

/// What a device is to us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceRole {
    /// Host side of a pod's device.
    Pod,
    /// Towards the outside.
    Uplink,
    /// Neither.
    #[default]
    Other,
}

/// Whether a device can carry packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkState {
    /// Up, with a carrier.
    #[default]
    Up,
    /// Up, but nothing is at its other end, or that is down.
    NoCarrier,
    /// Set down.
    Down,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// Table number.
    pub table: u32,
    /// Destination.
    pub destination: IpNet,
    /// `unicast`, `local`, `unreachable`, `blackhole`, `prohibit`, …
    pub kind: String,
    /// Output device, 0 if none.
    pub device: u32,
    /// Next hop, if any.
    pub gateway: Option<IpAddr>,
    /// `metric`; lower wins.
    pub priority: u32,
}

/// The packet filters of the node's namespace, as far as they can be read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Filters {
    /// Chains that can drop or reject a packet.
    pub chains: Vec<FilterChain>,
    /// What could not be read, in words (an iptables-legacy table, for example).
    pub unread: Vec<String>,
}

/// A base chain from which a packet can be dropped or rejected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FilterChain {
    /// `nftables` (iptables-nft included) or `iptables-legacy`.
    pub backend: String,
    /// `ip`, `ip6`, `inet`, `bridge`, `netdev`, `arp`.
    pub family: String,
    /// Table.
    pub table: String,
    /// Base chain.
    pub chain: String,
    /// `prerouting`, `input`, `forward`, `output`, `postrouting`, `ingress`, `egress`.
    pub hook: String,
    /// Priority of the hook.
    pub priority: i32,
    /// The chain's policy is drop.
    pub drops_by_default: bool,
    /// Rules reachable from it that drop or reject, as text where known.
    pub dropping_rules: Vec<String>,
    /// Devices it is bound to, by name; empty: every device.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
}

/// Asks who filters where a packet was dropped: the programs at a device, and inside a pod, or without a device, the
/// packet filters of the namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FilterQuery {
    /// Network namespace; 0 where the drop did not say.
    pub netns: u32,
    /// Device in it, 0 if none.
    pub device: u32,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FilterAnswer {
    /// What was asked.
    pub query: FilterQuery,
    /// Packet filters of the namespace, where they were asked for.
    pub filters: Option<Filters>,
    /// Programs at the device, the agent's own left out.
    pub programs: Vec<DeviceProgram>,
}

/// A program, or another classifier, that can drop packets of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceProgram {
    /// `ingress`, `egress` or `xdp`.
    pub hook: String,
    /// Name of the BPF program; of other classifiers what they are (`flower filter, pref 10`).
    pub name: String,
}

/// Asks for a conntrack entry by its original tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ConntrackQuery {
    /// Protocol.
    pub protocol: Protocol,
    /// Source as the pod sent it.
    pub source: SocketAddress,
    /// Destination as the pod sent it; port 0 for ICMP, whose identifier is the source's port.
    pub destination: SocketAddress,
}

/// The answer: the reply tuple shows the translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConntrackAnswer {
    /// What was asked.
    pub query: ConntrackQuery,
    /// Reply tuple's (source, destination): the destination as forwarded to, the source as it left. `None`: no
    /// such entry.
    pub reply: Option<(SocketAddress, SocketAddress)>,
}
