//! The sentences.

use super::judge;
use crate::cluster::Rule;
use crate::cluster::testing::{Topology, block, namespaces, pods, pods_in, policy, rule};
use crate::protocol::Protocol;

fn cluster() -> Topology {
    Topology::new()
        .node("worker-1", "192.0.2.10", "10.244.0.0/16")
        .namespace("default", "team=a")
        .namespace("data", "team=b")
        .pod("default/api-client", "10.244.1.5,fd00::5", "app=firewall-test")
        .on("worker-2")
        .pod("data/db", "10.244.2.7,fd00::7", "app=db")
        .container_port("pg", 5432, Protocol::Tcp)
}

/// What the policy's rule says of traffic from the client.
fn sentence(one: Rule, to: &str) -> String {
    let index = cluster().policy(policy("default/p", "app=firewall-test").egress_to([one])).index();
    let from = if to.contains(" at fd") || to.contains(" at 2001") { "fd00::5" } else { "10.244.1.5" };
    judge(&index, from, to).egress.unwrap().policies[0].why[1].clone()
}

#[test]
fn the_first_sentence_says_why_the_policy_has_a_say() {
    let index = cluster()
        .policy(policy("default/deny-all-egress", "app=firewall-test").egress_to([]))
        .policy(policy("data/closed", "app=db,tier notin (x)").ingress_from([]))
        .index();
    let view = judge(&index, "10.244.1.5", "5432/TCP at 10.244.2.7");
    assert_eq!(
        view.egress.as_ref().unwrap().policies[0].why,
        ["selects this pod (app=firewall-test) for egress", "has no egress rules, so it admits nothing"]
    );
    assert_eq!(
        view.ingress.as_ref().unwrap().policies[0].why,
        [
            "selects the destination pod data/db (app=db,tier notin (x)) for ingress",
            "has no ingress rules, so it admits nothing"
        ]
    );
    let names: Vec<_> = view.findings().map(|finding| finding.name.as_str()).collect();
    assert_eq!(names, ["deny-all-egress", "closed"]);
}

#[test]
fn each_rule_has_a_sentence_with_the_values_compared() {
    let table = [
        (
            rule([block("10.0.0.0/8")], "TCP 443"),
            "443/TCP at 203.0.113.4",
            "egress rule 1 admits TCP 443 to 10.0.0.0/8; 203.0.113.4 is outside",
        ),
        (
            rule([block("10.0.0.0/8")], "TCP 443"),
            "80/TCP at 203.0.113.4",
            "egress rule 1 admits TCP 443 to 10.0.0.0/8; 203.0.113.4 is outside and port 80 is not 443",
        ),
        (
            rule([block("203.0.113.0/24 except 203.0.113.0/28")], ""),
            "443/TCP at 203.0.113.4",
            "egress rule 1 admits every port to 203.0.113.0/24 except 203.0.113.0/28; 203.0.113.4 is in the \
             excepted 203.0.113.0/28",
        ),
        (
            rule([block("0.0.0.0/0")], "TCP 443"),
            "443/TCP at 2001:db8::4",
            "egress rule 1 admits TCP 443 to 0.0.0.0/0; 2001:db8::4 is IPv6",
        ),
        (
            rule([block("203.0.113.0/24")], "TCP 443"),
            "443/TCP at 203.0.113.4",
            "egress rule 1 admits TCP 443 to 203.0.113.0/24; 203.0.113.4 is inside",
        ),
        (
            rule([pods_in("kubernetes.io/metadata.name=data", "app=db")], "TCP 5432"),
            "443/TCP at 10.244.2.7",
            "egress rule 1 admits TCP 5432 to pods app=db in namespace data; port 443 is not 5432",
        ),
        (
            rule([pods("app=db")], ""),
            "443/TCP at 10.244.2.7",
            "egress rule 1 admits every port to pods app=db in namespace default; pod data/db is not in namespace \
             default",
        ),
        (
            rule([pods_in("team=b", "app=web")], ""),
            "443/TCP at 10.244.2.7",
            "egress rule 1 admits every port to pods app=web in namespaces team=b; pod data/db has app=db",
        ),
        (
            rule([namespaces("team=c")], ""),
            "443/TCP at 10.244.2.7",
            "egress rule 1 admits every port to every pod in namespaces team=c; namespace data has team=b",
        ),
        (
            rule([namespaces("")], ""),
            "443/TCP at 203.0.113.4",
            "egress rule 1 admits every port to every pod in every namespace; 203.0.113.4 is outside the cluster, \
             not a pod",
        ),
        (
            rule([namespaces("")], ""),
            "443/TCP at 192.0.2.10",
            "egress rule 1 admits every port to every pod in every namespace; 192.0.2.10 is node worker-1, which \
             no selector matches",
        ),
        (
            rule([pods("app=db")], "TCP 443"),
            "443/TCP at 10.244.9.9",
            "egress rule 1 admits TCP 443 to pods app=db in namespace default; what 10.244.9.9 is in the \
             cluster is not known",
        ),
        (
            rule([], "TCP pg"),
            "443/TCP at 10.244.2.7",
            "egress rule 1 admits TCP pg (here 5432) to anyone; port 443 is not 5432",
        ),
        (
            rule([], "TCP http"),
            "443/TCP at 10.244.2.7",
            "egress rule 1 admits TCP http to anyone; pod data/db declares no TCP port named http",
        ),
        (
            rule([], "UDP 53,TCP 53"),
            "443/TCP at 203.0.113.4",
            "egress rule 1 admits UDP 53, TCP 53 to anyone; TCP 443 is none of these",
        ),
        (
            rule([], "UDP"),
            "443/TCP at 203.0.113.4",
            "egress rule 1 admits every UDP port to anyone; TCP 443 is not UDP",
        ),
        (
            rule([block("10.0.0.0/8"), block("192.168.0.0/16")], "TCP 8000-8080"),
            "443/TCP at 203.0.113.4",
            "egress rule 1 admits TCP 8000-8080 to 10.0.0.0/8, 192.168.0.0/16; 203.0.113.4 is none of these and \
             port 443 is outside 8000-8080",
        ),
    ];
    for (one, to, expected) in table {
        assert_eq!(sentence(one, to), expected);
    }
}

#[test]
fn hundreds_of_rules_are_summed_up() {
    let rules = (0..200).map(|port| rule([], &format!("TCP {port}")));
    let index = cluster().policy(policy("default/p", "").egress_to(rules)).index();
    let denied = judge(&index, "10.244.1.5", "443/TCP at 203.0.113.4");
    let why = &denied.egress.unwrap().policies[0].why;
    assert_eq!((why.len(), why.last().unwrap().as_str()), (52, "150 more egress rules do not admit it"));
    let admitted = judge(&index, "10.244.1.5", "150/TCP at 203.0.113.4");
    let why = &admitted.egress.unwrap().policies[0].why;
    assert_eq!(why[51], "egress rule 151 admits TCP 150 to anyone");
}
