use axum::body::Body;
use axum::http::Request;
use egress_core::verdict::{Hop, State};
use tower::ServiceExt as _;

use super::*;
use crate::testing::{self, FakeEngine};

/// Asks for a page as a browser on the loopback does.
async fn ask(verdicts: Vec<Verdict>, path: &str) -> (StatusCode, axum::http::HeaderMap, String) {
    let mut request =
        Request::builder().uri(path).header("host", "localhost:9750").body(Body::empty()).unwrap();
    request.extensions_mut().insert(Peer("127.0.0.1:40000".parse().unwrap()));
    let answer = routes(FakeEngine::new(verdicts, 1)).oneshot(request).await.unwrap();
    let (parts, body) = answer.into_parts();
    let body = axum::body::to_bytes(body, 1 << 22).await.unwrap();
    (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

/// The verdicts of the tests as if they had been seen just now.
fn recent() -> Vec<Verdict> {
    let newest = testing::verdicts().iter().map(|verdict| verdict.last_seen.0).max().unwrap();
    let later = host::wall_clock().0 - newest;
    let mut verdicts = testing::verdicts();
    for verdict in &mut verdicts {
        verdict.first_seen.0 += later;
        verdict.last_seen.0 += later;
    }
    verdicts
}

/// What a person reads: without tags, style and script.
fn text(page: &str) -> String {
    let body = page.split("<body>").nth(1).unwrap_or(page).split("<script>").next().unwrap_or_default();
    let mut text = String::new();
    let mut inside = false;
    for c in body.chars() {
        match c {
            '<' => inside = true,
            '>' => (inside, text) = (false, text + " "),
            c if !inside => text.push(c),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn the_first_page_shows_what_fails_where_it_broke_and_the_pods() {
    let (code, _, page) = ask(recent(), "/").await;
    let text = text(&page);
    assert_eq!(code, StatusCode::OK);
    for part in [
        "worker-1",
        "Failing now (6)",
        "Works again (1)",
        "default/api-client to api.stripe.com (203.0.113.4):443/TCP",
        "policy-drop certain 6 SYNs in 31s",
        "api-client through eth0 to node broken: netfilter FORWARD, NETFILTER_DROP in nf_hook_slow uplink , not reached",
        "NetworkPolicy default/deny-all-egress (egress) does not admit",
        "1 of 3 whole",
        "tc:pod degraded: clsact",
        "7 packet events lost at ring",
        "default/quiet none 0 0",
        "payments/worker-7d9c6f5b8-x2x9q (gone)",
    ] {
        assert!(text.contains(part), "no \"{part}\" in {text}");
    }
}

#[tokio::test]
async fn a_pod_has_its_own_page_with_the_evidence_open() {
    let (code, _, page) = ask(recent(), "/pods/default/api-client").await;
    assert_eq!(code, StatusCode::OK);
    let text = text(&page);
    assert!(text.contains("the same SYN dropped: NETFILTER_DROP in nf_hook_slow"), "{text}");
    assert!(page.contains("<details id=\"d-v-1\" open") && !text.contains("payments/"), "{text}");
    let (code, _, page) = ask(recent(), "/pods/default/quiet").await;
    assert!(code == StatusCode::OK && page.contains("Nothing failed that this agent could see"));
    let (code, _, page) = ask(recent(), "/pods/default/nobody").await;
    assert!(code == StatusCode::NOT_FOUND && page.contains("knows no pod of this name"));
}

#[tokio::test]
async fn the_page_says_when_all_is_well_and_what_that_is_worth() {
    let (_, _, page) = ask(Vec::new(), "/").await;
    let text = text(&page);
    assert!(text.contains("Failing now (0) Nothing fails that this agent can see."), "{text}");
    assert!(text.contains("What is not seen or not whole (4)"), "{text}");
    assert!(page.contains("<title>worker-1 · egress-agent</title>"), "{page}");
}

#[tokio::test]
async fn what_failed_long_ago_is_not_shown_and_too_much_is_counted() {
    assert!(text(&ask(testing::verdicts(), "/").await.2).contains("Failing now (0)"));
    let many = (0..MAX_SHOWN + 3).map(|number| Verdict { id: format!("v-{number}"), ..recent().remove(6) });
    let text = text(&ask(many.collect(), "/").await.2);
    assert!(text.contains("Failing now (100)") && text.contains("3 older ones are not shown"), "{text}");
}

#[tokio::test]
async fn names_from_outside_are_text_and_nothing_else() {
    const EVIL: &str = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'\u{1b}[2J\u{202e}&lt;";
    let mut evil = recent().remove(6);
    evil.id = EVIL.into();
    evil.pod.name = EVIL.into();
    evil.pod.namespace = "../..".into();
    evil.pod.workload = Some(EVIL.into());
    evil.peer.name = Some(EVIL.into());
    evil.summary = EVIL.into();
    evil.hints = vec![EVIL.into()];
    evil.path[1].r#where = Some(EVIL.into());
    evil.path[0].device = Some(EVIL.into());
    evil.policies[0].name = EVIL.into();
    evil.policies[0].why = vec![EVIL.into()];
    evil.evidence[0].text = EVIL.into();
    evil.fix.as_mut().unwrap().text = EVIL.into();
    evil.fix.as_mut().unwrap().manifest = Some(EVIL.into());
    let (_, _, page) = ask(vec![evil], "/").await;
    assert_eq!(page.matches("<script>").count(), 1, "{page}");
    assert!(!page.contains("<img") && !page.contains('\u{1b}') && !page.contains('\u{202e}'), "{page}");
    // No attribute is left by its quote: it is escaped wherever it stands.
    assert!(
        !page.contains("\"><script") && page.contains("data-say=\"../../&quot;&gt;&lt;script&gt;"),
        "{page}"
    );
    assert!(page.contains("href=\"/pods/..%2F../%22%3E%3Cscript"), "{page}");
}

#[tokio::test]
async fn the_browser_runs_our_script_and_nothing_else() {
    let (_, headers, page) = ask(Vec::new(), "/").await;
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"),
        "{policy}"
    );
    for part in ["connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert_eq!(headers["cache-control"], "no-store");
    assert!(!headers.contains_key("access-control-allow-origin"));
    // Nothing comes from elsewhere, and no attribute carries style or script past the policy.
    for part in ["http://", "https://", " style=", " onclick=", "src=", "<link", "@import", "url("] {
        assert!(!page.contains(part), "{part} in {page}");
    }
}

#[tokio::test]
async fn who_is_not_on_the_loopback_gets_nothing() {
    let mut request =
        Request::builder().uri("/").header("host", "localhost:9750").body(Body::empty()).unwrap();
    request.extensions_mut().insert(Peer("10.244.1.5:40000".parse().unwrap()));
    let answer = routes(FakeEngine::new(recent(), 1)).oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let body = axum::body::to_bytes(answer.into_body(), 1000).await.unwrap();
    assert_eq!(body, "this page answers the node's loopback only: kubectl port-forward, or ssh -L\n");
}

#[tokio::test]
async fn a_way_of_any_shape_is_drawn() {
    let drawn = async |change: fn(&mut Verdict)| {
        let mut verdict = recent().remove(6);
        change(&mut verdict);
        text(&ask(vec![verdict], "/").await.2)
    };
    let text = drawn(|verdict| verdict.path.clear()).await;
    assert!(!text.contains("broken: netfilter") && text.contains("203.0.113.4 , not watched"), "{text}");
    let text = drawn(|verdict| verdict.path.retain(|hop| hop.hop == Hop::Node)).await;
    assert!(text.contains("node broken: netfilter FORWARD"), "{text}");
    let text = drawn(|verdict| verdict.state = State::Cleared).await;
    assert!(text.contains("Works again (1)") && text.contains("Failing now (0)"), "{text}");
}
