//! A node, a pod and a way out, of network namespaces: gone when the test ends.

use std::ffi::CString;
use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The pod's addresses.
pub(crate) const POD_IPV4: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
/// See [`POD_IPV4`].
pub(crate) const POD_IPV6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
/// Host side of the pod's device.
pub(crate) const POD_DEVICE: &str = "pod0";
/// The way out.
pub(crate) const UPLINK: &str = "up0";

/// The namespaces.
pub(crate) struct Site {
    pod: String,
    node: String,
}

impl Site {
    /// Builds it; `None`, with a word on why, where that is not possible.
    pub(crate) fn build(name: &str) -> Option<Self> {
        Self::with(name, true)
    }

    /// One that never knew IPv6: where it is taken away later, its groups are left with packets about that.
    pub(crate) fn build_ipv4(name: &str) -> Option<Self> {
        Self::with(name, false)
    }

    fn with(name: &str, ipv6: bool) -> Option<Self> {
        // SAFETY: no arguments.
        if unsafe { libc::geteuid() } != 0 {
            eprintln!("skipped: needs root");
            return None;
        }
        if egress_agent::probe::is_built().is_err() {
            eprintln!("skipped: built without the eBPF programs, run `cargo xtask build-ebpf` first");
            return None;
        }
        for tool in ["ip", "nft", "tc"] {
            if Command::new(tool).arg("-V").output().is_err() {
                eprintln!("skipped: needs {tool}");
                return None;
            }
        }
        let id = std::process::id();
        let site = Self { pod: format!("egp-{id}-{name}"), node: format!("egn-{id}-{name}") };
        let (pod, node) = (&site.pod, &site.node);
        for name in [pod, node] {
            site.run(&format!("ip netns add {name}"));
            for conf in ["all", "default"].iter().filter(|_| !ipv6) {
                site.run(&format!("ip netns exec {name} sysctl -qw net.ipv6.conf.{conf}.disable_ipv6=1"));
            }
        }
        let lines = [
            format!("ip -n {node} link set lo up"),
            format!("ip -n {pod} link set lo up"),
            format!("ip -n {node} link add {POD_DEVICE} type veth peer name eth0 netns {pod}"),
            format!("ip -n {node} addr add 10.99.0.1/24 dev {POD_DEVICE}"),
            format!("ip -n {node} addr add 2001:db8:1::1/64 dev {POD_DEVICE} nodad"),
            format!("ip -n {node} link set {POD_DEVICE} up"),
            format!("ip -n {pod} addr add {POD_IPV4}/24 dev eth0"),
            format!("ip -n {pod} addr add {POD_IPV6}/64 dev eth0 nodad"),
            format!("ip -n {pod} link set eth0 up"),
            format!("ip -n {pod} route add default via 10.99.0.1"),
            format!("ip -n {pod} -6 route add default via 2001:db8:1::1"),
            // Its other end swallows what comes: nobody answers there.
            format!("ip -n {node} link add {UPLINK} type veth peer name sink"),
            format!("ip -n {node} link set sink up"),
            format!("ip -n {node} addr add 192.0.2.1/24 dev {UPLINK}"),
            format!("ip -n {node} addr add 2001:db8:2::1/64 dev {UPLINK} nodad"),
            format!("ip -n {node} link set {UPLINK} up"),
            // So that packets leave without asking who is there.
            format!("ip -n {node} neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev {UPLINK}"),
            format!("ip -n {node} neigh add 2001:db8:2::9 lladdr 02:00:00:00:00:09 dev {UPLINK}"),
            format!("ip netns exec {node} sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"),
            format!("ip netns exec {node} nft add table inet t"),
        ];
        for line in lines.iter().filter(|line| ipv6 || !line.contains("2001:db8")) {
            site.run(line);
        }
        site.nft("add chain inet t forward { type filter hook forward priority 0; }");
        Some(site)
    }

    /// One that somebody else has built, by its [`Site::names`].
    pub(crate) fn named(names: &str) -> Self {
        let (pod, node) = names.split_once(' ').expect("two names");
        Self { pod: pod.to_owned(), node: node.to_owned() }
    }

    /// Names of the namespaces.
    pub(crate) fn names(&self) -> String {
        format!("{} {}", self.pod, self.node)
    }

    /// Moves this thread into the node's namespace.
    pub(crate) fn enter_node(&self) {
        enter(&self.node);
    }

    /// Runs a command line, words split at blanks; in the node's namespace if it names none.
    pub(crate) fn run(&self, line: &str) {
        self.output(line);
    }

    /// The same, and what it printed.
    pub(crate) fn output(&self, line: &str) -> String {
        let line = if line.starts_with("ip ") {
            line.to_owned()
        } else {
            format!("ip netns exec {} {line}", self.node)
        };
        let mut words = line.split(' ');
        let output = Command::new(words.next().expect("a program")).args(words).output().expect("runs");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// An nft command in the node's namespace.
    pub(crate) fn nft(&self, command: &str) {
        let output =
            Command::new("ip").args(["netns", "exec", &self.node, "nft", command]).output().expect("runs");
        assert!(output.status.success(), "nft {command}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Packets that the rule with this destination counted.
    pub(crate) fn nft_counter(&self, destination: &str) -> u64 {
        let rules = self.output("nft list table inet t");
        let line = rules.lines().find(|line| line.contains(destination)).expect("the rule");
        let mut words = line.split_whitespace().skip_while(|word| *word != "packets").skip(1);
        words.next().and_then(|word| word.parse().ok()).expect("a number")
    }

    /// Inode of the node's namespace.
    pub(crate) fn node_netns(&self) -> u32 {
        inode(&self.node)
    }

    /// Inode of the pod's namespace.
    pub(crate) fn pod_netns(&self) -> u32 {
        inode(&self.pod)
    }

    /// A device's index. Call it on the site's own thread.
    pub(crate) fn index(&self, device: &str) -> u32 {
        let name = CString::new(device).expect("a name");
        // SAFETY: a NUL-terminated string.
        unsafe { libc::if_nametoindex(name.as_ptr()) }
    }

    /// Something the pod does, on a thread of its own.
    fn in_pod<T: Send + 'static>(&self, what: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let pod = self.pod.clone();
        thread::spawn(move || {
            enter(&pod);
            what()
        })
    }

    /// The pod tries to connect and gives up after a while; returns at once.
    pub(crate) fn connect(&self, to: &str, patience: Duration) {
        let to: SocketAddr = to.parse().expect("an address");
        drop(self.in_pod(move || TcpStream::connect_timeout(&to, patience).is_ok()));
    }

    /// The pod sends SYNs from random ports to port 443.
    pub(crate) fn flood(&self, to: Ipv4Addr, count: u64) -> JoinHandle<()> {
        self.in_pod(move || {
            let mut state = 1_u64;
            send_syns(to, count, |packet| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                packet[20..22].copy_from_slice(&(state >> 40).to_le_bytes()[..2]);
                packet[22..24].copy_from_slice(&443_u16.to_be_bytes());
            });
        })
    }

    /// The pod asks a DNS server that does not answer, evenly over some time.
    pub(crate) fn dns(&self, server: Ipv4Addr, count: u64, over: Duration) -> JoinHandle<()> {
        self.in_pod(move || {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
            socket.connect((server, 53)).expect("connects");
            let began = Instant::now();
            for number in 0..count {
                let mut question = *b"\0\0\x01\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x01\0\x01";
                question[..2].copy_from_slice(&number.to_be_bytes()[6..]);
                socket.send(&question).expect("sends");
                if number % 100 == 99 {
                    let due = over.mul_f64(fraction(number, count));
                    // Paces the load; nothing is awaited.
                    thread::sleep(due.saturating_sub(began.elapsed()));
                }
            }
        })
    }

    /// The pod sends a SYN to each of the first ports.
    pub(crate) fn flood_ports(&self, to: Ipv4Addr, ports: u16) -> JoinHandle<()> {
        self.in_pod(move || {
            let mut port = 0_u16;
            send_syns(to, ports.into(), |packet| {
                port += 1;
                packet[20..22].copy_from_slice(&4000_u16.to_be_bytes());
                packet[22..24].copy_from_slice(&port.to_be_bytes());
            });
        })
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for name in [&self.pod, &self.node] {
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}

/// Runs a test on a thread that stands in the site's node namespace.
pub(crate) fn on_site(site: Site, test: impl FnOnce(&Site) + Send) {
    thread::scope(|scope| {
        let result = scope
            .spawn(|| {
                site.enter_node();
                test(&site);
            })
            .join();
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
}

fn enter(name: &str) {
    let file = File::open(format!("/run/netns/{name}")).expect("the namespace");
    // SAFETY: an open namespace; only this thread moves.
    assert_eq!(unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) }, 0);
}

fn inode(name: &str) -> u32 {
    let metadata = std::fs::metadata(format!("/run/netns/{name}")).expect("the namespace");
    u32::try_from(metadata.ino()).expect("an inode number")
}

/// Sends raw IPv4 packets with a TCP header of flags SYN, whose ports `fill` sets.
fn send_syns(to: Ipv4Addr, count: u64, mut fill: impl FnMut(&mut [u8; 40])) {
    // SAFETY: a new socket, in this thread's namespace.
    let socket =
        unsafe { libc::socket(libc::AF_INET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::IPPROTO_RAW) };
    assert!(socket >= 0, "raw socket: {}", std::io::Error::last_os_error());
    // SAFETY: just made, and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let mut packet = [0_u8; 40];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&40_u16.to_be_bytes());
    packet[8] = 64;
    packet[9] = 6;
    packet[12..16].copy_from_slice(&POD_IPV4.octets());
    packet[16..20].copy_from_slice(&to.octets());
    packet[32] = 0x50;
    packet[33] = 0x02;
    // SAFETY: a structure of plain data.
    let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    address.sin_family = libc::sa_family_t::try_from(libc::AF_INET).expect("a family");
    address.sin_addr.s_addr = u32::from_ne_bytes(to.octets());
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_in>()).expect("a size");
    for _ in 0..count {
        fill(&mut packet);
        // SAFETY: buffer and address are ours and as long as we say.
        let sent = unsafe {
            libc::sendto(
                socket.as_raw_fd(),
                packet.as_ptr().cast(),
                40,
                0,
                (&raw const address).cast(),
                length,
            )
        };
        assert_eq!(sent, 40, "{}", std::io::Error::last_os_error());
    }
}

fn fraction(part: u64, whole: u64) -> f64 {
    let [part, whole] = [part, whole].map(|number| f64::from(u32::try_from(number).expect("small")));
    part / whole
}
