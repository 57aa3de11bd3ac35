mod hostile;

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use egress_core::cluster::PodRef;
use egress_core::history::PodFilter;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;
use crate::answers::ExplainRequest;
use crate::testing::{self, FakeEngine};

/// A server on a Unix socket of its own.
struct Running {
    directory: tempfile::TempDir,
    engine: Arc<FakeEngine>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), ServeError>>,
}

impl Running {
    async fn start(engine: Arc<FakeEngine>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = Listener::bind(&Address::Unix(directory.path().join("run/agent.sock"))).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(serve(vec![listener], Arc::clone(&engine), stopped));
        Self { directory, engine, stop, task }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("run/agent.sock")
    }

    async fn client(&self) -> AgentClient {
        AgentClient::connect(&Address::Unix(self.path())).await.unwrap()
    }
}

fn pod(namespace: &str, name: &str) -> PodFilter {
    PodFilter::Pod(PodRef { namespace: namespace.into(), name: name.into() })
}

async fn ids(messages: &mut QueryMessages) -> Vec<String> {
    let mut ids = Vec::new();
    while let Some(message) = messages.next().await.unwrap() {
        match message {
            QueryMessage::Verdict(verdict) => ids.push(verdict.id),
            QueryMessage::EndOfHistory => break,
            QueryMessage::Watched(status) => assert_eq!(*status, testing::status()),
            QueryMessage::Lagged(missed) => panic!("missed {missed}"),
        }
    }
    ids
}

#[tokio::test]
async fn a_query_says_what_was_watched_and_then_the_newest_verdicts_first() {
    let server = Running::start(FakeEngine::new(testing::verdicts(), 8)).await;
    let mut client = server.client().await;
    let mut all = client.query(&QueryOptions::default()).await.unwrap();
    assert!(matches!(all.next().await.unwrap(), Some(QueryMessage::Watched(_))));
    assert_eq!(ids(&mut all).await, ["v-1", "v-2", "v-5", "v-3", "v-4", "v-6", "v-7"]);
    let options = QueryOptions {
        pods: pod("default", "api-client"),
        causes: vec![egress_core::verdict::Cause::PolicyDrop],
        to: Some("api.stripe.com:443".parse().unwrap()),
        ..QueryOptions::default()
    };
    assert_eq!(ids(&mut client.query(&options).await.unwrap()).await, ["v-1"]);
    let recent = QueryOptions { since: Some(Duration::from_secs(60)), ..QueryOptions::default() };
    assert!(ids(&mut client.query(&recent).await.unwrap()).await.is_empty());
}

#[tokio::test]
async fn a_pod_nobody_knows_is_not_found_and_a_quiet_one_is_an_empty_answer() {
    let server = Running::start(FakeEngine::new(testing::verdicts(), 8)).await;
    let mut client = server.client().await;
    let unknown = QueryOptions { pods: pod("default", "ghost"), ..QueryOptions::default() };
    let error = client.query(&unknown).await.unwrap_err();
    assert!(matches!(&error, ClientError::NotFound(why) if why.contains("default/ghost")), "{error}");
    let quiet = QueryOptions { pods: pod("default", "quiet"), ..QueryOptions::default() };
    assert!(ids(&mut client.query(&quiet).await.unwrap()).await.is_empty());
    // Known from its verdicts, although the filter lets none of them through; also as the other end.
    for known in [pod("default", "api-client"), pod("kube-system", "coredns-0")] {
        let options =
            QueryOptions { pods: known, since: Some(Duration::from_secs(1)), ..QueryOptions::default() };
        assert!(ids(&mut client.query(&options).await.unwrap()).await.is_empty());
    }
}

#[tokio::test]
async fn a_follower_gets_history_then_every_new_verdict_of_its_filter() {
    let server = Running::start(FakeEngine::new(vec![testing::policy_drop()], 8)).await;
    let mut client = server.client().await;
    let options =
        QueryOptions { pods: pod("default", "api-client"), follow: true, ..QueryOptions::default() };
    let mut messages = client.query(&options).await.unwrap();
    assert_eq!(ids(&mut messages).await, ["v-1"]);
    server.engine.0.push(Arc::new(testing::firewall_drop()));
    let mut revised = testing::policy_drop();
    revised.count = 7;
    server.engine.0.push(Arc::new(revised.clone()));
    assert_eq!(messages.next().await.unwrap(), Some(QueryMessage::Verdict(Box::new(revised))));
    server.stop.send(true).unwrap();
    let error = messages.next().await.unwrap_err();
    assert!(error.to_string().ends_with("the agent is stopping"), "{error}");
    server.task.await.unwrap().unwrap();
    assert!(!server.directory.path().join("run/agent.sock").exists());
}

#[tokio::test]
async fn a_slow_follower_is_told_what_it_missed_and_holds_nobody_up() {
    let server = Running::start(FakeEngine::new(vec![], 4)).await;
    let mut client = server.client().await;
    let options = QueryOptions { follow: true, ..QueryOptions::default() };
    let mut slow = client.query(&options).await.unwrap();
    assert!(ids(&mut slow).await.is_empty());
    // More than every buffer on the way can take. Pushing never waits.
    let total = 20_000;
    let mut verdict = testing::policy_drop();
    verdict.summary = "x".repeat(2000);
    for count in 1..=total {
        verdict.count = count;
        server.engine.0.push(Arc::new(verdict.clone()));
        if count % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let (mut seen, mut missed, mut last) = (0, 0, 0);
    while last < total {
        match slow.next().await.unwrap().unwrap() {
            QueryMessage::Verdict(verdict) => {
                assert!(verdict.count > last);
                last = verdict.count;
                seen += 1;
            }
            QueryMessage::Lagged(count) => missed += count,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen + missed, total);
    assert!(missed > 0);
    assert_eq!(server.engine.0.missed(), missed);
}

#[tokio::test]
async fn status_and_explain_are_answered() {
    let server = Running::start(FakeEngine::new(vec![], 4)).await;
    let mut client = server.client().await;
    assert_eq!(client.status().await.unwrap(), testing::status());
    let mut request = ExplainRequest {
        from: "api-client".into(),
        to: "203.0.113.4".into(),
        port: 443,
        protocol: egress_core::protocol::Protocol::Tcp,
        dns: vec![],
    };
    assert_eq!(client.explain(&request).await.unwrap(), testing::explanation());
    request.from = "nobody".into();
    assert!(matches!(client.explain(&request).await, Err(ClientError::NotFound(_))));
}

#[tokio::test]
async fn nobody_at_the_address_is_one_line_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.sock");
    let error = AgentClient::connect(&Address::Unix(path.clone())).await.unwrap_err();
    let expected =
        format!("cannot reach the agent at unix:{}: No such file or directory (os error 2)", path.display());
    assert_eq!(error.to_string(), expected);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = AgentClient::connect(&format!("127.0.0.1:{port}").parse().unwrap()).await.unwrap_err();
    let expected = format!("cannot reach the agent at 127.0.0.1:{port}: Connection refused (os error 111)");
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn only_the_owner_may_use_the_socket_and_only_a_dead_one_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep/er/agent.sock");
    let address = Address::Unix(path.clone());
    let first = Listener::bind(&address).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let error = Listener::bind(&address).await.unwrap_err();
    assert!(matches!(error, ListenError::Taken(_)), "{error}");
    drop(first);
    assert!(!path.exists());
    // What a killed agent leaves.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let again = Listener::bind(&address).await.unwrap();
    // A socket that somebody else put there in the meantime is not ours to remove.
    std::fs::remove_file(&path).unwrap();
    let other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(again);
    assert!(path.exists());
    drop(other);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "precious").unwrap();
    let error = Listener::bind(&address).await.unwrap_err();
    assert!(matches!(error, ListenError::NotASocket(_)), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn a_taken_port_and_one_off_the_loopback_are_refused_by_name() {
    let first = Listener::bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
    let error = Listener::bind(&first.address()).await.unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("cannot listen on {}: the address is taken", first.address())),
        "{error}"
    );
    for address in ["0.0.0.0:50051", "[::]:50051", "192.0.2.1:50051"] {
        let error = Listener::bind(&address.parse().unwrap()).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("refusing to listen on {address}")), "{error}");
    }
}

#[tokio::test]
async fn health_and_reflection_stand_beside_it_on_every_listener() {
    let directory = tempfile::tempdir().unwrap();
    let unix = Listener::bind(&Address::Unix(directory.path().join("a.sock"))).await.unwrap();
    let tcp = Listener::bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = tcp.address();
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(serve(vec![unix, tcp], FakeEngine::new(vec![], 4), stopped));
    let channel =
        tonic::transport::Endpoint::new(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel.clone());
    let request = tonic_health::pb::HealthCheckRequest { service: "egress.v1.EgressAgent".into() };
    let response = health.check(request).await.unwrap().into_inner();
    assert_eq!(response.status, i32::from(tonic_health::pb::health_check_response::ServingStatus::Serving));
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let mut reflection =
        tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient::new(channel);
    let request = tonic_reflection::pb::v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let response = reflection.server_reflection_info(tokio_stream::once(request)).await.unwrap();
    let message = response.into_inner().message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = message else { panic!("{message:?}") };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert_eq!(
        names,
        ["egress.v1.EgressAgent", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"]
    );
    stop.send(true).unwrap();
    task.await.unwrap().unwrap();
}
