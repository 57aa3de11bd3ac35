//! Who may look at the page.
//!
//! The port is open to whoever reaches the node, pods included, because metrics are scraped from it. What fails and why
//! is the business of who runs the node. So the page answers peers on the loopback only, and what a browser of such
//! a peer may be made to ask by another page is refused.

use std::net::{IpAddr, SocketAddr};

use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Who is at the other end of a connection: an extension of every request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Lets a request through, or says why not.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    match refusal(peer, request.method(), request.headers()) {
        Some(why) => (StatusCode::FORBIDDEN, format!("{why}\n")).into_response(),
        None => next.run(request).await,
    }
}

fn refusal(peer: Option<Peer>, method: &Method, headers: &HeaderMap) -> Option<&'static str> {
    // An IPv6 socket has IPv4 peers as mapped addresses.
    if !peer.is_some_and(|Peer(peer)| peer.ip().to_canonical().is_loopback()) {
        return Some("this page answers the node's loopback only: kubectl port-forward, or ssh -L");
    }
    // A name that an attacker's DNS server points to 127.0.0.1 makes the attacker's page one of this origin.
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    if !host.is_some_and(is_loopback_name) {
        return Some("this page is asked for as localhost, 127.0.0.1 or [::1] only");
    }
    // Browsers say when another site's page asks; following a link from there is no harm.
    let site = headers.get("sec-fetch-site").map(header::HeaderValue::as_bytes);
    let mode = headers.get("sec-fetch-mode").map(header::HeaderValue::as_bytes);
    if site.is_some_and(|site| site != b"same-origin" && site != b"none") && mode != Some(b"navigate") {
        return Some("this page is not for other pages to read");
    }
    (!matches!(*method, Method::GET | Method::HEAD)).then_some("this page is to be read only")
}

/// Whether a `Host` header names the loopback, with or without a port.
fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, port)) if port.is_empty() || port.starts_with(':') => name,
        Some(_) => return false,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(peer: &str, host: &str, more: &[(&'static str, &str)]) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        for (name, value) in more {
            headers.insert(*name, value.parse().unwrap());
        }
        refusal(Some(Peer(SocketAddr::new(peer.parse().unwrap(), 40000))), &Method::GET, &headers)
    }

    #[test]
    fn peers_of_the_loopback_are_answered_and_no_others() {
        for peer in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(ask(peer, "localhost:9750", &[]), None, "{peer}");
        }
        for peer in ["10.244.1.5", "192.0.2.1", "::ffff:10.244.1.5", "fe80::1", "0.0.0.0", "::"] {
            assert!(ask(peer, "localhost:9750", &[]).unwrap().contains("loopback only"), "{peer}");
        }
        assert!(refusal(None, &Method::GET, &HeaderMap::new()).is_some());
    }

    #[test]
    fn a_name_that_is_not_the_loopbacks_own_is_refused() {
        for host in ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:9750", "[::1]", "[::1]:9750"] {
            assert_eq!(ask("127.0.0.1", host, &[]), None, "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example:9750",
            "127.0.0.1.evil.example",
            "192.0.2.1:9750",
            "",
            "[::1",
            "[::1]x",
            "::1",
            "0.0.0.0",
            "worker-1:9750",
        ] {
            assert!(ask("127.0.0.1", host, &[]).is_some(), "{host}");
        }
        let nameless = refusal(Some(Peer("127.0.0.1:1".parse().unwrap())), &Method::GET, &HeaderMap::new());
        assert!(nameless.is_some());
    }

    #[test]
    fn other_pages_may_lead_here_and_not_read() {
        let from =
            |site, mode| ask("::1", "localhost", &[("sec-fetch-site", site), ("sec-fetch-mode", mode)]);
        assert_eq!(from("none", "navigate"), None);
        assert_eq!(from("same-origin", "cors"), None);
        assert_eq!(from("cross-site", "navigate"), None);
        for mode in ["no-cors", "cors", "websocket"] {
            assert!(from("cross-site", mode).is_some() && from("same-site", mode).is_some(), "{mode}");
        }
        let peer = Peer("127.0.0.1:1".parse().unwrap());
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "localhost".parse().unwrap());
        assert!(refusal(Some(peer), &Method::POST, &headers).is_some());
    }
}
