//! The API server is gone for a while.

use super::*;

#[tokio::test(start_paused = true)]
async fn ten_minutes_without_an_api_server() {
    let server = cluster().await;
    let mut followed = follow(&server, "").await;
    followed.until_synced().await;
    server.requested("watch", "*", 6).await;
    server.begin_outage();
    followed.until("the problem", |known| !known.problems.is_empty()).await;
    let as_of = followed.as_of();
    for object in [pod("new", "10.0.1.6", NODE), policy("more", "near", "10.0.0.0/8")] {
        server.apply(object).unwrap();
    }
    tokio::time::sleep(Duration::from_secs(600)).await;
    followed.look(|known| {
        assert_eq!(known.index.synced_at(), Some(as_of), "what is known is as of the time before");
        assert!(known.has_pod("near") && known.has_policy("some"), "and it stays known");
        assert_eq!(known.problems.len(), 1, "{:?}", known.problems);
        assert!(
            known.problems[0].starts_with("SERVER: the API server cannot be reached: "),
            "{:?}",
            known.problems
        );
    });
    // Six watches and nothing else knock, less and less often.
    let knocks = server.count("connect", "");
    assert!((6 * 13..6 * 50).contains(&knocks), "{knocks}");

    server.end_outage();
    followed.until("what happened meanwhile", |known| known.has_pod("new") && known.has_policy("more")).await;
    followed
        .until("all in step", |known| known.problems.is_empty() && known.index.synced_at() > Some(as_of))
        .await;
    assert_eq!(server.count("list", "*"), 6, "nothing is listed again: {:?}", server.counts());
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_comes_only_later() {
    let server = cluster().await;
    server.begin_outage();
    let mut followed = follow(&server, "").await;
    followed.until("the problem", |known| !known.problems.is_empty()).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(followed.look(|known| known.index.synced_at()), None, "not ready");
    server.end_outage();
    followed.until_synced().await;
    followed.until("no problem", |known| known.problems.is_empty()).await;
}
