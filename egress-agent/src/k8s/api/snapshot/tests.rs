//! The real client against a server: what is read for a question, and what comes out where something may not be.

mod rights;

use egress_apiserver::{ApiServer, Fault};
use egress_core::explain::Explanation;
use egress_core::policy::Decision;
use egress_core::protocol::Protocol;
use serde_json::{Value, json};

use super::*;
use crate::app;

/// A folder with a kubeconfig for this server.
fn kubeconfig(server: &ApiServer, token: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    let mut config: Value = serde_json::from_str(&server.kubeconfig(token)).unwrap();
    config["contexts"][0]["context"]["namespace"] = "shop".into();
    std::fs::write(&path, config.to_string()).unwrap();
    (folder, path)
}

async fn snapshot(server: &ApiServer, token: &str, from: &str, to: &str) -> Result<Snapshot, SnapshotError> {
    let (_folder, path) = kubeconfig(server, token);
    let cluster = Cluster::open(Some(&path), None).await.unwrap();
    let dns = vec![("api.example.com".to_owned(), "203.0.113.4".parse().unwrap())];
    let request = ExplainRequest {
        from: from.to_owned(),
        to: to.to_owned(),
        port: if to.contains("dns") || to == "10.96.0.10" { 53 } else { 443 },
        protocol: Protocol::Tcp,
        dns,
    };
    cluster.read(&request, &Progress::default()).await
}

async fn ask(server: &ApiServer, token: &str, from: &str, to: &str) -> Explanation {
    let snapshot = snapshot(server, token, from, to).await.unwrap();
    app::explain_snapshot(snapshot, &[]).unwrap()
}

fn pod(namespace: &str, name: &str, ips: &[&str]) -> Value {
    let ips: Vec<Value> = ips.iter().map(|ip| json!({"ip": ip})).collect();
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "labels": {"app": name}},
        "spec": {"nodeName": "worker-1", "containers": [{"name": "c"}]},
        "status": {"podIP": ips[0]["ip"], "podIPs": ips, "hostIPs": [{"ip": "192.0.2.10"}]}})
}

fn policy(namespace: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": namespace, "name": name}, "spec": spec})
}

/// Pods of `shop` may go to 203.0.113.0/24, to the pods of namespaces of team b, and to DNS; `data` takes nobody from
/// elsewhere; `far` is of no concern to anybody.
async fn cluster() -> ApiServer {
    let server = ApiServer::start().await.unwrap();
    fill(&server);
    server
}

fn fill(server: &ApiServer) {
    let namespace = |name: &str, team: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"team": team}}});
    let service = |namespace: &str, name: &str, ip: &str, port: u16| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name},
            "spec": {"clusterIPs": [ip], "selector": {"app": name}, "ports": [{"port": port, "protocol": "TCP"}]}})
    };
    let slice = |namespace: &str, name: &str, ip: &str, pod: &str, port: u16| {
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"namespace": namespace, "name": format!("{name}-1"), "labels": {"kubernetes.io/service-name": name}},
            "endpoints": [{"addresses": [ip], "targetRef": {"kind": "Pod", "name": pod, "namespace": namespace}}],
            "ports": [{"name": "", "port": port, "protocol": "TCP"}]})
    };
    let to = json!([
        {"ipBlock": {"cidr": "203.0.113.0/24"}},
        {"namespaceSelector": {"matchLabels": {"team": "b"}}},
        {"namespaceSelector": {"matchLabels": {"team": "dns"}}, "podSelector": {"matchLabels": {"app": "dns"}}},
    ]);
    let objects = [
        namespace("shop", "a"),
        namespace("data", "b"),
        namespace("kube-system", "dns"),
        namespace("far", "z"),
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "worker-1"}, "spec": {"podCIDRs": ["10.0.1.0/24"]},
            "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.10"}]}}),
        pod("shop", "web", &["10.0.1.5"]),
        pod("shop", "db", &["10.0.1.6"]),
        pod("data", "db", &["10.0.1.7", "fd00::7"]),
        pod("data", "cache", &["10.0.1.9"]),
        pod("kube-system", "dns", &["10.0.1.10"]),
        pod("far", "only", &["10.0.1.11"]),
        service("kube-system", "dns", "10.96.0.10", 53),
        slice("kube-system", "dns", "10.0.1.10", "dns", 53),
        service("far", "web", "10.96.0.20", 443),
        slice("far", "web", "10.0.1.11", "only", 443),
        policy("shop", "out", json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": to}]})),
        policy(
            "data",
            "closed",
            json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": {}}]}]}),
        ),
        policy("far", "closed", json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})),
    ];
    for object in objects {
        server.apply(object).unwrap();
    }
}

#[tokio::test]
async fn questions_are_answered_as_they_are_from_an_export_of_everything() {
    let server = cluster().await;
    for (from, to, expected, names) in [
        ("web", "203.0.113.4", Decision::Allow, &["out"][..]),
        ("shop/web", "198.51.100.1", Decision::Deny, &["out"]),
        ("web", "api.example.com", Decision::Allow, &["out"]),
        // A namespace that is not named is the context's; else the only one with such a name.
        ("web", "db", Decision::Deny, &["out"]),
        ("web", "cache", Decision::Deny, &["out", "closed"]),
        ("10.0.1.5", "data/db", Decision::Deny, &["out", "closed"]),
        // Whoever has the address is asked for its policies.
        ("web", "10.0.1.7", Decision::Deny, &["out", "closed"]),
        ("203.0.113.9", "fd00::7", Decision::Deny, &[]),
        ("data/cache", "db.data.svc", Decision::Deny, &[]),
        ("web", "svc/kube-system/dns", Decision::Allow, &["out"]),
        ("web", "10.96.0.10", Decision::Allow, &["out"]),
        ("web", "10.96.0.20", Decision::Deny, &["out", "closed"]),
        ("web", "192.0.2.10", Decision::Allow, &["out"]),
        ("web", "203.0.113.0/25", Decision::Allow, &["out"]),
        ("web", "10.0.1.0/28", Decision::Undecidable, &["out", "closed"]),
    ] {
        let Ok(snapshot) = snapshot(&server, "", from, to).await else { panic!("{from} {to}") };
        assert_eq!(snapshot.unseen, Vec::<String>::new());
        let Ok(answer) = app::explain_snapshot(snapshot, &[]) else {
            // Addresses of two families, or a Service that is none.
            assert!(names.is_empty(), "{from} {to}");
            continue;
        };
        assert_eq!(answer.decision, expected, "{from} {to}: {answer:#?}");
        let sides = [&answer.egress, &answer.ingress]
            .into_iter()
            .flatten()
            .chain(answer.parts.iter().flatten().flat_map(|part| [&part.egress, &part.ingress]).flatten());
        let mut found: Vec<&str> =
            sides.flat_map(|side| &side.policies).map(|one| one.name.as_str()).collect();
        found.sort_unstable();
        found.dedup();
        let mut names = names.to_vec();
        names.sort_unstable();
        assert_eq!(found, names, "{from} {to}");
    }
}

#[tokio::test]
async fn only_what_the_question_concerns_is_read() {
    let server = cluster().await;
    ask(&server, "", "web", "data/db").await;
    let read = server.counts();
    let count = |resource: &str| server.count("list", resource);
    assert_eq!((count("pods"), count("networkpolicies")), (2, 2), "of both namespaces: {read:?}");
    assert_eq!((count("services"), count("nodes"), count("endpointslices")), (1, 0, 0), "{read:?}");
    assert_eq!(server.count("get", "namespaces"), 2, "{read:?}");
    ask(&server, "", "web", "203.0.113.4").await;
    assert_eq!((count("pods"), count("nodes"), count("endpointslices")), (4, 1, 0), "who has the address");
    ask(&server, "", "web", "svc/kube-system/dns").await;
    assert_eq!((count("nodes"), count("endpointslices")), (1, 1), "what stands behind the Service");
}

#[tokio::test]
async fn a_long_list_is_read_in_pages_and_begun_anew_where_the_server_forgot_it() {
    let server = cluster().await;
    for number in 0..1200 {
        server.apply(pod("shop", &format!("p{number}"), &["10.0.9.1"])).unwrap();
    }
    server.fault(Fault::status("list", "networkpolicies", 410, "too old").times(1));
    server.fault(Fault::status("list", "pods", 429, "slow down").times(1));
    server.fault(Fault::status("list", "services", 503, "starting").times(1));
    let progress = Progress::default();
    let (_folder, path) = kubeconfig(&server, "");
    let cluster = Cluster::open(Some(&path), None).await.unwrap();
    let request = ExplainRequest {
        from: "web".to_owned(),
        to: "db".to_owned(),
        port: 1,
        protocol: Protocol::Tcp,
        dns: Vec::new(),
    };
    let snapshot = cluster.read(&request, &progress).await.unwrap();
    assert_eq!(snapshot.index.pods_in("shop").count(), 1202);
    assert_eq!(server.count("list", "pods"), 4, "{:?}", server.counts());
    assert!(progress.to_string().contains("1202 pods"), "{progress}");
}

#[tokio::test]
async fn objects_that_cannot_be_read_are_named_and_decide_nothing() {
    let server = cluster().await;
    server
        .apply(policy(
            "shop",
            "odd",
            json!({"podSelector": {}, "egress": [{"to": [{"ipBlock": {"cidr": "x"}}]}]}),
        ))
        .unwrap();
    let answer = ask(&server, "", "web", "198.51.100.1").await;
    assert_eq!(answer.decision, Decision::Undecidable, "{answer:#?}");
    assert!(
        answer.notes[0].starts_with("NetworkPolicy shop/odd cannot be read: spec.egress[0].to[0]"),
        "{:?}",
        answer.notes
    );
}

#[tokio::test]
async fn manifests_are_put_over_the_cluster_and_take_nothing_else_away() {
    let server = cluster().await;
    let folder = tempfile::tempdir().unwrap();
    let changed = folder.path().join("changed.yaml");
    let policy = policy(
        "shop",
        "out",
        json!({"podSelector": {}, "policyTypes": ["Egress"],
        "egress": [{"to": [{"namespaceSelector": {"matchLabels": {"team": "z"}}}]}]}),
    );
    let open = self::policy(
        "far",
        "closed",
        json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]}),
    );
    // A pod in the manifests does not bring a namespace without labels with it.
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [policy, open, pod("far", "new", &["10.0.1.20"])]});
    std::fs::write(&changed, list.to_string()).unwrap();
    for (to, before, after) in
        [("203.0.113.4", Decision::Allow, Decision::Deny), ("far/only", Decision::Deny, Decision::Allow)]
    {
        let decide = async |with: &[std::path::PathBuf]| {
            app::explain_snapshot(snapshot(&server, "", "web", to).await.unwrap(), with).unwrap()
        };
        assert_eq!(decide(&[]).await.decision, before, "{to}");
        let answer = decide(std::slice::from_ref(&changed)).await;
        assert_eq!(answer.decision, after, "{to}: {answer:#?}");
        assert_eq!(
            answer.notes[0],
            "as if these were applied: Pod far/new, NetworkPolicy far/closed, NetworkPolicy shop/out"
        );
    }
}
