//! A Service as the destination.

use super::super::Decision::{Allow, Deny, Undecidable};
use super::judge;
use crate::cluster::testing::{Topology, ip, namespaces, pods, policy, rule};
use crate::verdict::PolicyResult;

const CLIENT: &str = "10.244.1.5";
const VIP: &str = "80/TCP at 10.96.0.40";

fn cluster() -> Topology {
    Topology::new()
        .namespace("default", "")
        .pod("default/client", CLIENT, "app=client")
        .pod("default/web-1", "10.244.1.6", "app=web,track=stable")
        .pod("default/web-2", "10.244.1.7", "app=web,track=canary")
        .service("default/web", "10.96.0.40", "app=web", "http:80:8080/TCP")
}

#[test]
fn policies_apply_after_translation_to_backend_and_target_port() {
    let ready = || cluster().slice("default/web", "10.244.1.6,10.244.1.7", "http:8080/TCP");
    let by_target =
        ready().policy(policy("default/p", "app=client").egress_to([rule([pods("app=web")], "TCP 8080")]));
    assert_eq!(judge(&by_target.index(), CLIENT, VIP).decision, Allow);
    let by_port =
        ready().policy(policy("default/p", "app=client").egress_to([rule([pods("app=web")], "TCP 80")]));
    let view = judge(&by_port.index(), CLIENT, VIP);
    assert_eq!(view.decision, Deny);
    let backends = view.backends.unwrap();
    assert_eq!(
        backends.iter().map(|b| (b.ip, b.port)).collect::<Vec<_>>(),
        [(ip("10.244.1.6"), 8080), (ip("10.244.1.7"), 8080)]
    );
    assert_eq!(
        view.egress.unwrap().policies[0].why[1],
        "egress rule 1 admits TCP 80 to pods app=web in namespace default; port 8080 is not 80"
    );
}

#[test]
fn where_backends_differ_it_depends_on_the_choice() {
    let index = cluster()
        .slice("default/web", "10.244.1.6,10.244.1.7", "http:8080/TCP")
        .policy(policy("default/canary", "track=canary").ingress_from([]))
        .index();
    let view = judge(&index, CLIENT, VIP);
    assert_eq!(view.decision, Undecidable);
    let decisions: Vec<_> = view.backends.unwrap().iter().map(|b| b.decision).collect();
    assert_eq!(decisions, [Allow, Deny]);
    let ready_only = cluster()
        .slice("default/web", "10.244.1.6,!10.244.1.7", "http:8080/TCP")
        .policy(policy("default/canary", "track=canary").ingress_from([]))
        .index();
    assert_eq!(judge(&ready_only, CLIENT, VIP).decision, Allow, "only ready backends are chosen");
}

#[test]
fn a_finding_that_differs_between_backends_names_them() {
    let index = cluster()
        .slice("default/web", "10.244.1.6,10.244.1.7", "http:8080/TCP")
        .policy(policy("default/p", "app=client").egress_to([rule([pods("track=stable")], "")]))
        .index();
    let finding = &judge(&index, CLIENT, VIP).egress.unwrap().policies[0];
    assert_eq!(finding.result, PolicyResult::Undecidable);
    assert_eq!(
        finding.why,
        [
            "selects this pod (app=client) for egress",
            "for backend 10.244.1.6:8080: admits: egress rule 1 admits every port to pods track=stable in namespace \
         default; pod default/web-1 is one",
            "for backend 10.244.1.7:8080: does-not-admit: egress rule 1 admits every port to pods track=stable in \
         namespace default; pod default/web-2 has track=canary",
        ]
    );
}

#[test]
fn without_a_backend_only_what_holds_for_any_destination_is_said() {
    let empty = || cluster().slice("default/web", "", "http:8080/TCP");
    let view = judge(&empty().index(), CLIENT, VIP);
    assert_eq!((view.decision, view.backends.unwrap().len()), (Undecidable, 0));
    let closed = empty().policy(policy("default/p", "app=client").egress_to([])).index();
    assert_eq!(judge(&closed, CLIENT, VIP).decision, Deny);
    let partly =
        empty().policy(policy("default/p", "").egress_to([rule([namespaces("")], "UDP 53")])).index();
    assert_eq!(judge(&partly, CLIENT, VIP).decision, Deny, "a rule for UDP admits no TCP");
    let open =
        empty().policy(policy("default/p", "").egress_to([rule([namespaces("")], "TCP 8080")])).index();
    assert_eq!(judge(&open, CLIENT, VIP).decision, Undecidable);
    assert_eq!(
        judge(&cluster().index(), CLIENT, "81/TCP at 10.96.0.40").decision,
        Undecidable,
        "no such port"
    );
}
