//! A node, its pods' side and a way out, of network namespaces of our own; gone when dropped.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{FromRawFd, OwnedFd};

use anyhow::{Context, Result};
use egress_lab::cleanup;
use egress_lab::netns::Netns;
use egress_lab::tools;

/// Pods at most.
pub(crate) const PODS: u32 = 1000;
/// Where packets go that the node's FORWARD drops.
pub(crate) const DROPPED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
/// Where packets go that are thrown away right behind the TC hook.
pub(crate) const SWALLOWED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// An address of the pods' side that is no pod's.
pub(crate) const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 99, 200, 1);
/// Host side of the pods' device.
pub(crate) const POD_DEVICE: &str = "pod0";

/// The namespaces.
#[derive(Debug)]
pub(crate) struct Site {
    /// All pods' side, at the other end of one device.
    pub(crate) pods: Netns,
    /// The node.
    pub(crate) node: Netns,
}

/// Address of a pod.
pub(crate) fn pod_ip(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 99, 1, 1)) + number / 250 * 256 + number % 250)
}

impl Site {
    /// Builds it.
    pub(crate) fn build() -> Result<Self> {
        // Named as the lab names its own, so that what a killed run leaves goes at the next start of either. The lab
        // takes namespaces for left if their process is not called like this.
        // SAFETY: a NUL-terminated string.
        unsafe { libc::prctl(libc::PR_SET_NAME, c"egress-cost".as_ptr()) };
        cleanup::sweep();
        let name = |what: &str| format!("eg-{}-0-{what}", std::process::id());
        let site = Self { pods: Netns::create(&name("pods"))?, node: Netns::create(&name("node"))? };
        for netns in [&site.pods, &site.node] {
            netns.sysctl(&[
                ("net/ipv4/conf/all/rp_filter", "0"),
                ("net/ipv4/conf/default/rp_filter", "0"),
                ("net/ipv6/conf/all/disable_ipv6", "1"),
                ("net/ipv6/conf/default/disable_ipv6", "1"),
            ])?;
        }
        site.node.sysctl(&[("net/ipv4/ip_forward", "1")])?;
        site.node.ip(&[
            format!("link add {POD_DEVICE} type veth peer name eth0 netns {}", site.pods.name()),
            format!("link set {POD_DEVICE} address 02:00:00:00:00:01 up"),
            format!("addr add 10.99.0.1/16 dev {POD_DEVICE}"),
            "link add up0 type veth peer name sink".to_owned(),
            "link set sink up".to_owned(),
            "link set up0 up".to_owned(),
            "addr add 192.0.2.1/24 dev up0".to_owned(),
            // So that packets leave without asking who is there.
            format!("neigh add {DROPPED} lladdr 02:00:00:00:00:09 dev up0"),
        ])?;
        site.pods.ip(&[
            "link set eth0 up",
            "addr add 10.99.0.2/16 dev eth0",
            "route add default via 10.99.0.1",
            "neigh add 10.99.0.1 lladdr 02:00:00:00:00:01 dev eth0",
        ])?;
        site.node.nft(&format!(
            "table ip t {{
               chain early {{ type filter hook prerouting priority -300; ip daddr {SWALLOWED} drop; }}
               chain forward {{ type filter hook forward priority 0; ip daddr {DROPPED} counter drop; }}
             }}"
        ))?;
        Ok(site)
    }

    /// From now on the node tracks connections.
    pub(crate) fn track(&self) -> Result<()> {
        self.node.nft(
            "add chain ip t track { type filter hook prerouting priority -100; }\n\
                       add rule ip t track ct state invalid counter",
        )
    }

    /// Packets that FORWARD dropped.
    pub(crate) fn dropped(&self) -> Result<u64> {
        let rules = tools::output(&mut self.node.command("nft"), &["list", "chain", "ip", "t", "forward"])?;
        let mut words = rules.split_whitespace().skip_while(|word| *word != "packets").skip(1);
        words.next().context("no counter in the chain")?.parse().context("the chain's counter")
    }

    /// A socket of the pods' side that sends IPv4 packets as they are. It stays there whoever uses it.
    pub(crate) fn raw_socket(&self) -> Result<OwnedFd> {
        self.pods.enter(|| {
            // SAFETY: a new socket, in this thread's namespace.
            let fd = unsafe {
                libc::socket(libc::AF_INET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::IPPROTO_RAW)
            };
            if fd < 0 {
                return Err(io::Error::last_os_error()).context("a raw socket");
            }
            // SAFETY: just made, and nobody else's.
            Ok(unsafe { OwnedFd::from_raw_fd(fd) })
        })
    }
}
