//! Cilium's policies: union, deny, default deny, every kind of peer, ports, words.

use super::super::Decision::{self, Allow, Deny, Undecidable};
use super::super::evaluate;
use super::{decision, flow, judge};
use crate::cluster::testing::{Topology, labels, policy, rule, selector};
use crate::cluster::{
    CidrGroups, CiliumCidrGroup, CiliumFqdn, CiliumIcmp, CiliumPeer, CiliumPolicy, CiliumPort, CiliumRule,
    CiliumSelector, CiliumSpec, Expression, IpBlock, Operator, PortMatch,
};
use crate::protocol::Protocol;
use crate::verdict::PolicyResult;

pub(super) const CLIENT: &str = "10.244.1.5";
const DB: &str = "5432/TCP at 10.244.2.7";
pub(super) const OUTSIDE: &str = "443/TCP at 203.0.113.4";

pub(super) fn cluster() -> Topology {
    Topology::new()
        .node("worker-1", "192.0.2.10", "10.244.1.0/24")
        .node("worker-2", "192.0.2.11", "10.244.2.0/24")
        .namespace("default", "team=a")
        .namespace("data", "team=b")
        .pod("default/client", "10.244.1.5,fd00::5", "app=client,pod-template-hash=1")
        .on("worker-1")
        .pod("data/db", "10.244.2.7", "app=db,pod-template-hash=2")
        .container_port("pg", 5432, Protocol::Tcp)
        .on("worker-2")
        .service("default/kubernetes", "10.96.0.1", "", "https:443:6443/TCP")
        .slice("default/kubernetes", "192.0.2.11", "https:6443/TCP")
        .service("data/legacy", "10.96.0.9", "", "x:443:443/TCP")
        .slice("data/legacy", "203.0.113.4", "x:443/TCP")
        .with(cidr_group("office", "site=a", &["203.0.113.0/25", "192.0.2.0/24", "10.0.0.0/8"]))
        .with(cidr_group("lab", "site=b", &["198.51.100.0/24"]))
}

fn cidr_group(name: &str, text: &str, cidrs: &[&str]) -> CiliumCidrGroup {
    let cidrs = cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect();
    CiliumCidrGroup { name: name.into(), labels: labels(text), cidrs }
}

/// `app=db,io.kubernetes.pod.namespace=data,reserved:host` as requirements.
fn identity(text: &str) -> CiliumSelector {
    let written = selector(text);
    let equal = written.match_labels.iter().map(|(key, value)| Expression {
        key: key.into(),
        operator: Operator::In,
        values: vec![value.into()].into_iter().collect(),
    });
    CiliumSelector { requirements: equal.chain(written.expressions.iter().cloned()).collect() }
}

fn endpoints(text: &str) -> CiliumPeer {
    CiliumPeer::Endpoints(identity(text))
}

fn range(text: &str) -> CiliumPeer {
    let (cidr, except) = text.split_once(" except ").unwrap_or((text, ""));
    let except =
        except.split(',').filter(|part| !part.is_empty()).map(|cidr| cidr.parse().unwrap()).collect();
    CiliumPeer::Cidr(IpBlock { cidr: cidr.parse().unwrap(), except })
}

fn entity(name: &str) -> CiliumPeer {
    CiliumPeer::Entity(name.into())
}

pub(super) fn port(protocol: Option<Protocol>, port: Option<PortMatch>) -> CiliumPort {
    CiliumPort { protocol, port, beyond: String::new(), dns: vec![] }
}

pub(super) fn to(peer: CiliumPeer) -> CiliumRule {
    CiliumRule { peers: Some(vec![peer]), ..CiliumRule::default() }
}

pub(super) fn on_port(number: u16) -> CiliumRule {
    let ports = vec![port(Some(Protocol::Tcp), Some(PortMatch::Number(number)))];
    CiliumRule { ports, ..CiliumRule::default() }
}

/// A policy for the client with these rules, isolating by default.
pub(super) fn egress(allow: Vec<CiliumRule>, deny: Vec<CiliumRule>) -> CiliumPolicy {
    let isolates_egress = !allow.is_empty() || !deny.is_empty();
    let spec = CiliumSpec {
        selector: identity("app=client"),
        isolates_egress,
        egress: allow,
        egress_deny: deny,
        ..CiliumSpec::default()
    };
    CiliumPolicy { namespace: "default".into(), name: "c".into(), specs: vec![spec] }
}

fn with_rule(one: CiliumRule, dialled: &str) -> Decision {
    let index = cluster().with(egress(vec![one], vec![])).index();
    judge(&index, CLIENT, dialled).egress.unwrap().decision
}

#[test]
fn deny_wins_over_every_allow_and_allows_are_a_union_with_network_policies() {
    let open = || policy("default/open", "").egress_to([rule([], "")]);
    let closed = || policy("default/closed", "").egress_to([]);
    let world = || to(entity("world"));
    let table = [
        (cluster().with(egress(vec![world()], vec![])), Allow),
        (cluster().with(egress(vec![world()], vec![world()])), Deny),
        (cluster().with(egress(vec![], vec![world()])).policy(open()), Deny),
        (cluster().with(egress(vec![world()], vec![])).policy(closed()), Allow),
        (cluster().with(egress(vec![on_port(80)], vec![])).policy(open()), Allow),
        (cluster().with(egress(vec![on_port(80)], vec![])).policy(closed()), Deny),
        (cluster().with(egress(vec![], vec![to(range("10.0.0.0/8"))])), Deny),
        (cluster().with(egress(vec![], vec![])), Allow),
        (
            cluster().with(egress(vec![to(CiliumPeer::Groups("toGroups".into()))], vec![])).policy(open()),
            Allow,
        ),
        (
            cluster().with(egress(vec![], vec![to(CiliumPeer::Groups("toGroups".into()))])).policy(open()),
            Undecidable,
        ),
        (cluster().with(egress(vec![world()], vec![to(CiliumPeer::Groups("toGroups".into()))])), Undecidable),
    ];
    for (number, (topology, expected)) in table.into_iter().enumerate() {
        assert_eq!(decision(&topology.index(), CLIENT, OUTSIDE), expected, "row {number}");
    }
}

#[test]
fn default_deny_can_be_switched_off_and_an_empty_rule_admits_nothing() {
    let mut quiet = egress(vec![on_port(80)], vec![]);
    quiet.specs[0].isolates_egress = false;
    let index = cluster().with(quiet.clone()).index();
    let view = judge(&index, CLIENT, OUTSIDE).egress.unwrap();
    assert_eq!((view.decision, view.policies[0].result), (Allow, PolicyResult::NotApplicable));
    quiet.specs[0].egress_deny = vec![to(entity("world"))];
    assert_eq!(decision(&cluster().with(quiet).index(), CLIENT, OUTSIDE), Deny);
    let nobody = CiliumRule { peers: Some(vec![]), ..on_port(443) };
    for (one, expected) in [(CiliumRule::default(), Deny), (nobody, Deny), (on_port(443), Allow)] {
        assert_eq!(with_rule(one.clone(), OUTSIDE), expected, "{one:?}");
    }
}

#[test]
fn policies_are_of_their_namespace_and_clusterwide_ones_of_all() {
    let namespaced = |namespace: &str, selects: &str| {
        let mut one = egress(vec![on_port(80)], vec![]);
        one.namespace = namespace.into();
        one.specs[0].selector = identity(selects);
        decision(&cluster().with(one).index(), CLIENT, OUTSIDE)
    };
    let table = [
        ("default", "", Deny),
        ("data", "", Allow),
        ("", "", Deny),
        ("", "io.kubernetes.pod.namespace=data", Allow),
        ("", "io.kubernetes.pod.namespace=default,app=client", Deny),
        ("", "io.cilium.k8s.namespace.labels.team=a", Deny),
        ("", "io.cilium.k8s.namespace.labels.team=b", Allow),
        ("", "pod-template-hash=1", Undecidable),
        ("", "container:x=y", Undecidable),
    ];
    for (namespace, selects, expected) in table {
        assert_eq!(namespaced(namespace, selects), expected, "{namespace:?} {selects:?}");
    }
}

#[test]
fn every_kind_of_peer_matches_as_documented() {
    let (own, other) = ("80/TCP at 192.0.2.10", "80/TCP at 192.0.2.11");
    let unknown = "80/TCP at 10.244.2.99";
    let named =
        |namespace: &str, name: &str| CiliumPeer::Service { namespace: namespace.into(), name: name.into() };
    let group =
        |name: &str| CiliumPeer::CidrGroups { groups: CidrGroups::Named(name.into()), except: vec![] };
    let groups =
        |text: &str| CiliumPeer::CidrGroups { groups: CidrGroups::Selected(selector(text)), except: vec![] };
    let but = |peer: CiliumPeer, hole: &str| match peer {
        CiliumPeer::CidrGroups { groups, .. } => {
            CiliumPeer::CidrGroups { groups, except: vec![hole.parse().unwrap()] }
        }
        other => other,
    };
    let table = [
        (endpoints("app=db,io.kubernetes.pod.namespace=data"), DB, Allow),
        (endpoints("app=db,io.kubernetes.pod.namespace=default"), DB, Deny),
        (endpoints("io.kubernetes.pod.namespace"), DB, Allow),
        (endpoints("io.kubernetes.pod.namespace"), OUTSIDE, Deny),
        (endpoints("io.kubernetes.pod.namespace"), other, Deny),
        (endpoints("io.cilium.k8s.namespace.labels.team=b"), DB, Allow),
        (endpoints("app notin (web)"), DB, Allow),
        (endpoints("pod-template-hash=2"), DB, Undecidable),
        (endpoints("io.cilium.k8s.policy.cluster=east"), DB, Undecidable),
        (endpoints("app=db"), unknown, Undecidable),
        (endpoints("reserved:host"), own, Allow),
        (endpoints("reserved:host"), DB, Deny),
        (range("203.0.113.0/24"), OUTSIDE, Allow),
        (range("203.0.113.0/24 except 203.0.113.4/32"), OUTSIDE, Deny),
        (range("0.0.0.0/0"), DB, Deny),
        (range("0.0.0.0/0"), other, Undecidable),
        (range("0.0.0.0/0"), unknown, Undecidable),
        (range("198.51.100.0/24"), unknown, Deny),
        (group("not-there"), OUTSIDE, Undecidable),
        (group("not-there"), DB, Deny),
        (group("office"), OUTSIDE, Allow),
        (group("office"), "443/TCP at 203.0.113.200", Deny),
        (group("office"), DB, Deny),
        (group("office"), other, Undecidable),
        (group("office"), unknown, Undecidable),
        (group("lab"), OUTSIDE, Deny),
        (groups("site=a"), OUTSIDE, Allow),
        (groups("site=b"), OUTSIDE, Deny),
        (groups("site"), "443/TCP at 198.51.100.9", Allow),
        (groups("site=c"), OUTSIDE, Deny),
        (but(group("office"), "203.0.113.4/32"), OUTSIDE, Undecidable),
        (but(group("office"), "203.0.113.5/32"), OUTSIDE, Allow),
        (entity("world"), OUTSIDE, Allow),
        (entity("world"), DB, Deny),
        (entity("world"), unknown, Undecidable),
        (entity("world-ipv6"), OUTSIDE, Deny),
        (entity("cluster"), DB, Allow),
        (entity("cluster"), other, Allow),
        (entity("cluster"), OUTSIDE, Deny),
        (entity("host"), own, Allow),
        (entity("host"), other, Deny),
        (entity("remote-node"), other, Allow),
        (entity("remote-node"), own, Deny),
        (entity("kube-apiserver"), other, Allow),
        (entity("kube-apiserver"), own, Deny),
        (entity("all"), unknown, Allow),
        (entity("none"), OUTSIDE, Deny),
        (entity("init"), DB, Deny),
        (entity("unmanaged"), DB, Undecidable),
        (entity("health"), DB, Deny),
        (entity("ingress"), unknown, Undecidable),
        (named("data", "legacy"), OUTSIDE, Allow),
        (named("data", "other"), OUTSIDE, Deny),
        (CiliumPeer::Nodes(selector("zone=a")), other, Undecidable),
        (CiliumPeer::Nodes(selector("zone=a")), DB, Deny),
        (CiliumPeer::Groups("toGroups".into()), OUTSIDE, Undecidable),
    ];
    for (peer, dialled, expected) in table {
        assert_eq!(with_rule(to(peer.clone()), dialled), expected, "{peer:?} {dialled}");
    }
}

#[test]
fn ports_and_icmp_types_match_as_documented() {
    let tcp =
        |matched| CiliumRule { ports: vec![port(Some(Protocol::Tcp), matched)], ..CiliumRule::default() };
    let any = |matched| CiliumRule { ports: vec![port(None, matched)], ..CiliumRule::default() };
    let echo = |v6, kind| CiliumRule { icmps: vec![CiliumIcmp { v6, kind }], ..CiliumRule::default() };
    let ping = "0/ICMP at 203.0.113.4";
    let table = [
        (tcp(Some(PortMatch::Number(443))), OUTSIDE, Allow),
        (tcp(Some(PortMatch::Number(80))), OUTSIDE, Deny),
        (tcp(Some(PortMatch::Range(400, 500))), OUTSIDE, Allow),
        (tcp(None), OUTSIDE, Allow),
        (tcp(None), "443/UDP at 203.0.113.4", Deny),
        (any(Some(PortMatch::Number(443))), "443/UDP at 203.0.113.4", Allow),
        (any(None), ping, Deny),
        (tcp(Some(PortMatch::Name("pg".into()))), DB, Allow),
        (tcp(Some(PortMatch::Name("http".into()))), DB, Deny),
        (echo(false, 8), ping, Allow),
        (echo(true, 128), ping, Deny),
        (echo(false, 3), ping, Deny),
        (echo(false, 8), OUTSIDE, Deny),
        (to(entity("world")), ping, Allow),
    ];
    for (one, dialled, expected) in table {
        assert_eq!(with_rule(one.clone(), dialled), expected, "{one:?} {dialled}");
    }
}

#[test]
fn names_are_what_the_pod_resolved() {
    let decide = |names: &[&str]| {
        let one = to(CiliumPeer::Fqdn(CiliumFqdn::Pattern("*.example.com".into())));
        let index = cluster().with(egress(vec![one, super::names::dns("*")], vec![])).index();
        let mut flow = flow(&index, CLIENT, OUTSIDE);
        flow.names = names.iter().map(|name| (*name).to_owned()).collect();
        evaluate(&index, &flow).decision
    };
    assert_eq!(decide(&["api.example.com", "cdn.example.net"]), Allow);
    assert_eq!(decide(&["cdn.example.net"]), Deny);
    assert_eq!(decide(&[]), Undecidable);
}

#[test]
fn a_pods_own_node_comes_in_and_is_not_exempt_on_the_way_out() {
    let mut both = egress(vec![on_port(80)], vec![]);
    both.specs[0].isolates_ingress = true;
    let index = cluster().with(both).index();
    assert_eq!(decision(&index, "192.0.2.10", "443/TCP at 10.244.1.5"), Allow);
    assert_eq!(decision(&index, "192.0.2.11", "443/TCP at 10.244.1.5"), Deny);
    assert_eq!(decision(&index, CLIENT, "443/TCP at 192.0.2.10"), Deny);
}

#[test]
fn fields_that_are_not_evaluated_leave_it_open_only_where_they_matter() {
    let odd = |one: CiliumRule| CiliumRule { unknown: vec!["toRequires".into()], ..one };
    assert_eq!(with_rule(odd(on_port(443)), OUTSIDE), Undecidable);
    assert_eq!(with_rule(odd(on_port(80)), OUTSIDE), Deny);
}

#[test]
fn the_sentences_name_the_values_and_the_deciding_rule_comes_last() {
    let mut http = on_port(443);
    http.ports[0].beyond = "HTTP rules".into();
    let deny = vec![to(range("203.0.113.0/24")), to(range("10.0.0.0/8"))];
    let index = cluster()
        .with(egress(vec![http, to(endpoints("app=db,io.kubernetes.pod.namespace=data"))], deny))
        .index();
    let finding = &judge(&index, CLIENT, OUTSIDE).egress.unwrap().policies[0];
    assert_eq!((finding.kind.as_str(), finding.result), ("CiliumNetworkPolicy", PolicyResult::Denies));
    assert_eq!(
        finding.why,
        [
            "selects this pod (pods app=client) for egress",
            "egress rule 2 admits every port to pods app=db in namespace data; 203.0.113.4 is outside the cluster, \
             not a pod",
            "egress rule 1 admits TCP 443 to anyone; its HTTP rules may still refuse it",
            "egress deny rule 2 denies every port to 10.0.0.0/8; 203.0.113.4 is outside",
            "egress deny rule 1 denies every port to 203.0.113.0/24; 203.0.113.4 is inside",
        ]
    );
}
