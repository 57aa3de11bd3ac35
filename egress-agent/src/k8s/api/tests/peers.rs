//! Pods of other nodes.

use egress_core::cluster::PeerQuestion;
use egress_core::protocol::Protocol;

use super::*;

/// Who has this address now, for the engine.
async fn who(followed: &mut Followed, ip: &str, pod: Option<&str>) -> Option<String> {
    let address = ip.parse().unwrap();
    let pod = pod.map(|name| PodRef { namespace: "shop".to_owned(), name: name.to_owned() });
    assert!(followed.asker.ask(PeerQuestion { ip: address, pod }));
    followed.until("the answer", |known| known.answered.contains(&address)).await;
    followed.look(|known| {
        let end = known.index.resolve(address, 0, Protocol::Tcp, Mono(0));
        end.pod_ref().map(|pod| format!("{}/{}", pod.namespace, pod.name))
    })
}

#[tokio::test(start_paused = true)]
async fn a_pod_of_another_node_is_found_by_its_slice_or_its_address() {
    let server = cluster().await;
    for (name, ip) in [("one", "10.0.2.9"), ("two", "10.0.2.9"), ("host", "192.0.2.11")] {
        server.apply(pod(name, ip, "worker-2")).unwrap();
    }
    let mut host = pod("host", "192.0.2.11", "worker-2");
    host["spec"]["hostNetwork"] = true.into();
    server.apply(host).unwrap();
    let mut followed = follow(&server, "").await;
    followed.until_synced().await;
    let far = Some("shop/far".to_owned());
    assert_eq!(who(&mut followed, "10.0.2.5", Some("far")).await, far);
    assert_eq!((server.count("get", "pods"), server.count("list", "pods")), (1, 1), "its name is enough");
    assert_eq!(who(&mut followed, "10.0.2.9", Some("gone")).await, None, "two have it");
    assert_eq!(who(&mut followed, "192.0.2.11", None).await, None, "a node's address is no pod's");
    assert_eq!(who(&mut followed, "10.0.2.77", None).await, None, "nobody has it");
    assert_eq!((server.count("get", "pods"), server.count("list", "pods")), (2, 4));
    server.apply(pod("moved", "10.0.2.78", "worker-2")).unwrap();
    assert_eq!(
        who(&mut followed, "10.0.2.78", Some("far")).await,
        Some("shop/moved".to_owned()),
        "the slice was old"
    );
    assert_eq!(followed.look(|known| pods(known).len()), 1, "it is no pod of this node");
}
