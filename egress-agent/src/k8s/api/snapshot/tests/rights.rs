//! Whoever asks may not see everything.

use egress_apiserver::{Access, Rules};

use super::*;

/// What a person may read who may read all that `explain` ever reads.
const READER: &str = "
kind: ClusterRole
metadata: {name: reader}
rules:
- {apiGroups: [''], resources: [pods, namespaces, nodes, services], verbs: [get, list]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list]}
- {apiGroups: [networking.k8s.io], resources: [networkpolicies], verbs: [list]}
- {apiGroups: [cilium.io], resources: [ciliumnetworkpolicies, ciliumclusterwidenetworkpolicies], verbs: [list]}
";

async fn guarded(rules: Rules) -> ApiServer {
    let access = Access::default().user("t", "jane", rules);
    let server = ApiServer::builder().tls().access(access).start().await.unwrap();
    fill(&server);
    server
}

fn reader() -> Rules {
    Rules::of_cluster_role("reader", READER).unwrap()
}

#[tokio::test]
async fn what_hangs_on_a_kind_that_may_not_be_listed_is_undecidable_and_the_kind_is_named() {
    for (without, to, named) in [
        ("nodes", "203.0.113.4", "nodes cannot be listed (nodes is forbidden: User \"jane\""),
        ("services", "203.0.113.4", "services cannot be listed"),
        ("endpointslices", "10.96.0.10", "endpointslices.discovery.k8s.io cannot be listed"),
        ("namespaces", "kube-system/dns", "namespaces cannot be listed"),
        ("networkpolicies", "203.0.113.4", "no NetworkPolicy of networking.k8s.io/v1 can be read: forbidden"),
    ] {
        let server = guarded(reader()).await;
        let dns = if to == "kube-system/dns" { "svc/kube-system/dns" } else { to };
        assert_eq!(ask(&server, "t", "web", dns).await.decision, Decision::Allow, "with all rights: {to}");
        server.set_access(Access::default().user("t", "jane", reader().without(without)));
        let answer = ask(&server, "t", "web", dns).await;
        assert_eq!(answer.decision, Decision::Undecidable, "{without}: {answer:#?}");
        let text = egress_core::explain::render(&answer, 10_000, false);
        assert!(text.contains(named), "{without}: {text}");
    }
}

#[tokio::test]
async fn what_is_certain_without_the_missing_right_is_still_said() {
    let server = guarded(reader().without("nodes")).await;
    assert_eq!(ask(&server, "t", "web", "data/db").await.decision, Decision::Deny);
    assert_eq!(ask(&server, "t", "web", "svc/kube-system/dns").await.decision, Decision::Allow);
    // The pod's own node is known from the pod: traffic to it is always allowed.
    assert_eq!(ask(&server, "t", "web", "192.0.2.10").await.decision, Decision::Allow);
}

#[tokio::test]
async fn rights_in_one_namespace_answer_what_that_namespace_decides() {
    let server = guarded(reader().within("shop")).await;
    let answer = ask(&server, "t", "web", "shop/db").await;
    assert_eq!((answer.decision, answer.notes), (Decision::Deny, Vec::new()));
    let answer = ask(&server, "t", "web", "203.0.113.4").await;
    assert_eq!(answer.decision, Decision::Undecidable, "it may be anything's address: {answer:#?}");
    let kinds = ["pods", "services", "nodes"];
    let named = |kind: &&str| answer.notes.iter().any(|note| note.starts_with(kind));
    assert!(kinds.iter().all(named), "{:?}", answer.notes);
    let error = snapshot(&server, "t", "web", "data/db").await.unwrap_err().to_string();
    assert!(error.starts_with("this needs the right to list pods in namespace data: "), "{error}");
}

#[tokio::test]
async fn a_plugin_s_policies_count_where_they_are_installed() {
    let server = guarded(reader()).await;
    for (plural, kind, namespaced) in [
        ("ciliumnetworkpolicies", "CiliumNetworkPolicy", true),
        ("ciliumclusterwidenetworkpolicies", "CiliumClusterwideNetworkPolicy", false),
    ] {
        server.define("cilium.io/v2", plural, kind, namespaced);
    }
    // Of a kind that is not installed nothing is asked, although it may not be listed.
    assert_eq!(ask(&server, "t", "web", "203.0.113.4").await.decision, Decision::Allow);
    let deny = json!({"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy",
        "metadata": {"namespace": "shop", "name": "no"},
        "spec": {"endpointSelector": {}, "egressDeny": [{"toCIDR": ["203.0.113.4/32"]}]}});
    server.apply(deny).unwrap();
    assert_eq!(ask(&server, "t", "web", "203.0.113.4").await.decision, Decision::Deny);
    let less = reader().without("ciliumclusterwidenetworkpolicies");
    server.set_access(Access::default().user("t", "jane", less));
    let answer = ask(&server, "t", "web", "shop/db").await;
    let text = egress_core::explain::render(&answer, 10_000, false);
    assert_eq!(answer.decision, Decision::Undecidable, "{text}");
    let named = "no CiliumClusterwideNetworkPolicy of cilium.io/v2 can be read: forbidden";
    assert!(text.contains(named), "{text}");
}

#[tokio::test]
async fn nobody_known_and_nobody_there_are_told_apart() {
    let server = guarded(reader()).await;
    let error = snapshot(&server, "wrong", "web", "db").await.unwrap_err();
    assert_eq!(error, SnapshotError::Unauthorized(server.url()));
    server.begin_outage();
    let error = snapshot(&server, "t", "web", "db").await.unwrap_err();
    assert!(matches!(error, SnapshotError::Unreachable { .. }), "{error}");
}
