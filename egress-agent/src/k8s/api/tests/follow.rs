//! What is there, what comes, what goes.

use egress_apiserver::Disturbance;
use serde_json::json;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_cluster_is_read_and_its_changes_are_followed() {
    let server = cluster().await;
    let mut followed = follow(&server, "").await;
    followed.until_synced().await;
    followed.look(|known| {
        assert_eq!(pods(known).len(), 1, "pods of this node alone: {:?}", pods(known));
        let near = known.index.pod("shop", "near").unwrap();
        assert_eq!(near.netns_path, None, "a tenant may not name a namespace");
        assert!(known.has_policy("some"));
        assert!(known.index.namespace("shop").is_some() && known.index.node(NODE).is_some());
        let web = known.index.service("shop", "web").unwrap();
        assert_eq!(known.index.slices_of(web).count(), 1);
        assert_eq!(known.problems, Vec::<String>::new());
    });

    server.apply(pod("new", "10.0.1.6", NODE)).unwrap();
    followed.until("the new pod", |known| known.has_pod("new")).await;
    assert!(server.delete("networking.k8s.io/v1", "networkpolicies", "shop", "some"));
    followed.until("the policy's end", |known| !known.has_policy("some")).await;
    // A pod that moves away leaves the selection.
    server.apply(pod("new", "10.0.1.6", "worker-2")).unwrap();
    followed.until("the pod's end", |known| !known.has_pod("new")).await;
    assert_eq!(server.count("list", "*"), 6, "{:?}", server.counts());
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_is_in_step_as_bookmarks_and_timeouts_say() {
    let server = cluster().await;
    let mut followed = follow(&server, "").await;
    followed.until_synced().await;
    let first = followed.as_of();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let age = Duration::from_micros(u64::try_from(followed.as_of().0 - first.0).unwrap());
    assert!(age > Duration::from_secs(3600 - 120), "an hour later it is as of {age:?} later");
    assert_eq!(server.count("list", "*"), 6, "nothing is listed again: {:?}", server.counts());
    // A watch is begun anew every four or five minutes.
    let watches = server.count("watch", "*");
    assert!((6 * 12..=6 * 16).contains(&watches), "{watches}");
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_installed_later_is_found_and_one_that_goes_is_forgotten() {
    let server = cluster().await;
    let mut followed = follow(&server, "").await;
    followed.until_synced().await;
    server.define("example.cilium.io/v2", "unrelated", "Unrelated", true);
    server.define("cilium.io/v2", "ciliumnetworkpolicies", "CiliumNetworkPolicy", true);
    let object = json!({"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy",
        "metadata": {"namespace": "shop", "name": "c"}, "spec": {"endpointSelector": {"matchLabels": {"a": 7}}}});
    server.apply(object).unwrap();
    followed.until("the custom policy", |known| known.unevaluated() == 1).await;
    // The kinds of the same group that are not there are asked for once a look, and make no problem.
    assert_eq!(server.count("list", "ciliumclusterwidenetworkpolicies"), 1);
    server.undefine("cilium.io/v2", "ciliumnetworkpolicies");
    server.disturb("*", Disturbance::Gone);
    followed.until("the custom policy's end", |known| known.unevaluated() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_group_of_ranges_is_followed_in_the_version_that_is_served() {
    let server = cluster().await;
    server.define("cilium.io/v2alpha1", "ciliumcidrgroups", "CiliumCIDRGroup", false);
    let group = |cidrs: &[&str]| {
        json!({"apiVersion": "cilium.io/v2alpha1", "kind": "CiliumCIDRGroup",
            "metadata": {"name": "office"}, "spec": {"externalCIDRs": cidrs}})
    };
    server.apply(group(&["203.0.113.0/24"])).unwrap();
    let mut followed = follow(&server, "").await;
    followed.until_synced().await;
    let held = |known: &Known| known.index.cilium_cidr_group("office").map_or(0, |group| group.cidrs.len());
    followed.until("the group", |known| held(known) == 1).await;
    server.apply(group(&["203.0.113.0/24", "198.51.100.0/24"])).unwrap();
    followed.until("the change", |known| held(known) == 2).await;
    assert!(server.delete("cilium.io/v2alpha1", "ciliumcidrgroups", "", "office"));
    followed.until("its end", |known| held(known) == 0).await;
}
