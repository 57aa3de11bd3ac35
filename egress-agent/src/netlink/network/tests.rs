//! On the real kernel, in namespaces of their own.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use egress_core::node::{DeviceRole, NodeChange, NodeNetwork};

use super::{NetworkWatch, watch};
use crate::netlink::netns::Netns;
use crate::netlink::testing::{await_event, netns, run, veth};

fn started(netns: &Netns, uplinks: &[&str]) -> (NetworkWatch, Receiver<NodeNetwork>, NodeNetwork) {
    let (tell, told) = channel();
    let uplinks = uplinks.iter().map(|name| (*name).to_owned()).collect();
    let watch = watch(netns, uplinks, move |change| {
        if let NodeChange::Network(network) = change {
            tell.send(network).unwrap();
        }
    })
    .unwrap();
    let first = await_event(&told, |_| true).0;
    (watch, told, first)
}

fn role(network: &NodeNetwork, name: &str) -> Option<DeviceRole> {
    network.devices.iter().find(|device| device.name == name).map(|device| device.role)
}

#[test]
fn a_pods_device_is_reported_when_it_comes_and_when_it_goes() {
    let (Some(node), Some(pod)) = (netns(), netns()) else { return };
    let (_watch, told, first) = started(&node, &[]);
    assert_eq!(first.netns, node.inode());
    assert_eq!(role(&first, "lo"), Some(DeviceRole::Other));

    veth(&node, "veth0", &pod, "eth0");
    let (_, took) = await_event(&told, |now| role(now, "veth0") == Some(DeviceRole::Pod));
    println!("reported {took:?} after `ip link add` returned");
    assert!(took < Duration::from_millis(500), "{took:?}");
    assert_eq!(pod.first_device(), Some(("eth0".to_owned(), 1500)));

    run(&node, "ip link del veth0");
    await_event(&told, |now| role(now, "veth0").is_none());
}

#[test]
fn uplinks_follow_the_default_routes_of_all_tables_and_both_families() {
    let (Some(node), Some(outside)) = (netns(), netns()) else { return };
    for name in ["up0", "up1", "up2"] {
        veth(&node, name, &outside, name);
    }
    run(
        &node,
        "ip addr add 192.0.2.2/24 dev up0
         ip addr add 2001:db8::2/64 dev up1 nodad
         ip link set up0 up
         ip link set up1 up
         ip link set up2 up
         ip route add default via 192.0.2.1",
    );
    let (_watch, told, first) = started(&node, &[]);
    let roles = |network: &NodeNetwork| ["up0", "up1", "up2"].map(|name| role(network, name).unwrap());
    use DeviceRole::{Pod, Uplink};
    assert_eq!(roles(&first), [Uplink, Pod, Pod]);
    assert!(first.addresses.contains(&"192.0.2.2".parse().unwrap()));
    assert!(first.addresses.contains(&"2001:db8::2".parse().unwrap()));

    run(&node, "ip -6 route add default via 2001:db8::1 dev up1");
    await_event(&told, |now| roles(now) == [Uplink, Uplink, Pod]);
    run(&node, "ip route add default dev up2 table 1234");
    let (now, _) = await_event(&told, |now| roles(now) == [Uplink, Uplink, Uplink]);
    assert!(now.routes.iter().any(|route| route.table == 1234 && route.destination.prefix_len() == 0));
    run(&node, "ip route add prohibit 198.51.100.0/24");
    await_event(&told, |now| now.routes.iter().any(|route| route.kind == "prohibit"));
    // The kernel sends no notification for IPv4 routes that go with their device.
    run(&node, "ip link del up0");
    let gone = first.devices.iter().find(|device| device.name == "up0").unwrap().index;
    await_event(&told, |now| {
        role(now, "up0").is_none() && now.routes.iter().all(|route| route.device != gone)
    });
}

#[test]
fn a_named_uplink_wins_and_ports_of_a_bridge_are_pods_devices() {
    let (Some(node), Some(pod)) = (netns(), netns()) else { return };
    veth(&node, "veth0", &pod, "eth0");
    veth(&node, "up0", &pod, "up0");
    run(&node, "ip link add br0 type bridge\nip link set veth0 master br0");
    let (_watch, _told, first) = started(&node, &["up0"]);
    let device = |name: &str| first.devices.iter().find(|device| device.name == name).unwrap();
    assert_eq!(device("up0").role, DeviceRole::Uplink);
    assert_eq!((device("br0").role, device("br0").kind.as_str()), (DeviceRole::Other, "bridge"));
    assert_eq!((device("veth0").role, device("veth0").master), (DeviceRole::Pod, device("br0").index));
}

#[test]
fn a_storm_of_changes_ends_in_the_true_state() {
    let (Some(node), Some(pod)) = (netns(), netns()) else { return };
    veth(&node, "veth0", &pod, "eth0");
    run(&node, "ip link set veth0 up");
    let (_watch, told, _) = started(&node, &[]);
    let mut batch = String::new();
    for round in 0..20_000 {
        let (third, fourth) = (round / 250 % 250, round % 250);
        batch.push_str(&format!("route add 10.9.{third}.{fourth}/32 dev veth0\n"));
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &batch).unwrap();
    run(&node, &format!("ip -batch {}", file.path().display()));
    let last = "10.9.79.249/32".parse().unwrap();
    let (now, _) = await_event(&told, |now| now.routes.iter().any(|route| route.destination == last));
    assert_eq!(now.routes.iter().filter(|r| r.destination.to_string().starts_with("10.9.")).count(), 20_000);
    run(&node, "ip link del veth0");
    await_event(&told, |now| now.routes.iter().all(|r| !r.destination.to_string().starts_with("10.9.")));
}
