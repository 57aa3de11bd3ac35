//! What goes wrong every day: nothing is lost, nothing is listed in a storm, and it is told.

use egress_apiserver::{Disturbance, Fault};
use serde_json::json;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_cut_goes_on_from_where_it_was() {
    let server = cluster().await;
    let mut followed = follow(&server, "").await;
    followed.until_synced().await;
    server.requested("watch", "*", 6).await;
    server.disturb("*", Disturbance::Cut);
    server.apply(pod("new", "10.0.1.6", NODE)).unwrap();
    followed.until("the new pod", |known| known.has_pod("new")).await;
    assert_eq!(server.count("list", "*"), 6, "{:?}", server.counts());
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_too_old_is_mended_by_one_list() {
    let server = cluster().await;
    let mut followed = follow(&server, "").await;
    followed.until_synced().await;
    server.requested("watch", "*", 6).await;
    server.disturb("pods", Disturbance::Gone);
    server.requested("list", "pods", 2).await;
    server.apply(pod("new", "10.0.1.6", NODE)).unwrap();
    followed.until("the new pod", |known| known.has_pod("new")).await;
    assert_eq!(server.count("list", "*"), 7, "{:?}", server.counts());
    // The server has forgotten what was before: told when the watch is asked for.
    server.disturb("networkpolicies", Disturbance::Cut);
    server.apply(policy("more", "near", "10.0.0.0/8")).unwrap();
    server.compact();
    followed.until("the new policy", |known| known.has_policy("more")).await;
    assert!(server.count("list", "networkpolicies") <= 2);
    assert_eq!(followed.look(|known| known.problems.clone()), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn lines_that_are_no_events_are_told_and_mended_by_a_list() {
    let server = cluster().await;
    let mut followed = follow(&server, "").await;
    followed.until_synced().await;
    server.requested("watch", "*", 6).await;
    for line in
        ["<html>", "{\"type\":\"EXPLODED\",\"object\":{}}", "[]", "{\"type\":\"BOOKMARK\",\"object\":5}"]
    {
        let lists = server.count("list", "pods");
        server.disturb("pods", Disturbance::Line(line.to_owned()));
        server.requested("list", "pods", lists + 1).await;
        server.requested("watch", "pods", lists + 2).await;
    }
    server.apply(pod("new", "10.0.1.6", NODE)).unwrap();
    followed.until("the new pod", |known| known.has_pod("new") && known.problems.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_in_trouble_is_waited_out() {
    let server = cluster().await;
    for resource in ["pods", "networkpolicies", "services"] {
        server.fault(Fault::status("list", resource, 500, "etcdserver: leader changed").times(2));
        server.fault(Fault::status("list", resource, 429, "too many requests").times(1));
        server.fault(Fault::cut("list", resource).times(1));
        server.fault(Fault::text("list", resource, "{\"kind\":\"PodList\"}").times(1));
        server.fault(Fault::late("list", resource, Duration::from_secs(20)).times(1));
    }
    let mut followed = follow(&server, "").await;
    followed.until("a problem", |known| !known.problems.is_empty()).await;
    let message = followed.look(|known| known.problems[0].clone());
    assert!(
        message.starts_with("SERVER: cannot list ")
            && message.ends_with("status 500: etcdserver: leader changed"),
        "{message}"
    );
    followed
        .until("the end of the trouble", |known| {
            known.index.synced_at().is_some() && known.problems.is_empty()
        })
        .await;
    assert_eq!((server.count("list", "pods"), server.count("list", "namespaces")), (6, 1));
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_read_is_named_and_the_others_go_on() {
    let server = cluster().await;
    server.apply(policy("broken", "near", "10.0.0.0/33")).unwrap();
    server.apply(pod("broken", "10.0.1.300", NODE)).unwrap();
    let mut followed = follow(&server, "").await;
    followed.until_synced().await;
    let expected = [
        "SERVER: NetworkPolicy shop/broken: spec.egress[0].to[0].ipBlock.cidr: \"10.0.0.0/33\" is not a CIDR such as 10.0.0.0/8 or 2001:db8::/32",
        "SERVER: Pod shop/broken: status.podIPs[0].ip: \"10.0.1.300\" is not an IP address",
        "SERVER: Pod shop/broken: status.podIP: \"10.0.1.300\" is not an IP address",
    ];
    followed.until("the problems", |known| known.problems == expected).await;
    followed.look(|known| {
        assert!(known.has_policy("some") && known.has_pod("near") && !known.has_pod("broken"));
        // What a policy that cannot be read says is not known.
        assert_eq!(known.unevaluated(), 1);
    });
    // In a watch as in a list; objects that are none at all, too.
    server.apply(policy("some", "near", "x")).unwrap();
    server.apply(json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"namespace": "shop", "name": "odd"}, "spec": 5})).unwrap();
    followed.until("the new problems", |known| known.problems.len() == 5 && !known.has_policy("some")).await;
    for (name, cidr) in [("broken", "10.0.0.0/8"), ("some", "10.0.0.0/8"), ("odd", "10.0.0.0/8")] {
        server.apply(policy(name, "near", cidr)).unwrap();
    }
    server.apply(pod("broken", "10.0.1.30", NODE)).unwrap();
    followed.until("all is well", |known| known.problems.is_empty() && known.has_pod("broken")).await;
    followed.look(|known| {
        assert!(known.has_policy("broken") && known.has_policy("some") && known.has_policy("odd"));
        assert_eq!(known.unevaluated(), 0);
    });
}
