//! Rules by name, what Cilium learns names from, and fixes by name.

use super::super::Decision::{self, Allow, Deny, Undecidable};
use super::super::{PolicyFlow, evaluate, fix, fix_policies};
use super::cilium::{CLIENT, OUTSIDE, cluster, egress, on_port, port, to};
use super::fixes::read_back;
use crate::cluster::testing::{Topology, policy};
use crate::cluster::{CiliumFqdn, CiliumPeer, CiliumPolicy, CiliumPort, CiliumRule, PortMatch};
use crate::protocol::Protocol;

/// A rule that lets Cilium see the answers to questions for these names.
pub(super) fn dns(patterns: &str) -> CiliumRule {
    let patterns = patterns.split(',').map(|one| CiliumFqdn::Pattern(one.into())).collect();
    let question = port(Some(Protocol::Udp), Some(PortMatch::Number(53)));
    CiliumRule { ports: vec![CiliumPort { dns: patterns, ..question }], ..CiliumRule::default() }
}

fn by_name(name: &str) -> CiliumRule {
    to(CiliumPeer::Fqdn(CiliumFqdn::Name(name.into())))
}

/// The same for another pod.
fn for_app(app: &str, rules: Vec<CiliumRule>) -> CiliumPolicy {
    let mut one = egress(rules, vec![]);
    one.name = format!("for-{app}");
    one.specs[0].selector.requirements[0].values = vec![app.into()];
    one
}

fn ask(topology: &Topology, names: &[&str]) -> (crate::identity::ClusterIndex, PolicyFlow) {
    let index = topology.clone().index();
    let mut flow = super::flow(&index, CLIENT, OUTSIDE);
    flow.names = names.iter().map(|name| (*name).to_owned()).collect();
    (index, flow)
}

/// The decision, and the last sentence of the first finding.
fn said(topology: &Topology, names: &[&str]) -> (Decision, String) {
    let (index, flow) = ask(topology, names);
    let view = evaluate(&index, &flow);
    let findings: Vec<_> = view.findings().collect();
    (view.decision, findings[0].why.last().unwrap().clone())
}

#[test]
fn a_name_whose_answers_cilium_cannot_see_matches_nothing() {
    const API: &str = "api.example.com";
    let with = |rules: Vec<CiliumRule>| cluster().with(egress([vec![by_name(API)], rules].concat(), vec![]));
    let rule = "egress rule 1 admits every port to api.example.com; ";
    let (decision, words) = said(&with(vec![]), &[API]);
    let expected = "203.0.113.4 is api.example.com, but no rule lets Cilium see DNS answers";
    assert_eq!((decision, words), (Deny, format!("{rule}{expected}")));
    let (decision, words) = said(&with(vec![]), &[]);
    let expected = "no rule lets Cilium see DNS answers, from which it learns names";
    assert_eq!((decision, words), (Deny, format!("{rule}{expected}")));
    let listing = |patterns: &str| with(vec![dns(patterns)]);
    let (index, flow) = ask(&listing("*.cluster.local,b.example.com"), &[API]);
    let view = evaluate(&index, &flow);
    let words = "203.0.113.4 is api.example.com, but no DNS rule lists api.example.com, so Cilium does not see its answers";
    let why = &view.egress.unwrap().policies[0].why;
    assert!(view.decision == Deny && why.iter().any(|one| one.ends_with(words)), "{why:?}");
    for (patterns, names, expected) in [
        ("*", &[API][..], Allow),
        ("*.example.com", &[API], Allow),
        ("API.Example.com.", &["api.EXAMPLE.com."], Allow),
        ("*", &["cdn.example.net", API], Allow),
        ("*", &["gateway.example.net"], Deny),
        ("*", &[], Undecidable),
    ] {
        assert_eq!(said(&listing(patterns), names).0, expected, "{patterns} {names:?}");
    }
}

#[test]
fn another_policy_may_bring_the_dns_rule_and_another_pod_of_the_node_the_answers() {
    const API: &str = "api.example.com";
    let lone = || cluster().with(egress(vec![by_name(API)], vec![]));
    let own = for_app("client", vec![dns("*")]);
    assert_eq!(said(&lone().with(own), &[API]).0, Allow);
    let neighbour = |node: &str| {
        let topology = lone().pod("default/other", "10.244.1.9", "app=other").on(node);
        topology.with(for_app("other", vec![dns("*")]))
    };
    let (decision, words) = said(&neighbour("worker-1"), &[API]);
    assert!(
        decision == Undecidable && words.ends_with("; other pods of the node may have shown it some"),
        "{words}"
    );
    assert_eq!(said(&neighbour("worker-2"), &[API]).0, Deny);
}

/// What the fix says, its manifest, and the decision once it is applied.
fn mended(topology: &Topology, names: &[&str]) -> (String, String, Decision) {
    let (index, flow) = ask(topology, names);
    let view = evaluate(&index, &flow);
    let fixed = fix(&index, &flow, &view).expect("it is denied");
    let policies = fix_policies(&index, &flow, &view).expect(&fixed.text);
    let with = policies.into_iter().fold(topology.clone(), Topology::with);
    let (index, flow) = ask(&with, names);
    (fixed.text, fixed.manifest.unwrap(), evaluate(&index, &flow).decision)
}

const LEARN: &str = "Cilium learns names only from DNS answers that a DNS rule lets it see, and this pod has none for this name";

#[test]
fn where_cilium_isolates_a_fix_goes_by_the_name_and_brings_what_it_takes() {
    let own = "CiliumNetworkPolicy for pods app=client   egress: ";
    let name = "to api.example.com, TCP 443";
    let servers = "to pods k8s-app=kube-dns in namespace kube-system, port 53, DNS rule";
    let table = [
        (vec![dns("*")], format!("{own}{name}")),
        (vec![on_port(80)], format!("{own}{name}; {servers} *\n{LEARN}")),
        (vec![by_name("api.example.com")], format!("{own}{servers} *\n{LEARN}")),
        (vec![dns("a.example.com")], format!("{own}{name}; {servers} api.example.com\n{LEARN}")),
    ];
    for (rules, expected) in table {
        let topology = cluster().with(egress(rules, vec![]));
        let (text, manifest, decision) = mended(&topology, &["old.example.com", "API.example.com."]);
        assert_eq!((text, decision), (expected, Allow));
        assert_eq!(read_back(&manifest)[0]["kind"], "CiliumNetworkPolicy", "{manifest}");
    }
    let closed = cluster().with(egress(vec![on_port(80)], vec![]));
    let expected = "\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata:
  name: allow-egress-client-to-api-example-com-443
  namespace: default
spec:
  endpointSelector:
    matchLabels:
      app: client
  egress:
    - toFQDNs:
        - matchName: api.example.com
      toPorts:
        - ports:
            - port: \"443\"
              protocol: TCP
    - toEndpoints:
        - matchLabels:
            k8s-app: kube-dns
            \"k8s:io.kubernetes.pod.namespace\": kube-system
      toPorts:
        - ports:
            - port: \"53\"
              protocol: ANY
          rules:
            dns:
              - matchPattern: \"*\"
";
    assert_eq!(mended(&closed, &["api.example.com"]).1, expected);
}

#[test]
fn without_a_name_or_where_a_network_policy_alone_isolates_a_fix_goes_by_address() {
    let by_address = "podSelector: app=client   egress: to 203.0.113.4/32, TCP 443";
    let closed = cluster().with(egress(vec![on_port(80)], vec![]));
    assert_eq!(mended(&closed, &[]).0, by_address);
    let odd = "not a name";
    assert_eq!(mended(&closed, &[odd]).0, by_address);
    let network = cluster().policy(policy("default/closed", "").egress_to([]));
    assert_eq!(mended(&network, &["api.example.com"]).0, by_address);
    let elsewhere = network.with(for_app("other", vec![dns("*")]));
    assert_eq!(mended(&elsewhere, &["api.example.com"]).0, by_address);
    let both = closed.policy(policy("default/closed", "").egress_to([]));
    assert!(mended(&both, &["api.example.com"]).0.starts_with("CiliumNetworkPolicy for"));
}

#[test]
fn a_rule_of_ciliums_that_denies_is_named_and_no_name_helps() {
    let world = to(CiliumPeer::Entity("world".into()));
    let topology = cluster().with(egress(vec![dns("*")], vec![world]));
    let (index, flow) = ask(&topology, &["api.example.com"]);
    let fixed = fix(&index, &flow, &evaluate(&index, &flow)).unwrap();
    assert!(fixed.manifest.is_none() && fixed.text.contains("that rule has to change"), "{}", fixed.text);
}
