//! Who may have dropped a packet: chains and programs, told apart by where in its way the packet was.

use super::{FilterChain, Filters, NodeState};
use crate::decode::{ChainSeen, DropSeen, DropSite, FilterKind, Hook};

/// Who may have dropped a packet that a filter dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribution {
    /// Nothing else filters there: the table, and the chain and the rule if it is one.
    Only {
        /// `family table`.
        table: String,
        /// `family table chain`, the base chain.
        chain: Option<String>,
        /// The only rule behind it that drops, as text.
        rule: Option<String>,
    },
    /// Nothing else stands at that device: the program.
    Program(String),
    /// Several could have.
    Several(Vec<String>),
    /// What filters there is not known.
    Unknown,
}

impl Attribution {
    /// It can only have been one.
    #[must_use]
    pub const fn is_one(&self) -> bool {
        matches!(self, Self::Only { .. } | Self::Program(_))
    }
}

/// The layers at which netfilter has hooks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layer {
    /// IPv4 and IPv6.
    Ip,
    /// Frames of a bridge.
    Bridge,
    /// Packets of one device, before and after everything else.
    Device,
}

/// A hook that fits what the packet carried.
type Spot = (Layer, &'static str);

/// Where a packet may have been, the likelier first; the second set counts where nobody drops at the first.
type Spots = [&'static [Spot]; 2];

impl NodeState {
    /// Who could have dropped this packet, and at which hook that was.
    #[must_use]
    pub fn attribute(&self, drop: &DropSeen) -> (Attribution, Hook) {
        match drop.site {
            DropSite::Filter(kind @ (FilterKind::Nftables | FilterKind::Netfilter)) => {
                self.netfilter(drop, kind)
            }
            DropSite::Filter(kind) => (self.program(drop, kind), drop.hook),
            _ => (Attribution::Unknown, drop.hook),
        }
    }

    fn netfilter(&self, drop: &DropSeen, kind: FilterKind) -> (Attribution, Hook) {
        if let Some(seen) = &drop.chain
            // Where rules free packets themselves, no chain tells of one that others freed.
            && (kind == FilterKind::Nftables || !self.rules_free_packets)
        {
            return (self.told(drop, seen), seen.hook);
        }
        let spots = self.spots(drop);
        let likely = spots[0].iter().find_map(|(_, name)| Hook::named(name));
        let hook = if drop.hook == Hook::Unknown { Hook::Unknown } else { likely.unwrap_or(drop.hook) };
        let Some(filters) = self.filters_of(drop.netns) else { return (Attribution::Unknown, hook) };
        let backends: &[&str] = match kind {
            // The rule engine freed it itself.
            FilterKind::Nftables => &["nftables"],
            _ => &["iptables-legacy", "nftables"],
        };
        if backends.iter().any(|backend| filters.unread.iter().any(|unread| unread.starts_with(backend))) {
            return (Attribution::Unknown, hook);
        }
        let device = self.device_name(drop.ifindex).filter(|_| self.is_node(drop.netns));
        let v6 = drop.packet.tuple.source.ip.is_ipv6();
        for set in spots {
            let chains: Vec<&FilterChain> = filters
                .chains
                .iter()
                .filter(|chain| self.can_drop(chain, kind))
                .filter(|chain| fits_family(chain, v6) && fits_device(chain, device.as_deref()))
                .filter(|chain| drop.hook == Hook::Unknown || set.contains(&(layer(chain), &chain.hook)))
                .collect();
            if let Some(first) = chains.first() {
                return (name(&chains), Hook::named(&first.hook).unwrap_or(hook));
            }
        }
        (Attribution::Unknown, hook)
    }

    /// The chain that the kernel names, and its rule if only one of it drops.
    fn told(&self, drop: &DropSeen, seen: &ChainSeen) -> Attribution {
        let is_it = |chain: &&FilterChain| {
            chain.backend == "nftables"
                && (&*chain.family, &*chain.table, &*chain.chain) == (seen.family, &*seen.table, &*seen.chain)
        };
        let known = self.filters_of(drop.netns).and_then(|filters| filters.chains.iter().find(is_it));
        match known {
            Some(chain) => name(&[chain]),
            None => {
                let table = format!("{} {}", seen.family, seen.table);
                let chain = Some(format!("{table} {}", seen.chain));
                Attribution::Only { table, chain, rule: None }
            }
        }
    }

    /// Whether a chain can have made a drop that shows in this way.
    fn can_drop(&self, chain: &FilterChain, kind: FilterKind) -> bool {
        if !chain.drops_by_default && chain.dropping_rules.is_empty() {
            return false;
        }
        // Drops of iptables-legacy are carried out by the caller of the hooks. Before 6.7 those of nftables are too.
        match kind {
            FilterKind::Nftables => chain.backend == "nftables",
            _ => chain.backend != "nftables" || !self.rules_free_packets,
        }
    }

    fn spots(&self, drop: &DropSeen) -> Spots {
        use Layer::{Bridge, Device, Ip};
        let device = drop.ifindex;
        let port = self.is_node(drop.netns) && self.device(device).is_some_and(|device| device.master != 0);
        // Between two ports of a bridge, or from the bridge to a port, the packet has the device it goes to.
        let leaving = port && drop.iif != 0 && drop.iif != device;
        match drop.hook {
            Hook::Prerouting if leaving => {
                [&[(Ip, "forward"), (Bridge, "forward"), (Bridge, "postrouting")], &[(Ip, "prerouting")]]
            }
            Hook::Prerouting if port => [
                &[(Ip, "prerouting"), (Device, "ingress"), (Bridge, "prerouting"), (Bridge, "input")],
                &[(Ip, "forward"), (Bridge, "forward")],
            ],
            Hook::Prerouting => [&[(Ip, "prerouting"), (Device, "ingress")], &[]],
            Hook::Input => [&[(Ip, "input")], &[]],
            Hook::Forward if leaving => {
                [&[(Ip, "forward")], &[(Bridge, "output"), (Bridge, "postrouting"), (Device, "egress")]]
            }
            Hook::Forward => [&[(Ip, "forward")], &[]],
            // Out by the device it came in by looks the same in both hooks.
            Hook::Postrouting if drop.iif == device => {
                [&[(Ip, "forward"), (Ip, "postrouting"), (Device, "egress")], &[]]
            }
            Hook::Postrouting => {
                [&[(Ip, "postrouting"), (Device, "egress")], &[(Bridge, "output"), (Bridge, "postrouting")]]
            }
            Hook::Output => [&[(Ip, "output")], &[(Ip, "postrouting"), (Device, "egress")]],
            Hook::Ingress => [&[(Device, "ingress")], &[]],
            Hook::Egress => [&[(Device, "egress")], &[]],
            Hook::Unknown => [&[], &[]],
        }
    }

    /// The programs that stand where a TC or XDP program dropped it.
    fn program(&self, drop: &DropSeen, kind: FilterKind) -> Attribution {
        let hook = match kind {
            FilterKind::TcIngress => "ingress",
            FilterKind::TcEgress => "egress",
            FilterKind::Xdp => "xdp",
            _ => return Attribution::Unknown,
        };
        let Some(programs) = self.programs_at(drop.netns, drop.ifindex) else { return Attribution::Unknown };
        let mut names: Vec<String> = programs
            .iter()
            .filter(|program| program.hook == hook)
            .map(|program| program.name.clone())
            .collect();
        match names.len() {
            0 => Attribution::Unknown,
            1 => Attribution::Program(names.swap_remove(0)),
            _ => Attribution::Several(names),
        }
    }

    fn filters_of(&self, netns: u32) -> Option<&Filters> {
        if self.is_node(netns) { Some(&self.filters) } else { self.pod_filters.get(&netns) }
    }

    /// The namespace is the node's, as far as is known.
    #[must_use]
    pub fn is_node(&self, netns: u32) -> bool {
        let node = self.netns();
        node == 0 || netns == 0 || netns == node
    }
}

fn layer(chain: &FilterChain) -> Layer {
    match (chain.family.as_str(), chain.hook.as_str()) {
        ("bridge", _) => Layer::Bridge,
        ("netdev", _) | (_, "ingress" | "egress") => Layer::Device,
        _ => Layer::Ip,
    }
}

fn fits_family(chain: &FilterChain, v6: bool) -> bool {
    match chain.family.as_str() {
        "ip" => !v6,
        "ip6" => v6,
        "arp" => false,
        _ => true,
    }
}

fn fits_device(chain: &FilterChain, device: Option<&str>) -> bool {
    match device {
        Some(device) => chain.devices.is_empty() || chain.devices.iter().any(|name| name == device),
        None => true,
    }
}

/// Names the chains that could have dropped it: the table, the chain and the rule as far as it can be only one.
fn name(chains: &[&FilterChain]) -> Attribution {
    let mut tables: Vec<String> = chains.iter().map(|c| format!("{} {}", c.family, c.table)).collect();
    tables.sort();
    tables.dedup();
    if tables.len() > 1 {
        return Attribution::Several(tables);
    }
    let (chain, rule) = match chains {
        [one] => {
            let chain = format!("{} {} {}", one.family, one.table, one.chain);
            let rule = match (one.dropping_rules.as_slice(), one.drops_by_default) {
                ([rule], false) => Some(rule.clone()),
                ([], true) => Some("policy drop".to_owned()),
                _ => None,
            };
            (Some(chain), rule)
        }
        _ => (None, None),
    };
    Attribution::Only { table: tables.swap_remove(0), chain, rule }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Packet, Transport, Tuple};
    use crate::node::{Device, NodeNetwork};
    use crate::verdict::SocketAddress;

    fn chain(family: &str, table: &str, hook: &str) -> FilterChain {
        let backend = if table == "legacy" { "iptables-legacy" } else { "nftables" };
        FilterChain {
            backend: backend.to_owned(),
            family: family.to_owned(),
            table: table.to_owned(),
            chain: "c".to_owned(),
            hook: hook.to_owned(),
            priority: 0,
            drops_by_default: false,
            dropping_rules: vec!["handle 1 drop".to_owned()],
            devices: Vec::new(),
        }
    }

    /// A node with the bridge 5 and its ports 6 and 7, the uplink 2, and these chains.
    fn node(chains: &[FilterChain]) -> NodeState {
        let device =
            |index, name: &str, master| Device { index, name: name.to_owned(), master, ..Device::default() };
        let mut state = NodeState::default();
        state.set_network(NodeNetwork {
            netns: 1,
            devices: vec![
                device(2, "eth0", 0),
                device(5, "cni0", 0),
                device(6, "veth6", 5),
                device(7, "veth7", 5),
            ],
            ..NodeNetwork::default()
        });
        state.set_filters(Filters { chains: chains.to_vec(), unread: Vec::new() });
        state
    }

    fn drop(kind: FilterKind, hook: Hook, device: u32, iif: u32) -> DropSeen {
        let end = |last| SocketAddress { ip: [10, 0, 0, last].into(), port: 1 };
        let tuple = Tuple { protocol: 6, source: end(1), destination: end(2) };
        DropSeen {
            netns: 1,
            ifindex: device,
            reason: "NETFILTER_DROP".into(),
            function: "f".into(),
            site: DropSite::Filter(kind),
            hook,
            packet: Packet { tuple, ttl: 64, length: 60, fragment: false, transport: Transport::Other },
            iif,
            mark: 0,
            dst_ifindex: 0,
            conntrack: None,
            application: None,
            chain: None,
        }
    }

    fn table(found: (Attribution, Hook)) -> (String, Hook) {
        match found {
            (Attribution::Only { table, .. }, hook) => (table, hook),
            (other, hook) => (format!("{other:?}"), hook),
        }
    }

    #[test]
    fn between_two_ports_of_a_bridge_it_was_forwarded() {
        let chains = [
            chain("ip", "later", "forward"),
            chain("ip", "early", "prerouting"),
            chain("bridge", "b", "input"),
        ];
        let drop = |device| drop(FilterKind::Nftables, Hook::Prerouting, device, 6);
        assert_eq!(table(node(&chains).attribute(&drop(7))), ("ip later".to_owned(), Hook::Forward));
        let (found, _) = node(&chains).attribute(&drop(6));
        assert_eq!(found, Attribution::Several(vec!["bridge b".to_owned(), "ip early".to_owned()]));
        // A port of no bridge never sees the chains of bridges.
        assert_eq!(table(node(&chains).attribute(&drop(2))), ("ip early".to_owned(), Hook::Prerouting));
    }

    #[test]
    fn out_by_the_device_it_came_in_by_it_may_have_been_forwarded() {
        let state = node(&[chain("ip", "t", "forward")]);
        let found = state.attribute(&drop(FilterKind::Nftables, Hook::Postrouting, 5, 5));
        assert_eq!(table(found), ("ip t".to_owned(), Hook::Forward));
        let found = state.attribute(&drop(FilterKind::Nftables, Hook::Postrouting, 2, 5));
        assert_eq!(found, (Attribution::Unknown, Hook::Postrouting));
    }

    #[test]
    fn chains_of_a_device_count_for_that_device() {
        let mut early = chain("netdev", "early", "ingress");
        early.devices = vec!["veth6".to_owned()];
        let state = node(&[early]);
        let at = |device| state.attribute(&drop(FilterKind::Nftables, Hook::Prerouting, device, device));
        assert_eq!(table(at(6)), ("netdev early".to_owned(), Hook::Ingress));
        assert_eq!(at(7).0, Attribution::Unknown);
    }

    #[test]
    fn rules_of_nftables_may_drop_by_the_hooks_caller_until_they_are_seen_not_to() {
        let mut state = node(&[chain("ip", "legacy", "forward"), chain("ip", "t", "forward")]);
        let drop = drop(FilterKind::Netfilter, Hook::Forward, 6, 6);
        assert!(matches!(state.attribute(&drop).0, Attribution::Several(_)));
        state.note_rules_free_packets();
        assert_eq!(table(state.attribute(&drop)).0, "ip legacy");
    }

    #[test]
    fn the_kernels_own_word_outranks_what_could_have_been() {
        let mut state = node(&[chain("ip", "one", "forward"), chain("inet", "two", "forward")]);
        let mut seen = drop(FilterKind::Netfilter, Hook::Prerouting, 6, 6);
        let named = |table: &str| ChainSeen {
            family: "inet",
            table: table.into(),
            chain: "c".into(),
            hook: Hook::Forward,
        };
        seen.chain = Some(Box::new(named("two")));
        let told = Attribution::Only {
            table: "inet two".to_owned(),
            chain: Some("inet two c".to_owned()),
            rule: Some("handle 1 drop".to_owned()),
        };
        assert_eq!(state.attribute(&seen), (told, Hook::Forward));
        // One that came after the filters were read.
        seen.chain = Some(Box::new(named("new")));
        let told = Attribution::Only {
            table: "inet new".to_owned(),
            chain: Some("inet new c".to_owned()),
            rule: None,
        };
        assert_eq!(state.attribute(&seen).0, told);
        // Not nftables', on a kernel where that shows.
        state.note_rules_free_packets();
        assert_ne!(state.attribute(&seen).0, told);
    }

    #[test]
    fn what_cannot_be_read_leaves_it_open() {
        let mut state = node(&[]);
        let unread = vec!["iptables-legacy, family ip: no".to_owned()];
        state.set_filters(Filters { chains: vec![chain("ip", "t", "forward")], unread });
        let at = |kind| state.attribute(&drop(kind, Hook::Forward, 6, 6)).0;
        assert_eq!(at(FilterKind::Netfilter), Attribution::Unknown);
        assert!(at(FilterKind::Nftables).is_one());
    }
}
