//! The admin and the baseline tier: order, actions, peers, ports, words.

use super::super::Decision::{self, Allow, Deny, Undecidable};
use super::super::{evaluate, fix};
use super::{decision, flow, judge};
use crate::cluster::testing::{Topology, block, policy, ports, rule, selector};
use crate::cluster::{
    NamespacedPods, Tier, TieredAction as Act, TieredApi, TieredPeer, TieredPolicy, TieredPort, TieredRule,
};
use crate::protocol::Protocol;
use crate::verdict::PolicyResult;

const CLIENT: &str = "10.244.1.5";
const OUTSIDE: &str = "443/TCP at 203.0.113.4";

fn cluster() -> Topology {
    Topology::new()
        .node("worker-1", "192.0.2.10", "10.244.1.0/24")
        .node("worker-2", "192.0.2.11", "10.244.2.0/24")
        .namespace("default", "team=a")
        .namespace("data", "team=b")
        .pod("default/client", CLIENT, "app=client")
        .on("worker-1")
        .pod("data/db", "10.244.2.7", "app=db")
        .container_port("pg", 5432, Protocol::Tcp)
        .on("worker-2")
}

fn pods_of(namespaces: &str, pods: Option<&str>) -> NamespacedPods {
    NamespacedPods { namespaces: selector(namespaces), pods: pods.map(selector) }
}

fn networks(text: &str) -> TieredPeer {
    TieredPeer::Networks(text.split(',').map(|cidr| cidr.parse().unwrap()).collect())
}

fn one(action: Act, peer: TieredPeer, text: &str) -> TieredRule {
    let ports = ports(text).into_iter().map(TieredPort::Number).collect();
    TieredRule { name: String::new(), action, peers: vec![peer], ports }
}

fn tiered(api: TieredApi, name: &str, priority: u16, egress: Vec<TieredRule>) -> TieredPolicy {
    let tier = if api == TieredApi::BaselineAdmin { Tier::Baseline } else { Tier::Admin };
    let subject = pods_of("", None);
    TieredPolicy { api, name: name.into(), tier, priority, subject, ingress: vec![], egress }
}

fn admin(name: &str, priority: u16, egress: Vec<TieredRule>) -> TieredPolicy {
    tiered(TieredApi::Admin, name, priority, egress)
}

fn any(action: Act) -> TieredRule {
    one(action, networks("0.0.0.0/0"), "")
}

/// The decision on traffic from the client to the outside.
fn with(policies: impl IntoIterator<Item = TieredPolicy>, topology: Topology) -> Decision {
    let topology = policies.into_iter().fold(topology, Topology::with);
    decision(&topology.index(), CLIENT, OUTSIDE)
}

#[test]
fn admin_policies_decide_before_and_baseline_policies_after_those_of_namespaces() {
    let closed = || cluster().policy(policy("default/closed", "").egress_to([]));
    let open = || cluster().policy(policy("default/open", "").egress_to([rule([block("0.0.0.0/0")], "")]));
    let baseline = |action| tiered(TieredApi::BaselineAdmin, "default", 0, vec![any(action)]);
    let table = [
        (vec![admin("a", 5, vec![any(Act::Accept)])], closed(), Allow),
        (vec![admin("a", 5, vec![any(Act::Deny)])], open(), Deny),
        (vec![admin("a", 5, vec![any(Act::Pass)])], closed(), Deny),
        (vec![admin("a", 5, vec![any(Act::Pass)])], open(), Allow),
        (vec![admin("a", 5, vec![any(Act::Pass)]), baseline(Act::Deny)], cluster(), Deny),
        (vec![baseline(Act::Deny)], cluster(), Deny),
        (vec![baseline(Act::Deny)], open(), Allow),
        (vec![baseline(Act::Accept)], closed(), Deny),
        (vec![baseline(Act::Accept)], cluster(), Allow),
        (vec![admin("a", 5, vec![])], closed(), Deny),
        (vec![admin("a", 5, vec![one(Act::Accept, networks("10.0.0.0/8"), "")])], closed(), Deny),
    ];
    for (number, (policies, topology, expected)) in table.into_iter().enumerate() {
        assert_eq!(with(policies, topology), expected, "row {number}");
    }
}

#[test]
fn the_lower_priority_and_the_first_rule_come_first_and_a_tie_is_open() {
    let table = [
        (vec![admin("a", 1, vec![any(Act::Accept)]), admin("b", 2, vec![any(Act::Deny)])], Allow),
        (vec![admin("a", 2, vec![any(Act::Accept)]), admin("b", 1, vec![any(Act::Deny)])], Deny),
        (vec![admin("a", 1, vec![any(Act::Pass)]), admin("b", 2, vec![any(Act::Deny)])], Allow),
        (vec![admin("a", 1, vec![any(Act::Deny), any(Act::Accept)])], Deny),
        (vec![admin("a", 7, vec![any(Act::Accept)]), admin("b", 7, vec![any(Act::Deny)])], Undecidable),
        (vec![admin("a", 7, vec![any(Act::Deny)]), admin("b", 7, vec![any(Act::Deny)])], Deny),
        (
            vec![
                admin("a", 7, vec![one(Act::Accept, networks("10.0.0.0/8"), "")]),
                admin("b", 7, vec![any(Act::Deny)]),
            ],
            Deny,
        ),
        (
            vec![
                admin("a", 1, vec![any(Act::Accept)]),
                tiered(TieredApi::Cluster, "b", 1, vec![any(Act::Deny)]),
            ],
            Undecidable,
        ),
    ];
    for (number, (policies, expected)) in table.into_iter().enumerate() {
        assert_eq!(with(policies, cluster()), expected, "row {number}");
    }
}

#[test]
fn the_subject_is_pods_of_namespaces() {
    let denies = |namespaces: &str, pods: Option<&str>| {
        let subject = pods_of(namespaces, pods);
        with([TieredPolicy { subject, ..admin("a", 1, vec![any(Act::Deny)]) }], cluster())
    };
    let table = [
        ("", None, Deny),
        ("team=a", None, Deny),
        ("team=b", None, Allow),
        ("kubernetes.io/metadata.name=default", Some("app=client"), Deny),
        ("team=a", Some("app=db"), Allow),
        ("team", Some("app in (client|db)"), Deny),
    ];
    for (namespaces, pods, expected) in table {
        assert_eq!(denies(namespaces, pods), expected, "{namespaces:?} {pods:?}");
    }
    let unknown = Topology::new().pod("default/client", CLIENT, "app=client");
    let subject = pods_of("team=a", None);
    let policy = TieredPolicy { subject, ..admin("a", 1, vec![any(Act::Deny)]) };
    assert_eq!(with([policy], unknown), Undecidable, "the namespace's labels are not known");
}

#[test]
fn every_kind_of_peer_and_port_matches_as_the_api_documents() {
    let outside = OUTSIDE;
    let (db, node) = ("5432/TCP at 10.244.2.7", "80/TCP at 192.0.2.11");
    let table = [
        (TieredPeer::Pods(pods_of("team=b", None)), "", db, Deny),
        (TieredPeer::Pods(pods_of("team=b", Some("app=web"))), "", db, Allow),
        (TieredPeer::Pods(pods_of("", None)), "", node, Allow),
        (TieredPeer::Pods(pods_of("", None)), "", outside, Allow),
        (TieredPeer::Nodes(selector("")), "", node, Deny),
        (TieredPeer::Nodes(selector("zone=a")), "", node, Allow),
        (TieredPeer::Nodes(selector("")), "", db, Allow),
        (networks("203.0.113.0/24"), "", outside, Deny),
        (networks("10.0.0.0/8,203.0.113.0/24"), "", db, Deny),
        (networks("2001:db8::/32"), "", outside, Allow),
        (networks("0.0.0.0/0"), "TCP 80", outside, Allow),
        (networks("0.0.0.0/0"), "TCP 80,TCP 400-500", outside, Deny),
        (networks("0.0.0.0/0"), "UDP 443", outside, Allow),
        (networks("0.0.0.0/0"), "", "0/ICMP at 203.0.113.4", Deny),
        (networks("0.0.0.0/0"), "TCP 443", "0/ICMP at 203.0.113.4", Allow),
        (TieredPeer::Unknown("services".into()), "", outside, Undecidable),
        (TieredPeer::Pods(pods_of("", None)), "", "80/TCP at 10.244.2.99", Undecidable),
    ];
    for (peer, port, to, expected) in table {
        let text = format!("{peer:?} {port} {to}");
        let topology = cluster().with(admin("a", 1, vec![one(Act::Deny, peer, port)]));
        assert_eq!(judge(&topology.index(), CLIENT, to).egress.unwrap().decision, expected, "{text}");
    }
    let named = |name: &str| {
        let ports = vec![TieredPort::Name(name.into())];
        let rule = TieredRule { ports, ..one(Act::Deny, TieredPeer::Pods(pods_of("", None)), "") };
        decision(&cluster().with(admin("a", 1, vec![rule])).index(), CLIENT, db)
    };
    assert_eq!((named("pg"), named("http")), (Deny, Allow));
}

#[test]
fn a_domain_name_is_matched_by_what_the_pod_resolved() {
    let decide = |pattern: &str, names: &[&str]| {
        let accept = one(Act::Accept, TieredPeer::DomainNames(vec![pattern.into()]), "");
        let index = cluster().with(admin("a", 1, vec![accept, any(Act::Deny)])).index();
        let mut flow = flow(&index, CLIENT, OUTSIDE);
        flow.names = names.iter().map(|name| (*name).to_owned()).collect();
        evaluate(&index, &flow).decision
    };
    let table = [
        ("api.example.com", &["api.example.com"] as &[&str], Allow),
        ("api.example.com", &["cdn.example.net", "API.example.com."], Allow),
        ("api.example.com", &["www.example.com"], Deny),
        ("*.example.com", &["a.b.example.com"], Allow),
        ("*.example.com", &["example.com"], Deny),
        ("*.example.com", &["badexample.com"], Deny),
        ("api.example.com", &[], Undecidable),
    ];
    for (pattern, names, expected) in table {
        assert_eq!(decide(pattern, names), expected, "{pattern} {names:?}");
    }
}

#[test]
fn ingress_is_judged_at_the_destination() {
    let mut deny = admin("a", 1, vec![]);
    deny.ingress = vec![one(Act::Deny, TieredPeer::Pods(pods_of("team=a", None)), "TCP 5432")];
    let index = cluster().with(deny).index();
    assert_eq!(decision(&index, CLIENT, "5432/TCP at 10.244.2.7"), Deny);
    assert_eq!(decision(&index, CLIENT, "80/TCP at 10.244.2.7"), Allow);
    assert_eq!(decision(&index, "203.0.113.4", "5432/TCP at 10.244.2.7"), Allow);
}

#[test]
fn findings_say_who_decides_and_who_is_not_asked() {
    let mut first = any(Act::Deny);
    first.name = "no internet".into();
    let rules = vec![one(Act::Accept, TieredPeer::Pods(pods_of("team=b", None)), ""), first];
    let index =
        cluster().policy(policy("default/closed", "").egress_to([])).with(admin("edge", 7, rules)).index();
    let view = judge(&index, CLIENT, OUTSIDE).egress.unwrap();
    let told: Vec<(&str, PolicyResult)> =
        view.policies.iter().map(|finding| (finding.kind.as_str(), finding.result)).collect();
    assert_eq!(
        told,
        [("AdminNetworkPolicy", PolicyResult::Denies), ("NetworkPolicy", PolicyResult::NotApplicable)]
    );
    assert_eq!(
        view.policies[0].why,
        [
            "selects this pod for egress (admin tier, priority 7)",
            "egress rule 1 admits every port to every pod in namespaces team=b; 203.0.113.4 is outside the \
             cluster, not a pod",
            "egress rule 2 (no internet) denies every port to 0.0.0.0/0; 203.0.113.4 is inside",
        ]
    );
    assert_eq!(
        view.policies[1].why.last().unwrap(),
        "is not asked: AdminNetworkPolicy edge decides before it"
    );
    let tie = [admin("a", 7, vec![any(Act::Accept)]), admin("b", 7, vec![any(Act::Deny)])];
    let index = tie.into_iter().fold(cluster(), Topology::with).index();
    let view = judge(&index, CLIENT, OUTSIDE).egress.unwrap();
    assert_eq!(
        view.policies[0].why.last().unwrap(),
        "b has the same priority 7 and says otherwise: which of them wins is not defined"
    );
}

#[test]
fn what_denies_before_every_policy_of_a_namespace_has_to_change_itself() {
    let deny = || admin("edge", 7, vec![any(Act::Deny)]);
    let closed = policy("default/closed", "").egress_to([]);
    for topology in [cluster(), cluster().policy(closed)] {
        let index = topology.with(deny()).index();
        let flow = flow(&index, CLIENT, OUTSIDE);
        let fix = fix(&index, &flow, &evaluate(&index, &flow)).unwrap();
        assert_eq!(fix.manifest, None);
        let wanted = "AdminNetworkPolicy edge denies it, which no NetworkPolicy can override";
        assert!(fix.text.starts_with(wanted), "{}", fix.text);
    }
}
