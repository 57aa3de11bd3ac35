//! Policies of kinds that are not evaluated.

use super::super::Decision::{Allow, Deny, Undecidable};
use super::{decision, judge};
use crate::cluster::OtherPolicy;
use crate::cluster::testing::{Topology, policy};

fn cluster(namespace: &str) -> Topology {
    Topology::new()
        .namespace("default", "")
        .pod("default/client", "10.244.1.5", "app=client")
        .pod("data/db", "10.244.2.7", "app=db")
        .policy(policy("default/closed", "").egress_to([]))
        .policy(policy("data/closed", "").egress_to([]))
        .with(OtherPolicy::new("crd.antrea.io/v1beta1", "NetworkPolicy", namespace, "x"))
}

#[test]
fn what_a_policy_of_an_unknown_kind_may_select_is_undecidable_and_names_it() {
    let outside = "443/TCP at 203.0.113.4";
    let table = [("default", Undecidable, Deny), ("data", Deny, Undecidable), ("", Undecidable, Undecidable)];
    for (namespace, of_client, of_db) in table {
        let index = cluster(namespace).index();
        assert_eq!(decision(&index, "10.244.1.5", outside), of_client, "{namespace:?}");
        assert_eq!(decision(&index, "10.244.2.7", outside), of_db, "{namespace:?}");
    }
    let view = judge(&cluster("default").index(), "10.244.1.5", outside).egress.unwrap();
    let finding = &view.policies[0];
    assert_eq!((finding.kind.as_str(), finding.name.as_str()), ("NetworkPolicy", "x"));
    assert_eq!(
        finding.why,
        [
            "may select any pod of its namespace for egress",
            "NetworkPolicy of crd.antrea.io/v1beta1 is a kind that is not evaluated"
        ]
    );
    assert_eq!(decision(&Topology::new().index(), "10.244.1.5", outside), Allow);
}
