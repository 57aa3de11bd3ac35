//! Bad clients beside a good one: each costs nothing but itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;

use super::*;
use crate::testing::{self, FakeEngine};

/// An authority with its files in a folder.
struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Makes `NAME.pem` and `NAME.key`, valid until a year.
    fn issue(&self, name: &str, until: i32) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec![format!("{name}.example")]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let (certificate, key_file) =
            (self.folder.join(format!("{name}.pem")), self.folder.join(format!("{name}.key")));
        std::fs::write(&certificate, params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        (certificate, key_file)
    }
}

/// A server of every address over TLS, as off the loopback.
struct Guarded {
    folder: tempfile::TempDir,
    authority: Authority,
    tls: Arc<ServerTls>,
    address: Address,
    engine: Arc<FakeEngine>,
    _stop: watch::Sender<bool>,
}

impl Guarded {
    async fn start(allowed: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path(), "ours");
        let (certificate, key) = authority.issue("agent", 2100);
        let allowed = allowed.iter().map(|name| (*name).to_owned()).collect();
        let files = TlsFiles { certificate, key, client_ca: authority.ca(), allowed };
        let tls = Arc::new(ServerTls::load(files).unwrap());
        let listener = Listener::bind_with(&"0.0.0.0:0".parse().unwrap(), Some(&tls)).await.unwrap();
        let Address::Tcp { port, .. } = listener.address() else { panic!("not a port") };
        let address = Address::Tcp { host: "127.0.0.1".into(), port };
        let engine = FakeEngine::new(testing::verdicts(), 8);
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(serve(vec![listener], Arc::clone(&engine), stopped));
        Self { folder, authority, tls, address, engine, _stop: stop }
    }

    /// What a client with this identity is answered.
    async fn ask(&self, identity: Option<(PathBuf, PathBuf)>) -> Result<usize, String> {
        let mut client = self.client(identity).await?;
        let mut answer = client.query(&QueryOptions::default()).await.map_err(|error| error.to_string())?;
        let mut count = 0;
        while let Some(message) = answer.next().await.map_err(|error| error.to_string())? {
            count += usize::from(matches!(message, QueryMessage::Verdict(_)));
        }
        Ok(count)
    }

    async fn client(&self, identity: Option<(PathBuf, PathBuf)>) -> Result<AgentClient, String> {
        let server_name = Some("agent.example".to_owned());
        let files = ClientTlsFiles { ca: self.authority.ca(), identity, server_name };
        let tls = ClientTls::load(&files).unwrap();
        AgentClient::connect_with(&self.address, Some(&tls)).await.map_err(|error| error.to_string())
    }
}

#[tokio::test]
async fn only_a_client_of_the_authority_with_an_allowed_name_is_heard() {
    let server = Guarded::start(&["jane", "late", "ops.example"]).await;
    let stranger = Authority::new(server.folder.path(), "other");
    let ours = &server.authority;
    for (who, identity, heard) in [
        ("no certificate", None, false),
        ("another authority's", Some(stranger.issue("jane", 2100)), false),
        ("expired", Some(ours.issue("late", 2010)), false),
        ("not allowed", Some(ours.issue("joe", 2100)), false),
        ("allowed by its common name", Some(ours.issue("jane", 2100)), true),
        ("allowed by its DNS name", Some(ours.issue("ops", 2100)), true),
    ] {
        let answer = server.ask(identity).await;
        assert_eq!(answer.is_ok(), heard, "{who}: {answer:?}");
        if who == "not allowed" {
            assert!(answer.unwrap_err().contains("joe, joe.example may not ask this agent"), "{who}");
        } else if heard {
            assert_eq!(answer, Ok(7), "{who}");
        }
    }
    // Without TLS at all.
    let plain = AgentClient::connect(&server.address).await;
    let answer = match plain {
        Ok(mut client) => client.status().await.map(drop),
        Err(error) => Err(error),
    };
    assert!(answer.is_err());
}

#[tokio::test]
async fn a_client_speaks_only_to_the_agent_of_its_authority() {
    let server = Guarded::start(&[]).await;
    let other = Authority::new(server.folder.path(), "other");
    let files = |ca, name: &str| ClientTlsFiles {
        ca,
        identity: Some(server.authority.issue("jane", 2100)),
        server_name: Some(name.into()),
    };
    for (files, heard) in [
        (files(other.ca(), "agent.example"), false),
        (files(server.authority.ca(), "elsewhere.example"), false),
        (files(server.authority.ca(), "agent.example"), true),
    ] {
        let tls = ClientTls::load(&files).unwrap();
        let connected = AgentClient::connect_with(&server.address, Some(&tls)).await;
        assert_eq!(connected.is_ok(), heard, "{files:?}");
    }
}

#[tokio::test]
async fn certificates_are_read_again_and_streams_go_on() {
    let server = Guarded::start(&[]).await;
    let jane = server.authority.issue("jane", 2100);
    let mut client = server.client(Some(jane.clone())).await.unwrap();
    let follow = QueryOptions { follow: true, ..QueryOptions::default() };
    let mut stream = client.query(&follow).await.unwrap();
    assert_eq!(ids(&mut stream).await.len(), 7);
    assert!(!server.tls.reload().unwrap(), "nothing has changed");
    // The agent's certificate runs out, as it would look to a client; then nonsense; then a good one.
    server.authority.issue("agent", 2010);
    assert!(server.tls.reload().unwrap());
    assert!(server.ask(Some(jane.clone())).await.is_err());
    std::fs::write(server.authority.folder.join("agent.pem"), "nonsense").unwrap();
    let error = server.tls.reload().unwrap_err().to_string();
    assert!(error.ends_with("agent.pem: there is no certificate in it"), "{error}");
    server.authority.issue("agent", 2100);
    assert!(server.tls.reload().unwrap());
    assert_eq!(server.ask(Some(jane)).await, Ok(7));
    let verdict = testing::story();
    server.engine.0.push(Arc::new(verdict.clone()));
    assert_eq!(stream.next().await.unwrap(), Some(QueryMessage::Verdict(Box::new(verdict))));
}

#[tokio::test]
async fn files_that_cannot_be_used_are_told_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ours");
    let (certificate, key) = authority.issue("agent", 2100);
    let (_, other_key) = authority.issue("other", 2100);
    let good = TlsFiles {
        certificate: certificate.clone(),
        key: key.clone(),
        client_ca: authority.ca(),
        allowed: vec![],
    };
    assert!(ServerTls::load(good.clone()).is_ok());
    for (files, part) in [
        (
            TlsFiles { certificate: "/nowhere.pem".into(), ..good.clone() },
            "cannot read /nowhere.pem: No such file",
        ),
        (TlsFiles { key: certificate, ..good.clone() }, "agent.pem: there is no private key in it"),
        (TlsFiles { client_ca: key, ..good.clone() }, "agent.key: there is no certificate in it"),
        (TlsFiles { key: other_key, ..good }, "agent.pem: "),
    ] {
        let error = ServerTls::load(files).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

/// A server on a port of the loopback.
async fn open(engine: &Arc<FakeEngine>) -> (Address, watch::Sender<bool>) {
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.address();
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(serve(vec![listener], Arc::clone(engine), stopped));
    (address, stop)
}

/// A client that behaves is answered.
async fn served(address: &Address) {
    let answered = tokio::time::timeout(Duration::from_secs(20), async {
        let mut client = AgentClient::connect(address).await.unwrap();
        let mut answer =
            client.query(&QueryOptions { limit: Some(3), ..QueryOptions::default() }).await.unwrap();
        assert_eq!(ids(&mut answer).await.len(), 3);
        client.status().await.unwrap();
    });
    answered.await.expect("a client that behaves is not served");
}

#[tokio::test]
async fn a_thousand_streams_get_a_few_places_and_keep_nobody_out() {
    let engine = FakeEngine::new(testing::verdicts(), 8);
    let (address, _stop) = open(&engine).await;
    let mut streams = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let client = AgentClient::connect(&address).await.unwrap();
        for _ in 0..250 {
            let mut client = client.clone();
            streams.spawn(async move {
                let follow = QueryOptions { follow: true, ..QueryOptions::default() };
                let Ok(mut stream) = client.query(&follow).await else { return };
                while let Ok(Some(_)) = stream.next().await {}
            });
        }
    }
    while engine.0.followers() < 64 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    served(&address).await;
    assert_eq!(engine.0.followers(), 64, "16 streams for each of four connections");
    streams.shutdown().await;
    while engine.0.followers() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn who_reads_nothing_holds_a_few_messages_and_nobody_up() {
    let engine = FakeEngine::new(vec![], 8);
    let mut verdict = testing::policy_drop();
    verdict.summary = "x".repeat(1000);
    for number in 0..2000 {
        verdict.id = number.to_string();
        engine.0.push(Arc::new(verdict.clone()));
    }
    let (address, _stop) = open(&engine).await;
    let mut slow = Vec::new();
    for _ in 0..8 {
        let mut client = AgentClient::connect(&address).await.unwrap();
        for _ in 0..8 {
            slow.push(client.query(&QueryOptions::default()).await.unwrap());
        }
    }
    // One of them on a connection of its own: streams of one share what may be on the way.
    let mut late =
        AgentClient::connect(&address).await.unwrap().query(&QueryOptions::default()).await.unwrap();
    served(&address).await;
    // Whoever reads at last has missed nothing.
    assert_eq!(ids(&mut late).await.len(), 2000);
}

#[tokio::test]
async fn oversized_questions_are_refused_and_long_lists_cost_nothing() {
    let engine = FakeEngine::new(testing::verdicts(), 8);
    let (address, _stop) = open(&engine).await;
    let mut client = AgentClient::connect(&address).await.unwrap();
    let huge = format!("{}.example", "x".repeat(100_000)).parse().unwrap();
    let error = client.query(&QueryOptions { to: Some(huge), ..QueryOptions::default() }).await.unwrap_err();
    assert!(matches!(error, ClientError::Failed { .. }), "{error}");
    let causes = vec![egress_core::verdict::Cause::PolicyDrop; 30_000];
    let mut answer = client.query(&QueryOptions { causes, ..QueryOptions::default() }).await.unwrap();
    assert!(!ids(&mut answer).await.is_empty());
    served(&address).await;
}

#[tokio::test]
async fn streams_that_are_opened_and_reset_at_once_cost_the_connection_and_nobody_else() {
    let engine = FakeEngine::new(testing::verdicts(), 8);
    let (address, _stop) = open(&engine).await;
    for _ in 0..4 {
        let Ok(client) = AgentClient::connect(&address).await else { continue };
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..1000 {
            let mut client = client.clone();
            calls.spawn(async move {
                let call =
                    async { client.query(&QueryOptions { follow: true, ..QueryOptions::default() }).await };
                // Dropped before there is an answer: the stream is reset.
                let _ = tokio::time::timeout(Duration::from_micros(200), call).await;
            });
        }
        while calls.join_next().await.is_some() {}
    }
    served(&address).await;
    while engine.0.followers() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_connection_that_says_nothing_or_nonsense_is_closed() {
    let engine = FakeEngine::new(testing::verdicts(), 8);
    let (address, _stop) = open(&engine).await;
    let Address::Tcp { port, .. } = address else { panic!("not a port") };
    let mut silent = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut nonsense = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut nonsense, &[b'x'; 4096]).await.unwrap();
    served(&address).await;
    for stream in [&mut nonsense, &mut silent] {
        let mut rest = Vec::new();
        // Closed in order or reset, both are ends.
        let closed = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "still open");
    }
}

#[tokio::test]
async fn strangers_that_never_shake_hands_keep_no_client_out() {
    let server = Guarded::start(&[]).await;
    let Address::Tcp { port, .. } = server.address else { panic!("not a port") };
    // More than get through in the time that a client is patient, if each was waited for.
    let mut strangers = Vec::new();
    for number in 0..400 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        let from = if number % 2 == 0 { "127.0.0.2:0" } else { "127.0.0.1:0" };
        socket.bind(from.parse().unwrap()).unwrap();
        strangers.push(socket.connect(([127, 0, 0, 1], port).into()).await.unwrap());
    }
    let jane = server.authority.issue("jane", 2100);
    let answer = tokio::time::timeout(Duration::from_secs(20), server.ask(Some(jane))).await;
    assert_eq!(answer.expect("not let in"), Ok(7));
    drop(strangers);
}
