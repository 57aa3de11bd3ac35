//! Calico's policies: order, tiers, and every field of a rule.

mod fixes;

use super::{decision, judge};
use crate::cluster::calico::{
    Action, CalicoPolicy, Entity, Forwarded, NetworkSet, Rule, Selector, ServiceAccounts, Tier,
};
use crate::cluster::testing::{Topology, block, labels, policy, reference, rule};
use crate::cluster::{Object, PortMatch};
use crate::identity::ClusterIndex;
use crate::policy::Decision::{self, Allow, Deny, Undecidable};
use crate::protocol::Protocol;
use crate::verdict::PolicyResult;

const WEB: &str = "10.244.1.5";
const DB: &str = "10.244.1.7";
const OUTSIDE: &str = "443/TCP at 203.0.113.4";

fn cluster() -> Topology {
    Topology::new()
        .node("worker-1", "192.0.2.10", "10.244.1.0/24")
        .namespace("shop", "env=prod")
        .namespace("data", "env=dev")
        .pod("shop/web", WEB, "app=web")
        .but(|pod| {
            pod.service_account = "web".into();
            pod.node = "worker-1".into();
        })
        .pod("data/db", DB, "app=db")
        .container_port("pg", 5432, Protocol::Tcp)
        .but(|pod| pod.service_account = "db".into())
        .service("data/db", "10.96.0.42", "app=db", "pg:5432:5432/TCP")
        .slice("data/db", DB, "pg:5432/TCP")
        .with(set("", "payment", "role=payment", &["203.0.113.0/25"]))
        .with(set("shop", "office", "role=office", &["198.51.100.0/24"]))
}

fn set(namespace: &str, name: &str, text: &str, nets: &[&str]) -> Object {
    let nets = nets.iter().map(|net| net.parse().unwrap()).collect();
    let labels = labels(text);
    NetworkSet { namespace: namespace.into(), name: name.into(), labels, nets, domains: vec![] }.into()
}

fn tier(name: &str, order: f64, passes: bool) -> Object {
    Tier { name: name.into(), order: Some(order), passes }.into()
}

fn select(text: &str) -> Selector {
    text.parse().unwrap()
}

/// `ns/name`, or `name` of a GlobalNetworkPolicy, for egress.
fn egress(name: &str, order: impl Into<Option<f64>>, selector: &str, rules: Vec<Rule>) -> CalicoPolicy {
    let (namespace, name) = match name.split_once('/') {
        Some(_) => (reference(name).namespace, reference(name).name),
        None => (String::new(), name.to_owned()),
    };
    CalicoPolicy {
        namespace,
        name,
        tier: "default".into(),
        order: order.into(),
        selector: select(selector),
        egress: Some(rules),
        ..CalicoPolicy::default()
    }
}

fn in_tier(policy: CalicoPolicy, tier: &str) -> CalicoPolicy {
    CalicoPolicy { tier: tier.into(), ..policy }
}

fn all(action: Action) -> Rule {
    Rule::of_all(action)
}

/// A rule that admits TCP to this.
fn to(destination: Entity) -> Rule {
    Rule { protocol: Some(6), destination, ..all(Action::Allow) }
}

fn nets(text: &[&str]) -> Entity {
    Entity { nets: text.iter().map(|net| net.parse().unwrap()).collect(), ..Entity::default() }
}

fn said(policies: impl IntoIterator<Item = CalicoPolicy>, to: &str) -> Decision {
    decision(&with(cluster(), policies), WEB, to)
}

fn with(topology: Topology, policies: impl IntoIterator<Item = CalicoPolicy>) -> ClusterIndex {
    policies.into_iter().fold(topology, |topology, policy| topology.with(policy)).index()
}

#[test]
fn the_first_rule_that_matches_of_the_first_policy_decides() {
    use Action::{Allow as A, Deny as D, Log, Pass};
    let one = |name: &str, order: f64, rules: &[Action]| {
        egress(name, order, "all()", rules.iter().map(|action| all(*action)).collect())
    };
    assert_eq!(said([], OUTSIDE), Allow, "the profile of the namespace allows");
    assert_eq!(said([one("a", 1.0, &[])], OUTSIDE), Deny, "no rule matches");
    assert_eq!(said([one("a", 1.0, &[D, A])], OUTSIDE), Deny);
    assert_eq!(said([one("a", 1.0, &[Log, A, D])], OUTSIDE), Allow);
    assert_eq!(said([one("a", 1.0, &[Log])], OUTSIDE), Deny);
    assert_eq!(said([one("a", 1.0, &[Pass])], OUTSIDE), Allow, "no tier follows");
    assert_eq!(said([one("a", 2.0, &[A]), one("b", 1.0, &[D])], OUTSIDE), Deny);
    assert_eq!(said([one("a", 2.0, &[A]), one("b", 1.0, &[])], OUTSIDE), Allow);
    let last = egress("z", None, "all()", vec![all(D)]);
    assert_eq!(said([last, one("a", 9e9, &[A])], OUTSIDE), Allow, "no order is last");
    assert_eq!(said([one("a", 1.0, &[A]), one("b", 1.0, &[D])], OUTSIDE), Allow, "by name");
    assert_eq!(said([one("default.b", 1.0, &[A]), one("a", 1.0, &[D])], OUTSIDE), Deny, "without prefix");
    let both = [one("a", 1.0, &[A]), one("shop/b", 1.0, &[D])];
    assert_eq!(said(both, OUTSIDE), Undecidable, "the order between kinds depends on the version");
    let agree = [one("a", 1.0, &[A]), one("shop/b", 1.0, &[A])];
    assert_eq!(said(agree, OUTSIDE), Allow);
}

#[test]
fn network_policies_stand_at_order_1000_of_the_default_tier() {
    let admits = policy("shop/allow", "").egress_to([rule([block("203.0.113.0/24")], "TCP 443")]);
    let refuses = policy("shop/deny", "").egress_to([]);
    let denying = |order: Option<f64>| egress("deny", order, "all()", vec![all(Action::Deny)]);
    let table = [
        (Some(999.0), &admits, Deny),
        (Some(1001.0), &admits, Allow),
        (None, &admits, Allow),
        (Some(1000.0), &admits, Undecidable),
        (Some(1000.0), &refuses, Deny),
        (Some(1001.0), &refuses, Deny),
    ];
    for (order, network, expected) in table {
        let topology = cluster().policy((*network).clone()).with(denying(order));
        assert_eq!(decision(&topology.index(), WEB, OUTSIDE), expected, "{order:?} {}", network.name);
    }
    let topology =
        cluster().policy(refuses).with(egress("allow", 2000.0, "all()", vec![to(nets(&["203.0.113.0/24"]))]));
    assert_eq!(decision(&topology.index(), WEB, OUTSIDE), Allow, "an isolating NetworkPolicy denies nothing");
}

#[test]
fn tiers_are_asked_in_their_order_and_end_with_their_default() {
    use Action::{Allow as A, Deny as D, Pass};
    let topology = || cluster().with(tier("first", 10.0, false)).with(tier("second", 20.0, true));
    type Case<'a> = (&'a str, Vec<(&'a str, &'a str, Vec<Action>)>, Decision);
    let table: [Case<'_>; 9] = [
        ("an earlier tier", vec![("first", "all()", vec![A]), ("second", "all()", vec![D])], Allow),
        ("passed on", vec![("first", "all()", vec![Pass]), ("second", "all()", vec![D])], Deny),
        ("nothing matches", vec![("first", "all()", vec![]), ("second", "all()", vec![A])], Deny),
        ("it passes by default", vec![("second", "all()", vec![]), ("default", "all()", vec![A])], Allow),
        ("by default, and then nothing", vec![("second", "all()", vec![])], Allow),
        (
            "no policy of it governs the pod",
            vec![("first", "app == 'x'", vec![]), ("default", "all()", vec![A])],
            Allow,
        ),
        ("a tier that is not known", vec![("third", "all()", vec![D])], Undecidable),
        (
            "not known, but decided before",
            vec![("first", "all()", vec![D]), ("third", "all()", vec![A])],
            Deny,
        ),
        (
            "pass leaves the tier",
            vec![("first", "all()", vec![Pass, D]), ("default", "all()", vec![D])],
            Deny,
        ),
    ];
    for (what, policies, expected) in table {
        let policies = policies.into_iter().map(|(tier, selector, actions)| {
            let rules = actions.into_iter().map(all).collect();
            in_tier(egress(&format!("{tier}.p"), 1.0, selector, rules), tier)
        });
        assert_eq!(decision(&with(topology(), policies), WEB, OUTSIDE), expected, "{what}");
    }
}

#[test]
fn every_field_of_an_end_is_compared() {
    let selecting = |selector: &str| Entity { selector: Some(select(selector)), ..Entity::default() };
    let anywhere = |entity: Entity| Entity { namespaces: Some(select("all()")), ..entity };
    let of_none = |entity: Entity| Entity { namespaces: Some(select("global()")), ..entity };
    let accounts = |names: &[&str], selector: Option<&str>| ServiceAccounts {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        selector: selector.map(select),
    };
    let ports = |ports: Vec<PortMatch>| Entity { ports, ..Entity::default() };
    let to_db = "5432/TCP at 10.244.1.7";
    let global: Vec<(&str, Entity, &str, Decision)> = vec![
        ("nets", nets(&["203.0.113.0/24"]), OUTSIDE, Allow),
        ("nets", nets(&["198.51.100.0/24", "2001:db8::/32"]), OUTSIDE, Deny),
        (
            "notNets",
            Entity { not_nets: vec!["203.0.113.4/32".parse().unwrap()], ..nets(&["203.0.113.0/24"]) },
            OUTSIDE,
            Deny,
        ),
        ("a network set", selecting("role == 'payment'"), OUTSIDE, Allow),
        ("a network set", selecting("role == 'payment'"), "443/TCP at 203.0.113.200", Deny),
        ("a set in a namespace", selecting("role == 'office'"), "443/TCP at 198.51.100.9", Allow),
        ("a set in no namespace", of_none(selecting("has(role)")), "443/TCP at 198.51.100.9", Deny),
        ("a set in no namespace", of_none(selecting("has(role)")), OUTSIDE, Allow),
        ("a set in a namespace", anywhere(selecting("has(role)")), OUTSIDE, Deny),
        ("selector", selecting("app == 'db'"), to_db, Allow),
        ("selector", selecting("app == 'x'"), to_db, Deny),
        (
            "namespaceSelector",
            Entity { namespaces: Some(select("env == 'dev'")), ..Entity::default() },
            to_db,
            Allow,
        ),
        (
            "namespaceSelector",
            Entity { namespaces: Some(select("env == 'prod'")), ..selecting("app == 'db'") },
            to_db,
            Deny,
        ),
        ("the namespace as a label", selecting("projectcalico.org/namespace == 'data'"), to_db, Allow),
        (
            "notSelector",
            Entity { not_selector: Some(select("app == 'db'")), ..Entity::default() },
            to_db,
            Deny,
        ),
        (
            "notSelector",
            Entity { not_selector: Some(select("app == 'db'")), ..Entity::default() },
            OUTSIDE,
            Allow,
        ),
        (
            "notSelector",
            Entity { not_selector: Some(select("has(role)")), ..Entity::default() },
            OUTSIDE,
            Deny,
        ),
        (
            "serviceAccounts",
            Entity { service_accounts: Some(accounts(&["db"], None)), ..Entity::default() },
            to_db,
            Allow,
        ),
        (
            "serviceAccounts",
            Entity { service_accounts: Some(accounts(&["x"], None)), ..Entity::default() },
            to_db,
            Deny,
        ),
        (
            "labels of accounts",
            Entity { service_accounts: Some(accounts(&[], Some("a == 'b'"))), ..Entity::default() },
            to_db,
            Undecidable,
        ),
        ("services", Entity { service: Some(reference("data/db")), ..Entity::default() }, to_db, Allow),
        (
            "services",
            Entity { service: Some(reference("data/db")), ..Entity::default() },
            "80/TCP at 10.244.1.7",
            Deny,
        ),
        (
            "services",
            Entity { service: Some(reference("data/none")), ..Entity::default() },
            to_db,
            Undecidable,
        ),
        ("ports", ports(vec![PortMatch::Number(443)]), OUTSIDE, Allow),
        ("ports", ports(vec![PortMatch::Range(1, 442), PortMatch::Range(444, 500)]), OUTSIDE, Deny),
        ("ports", ports(vec![PortMatch::Name("pg".into())]), to_db, Allow),
        ("ports", ports(vec![PortMatch::Name("pg".into())]), OUTSIDE, Deny),
        ("notPorts", Entity { not_ports: vec![PortMatch::Number(443)], ..Entity::default() }, OUTSIDE, Deny),
        ("domains", Entity { domains: vec!["*.example".into()], ..Entity::default() }, OUTSIDE, Undecidable),
        ("an address that is not known", selecting("app == 'db'"), "443/TCP at 10.244.1.99", Undecidable),
        ("the node may have a HostEndpoint", selecting("app == 'db'"), "443/TCP at 192.0.2.10", Undecidable),
        (
            "HostEndpoints are in no namespace",
            anywhere(selecting("app == 'db'")),
            "443/TCP at 192.0.2.10",
            Deny,
        ),
    ];
    for (what, entity, flow, expected) in global {
        let described = format!("{what}: {entity:?} {flow}");
        assert_eq!(said([egress("p", 1.0, "all()", vec![to(entity)])], flow), expected, "{described}");
    }
    // A namespaced policy speaks of its own namespace where it selects without a namespaceSelector.
    let own = vec![
        (selecting("app == 'db'"), to_db, Deny),
        (anywhere(selecting("app == 'db'")), to_db, Allow),
        (selecting("role == 'office'"), "443/TCP at 198.51.100.9", Allow),
        (selecting("role == 'payment'"), OUTSIDE, Deny),
        (of_none(selecting("role == 'payment'")), OUTSIDE, Allow),
        (Entity { not_selector: Some(select("app == 'x'")), ..Entity::default() }, OUTSIDE, Deny),
        (nets(&["203.0.113.4/32"]), OUTSIDE, Allow),
    ];
    for (entity, flow, expected) in own {
        let described = format!("{entity:?} {flow}");
        assert_eq!(said([egress("shop/p", 1.0, "all()", vec![to(entity)])], flow), expected, "{described}");
    }
}

#[test]
fn the_other_fields_of_a_rule_are_compared() {
    let rules = [
        ("protocol", Rule { protocol: Some(17), ..all(Action::Allow) }, Deny),
        ("notProtocol", Rule { not_protocol: Some(17), ..all(Action::Allow) }, Allow),
        ("notProtocol", Rule { not_protocol: Some(6), ..all(Action::Allow) }, Deny),
        ("ipVersion", Rule { ip_version: Some(6), ..all(Action::Allow) }, Deny),
        ("ipVersion", Rule { ip_version: Some(4), ..all(Action::Allow) }, Allow),
        ("http", Rule { http: true, ..all(Action::Allow) }, Allow),
        (
            "a field that is not known",
            Rule { unknown: vec!["geo".into()], ..all(Action::Allow) },
            Undecidable,
        ),
        (
            "source",
            Rule {
                source: Entity { selector: Some(select("app == 'x'")), ..Entity::default() },
                ..all(Action::Allow)
            },
            Deny,
        ),
        (
            "source ports",
            Rule {
                source: Entity { ports: vec![PortMatch::Number(9)], ..Entity::default() },
                ..to(Entity::default())
            },
            Undecidable,
        ),
    ];
    for (what, rule, expected) in rules {
        assert_eq!(said([egress("p", 1.0, "all()", vec![rule])], OUTSIDE), expected, "{what}");
    }
}

#[test]
fn policies_select_by_labels_namespaces_and_accounts() {
    let by = |change: fn(&mut CalicoPolicy)| {
        let mut policy = egress("p", 1.0, "all()", vec![]);
        change(&mut policy);
        said([policy], OUTSIDE)
    };
    assert_eq!(by(|policy| policy.selector = select("app == 'web'")), Deny);
    assert_eq!(by(|policy| policy.selector = select("app != 'web'")), Allow);
    assert_eq!(by(|policy| policy.namespaces = Some(select("env == 'prod'"))), Deny);
    assert_eq!(by(|policy| policy.namespaces = Some(select("env == 'dev'"))), Allow);
    assert_eq!(by(|policy| policy.service_accounts = Some(select("projectcalico.org/name == 'web'"))), Deny);
    assert_eq!(by(|policy| policy.service_accounts = Some(select("team == 'a'"))), Undecidable);
    assert_eq!(by(|policy| policy.namespace = "data".into()), Allow);
    assert_eq!(by(|policy| policy.egress = None), Allow);
}

#[test]
fn what_hosts_forward_is_undecidable_only_where_it_would_not_be_admitted() {
    let host = |forwarded, rules| CalicoPolicy {
        forwarded: Some(forwarded),
        ..egress("host", 1.0, "has(host-endpoint)", rules)
    };
    assert_eq!(said([host(Forwarded::Forwarded, vec![])], OUTSIDE), Undecidable);
    assert_eq!(said([host(Forwarded::DoNotTrack, vec![all(Action::Deny)])], OUTSIDE), Undecidable);
    assert_eq!(said([host(Forwarded::Forwarded, vec![all(Action::Allow)])], OUTSIDE), Allow);
    let every = CalicoPolicy {
        forwarded: Some(Forwarded::PreDnat),
        ..egress("pre", 1.0, "all()", vec![all(Action::Deny)])
    };
    assert_eq!(said([every], OUTSIDE), Undecidable, "it governs no pods");
}

#[test]
fn a_node_always_reaches_its_own_pods() {
    let mut policy = egress("p", 1.0, "all()", vec![]);
    policy.ingress = policy.egress.take();
    let index = with(cluster(), [policy.clone()]);
    assert_eq!(decision(&index, "192.0.2.10", "80/TCP at 10.244.1.5"), Allow);
    assert_eq!(decision(&index, DB, "80/TCP at 10.244.1.5"), Deny);
    policy.egress = policy.ingress.take();
    assert_eq!(decision(&with(cluster(), [policy]), WEB, "80/TCP at 192.0.2.10"), Deny);
    // A NetworkPolicy exempts the own node, says the API; Calico may not.
    let closed = || cluster().policy(crate::cluster::testing::policy("shop/closed", "").egress_to([]));
    assert_eq!(decision(&closed().index(), WEB, "80/TCP at 192.0.2.10"), Allow);
    let among = with(closed(), [egress("other", 1.0, "app == 'x'", vec![])]);
    assert_eq!(decision(&among, WEB, "80/TCP at 192.0.2.10"), Undecidable);
}

#[test]
fn each_policy_says_what_it_compared() {
    let index = cluster()
        .with(tier("security", 10.0, false))
        .with(in_tier(egress("security.base", 5.0, "all()", vec![all(Action::Pass)]), "security"))
        .with(egress(
            "shop/web",
            100.0,
            "app == 'web'",
            vec![
                to(Entity { ports: vec![PortMatch::Number(443)], ..nets(&["10.0.0.0/8"]) }),
                to(Entity { selector: Some(select("role == 'x'")), ..Entity::default() }),
                Rule { action: Action::Deny, ..to(Entity::default()) },
            ],
        ))
        .with(egress("late", None, "all()", vec![all(Action::Allow)]))
        .index();
    let view = judge(&index, WEB, OUTSIDE);
    let said: Vec<(&str, PolicyResult, Vec<&str>)> = view
        .findings()
        .map(|one| (one.name.as_str(), one.result, one.why.iter().map(String::as_str).collect()))
        .collect();
    let expected = vec![
        (
            "security.base",
            PolicyResult::NotApplicable,
            vec![
                "selects every pod for egress (tier security, order 5)",
                "egress rule 1 passes on everything to anyone",
            ],
        ),
        (
            "web",
            PolicyResult::Denies,
            vec![
                "selects this pod (app == \"web\") for egress (order 100)",
                "egress rule 1 admits TCP 443 to 10.0.0.0/8; 203.0.113.4 is outside",
                "egress rule 2 admits TCP to endpoints role == \"x\" in namespace shop; 203.0.113.4 is no pod, and no \
                 network set of these holds it",
                "egress rule 3 denies TCP to anyone",
            ],
        ),
        (
            "late",
            PolicyResult::NotApplicable,
            vec![
                "selects every pod for egress (last)",
                "egress rule 1 admits everything to anyone",
                "is not asked: NetworkPolicy.projectcalico.org shop/web decides before it",
            ],
        ),
    ];
    assert_eq!(said, expected);
}
