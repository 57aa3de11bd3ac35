//! Addresses and who has them.

use std::sync::Arc;

use crate::cluster::testing::{NOW, Topology, ip, pod, policy, selector};
use crate::cluster::{ClusterChange, Object, ObjectKind, ObjectRef};
use crate::protocol::Protocol::{Tcp, Udp};
use crate::time::{Mono, Timestamp};
use crate::verdict::PeerKind;

fn seconds(seconds: u64) -> Mono {
    Mono(seconds * 1_000_000_000)
}

fn cluster() -> Topology {
    Topology::new()
        .node("worker-1", "192.0.2.10", "10.244.1.0/24,fd00:1::/64")
        .node("worker-2", "192.0.2.11", "10.244.2.0/24")
        .namespace("default", "team=a")
        .pod("default/web", "10.244.1.5,fd00:1::5", "app=web")
        .on("worker-1")
        .pod("kube-system/agent", "192.0.2.10", "app=agent")
        .but(|pod| pod.host_network = true)
        .pod("default/job", "10.244.1.9", "app=job")
        .but(|pod| pod.finished = true)
        .service("default/web", "10.96.0.40", "app=web", "http:80:8080/TCP")
        .service("default/kubernetes", "10.96.0.1", "", "https:443:6443/TCP")
        .slice("default/kubernetes", "192.0.2.10", "https:6443/TCP")
}

#[test]
fn every_address_is_what_the_cluster_says_and_never_external_when_inside() {
    let table = [
        // address, port, protocol, kind
        ("10.244.1.5", 80, Tcp, PeerKind::Pod),
        ("fd00:1::5", 80, Tcp, PeerKind::Pod),
        ("::ffff:10.244.1.5", 80, Tcp, PeerKind::Pod),
        ("10.96.0.40", 80, Tcp, PeerKind::Service),
        ("10.96.0.40", 81, Tcp, PeerKind::Service),
        ("192.0.2.10", 80, Tcp, PeerKind::Node),
        ("192.0.2.11", 30080, Tcp, PeerKind::Service),
        ("192.0.2.11", 30080, Udp, PeerKind::Node),
        ("10.244.1.9", 80, Tcp, PeerKind::Unresolved),
        ("10.244.2.77", 80, Tcp, PeerKind::Unresolved),
        ("fd00:1::77", 80, Tcp, PeerKind::Unresolved),
        ("10.96.0.20", 53, Udp, PeerKind::Unresolved),
        ("10.97.0.20", 53, Udp, PeerKind::External),
        ("203.0.113.4", 443, Tcp, PeerKind::External),
        ("2001:db8::1", 443, Tcp, PeerKind::External),
    ];
    let mut topology = cluster();
    for object in &mut topology.objects {
        if let Object::Service(service) = object
            && service.name == "web"
        {
            Arc::make_mut(service).ports[0].node_port = Some(30080);
        }
    }
    let index = topology.index();
    for (address, port, protocol, expected) in table {
        let endpoint = index.resolve(ip(address), port, protocol, NOW);
        assert_eq!(endpoint.kind, expected, "{address} {protocol} {port}");
    }
    let web = index.resolve(ip("10.244.1.5"), 0, Tcp, NOW);
    assert_eq!(web.pod.unwrap().name, "web");
    assert_eq!(web.node.unwrap().name, "worker-1");
    assert_eq!(web.namespace.unwrap().labels.get("team"), Some("a"));
    assert!(index.resolve(ip("10.96.0.40"), 81, Tcp, NOW).service_port.is_none());
    let node_port = index.resolve(ip("192.0.2.11"), 30080, Tcp, NOW);
    assert_eq!(
        (node_port.service_port.unwrap().port, node_port.node.unwrap().name.as_str()),
        (80, "worker-2")
    );
}

#[test]
fn an_address_names_the_pod_that_had_it_at_the_time_of_the_event() {
    let mut index = cluster().index();
    let delete = ClusterChange::Delete {
        object: ObjectRef { kind: ObjectKind::Pod, namespace: "default".into(), name: "web".into() },
    };
    index.apply(delete, seconds(100));
    let heir = ClusterChange::Apply { object: pod("default/heir", "10.244.1.5", "app=heir").into() };
    index.apply(heir, Mono(100_700_000_000));
    let name = |at| index.pod_by_ip(ip("10.244.1.5"), at).map(|pod| pod.name.clone());
    assert_eq!(name(seconds(99)).as_deref(), Some("web"));
    assert_eq!(name(Mono(100_300_000_000)), None);
    assert_eq!(name(seconds(101)).as_deref(), Some("heir"));
    assert_eq!(index.resolve(ip("10.244.1.5"), 0, Tcp, Mono(100_300_000_000)).kind, PeerKind::Unresolved);
}

#[test]
fn a_pod_replaced_under_its_name_keeps_neither_address_nor_namespace() {
    let mut index = cluster().index();
    assert!(index.set_pod_netns("default", "web", 4_026_532_000, seconds(1)));
    assert!(!index.set_pod_netns("default", "nobody", 4_026_532_001, seconds(1)));
    assert!(!index.set_pod_netns("kube-system", "agent", 4_026_531_840, seconds(1)));
    let mut next = pod("default/web", "10.244.1.6", "app=web");
    next.uid = "another".into();
    index.apply(ClusterChange::Apply { object: next.into() }, seconds(50));
    let uid = |at| index.pod_by_netns(4_026_532_000, at).map(|pod| pod.uid.clone());
    assert_eq!(uid(seconds(49)).as_deref(), Some("uid-web"));
    assert_eq!(uid(seconds(51)), None);
    assert_eq!(index.pod_by_ip(ip("10.244.1.5"), seconds(49)).unwrap().uid, "uid-web");
    assert!(index.pod_by_ip(ip("10.244.1.5"), seconds(51)).is_none());
    assert_eq!(index.pod_by_ip(ip("10.244.1.6"), seconds(51)).unwrap().uid, "another");
}

#[test]
fn a_new_version_of_a_pod_shows_in_its_claims() {
    let mut index = cluster().index();
    index.set_pod_netns("default", "web", 7, seconds(1));
    let next = pod("default/web", "10.244.1.5", "app=web,canary=yes");
    index.apply(ClusterChange::Apply { object: next.into() }, seconds(50));
    assert!(index.pod_by_ip(ip("10.244.1.5"), seconds(60)).unwrap().labels.contains_key("canary"));
    assert!(index.pod_by_netns(7, seconds(60)).unwrap().labels.contains_key("canary"));
    assert!(index.pod_by_ip(ip("fd00:1::5"), seconds(60)).is_none(), "it has given up that address");
}

#[test]
fn a_reset_removes_what_it_does_not_list() {
    let mut index = cluster().index();
    let objects = vec![
        pod("default/new", "10.244.1.5", "").into(),
        crate::cluster::Node { name: "stray".into(), ..Default::default() }.into(),
    ];
    index.apply(ClusterChange::Reset { kind: ObjectKind::Pod, objects }, seconds(9));
    assert_eq!(index.pods().map(|pod| pod.name.as_str()).collect::<Vec<_>>(), ["new"]);
    assert!(index.node("stray").is_none());
    for kind in [ObjectKind::Node, ObjectKind::Service, ObjectKind::EndpointSlice, ObjectKind::Namespace] {
        index.apply(ClusterChange::Reset { kind, objects: vec![] }, seconds(10));
    }
    let counts: Vec<usize> = index.counts().iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [1, 0, 0, 0, 0, 0]);
    assert_eq!(index.resolve(ip("192.0.2.11"), 80, Tcp, seconds(10)).kind, PeerKind::External);
}

#[test]
fn backends_come_from_slices_or_from_the_selector_where_there_are_none() {
    let index = cluster().index();
    let backends = |name: &str| {
        let service = index.service("default", name).unwrap();
        index.backends(service, &service.ports[0])
    };
    let web = backends("web");
    assert_eq!(web.iter().map(|b| (b.ip, b.port)).collect::<Vec<_>>(), [(ip("10.244.1.5"), 8080)]);
    assert!(web[0].ready);
    assert_eq!(backends("kubernetes")[0].port, 6443);
    let empty = cluster().slice("default/web", "", "http:8080/TCP").index();
    let service = empty.service("default", "web").unwrap();
    assert_eq!(empty.backends(service, &service.ports[0]), []);
}

#[test]
fn locality_is_the_nodes_name_or_a_namespace_that_a_file_names() {
    let index = cluster().index();
    let mut pod = pod("default/p", "10.244.1.7", "");
    pod.node = "worker-1".into();
    assert!(!index.is_local(&pod));
    pod.netns_path = Some("/run/netns/p".into());
    assert!(index.is_local(&pod));
    let named = crate::identity::ClusterIndex::new("worker-1");
    pod.netns_path = None;
    assert!(named.is_local(&pod));
    pod.node = "worker-2".into();
    assert!(!named.is_local(&pod));
}

#[test]
fn policies_as_of_is_the_last_time_the_source_was_in_step() {
    let mut index = crate::identity::ClusterIndex::new("");
    assert_eq!(index.synced_at(), None);
    index.apply(ClusterChange::Synced { at: Timestamp(5) }, Mono(1));
    assert_eq!(index.synced_at(), Some(Timestamp(5)));
}

#[test]
fn policies_that_select_a_pod_are_found_whatever_happened_to_them_before() {
    let selectors = ["", "app=a", "app=b", "tier=x,app=a", "app in (a|b)", "!tier", "tier=x", "app=b,tier=y"];
    let pods =
        ["", "app=a", "app=b,tier=x", "app=a,tier=x", "tier=y,app=b"].map(|text| pod("default/p", "", text));
    let mut index = crate::identity::ClusterIndex::new("");
    let mut current: Vec<Option<&str>> = vec![None; 12];
    for step in 0..2_000_usize {
        // Two strides without a common factor visit every name with every selector, and every fifth step deletes.
        let (slot, name) = (step * 7 % 12, format!("p-{:02}", step * 7 % 12));
        let text = selectors[step * 11 / 3 % 8];
        if step % 5 == 0 {
            let object = ObjectRef { kind: ObjectKind::NetworkPolicy, namespace: "default".into(), name };
            index.apply(ClusterChange::Delete { object }, Mono(0));
            current[slot] = None;
        } else {
            let object = Object::from(policy(&format!("default/{name}"), text));
            index.apply(ClusterChange::Apply { object }, Mono(0));
            current[slot] = Some(text);
        }
        for pod in &pods {
            let found: Vec<String> =
                index.network_policies_selecting(pod).iter().map(|policy| policy.name.clone()).collect();
            let expected: Vec<String> = (0..12)
                .filter(|slot| current[*slot].is_some_and(|text| selector(text).matches(&pod.labels)))
                .map(|slot| format!("p-{slot:02}"))
                .collect();
            assert_eq!(found, expected, "step {step}, {:?}", pod.labels);
        }
    }
}
