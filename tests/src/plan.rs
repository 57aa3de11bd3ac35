//! The address plan: the same in every lab, since each lives in namespaces of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IP family of a scenario's traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// An address of either family, for the same thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dual {
    /// IPv4.
    pub v4: Ipv4Addr,
    /// IPv6.
    pub v6: Ipv6Addr,
}

impl Dual {
    const fn new(v4: [u8; 4], v6: [u16; 8]) -> Self {
        let [a, b, c, d] = v4;
        let [s, t, u, v, w, x, y, z] = v6;
        Self { v4: Ipv4Addr::new(a, b, c, d), v6: Ipv6Addr::new(s, t, u, v, w, x, y, z) }
    }

    /// An address of a link between routers: any IPv4, and `fd00:feed::host`.
    pub const fn local(v4: [u8; 4], host: u16) -> Self {
        Self::new(v4, [0xfd00, 0xfeed, 0, 0, 0, 0, 0, host])
    }

    /// The address of one family.
    pub const fn of(self, family: Family) -> IpAddr {
        match family {
            Family::V4 => IpAddr::V4(self.v4),
            Family::V6 => IpAddr::V6(self.v6),
        }
    }
}

/// All pods, IPv4.
pub const PODS_V4: &str = "10.244.0.0/16";
/// All pods, IPv6.
pub const PODS_V6: &str = "fd00:10:244::/48";
/// Pods of this node, IPv4.
pub const NODE_PODS_V4: &str = "10.244.1.0/24";
/// Pods of this node, IPv6.
pub const NODE_PODS_V6: &str = "fd00:10:244:1::/64";
/// Gateway of the bridge topology.
pub const BRIDGE: Dual = Dual::new([10, 244, 1, 1], [0xfd00, 0x10, 0x244, 1, 0, 0, 0, 1]);
/// The pod whose traffic fails.
pub const CLIENT: Dual = Dual::new([10, 244, 1, 5], [0xfd00, 0x10, 0x244, 1, 0, 0, 0, 5]);
/// The pod beside it, whose traffic does not.
pub const SERVER: Dual = Dual::new([10, 244, 1, 6], [0xfd00, 0x10, 0x244, 1, 0, 0, 0, 6]);
/// The cluster's DNS server.
pub const COREDNS: Dual = Dual::new([10, 244, 1, 10], [0xfd00, 0x10, 0x244, 1, 0, 0, 0, 0x10]);
/// ClusterIP of the DNS Service.
pub const DNS_SERVICE: Dual = Dual::new([10, 96, 0, 10], [0xfd00, 0x10, 0x96, 0, 0, 0, 0, 0xa]);
/// ClusterIP of the Service under test.
pub const SERVICE: Dual = Dual::new([10, 96, 0, 50], [0xfd00, 0x10, 0x96, 0, 0, 0, 0, 0x50]);
/// The node, on its uplink.
pub const NODE: Dual = Dual::new([192, 0, 2, 10], [0x2001, 0xdb8, 0, 1, 0, 0, 0, 0x10]);
/// The node's default gateway.
pub const GATEWAY: Dual = Dual::new([192, 0, 2, 1], [0x2001, 0xdb8, 0, 1, 0, 0, 0, 1]);
/// A server on the internet: `api.stripe.com`.
pub const STRIPE: Dual = Dual::new([203, 0, 113, 4], [0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 4]);
/// Another: `api.github.com`.
pub const GITHUB: Dual = Dual::new([203, 0, 113, 5], [0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 5]);
/// A host that answers nothing.
pub const SILENT: Dual = Dual::new([203, 0, 113, 66], [0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 0x66]);
/// A host behind a slow line.
pub const SLOW: Dual = Dual::new([203, 0, 113, 77], [0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 0x77]);
/// The DNS server of the internet.
pub const RESOLVER: Dual = Dual::new([198, 51, 100, 53], [0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 0x53]);

/// The node's device towards the internet.
pub const UPLINK: &str = "uplink0";
/// The node's name in the cluster.
pub const NODE_NAME: &str = "worker-1";
/// The namespace of the pods under test.
pub const NAMESPACE: &str = "default";
