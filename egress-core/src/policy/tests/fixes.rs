//! Fixes: what they say, and that they admit the traffic and nothing unrelated.

use super::super::fix::lasting;
use super::super::{Decision, PolicyFlow, evaluate, fix, fix_policies};
use super::generate::{Random, Traffic, topology, traffic};
use super::{flow, oracle};
use crate::cluster::Object;
use crate::cluster::testing::{Topology, policy};
use crate::identity::{ClusterIndex, Endpoint};
use crate::protocol::Protocol;
use crate::verdict::Fix;

fn fix_of(index: &ClusterIndex, from: &str, to: &str) -> Option<Fix> {
    let flow = flow(index, from, to);
    fix(index, &flow, &evaluate(index, &flow))
}

fn cluster() -> Topology {
    Topology::new()
        .namespace("default", "")
        .namespace("data", "")
        .namespace("kube-system", "")
        .pod("default/api-client", "10.244.1.5,fd00::5", "app=firewall-test")
        .pod(
            "data/db-0",
            "10.244.2.7",
            "app=db,controller-revision-hash=9f,statefulset.kubernetes.io/pod-name=db-0",
        )
        .but(|pod| pod.workload = Some("StatefulSet/db".into()))
        .pod("kube-system/coredns-1", "10.244.2.2", "k8s-app=kube-dns,pod-template-hash=abc")
        .service("kube-system/kube-dns", "10.96.0.10", "k8s-app=kube-dns", "dns:53:53/UDP,dns-tcp:53:53/TCP")
        .slice("kube-system/kube-dns", "10.244.2.2", "dns:53/UDP,dns-tcp:53/TCP")
}

const CLIENT: &str = "10.244.1.5";

#[test]
fn traffic_to_the_outside_is_allowed_by_address() {
    let index =
        cluster().policy(policy("default/deny-all-egress", "app=firewall-test").egress_to([])).index();
    let fix = fix_of(&index, CLIENT, "443/TCP at 203.0.113.4").unwrap();
    assert_eq!(fix.text, "podSelector: app=firewall-test   egress: to 203.0.113.4/32, TCP 443");
    let expected = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: allow-egress-api-client-to-203-0-113-4-443
  namespace: default
spec:
  podSelector:
    matchLabels:
      app: firewall-test
  policyTypes:
    - Egress
  egress:
    - to:
        - ipBlock:
            cidr: 203.0.113.4/32
      ports:
        - protocol: TCP
          port: 443
";
    assert_eq!(fix.manifest.unwrap(), expected);
    let fix = fix_of(&index, "fd00::5", "443/SCTP at 2001:db8::4").unwrap();
    assert_eq!(fix.text, "podSelector: app=firewall-test   egress: to 2001:db8::4/128, SCTP 443");
    assert!(fix.manifest.unwrap().contains("name: allow-egress-api-client-to-2001-db8--4-443-sctp\n"));
}

#[test]
fn where_both_sides_deny_each_gets_its_rule() {
    let index = cluster()
        .policy(policy("default/deny", "").egress_to([]))
        .policy(policy("data/deny", "").ingress_from([]))
        .index();
    let fix = fix_of(&index, CLIENT, "5432/TCP at 10.244.2.7").unwrap();
    assert_eq!(
        fix.text,
        "podSelector: app=firewall-test   egress: to pods app=db in namespace data, TCP 5432\n\
         namespace data   podSelector: app=db   ingress: from pods app=firewall-test in namespace default, TCP 5432"
    );
    let manifest = fix.manifest.unwrap();
    let documents: Vec<&str> = manifest.split("---\n").collect();
    assert_eq!(documents.len(), 2);
    assert!(documents[0].contains("name: allow-egress-api-client-to-data-db-5432\n"), "{manifest}");
    assert!(documents[1].contains("name: allow-ingress-db-from-default-api-client-5432\n"), "{manifest}");
    assert!(documents[1].contains("namespace: data\n"), "{manifest}");
}

#[test]
fn blocked_dns_is_allowed_over_udp_and_tcp_to_the_servers_pods() {
    let index = cluster().policy(policy("default/deny", "").egress_to([])).index();
    let expected = "podSelector: app=firewall-test   egress: to pods k8s-app=kube-dns in namespace kube-system, \
                    UDP 53, TCP 53";
    for to in ["53/UDP at 10.96.0.10", "53/TCP at 10.96.0.10", "53/UDP at 10.244.2.2"] {
        assert_eq!(fix_of(&index, CLIENT, to).unwrap().text, expected, "{to}");
    }
    let outside = fix_of(&index, CLIENT, "53/UDP at 203.0.113.53").unwrap();
    assert_eq!(outside.text, "podSelector: app=firewall-test   egress: to 203.0.113.53/32, UDP 53, TCP 53");
}

#[test]
fn a_wide_pod_selector_is_narrowed_by_the_pods_own_labels() {
    let wide = |selects: &str| {
        let index = cluster()
            .pod("default/other", "10.244.1.9", "app=firewall-test,team=z")
            .policy(policy("default/deny", selects).egress_to([]))
            .index();
        fix_of(&index, "10.244.1.9", "443/TCP at 203.0.113.4").unwrap().text
    };
    let rest = "   egress: to 203.0.113.4/32, TCP 443";
    assert_eq!(wide(""), format!("podSelector: app=firewall-test,team=z{rest}"));
    assert_eq!(wide("app=firewall-test"), format!("podSelector: app=firewall-test,team=z{rest}"));
    assert_eq!(wide("app=firewall-test,team=z"), format!("podSelector: app=firewall-test,team=z{rest}"));
    assert_eq!(wide("!old"), format!("podSelector: app=firewall-test,team=z,!old{rest}"));
}

#[test]
fn where_no_rule_can_admit_exactly_this_it_says_what_to_do() {
    let index = cluster()
        .node("worker-2", "192.0.2.11", "10.244.2.0/24")
        .pod("default/bare", "10.244.1.8", "")
        .service("default/empty", "10.96.0.41", "app=none", "http:80:8080/TCP")
        .slice("default/empty", "", "http:8080/TCP")
        .policy(policy("default/deny", "").egress_to([]))
        .index();
    let table = [
        (
            "10.244.1.8",
            "443/TCP at 203.0.113.4",
            "pod default/bare has no label of its own to select it by: give it one (kubectl label pod -n default \
             bare app=bare), then allow this traffic for it",
        ),
        (
            CLIENT,
            "443/TCP at 10.244.2.99",
            "what 10.244.2.99 is in the cluster is not known: allow the pods behind it by their labels",
        ),
        (
            CLIENT,
            "0/ICMP at 203.0.113.4",
            "NetworkPolicy knows no ICMP: what a rule without ports admits besides TCP, UDP and SCTP is up to the \
             network plugin",
        ),
        (CLIENT, "80/TCP at 10.96.0.41", "the Service has no endpoint: there is no address to allow yet"),
    ];
    for (from, to, expected) in table {
        let fix = fix_of(&index, from, to).unwrap();
        assert_eq!((fix.text.as_str(), fix.manifest), (expected, None));
    }
    let open = cluster().index();
    assert_eq!(fix_of(&open, CLIENT, "443/TCP at 203.0.113.4"), None);
}

#[test]
fn a_name_that_is_taken_gets_a_number() {
    let index = cluster()
        .policy(policy("default/deny", "").egress_to([]))
        .policy(policy("default/allow-egress-api-client-to-203-0-113-4-443", "").egress_to([]))
        .index();
    let manifest = fix_of(&index, CLIENT, "443/TCP at 203.0.113.4").unwrap().manifest.unwrap();
    assert!(manifest.contains("name: allow-egress-api-client-to-203-0-113-4-443-2\n"));
}

/// What the manifest's YAML says, as the API server would read it.
pub(super) fn read_back(manifest: &str) -> Vec<serde_json::Value> {
    manifest.split("---\n").map(|document| serde_saphyr::from_str(document).expect(document)).collect()
}

#[test]
fn label_values_survive_yaml() {
    let labels = "app=yes,n=1e3,on=true,v=1.10,x=,y=0x1f";
    let index = Topology::new()
        .namespace("default", "")
        .pod("default/odd", "10.244.1.5", labels)
        .policy(policy("default/deny", "").egress_to([]))
        .index();
    let manifest = fix_of(&index, CLIENT, "443/TCP at 203.0.113.4").unwrap().manifest.unwrap();
    let read = &read_back(&manifest)[0]["spec"]["podSelector"]["matchLabels"];
    let expected = crate::cluster::testing::labels(labels);
    assert_eq!(*read, serde_json::json!(expected), "{manifest}");
}

/// The other end counts as this one where the same labels (or the same address) stand for it.
pub(super) fn related(end: &Endpoint, other: &Endpoint) -> bool {
    match (&end.pod, &other.pod) {
        (Some(pod), Some(other)) => {
            pod.namespace == other.namespace
                && lasting(pod).iter().all(|(key, value)| other.labels.get(key) == Some(value))
        }
        _ => end.ip == other.ip,
    }
}

pub(super) fn same_port(flow: &PolicyFlow, other: &PolicyFlow) -> bool {
    let dns = |flow: &PolicyFlow| flow.port == 53 && matches!(flow.protocol, Protocol::Tcp | Protocol::Udp);
    (flow.port == other.port && flow.protocol == other.protocol) || (dns(flow) && dns(other))
}

#[test]
fn a_fix_admits_the_traffic_and_nothing_unrelated() {
    let (mut fixed, mut unfixed, mut newly) = (0, 0, 0);
    for seed in 0..3_000 {
        let mut random = Random::new(seed);
        let cluster = topology(&mut random);
        let index = cluster.clone().index();
        let sample: Vec<Traffic> = (0..60).map(|_| traffic(&mut random, &cluster)).collect();
        for one in &sample[..6] {
            let denied = oracle::flow(&index, *one);
            let view = evaluate(&index, &denied);
            if view.decision != Decision::Deny {
                assert_eq!(fix(&index, &denied, &view), None);
                continue;
            }
            let Ok(policies) = fix_policies(&index, &denied, &view) else {
                unfixed += 1;
                continue;
            };
            fixed += 1;
            let mut with = cluster.clone();
            with.objects.extend(policies.iter().cloned());
            assert!(oracle::admits(&with.objects, *one), "seed {seed}: {one:?} with {policies:#?}");
            check_manifest(&policies, &fix(&index, &denied, &view).unwrap().manifest.unwrap());
            for other in &sample {
                let (before, after) =
                    (oracle::admits(&cluster.objects, *other), oracle::admits(&with.objects, *other));
                assert!(after || !before, "seed {seed}: {other:?} is cut off by {policies:#?}");
                if after && !before {
                    newly += 1;
                    let flow = oracle::flow(&index, *other);
                    assert!(
                        same_port(&denied, &flow)
                            && related(&denied.from, &flow.from)
                            && related(&denied.to, &flow.to),
                        "seed {seed}: {other:?} is opened by the fix of {one:?}, {policies:#?}"
                    );
                }
            }
        }
    }
    println!("{fixed} flows fixed, {unfixed} without a rule, {newly} sampled flows opened");
    assert!(fixed > 1_500, "{fixed}");
}

/// The YAML names what the policies name.
fn check_manifest(policies: &[Object], manifest: &str) {
    let documents = read_back(manifest);
    assert_eq!(documents.len(), policies.len());
    for (document, policy) in documents.iter().zip(policies) {
        let Object::NetworkPolicy(policy) = policy else { panic!("a NetworkPolicy") };
        assert_eq!(document["metadata"]["name"], policy.name);
        assert_eq!(document["metadata"]["namespace"], policy.namespace);
        let side = if policy.isolates_egress { "egress" } else { "ingress" };
        assert_eq!(document["spec"]["policyTypes"].as_array().unwrap().len(), 1);
        let rules = document["spec"][side].as_array().unwrap();
        assert_eq!(rules.len(), 1);
        let ports = rules[0]["ports"].as_array().unwrap();
        assert!(ports.iter().all(|port| port["port"].is_u64()));
        let name = &policy.name;
        assert!(name.len() <= 63 && name.starts_with("allow-"), "{name}");
    }
}
