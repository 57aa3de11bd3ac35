//! What the agent may do is what it needs.

use egress_apiserver::{Access, Rules};
use egress_core::explain::{ExplainRequest, explain};
use egress_core::policy::Decision;
use egress_core::protocol::Protocol;

use super::*;

const MANIFEST: &str = include_str!("../../../../../deploy/base/rbac.yaml");
const USER: &str = "system:serviceaccount:egress-agent:egress-agent";

fn rules() -> Rules {
    Rules::of_cluster_role("egress-agent", MANIFEST).unwrap()
}

/// A server with every kind that there is, over TLS, that knows the agent by its token.
async fn guarded(rules: Rules) -> ApiServer {
    let access = Access::default().user("secret", USER, rules);
    let server = ApiServer::builder().tls().access(access).start().await.unwrap();
    fill(&server);
    for row in super::super::kinds::WATCHED.iter().filter(|row| row.is_custom()) {
        for version in row.versions {
            server.define(version, row.plural, row.kind, true);
        }
    }
    server
}

#[tokio::test(start_paused = true)]
async fn the_manifest_gives_every_right_that_is_used() {
    let server = guarded(rules()).await;
    let mut followed = follow(&server, "secret").await;
    followed.until_synced().await;
    server.requested("watch", "*", super::super::kinds::WATCHED.len() as u64).await;
    server.apply(pod("new", "10.0.1.6", NODE)).unwrap();
    followed.until("the new pod", |known| known.has_pod("new")).await;
    assert_eq!(server.refusals(), Vec::<String>::new());
    assert_eq!(followed.look(|known| known.problems.clone()), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_read_policies_nothing_is_called_allowed() {
    let server = guarded(rules().without("networkpolicies")).await;
    let mut followed = follow(&server, "secret").await;
    followed.until_synced().await;
    let missing =
        |known: &Known| known.problems.iter().filter(|problem| problem.contains(": forbidden (")).count();
    followed.until("the missing rights", |known| missing(known) == 2).await;
    let problem = followed.look(|known| {
        known.problems.iter().find(|problem| problem.contains("list networkpolicies.networking")).cloned()
    });
    let expected = format!(
        "SERVER: cannot list networkpolicies.networking.k8s.io: forbidden (networkpolicies.networking.k8s.io is forbidden: User \"{USER}\" cannot list resource \"networkpolicies\" in API group \"networking.k8s.io\" at the cluster scope): add the rule {{apiGroups: [\"networking.k8s.io\"], resources: [\"networkpolicies\"], verbs: [\"list\", \"watch\"]}} to the agent's ClusterRole; until then policies cannot be decided"
    );
    assert_eq!(problem, Some(expected));
    assert!(followed.look(|known| known.has_pod("near")), "the rest goes on");
    assert_eq!(decision(&followed), Decision::Undecidable);

    server.set_access(Access::default().user("secret", USER, rules()));
    followed.until("the policies", |known| known.problems.is_empty() && known.has_policy("some")).await;
    assert_eq!(decision(&followed), Decision::Deny, "198.51.100.1 is outside 203.0.113.0/24");
}

#[tokio::test(start_paused = true)]
async fn without_a_token_that_is_accepted_it_is_not_ready_and_says_so() {
    let server = guarded(rules()).await;
    let mut followed = follow(&server, "wrong").await;
    followed.until("the refusal", |known| known.problems.len() > 5).await;
    let words = "unauthorized: the API server does not accept the agent's token";
    followed.look(|known| assert!(known.problems[0].contains(words), "{:?}", known.problems));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(followed.look(|known| known.index.synced_at()), None);
}

/// What the policies say of a connection out of the cluster.
fn decision(followed: &Followed) -> Decision {
    followed.look(|known| {
        let request = ExplainRequest {
            from: "shop/near".to_owned(),
            to: "198.51.100.1".to_owned(),
            port: 443,
            protocol: Protocol::Tcp,
            dns: Vec::new(),
        };
        explain(&known.index, &request).unwrap().decision
    })
}
