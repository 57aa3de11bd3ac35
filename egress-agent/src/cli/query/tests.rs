//! The command against a real server on a Unix socket, with an engine that only answers.

use std::sync::Arc;

use egress_core::verdict::Verdict;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;
use crate::cli::args::ServerArgs;
use crate::export::grpc::{Address, Listener, ServeError, serve};
use crate::testing::{self, FakeEngine};

struct Server {
    directory: tempfile::TempDir,
    engine: Arc<FakeEngine>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), ServeError>>,
}

impl Server {
    async fn start(verdicts: Vec<Verdict>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = Listener::bind(&Address::Unix(directory.path().join("a.sock"))).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        let engine = FakeEngine::new(verdicts, 8);
        let task = tokio::spawn(serve(vec![listener], Arc::clone(&engine), stopped));
        Self { directory, engine, stop, task }
    }

    fn args(&self, target: &str) -> QueryArgs {
        let server = ServerArgs {
            server: Some(Address::Unix(self.directory.path().join("a.sock"))),
            ..ServerArgs::default()
        };
        QueryArgs { target: Some(target.parse().unwrap()), server, ..QueryArgs::default() }
    }
}

/// What a command leaves: its result, standard output, standard error.
async fn outcome(args: &QueryArgs) -> (Result<(), Failure>, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut ui = Ui::for_tests(&mut out, &mut err, 80);
    let result = query(args, &mut ui).await;
    (result, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

/// Every key of an object and of the objects in it, `a.b` and `a[].b`.
fn keys(prefix: &str, value: &Value, into: &mut std::collections::BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                into.insert(name.clone());
                if name != "detail" {
                    keys(&name, value, into);
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| keys(&format!("{prefix}[]"), value, into)),
        _ => {}
    }
}

#[tokio::test]
async fn json_is_one_array_with_exactly_the_keys_of_the_contract() {
    let server = Server::start(testing::verdicts()).await;
    let args = QueryArgs { output: Output::Json, ..server.args("api-client") };
    let (result, out, err) = outcome(&args).await;
    result.unwrap();
    assert!(err.starts_with("# watching on worker-1 since"), "{err}");
    let answer: Value = serde_json::from_str(&out).unwrap();
    let mut found = std::collections::BTreeSet::new();
    answer.as_array().unwrap().iter().for_each(|verdict| keys("", verdict, &mut found));
    let expected = "affects cause confidence count detail direction evidence evidence[].stage evidence[].text \
        evidence[].time first_seen fix fix.manifest fix.text hints id last_seen lost_events path path[].device \
        path[].hop path[].outcome path[].where peer peer.ip peer.kind peer.name peer.pod peer.pod.name \
        peer.pod.namespace peer.port peer.protocol peer.service peer.service.name peer.service.namespace pod pod.ip \
        pod.name pod.namespace pod.node pod.uid pod.workload policies policies[].kind policies[].name \
        policies[].namespace policies[].result policies[].side policies[].why policies_as_of schema stage state \
        summary translation translation.destination translation.destination.ip translation.destination.port \
        translation.source translation.source.ip translation.source.port";
    assert_eq!(found.into_iter().collect::<Vec<_>>(), expected.split_whitespace().collect::<Vec<_>>());
    let verdicts: Vec<Verdict> = serde_json::from_str(&out).unwrap();
    assert_eq!(verdicts.len(), 6);
    assert_eq!(verdicts[0], testing::policy_drop());
}

#[tokio::test]
async fn an_empty_answer_still_says_what_was_watched() {
    let server = Server::start(vec![]).await;
    let json = QueryArgs { output: Output::Json, ..server.args("quiet") };
    let (result, out, err) = outcome(&json).await;
    result.unwrap();
    assert_eq!(out, "[]\n");
    assert!(err.contains("lost 7 packet events at ring") && err.contains("tc:pod degraded"), "{err}");
    let (result, out, _) = outcome(&server.args("quiet")).await;
    result.unwrap();
    assert_eq!(out, "no failures seen for default/quiet since 2025-11-20 01:00:00Z\n");
    let narrow = QueryArgs {
        since: Some(std::time::Duration::from_secs(900)),
        cause: vec![egress_core::verdict::Cause::Mtu],
        to: Some("a.example".parse().unwrap()),
        ..server.args("quiet")
    };
    let (_, out, _) = outcome(&narrow).await;
    assert_eq!(out, "no failures seen for default/quiet towards a.example with cause mtu in the last 15m\n");
}

#[tokio::test]
async fn the_exit_status_tells_what_went_wrong() {
    let server = Server::start(vec![]).await;
    let (result, out, _) = outcome(&server.args("ghost")).await;
    let failure = result.unwrap_err();
    assert_eq!((failure.code(), out.as_str()), (3, ""));
    assert!(failure.to_string().contains("default/ghost"), "{failure}");
    let clash = QueryArgs { namespace: Some("b".into()), ..server.args("a/x") };
    assert_eq!(outcome(&clash).await.0.unwrap_err().code(), 2);
    let path = server.directory.path().join("nobody.sock");
    let mut nobody = server.args("quiet");
    nobody.server.server = Some(Address::Unix(path.clone()));
    let failure = outcome(&nobody).await.0.unwrap_err();
    assert_eq!(failure.code(), 4);
    assert!(failure.to_string().contains(&format!("unix:{}", path.display())), "{failure}");
    assert_eq!(failure.to_string().lines().count(), 1);
}

#[tokio::test]
async fn tables_and_yaml_hold_every_verdict() {
    let server = Server::start(testing::verdicts()).await;
    let (result, out, _) = outcome(&server.args("api-client")).await;
    result.unwrap();
    assert!(out.starts_with("default/api-client → api.stripe.com (203.0.113.4):443/TCP\n"), "{out}");
    assert_eq!(out.matches("  Why   ").count(), 6);
    let yaml = QueryArgs { output: Output::Yaml, ..server.args("api-client") };
    let (_, out, _) = outcome(&yaml).await;
    let verdicts: Vec<Verdict> = serde_saphyr::from_str(&out).unwrap();
    assert_eq!(verdicts.len(), 6);
    assert_eq!(verdicts[0], testing::policy_drop());
}

#[tokio::test]
async fn fix_prints_only_what_can_be_applied() {
    let mut again = testing::policy_drop();
    again.id = "v-9".into();
    let mut other = testing::story();
    other.id = "v-10".into();
    let verdicts =
        vec![testing::policy_drop(), again, other, testing::upstream_timeout(), testing::cleared()];
    let server = Server::start(verdicts).await;
    let args = QueryArgs { fix: true, ..server.args("api-client") };
    let (result, out, err) = outcome(&args).await;
    result.unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&out).unwrap();
    assert_eq!(documents.len(), 2, "{out}");
    assert!(documents.iter().all(|document| document["kind"] == "NetworkPolicy"));
    assert!(err.contains("upstream-timeout: Allow 192.0.2.10"), "{err}");
    let none = QueryArgs { cause: vec![egress_core::verdict::Cause::UpstreamTimeout], ..args };
    let (result, out, err) = outcome(&none).await;
    result.unwrap();
    assert_eq!(out, "");
    assert!(err.ends_with("there is nothing that applying a policy would fix\n"), "{err}");
}

#[tokio::test]
async fn follow_prints_one_object_a_line_until_the_agent_goes() {
    let server = Server::start(vec![testing::cleared(), testing::upstream_refused()]).await;
    let args = QueryArgs { follow: true, output: Output::Json, ..server.args("api-client") };
    let engine = Arc::clone(&server.engine);
    let meanwhile = async {
        // Once the server has a follower, the history has been taken.
        while engine.0.followers() == 0 {
            tokio::task::yield_now().await;
        }
        engine.0.push(Arc::new(testing::policy_drop()));
        engine.0.push(Arc::new(testing::firewall_drop()));
        while engine.0.unread() > 0 {
            tokio::task::yield_now().await;
        }
        server.stop.send(true).unwrap();
        server.task.await.unwrap().unwrap();
    };
    let ((result, out, err), ()) = tokio::join!(outcome(&args), meanwhile);
    assert_eq!(result.unwrap_err().code(), 4);
    let ids: Vec<String> =
        out.lines().map(|line| serde_json::from_str::<Verdict>(line).unwrap().id).collect();
    assert_eq!(ids, ["v-7", "v-4", "v-1"]);
    assert!(err.contains("following default/api-client"), "{err}");
}
