//! What rules admit.

use super::super::Decision::{self, Allow, Deny, Undecidable};
use super::{decision, judge};
use crate::cluster::testing::{Topology, block, namespaces, pods, pods_in, policy, rule};
use crate::cluster::{Peer, Rule};
use crate::protocol::Protocol;

/// Two namespaces, a client and servers.
fn cluster() -> Topology {
    Topology::new()
        .node("worker-1", "192.0.2.10", "10.244.1.0/24")
        .node("worker-2", "192.0.2.11", "10.244.2.0/24")
        .namespace("default", "team=a")
        .namespace("data", "team=b")
        .pod("default/client", "10.244.1.5,fd00::5", "app=client,tier=front")
        .on("worker-1")
        .pod("data/db", "10.244.2.7,fd00::7", "app=db")
        .on("worker-2")
        .container_port("pg", 5432, Protocol::Tcp)
        .pod("default/near", "10.244.1.8", "app=db")
        .on("worker-1")
}

const CLIENT: &str = "10.244.1.5";
const CLIENT6: &str = "fd00::5";
const DB: &str = "10.244.2.7";

/// One egress rule on the client, and traffic.
fn with_rule(one: Rule, from: &str, to: &str) -> Decision {
    let index = cluster().policy(policy("default/p", "app=client").egress_to([one])).index();
    decision(&index, from, to)
}

#[test]
fn a_pod_that_no_policy_selects_for_a_direction_is_not_isolated_in_it() {
    let table = [
        (policy("default/p", "app=other").egress_to([]), Allow),
        (policy("data/p", "app=client").egress_to([]), Allow),
        (policy("default/p", "app=client").ingress_from([]), Allow),
        (policy("default/p", "app=client").egress_to([]), Deny),
        (policy("default/p", "").egress_to([]), Deny),
        (policy("default/p", "tier in (front|back),!gone").egress_to([]), Deny),
        (policy("default/p", "tier notin (front)").egress_to([]), Allow),
    ];
    for (one, expected) in table {
        let text = format!("{one:?}");
        let index = cluster().policy(one).index();
        assert_eq!(decision(&index, CLIENT, "443/TCP at 203.0.113.4"), expected, "{text}");
    }
}

#[test]
fn both_sides_must_admit_and_the_union_of_policies_counts() {
    let deny_in = policy("data/deny-in", "").ingress_from([]);
    let deny_out = policy("default/deny-out", "").egress_to([]);
    let allow_in = policy("data/allow-in", "app=db").ingress_from([rule([namespaces("team=a")], "TCP 5432")]);
    let allow_out = policy("default/allow-out", "app=client").egress_to([rule([], "TCP 5432")]);
    let table = [
        (vec![&deny_in], Deny),
        (vec![&deny_out], Deny),
        (vec![&deny_in, &allow_in], Allow),
        (vec![&deny_in, &deny_out, &allow_in], Deny),
        (vec![&deny_in, &deny_out, &allow_in, &allow_out], Allow),
    ];
    for (policies, expected) in table {
        let topology = policies.iter().fold(cluster(), |topology, one| topology.policy((*one).clone()));
        assert_eq!(decision(&topology.index(), CLIENT, "5432/TCP at 10.244.2.7"), expected);
    }
}

#[test]
fn peers_are_alternatives_and_selectors_within_one_peer_hold_together() {
    let table: [(Vec<Peer>, Decision); 14] = [
        (vec![], Allow),
        (vec![pods("app=db")], Deny),
        (vec![pods("")], Deny),
        (vec![namespaces("")], Allow),
        (vec![namespaces("team=b")], Allow),
        (vec![namespaces("team=a")], Deny),
        (vec![namespaces("team=a"), pods("app=db")], Deny),
        (vec![namespaces("team=a"), namespaces("team=b")], Allow),
        (vec![pods_in("team=b", "app=db")], Allow),
        (vec![pods_in("team=b", "app=web")], Deny),
        (vec![pods_in("team=a", "app=db")], Deny),
        (vec![pods_in("kubernetes.io/metadata.name=data", "app in (db|cache)")], Allow),
        (vec![block("10.244.0.0/16")], Allow),
        (vec![block("10.244.0.0/16 except 10.244.2.0/24")], Deny),
    ];
    for (peers, expected) in table {
        let text = format!("{peers:?}");
        assert_eq!(with_rule(rule(peers, ""), CLIENT, "5432/TCP at 10.244.2.7"), expected, "{text}");
    }
}

#[test]
fn a_pod_selector_alone_means_the_policys_own_namespace() {
    let one = rule([pods("app=db")], "");
    assert_eq!(with_rule(one.clone(), CLIENT, "5432/TCP at 10.244.1.8"), Allow);
    assert_eq!(with_rule(one, CLIENT, "5432/TCP at 10.244.2.7"), Deny);
}

#[test]
fn ports_match_by_number_range_name_and_protocol() {
    let table = [
        // rule's ports, port/protocol, decision at the database pod
        ("", "5432/TCP", Allow),
        ("", "1/SCTP", Allow),
        ("TCP", "5432/TCP", Allow),
        ("TCP", "5432/UDP", Deny),
        ("TCP 5432", "5432/TCP", Allow),
        ("TCP 5432", "5433/TCP", Deny),
        ("TCP 5432", "5432/UDP", Deny),
        ("SCTP 5432", "5432/SCTP", Allow),
        ("TCP 5000-6000", "5000/TCP", Allow),
        ("TCP 5000-6000", "6000/TCP", Allow),
        ("TCP 5000-6000", "6001/TCP", Deny),
        ("TCP pg", "5432/TCP", Allow),
        ("TCP pg", "5433/TCP", Deny),
        ("UDP pg", "5432/UDP", Deny),
        ("TCP http", "80/TCP", Deny),
        ("UDP 53,TCP pg", "5432/TCP", Allow),
    ];
    for (ports, to, expected) in table {
        let got = with_rule(rule([], ports), CLIENT, &format!("{to} at {DB}"));
        assert_eq!(got, expected, "{ports:?} for {to}");
    }
    assert_eq!(with_rule(rule([], "TCP pg"), CLIENT, "5432/TCP at 203.0.113.4"), Deny, "no pod, no names");
}

#[test]
fn an_address_range_speaks_of_its_own_family_only() {
    let table = [
        ("0.0.0.0/0", CLIENT, "443/TCP at 203.0.113.4", Allow),
        ("0.0.0.0/0", CLIENT6, "443/TCP at 2001:db8::4", Deny),
        ("::/0", CLIENT6, "443/TCP at 2001:db8::4", Allow),
        ("::/0", CLIENT, "443/TCP at 203.0.113.4", Deny),
        ("2001:db8::/32 except 2001:db8::/64", CLIENT6, "443/TCP at 2001:db8::4", Deny),
        ("203.0.113.0/24", CLIENT, "443/TCP at 203.0.113.4", Allow),
        ("203.0.113.5/32", CLIENT, "443/TCP at 203.0.113.4", Deny),
    ];
    for (cidr, from, to, expected) in table {
        assert_eq!(with_rule(rule([block(cidr)], ""), from, to), expected, "{cidr} {to}");
    }
}

#[test]
fn an_unknown_peer_leaves_selectors_open_and_address_ranges_decided() {
    let unknown = "5432/TCP at 10.244.2.99";
    assert_eq!(with_rule(rule([pods("")], ""), CLIENT, unknown), Undecidable);
    assert_eq!(with_rule(rule([namespaces("")], "TCP 80"), CLIENT, unknown), Deny, "the port decides");
    assert_eq!(with_rule(rule([block("10.0.0.0/16")], ""), CLIENT, unknown), Deny);
    assert_eq!(with_rule(rule([], "TCP pg"), CLIENT, unknown), Undecidable);
    let index =
        cluster().policy(policy("default/p", "").egress_to([rule([block("10.244.0.0/16")], "")])).index();
    let view = judge(&index, CLIENT, unknown);
    assert_eq!(view.egress.unwrap().decision, Allow);
    assert_eq!(view.decision, Undecidable, "the pod there may have policies of its own");
}

#[test]
fn a_missing_namespace_object_leaves_only_its_name() {
    let without = |selects: &str| {
        let topology = Topology::new()
            .pod("default/client", CLIENT, "")
            .pod("data/db", DB, "app=db")
            .policy(policy("default/p", "").egress_to([rule([pods_in(selects, "app=db")], "")]));
        decision(&topology.index(), CLIENT, "5432/TCP at 10.244.2.7")
    };
    assert_eq!(without("kubernetes.io/metadata.name=data"), Allow);
    assert_eq!(without("kubernetes.io/metadata.name=other"), Deny);
    assert_eq!(without("team=b"), Undecidable);
    assert_eq!(without("team notin (b)"), Undecidable);
    assert_eq!(without("kubernetes.io/metadata.name=other,team=b"), Deny);
}

#[test]
fn icmp_is_not_defined_and_says_so() {
    let to = "0/ICMP at 203.0.113.4";
    let denied = cluster().policy(policy("default/p", "").egress_to([rule([], "TCP 443")])).index();
    let view = judge(&denied, CLIENT, to);
    assert_eq!((view.decision, view.undefined_protocol), (Deny, true));
    let admitted =
        cluster().policy(policy("default/p", "").egress_to([rule([block("203.0.113.0/24")], "")])).index();
    assert_eq!(decision(&admitted, CLIENT, to), Allow);
    assert!(!judge(&cluster().index(), CLIENT, to).undefined_protocol);
}
