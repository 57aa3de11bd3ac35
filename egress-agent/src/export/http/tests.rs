use std::sync::atomic::{AtomicU8, Ordering};

use egress_core::cluster::PodRef;
use egress_core::history::Filter;
use egress_core::verdict::Verdict;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::broadcast;

use super::*;
use crate::answers::{ExplainError, ExplainRequest, Explanation, Journal, LocalPod, Search};
use crate::testing;

/// An engine in one of its moods.
struct Moody {
    journal: Journal,
    mood: AtomicU8,
}

const WELL: u8 = 0;
const UNSYNCED: u8 = 1;
const BLIND: u8 = 2;
const STUCK: u8 = 3;
const GONE: u8 = 4;

impl Answers for Moody {
    fn search(&self, filter: Filter) -> Search {
        self.journal.search(filter)
    }

    fn follow(&self, filter: Filter) -> (Search, broadcast::Receiver<Arc<Verdict>>) {
        self.journal.follow(filter)
    }

    fn subscriber_lagged(&self, missed: u64) {
        self.journal.add_missed(missed);
    }

    async fn status(&self) -> Option<AgentStatus> {
        let mut status = testing::status();
        match self.mood.load(Ordering::Relaxed) {
            UNSYNCED => status.policies_as_of.clear(),
            BLIND => status.hooks.retain(|hook| hook.state == HookState::Refused),
            STUCK => std::future::pending().await,
            GONE => return None,
            _ => {}
        }
        Some(status)
    }

    async fn knows_pod(&self, _pod: PodRef) -> bool {
        false
    }

    async fn local_pods(&self) -> Option<Vec<LocalPod>> {
        Some(Vec::new())
    }

    async fn explain(&self, _request: ExplainRequest) -> Result<Explanation, ExplainError> {
        Err(ExplainError::Stopped)
    }
}

async fn get_page(at: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let code = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (code, answer)
}

#[tokio::test]
async fn the_pages_say_how_the_agent_is() {
    let listener = HttpListener::bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
    let at = listener.local_addr().unwrap();
    let taken = HttpListener::bind(&HttpAddress::One(at)).await.unwrap_err().to_string();
    assert_eq!(
        taken,
        format!("cannot listen on {at} for metrics: the port is taken by another agent or program")
    );
    let engine = Arc::new(Moody { journal: Journal::new(None, 1), mood: AtomicU8::new(WELL) });
    let metrics = Arc::new(Metrics::new(true));
    let (stop, stopped) = watch::channel(false);
    let server = tokio::spawn(serve(listener, Arc::clone(&engine), metrics, || None, true, stopped));

    let (code, page) = get_page(at, "/metrics").await;
    assert_eq!(code, 200);
    assert!(page.contains("content-type: application/openmetrics-text; version=1.0.0"), "{page}");
    assert!(
        page.contains("egress_agent_build_info{") && !page.contains("egress_conntrack_entries"),
        "{page}"
    );
    assert_eq!(get_page(at, "/healthz").await.0, 200);
    assert_eq!(get_page(at, "/readyz").await.0, 200);
    // The page is asked for by a name that is not the loopback's own.
    assert_eq!(get_page(at, "/").await.0, 403);

    engine.mood.store(UNSYNCED, Ordering::Relaxed);
    let (code, page) = get_page(at, "/readyz").await;
    assert!(code == 503 && page.contains("not been read completely"), "{page}");
    assert_eq!(get_page(at, "/healthz").await.0, 200);
    engine.mood.store(BLIND, Ordering::Relaxed);
    let (code, page) = get_page(at, "/readyz").await;
    assert!(code == 503 && page.contains("no hook is attached"), "{page}");
    for mood in [STUCK, GONE] {
        engine.mood.store(mood, Ordering::Relaxed);
        let (code, page) = get_page(at, "/healthz").await;
        assert!(code == 503 && page.contains("the engine does not answer"), "{page}");
    }

    // Clients that say nothing do not keep the server from ending.
    let _silent = TcpStream::connect(at).await.unwrap();
    stop.send(true).unwrap();
    server.await.unwrap();
}

#[test]
fn addresses_are_read_and_written() {
    for (text, written) in [
        (":9750", ":9750"),
        ("127.0.0.1:1", "127.0.0.1:1"),
        ("[::1]:2", "[::1]:2"),
        ("localhost:3", "127.0.0.1:3"),
    ] {
        assert_eq!(text.parse::<HttpAddress>().unwrap().to_string(), written);
    }
    for text in ["", ":", "9750", ":x", "host:1", ":70000"] {
        assert_eq!(text.parse::<HttpAddress>(), Err(HttpAddressError::of(text)), "{text}");
    }
}
