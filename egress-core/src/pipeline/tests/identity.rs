//! What sockets tell: whose a network namespace is, who dialled, and what pods on the host's network meet.

use egress_common::{RecordKind, RetransmitRecord, SockStateRecord, TapPoint, flags, record_bytes};

use super::wire::{End, Flag, header, ip, mapped, seen, syn_again, tcp};
use super::{NODE, World, two_pods};
use crate::cluster::Container;
use crate::cluster::testing::Topology;
use crate::input::Input;
use crate::node::{NodeChange, Owner, OwnerAnswer};
use crate::pipeline::{Learned, Witness};
use crate::time::Mono;
use crate::verdict::{Cause, State};

const CLIENT: End = ("10.244.1.5", 40_000);
const SERVER: End = ("203.0.113.4", 443);
const HOST: End = ("192.0.2.1", 50_000);
/// The client's namespace, which nobody has named.
const POD: u32 = 4_026_532_777;
const CGROUP: u64 = 4242;
const CONTAINER: &str = "c0ffee";

/// A socket that changes its state.
#[derive(Clone, Copy)]
struct Socket {
    netns: u32,
    from: End,
    cgroup: u64,
    bits: u16,
}

impl Socket {
    fn state(self, millis: u64, (old, new): (u8, u8), error: u32, una: Option<u32>) -> Vec<u8> {
        let dials = old == 7;
        let mut header = header(RecordKind::SockState, millis, 0);
        header.netns = self.netns;
        header.flags = self.bits;
        if dials {
            header.flags |= flags::HAS_DIALLER;
        }
        if let Some(una) = una {
            header.flags |= flags::HAS_SEQ;
            header.len = una;
        }
        let mut comm = [0; 16];
        comm[..4].copy_from_slice(b"curl");
        let record = SockStateRecord {
            header,
            local: mapped(self.from.0),
            remote: mapped(SERVER.0),
            socket: 99,
            cgroup: self.cgroup,
            local_port: if dials { 0 } else { self.from.1 },
            remote_port: SERVER.1,
            protocol: 6,
            old_state: old,
            new_state: new,
            sk_err: error,
            pid: if dials { 321 } else { 0 },
            comm: if dials { comm } else { [0; 16] },
        };
        record_bytes(&record).to_vec()
    }

    fn dials(self, millis: u64) -> Vec<u8> {
        self.state(millis, (7, 2), 0, None)
    }

    fn again(self, millis: u64, isn: u32) -> Vec<u8> {
        let plain = syn_again(millis, self.from, SERVER);
        let mut record: RetransmitRecord = egress_common::read_record(&plain).unwrap();
        record.header.netns = self.netns;
        record.header.flags = self.bits;
        record.socket = 99;
        record.cgroup = self.cgroup;
        record.seq = isn;
        record_bytes(&record).to_vec()
    }
}

const STRANGER: Socket = Socket { netns: POD, from: CLIENT, cgroup: CGROUP, bits: flags::BY_ADDRESS };
const NODES: Socket = Socket { netns: NODE, from: HOST, cgroup: CGROUP, bits: 0 };

impl World {
    /// Answers every question whose a socket is.
    fn own(&mut self, uid: Option<&str>) -> usize {
        let questions = self.pipeline.take_owner_questions();
        for query in &questions {
            let owner =
                uid.map(|uid| Owner { pod_uid: uid.to_owned(), container: Some(CONTAINER.to_owned()) });
            let answer = OwnerAnswer { query: *query, owner, by_process: false };
            self.feed(Input::Node { at: query.at, change: NodeChange::Owner(answer) });
        }
        questions.len()
    }

    fn know(&mut self, netns: u32) {
        let change = NodeChange::PodNetns {
            namespace: "default".to_owned(),
            name: "api-client".to_owned(),
            netns,
            device: None,
            mtu: 0,
        };
        self.feed(Input::Node { at: Mono(0), change });
    }

    fn learned(&mut self) -> Vec<Witness> {
        let learned = self.pipeline.take_learned();
        for Learned { pod, uid, netns, .. } in &learned {
            assert_eq!(
                (pod.to_string().as_str(), uid.as_str(), *netns),
                ("default/api-client", "uid-api-client", POD)
            );
        }
        learned.iter().map(|learned| learned.witness).collect()
    }
}

#[test]
fn a_socket_in_the_pods_cgroup_shows_the_pods_namespace() {
    let mut world = World::new(two_pods());
    world.record(STRANGER.dials(10));
    assert_eq!(world.learned(), [], "nothing is known of that cgroup yet");
    assert_eq!(world.own(Some("uid-api-client")), 1);
    world.record(STRANGER.state(12, (2, 1), 0, Some(101)));
    assert_eq!(world.learned(), [Witness::Cgroup]);
    world.know(POD);
    world.record(STRANGER.dials(20));
    assert_eq!(world.learned(), [Witness::Known], "until the kernel knows it too");
}

#[test]
fn another_namespace_with_the_pods_address_is_not_the_pods() {
    let mut world = World::new(two_pods());
    for (cgroup, uid) in [(1, Some("uid-db")), (2, Some("uid-of-a-pod-elsewhere")), (3, None)] {
        let stranger = Socket { cgroup, ..STRANGER };
        world.record(stranger.dials(10 * cgroup));
        world.own(uid);
        // The pod itself dials the same, with another number.
        world.record(seen(10 * cgroup, TapPoint::PodOut, &tcp(CLIENT, SERVER, Flag::Syn, 7_000)));
        world.record(stranger.state(10 * cgroup + 1, (2, 1), 0, Some(501)));
        world.record(stranger.again(10 * cgroup + 2, 500));
        assert_eq!(world.learned(), [], "cgroup {cgroup}");
    }
}

#[test]
fn the_number_of_a_syn_that_left_the_pods_device_shows_its_namespace() {
    for una in [100, 101] {
        let mut world = World::new(two_pods());
        world.record(seen(10, TapPoint::PodOut, &tcp(CLIENT, SERVER, Flag::Syn, 100)));
        world.record(STRANGER.state(11, (2, if una == 101 { 1 } else { 7 }), 0, Some(una)));
        assert_eq!(world.learned(), [Witness::Sequence]);
    }
    let mut world = World::new(two_pods());
    world.record(seen(10, TapPoint::PodOut, &tcp(CLIENT, SERVER, Flag::Syn, 100)));
    world.record(STRANGER.again(1_010, 100));
    assert_eq!(world.learned(), [Witness::Sequence]);
    let mut contradicted = World::new(two_pods());
    contradicted.record(STRANGER.dials(9));
    contradicted.own(Some("uid-db"));
    contradicted.record(seen(10, TapPoint::PodOut, &tcp(CLIENT, SERVER, Flag::Syn, 100)));
    contradicted.record(STRANGER.state(11, (2, 1), 0, Some(101)));
    assert_eq!(contradicted.learned(), [], "its cgroup says that it is another pod's");
}

#[test]
fn sockets_of_a_namespace_that_nobody_knows_make_no_verdict() {
    let mut world = World::new(two_pods());
    world.record(STRANGER.dials(9));
    for millis in [1_010, 3_010, 7_010] {
        world.record(STRANGER.again(millis, 100));
        world.until(millis + 100);
    }
    world.record(STRANGER.state(9_000, (2, 7), 110, Some(100)));
    world.until(12_000);
    world.silent();
}

#[test]
fn a_socket_that_the_kernel_does_not_know_yet_may_take_a_fin_without_a_word() {
    for (bits, verdicts) in [(flags::BY_ADDRESS, 0), (0, 1)] {
        let mut world = World::new(two_pods());
        world.know(POD);
        world.record(seen(1, TapPoint::PodOut, &tcp(CLIENT, SERVER, Flag::Syn, 100)));
        world.record(seen(2, TapPoint::PodIn, &tcp(SERVER, CLIENT, Flag::SynAck, 100)));
        world.record(Socket { bits, ..STRANGER }.state(2, (2, 1), 0, Some(101)));
        world.record(seen(100, TapPoint::PodIn, &tcp(SERVER, CLIENT, Flag::Fin, 100)));
        world.until(10_000);
        assert_eq!(world.verdicts.len(), verdicts, "{:#?}", world.verdicts);
    }
}

#[test]
fn a_verdict_names_the_process_and_its_container() {
    let cluster = two_pods().pod("default/api-client", CLIENT.0, "app=client").on("n1").but(|pod| {
        pod.containers =
            vec![Container { name: "web".into(), id: Some(CONTAINER.into()), ..Container::default() }];
    });
    let mut world = World::new(cluster);
    world.know(POD);
    let socket = Socket { bits: 0, ..STRANGER };
    world.record(socket.dials(10));
    world.own(Some("uid-api-client"));
    world.record(seen(10, TapPoint::PodOut, &tcp(CLIENT, SERVER, Flag::Syn, 100)));
    world.record(seen(10, TapPoint::UplinkOut, &tcp(CLIENT, SERVER, Flag::Syn, 100)));
    world.record(seen(11, TapPoint::UplinkIn, &tcp(SERVER, CLIENT, Flag::Rst, 100)));
    world.record(seen(11, TapPoint::PodIn, &tcp(SERVER, CLIENT, Flag::Rst, 100)));
    let verdict = world.only();
    assert_eq!(verdict.cause, Cause::UpstreamRefused);
    let detail = ["process", "container"].map(|key| verdict.detail[key].as_str().unwrap_or_default());
    assert_eq!((detail, &verdict.detail["pid"]), (["curl", "web"], &321.into()));
    let texts: Vec<&str> = verdict.evidence.iter().map(|piece| piece.text.as_str()).collect();
    assert!(texts.contains(&"curl (pid 321, container web) dialled 203.0.113.4:443"), "{texts:?}");
}

fn with_host_pod() -> Topology {
    two_pods().node("n1", HOST.0, "10.244.1.0/24").pod("kube-system/agent", HOST.0, "app=agent").on("n1").but(
        |pod| {
            pod.host_network = true;
            pod.static_uid = Some("abcdef".into());
        },
    )
}

/// A SYN of the node leaves by the uplink.
fn left(world: &mut World, millis: u64) {
    world.record(seen(millis, TapPoint::UplinkOut, &tcp(HOST, SERVER, Flag::Syn, 100)));
}

#[test]
fn a_host_network_pod_whose_cgroup_tells_has_its_verdict_and_its_success_clears_it() {
    let mut world = World::new(with_host_pod());
    world.record(NODES.dials(10));
    // Kubelet calls a static pod by the hash of its manifest.
    assert_eq!(world.own(Some("abcdef")), 1);
    left(&mut world, 10);
    for millis in [1_010, 3_010] {
        world.record(NODES.again(millis, 100));
    }
    let verdict = world.only();
    assert_eq!(
        (verdict.cause, verdict.pod.name.as_str(), verdict.count),
        (Cause::UpstreamTimeout, "agent", 3)
    );
    assert_eq!(verdict.pod.ip, std::net::IpAddr::V4(ip(HOST.0)));
    assert_eq!(verdict.detail["process"], "curl");
    assert!(!verdict.hints.iter().any(|hint| hint.contains("the node itself")), "{:?}", verdict.hints);
    world.record(NODES.dials(20_000));
    world.record(NODES.state(20_010, (2, 1), 0, Some(901)));
    assert_eq!(world.only().state, State::Cleared);
}

#[test]
fn a_refusal_of_a_host_network_pod_waits_for_its_cgroup() {
    let mut world = World::new(with_host_pod());
    world.record(NODES.dials(10));
    left(&mut world, 10);
    world.record(seen(11, TapPoint::UplinkIn, &tcp(SERVER, HOST, Flag::Rst, 100)));
    world.record(NODES.state(11, (2, 7), 111, Some(100)));
    world.silent();
    world.own(Some("uid-agent"));
    let verdict = world.only();
    assert_eq!(
        (verdict.cause, verdict.pod.name.as_str(), verdict.count),
        (Cause::UpstreamRefused, "agent", 1)
    );
}

#[test]
fn what_the_node_itself_meets_is_nobodys() {
    for uid in [None, Some("uid-of-nobody"), Some("uid-api-client")] {
        let mut world = World::new(with_host_pod());
        world.record(NODES.dials(10));
        world.own(uid);
        left(&mut world, 10);
        for millis in [1_010, 3_010] {
            world.record(NODES.again(millis, 100));
        }
        world.record(NODES.state(9_000, (2, 7), 110, Some(100)));
        world.until(12_000);
        world.silent();
    }
}
