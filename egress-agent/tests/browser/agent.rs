//! The HTTP side of an agent, with a journal that the test writes.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use egress_agent::answers::{Answers, ExplainError, ExplainRequest, Explanation, Journal, LocalPod, Search};
use egress_agent::export::http::{self, HttpListener};
use egress_agent::export::metrics::Metrics;
use egress_agent::host;
use egress_agent::status::{AgentStatus, HookState, HookStatus};
use egress_core::cluster::PodRef;
use egress_core::history::Filter;
use egress_core::verdict::Verdict;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use super::chromium::Result;

/// A serving agent.
pub(crate) struct Agent {
    engine: Arc<Engine>,
    at: SocketAddr,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
}

struct Engine(Journal);

impl Agent {
    /// Serves the verdicts of the unit tests as if they had been made just now.
    pub(crate) async fn start() -> Result<Self> {
        let engine = Arc::new(Engine(Journal::new(None, 16)));
        for verdict in verdicts()? {
            engine.0.push(Arc::new(verdict));
        }
        let listener = HttpListener::bind(&"127.0.0.1:0".parse()?).await?;
        let at = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let metrics = Arc::new(Metrics::new(true));
        let server =
            tokio::spawn(http::serve(listener, Arc::clone(&engine), metrics, || None, true, stopped));
        Ok(Self { engine, at, stop, server })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.at.port())
    }

    /// Pushes a verdict again, changed.
    pub(crate) fn revise(&self, id: &str, change: impl FnOnce(&mut Verdict)) {
        let found = self.engine.0.in_memory(&Filter::default());
        if let Some(verdict) = found.iter().find(|verdict| verdict.id == id) {
            let mut verdict = Verdict::clone(verdict);
            change(&mut verdict);
            self.engine.0.push(Arc::new(verdict));
        }
    }

    pub(crate) async fn stop(self) {
        // The server ends with its sender at the latest.
        let _ = self.stop.send(true);
        let _ = self.server.await;
    }
}

/// The verdicts of the unit tests, moved so that the last was seen just now.
fn verdicts() -> Result<Vec<Verdict>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/testing/verdicts");
    let mut verdicts: Vec<Verdict> = Vec::new();
    for name in [
        "policy-drop",
        "firewall-drop",
        "upstream-timeout",
        "upstream-refused",
        "dns-failure",
        "unknown",
        "cleared",
    ] {
        let json = std::fs::read_to_string(folder.join(format!("{name}.json")))?;
        verdicts.push(serde_json::from_str(&json)?);
    }
    let newest = verdicts.iter().map(|verdict| verdict.last_seen.0).max().unwrap_or_default();
    let later = host::wall_clock().0 - newest;
    for verdict in &mut verdicts {
        verdict.first_seen.0 += later;
        verdict.last_seen.0 += later;
    }
    Ok(verdicts)
}

impl Answers for Engine {
    fn search(&self, filter: Filter) -> Search {
        self.0.search(filter)
    }

    fn follow(&self, filter: Filter) -> (Search, broadcast::Receiver<Arc<Verdict>>) {
        self.0.follow(filter)
    }

    fn subscriber_lagged(&self, missed: u64) {
        self.0.add_missed(missed);
    }

    async fn status(&self) -> Option<AgentStatus> {
        let hook = |hook: &str, state, note: &str| HookStatus { hook: hook.into(), state, note: note.into() };
        Some(AgentStatus {
            version: "0.1.0".into(),
            node: "worker-1".into(),
            kernel: "6.18.0".into(),
            watching_since: host::wall_clock().to_string(),
            pods: 2,
            verdicts: 7,
            hooks: vec![
                hook("skb:kfree_skb", HookState::Attached, "tp_btf"),
                hook(
                    "tc:pod",
                    HookState::Degraded,
                    "clsact, no TCX: filters survive a kill until the next start",
                ),
            ],
            policies_as_of: host::wall_clock().to_string(),
            ..AgentStatus::default()
        })
    }

    async fn knows_pod(&self, _pod: PodRef) -> bool {
        false
    }

    async fn local_pods(&self) -> Option<Vec<LocalPod>> {
        let pod = |name: &str| PodRef { namespace: "default".into(), name: name.into() };
        let pods = ["api-client", "quiet"].map(|name| LocalPod { pod: pod(name), workload: None });
        Some(pods.to_vec())
    }

    async fn explain(&self, _request: ExplainRequest) -> std::result::Result<Explanation, ExplainError> {
        Err(ExplainError::Stopped)
    }
}
