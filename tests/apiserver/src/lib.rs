//! A Kubernetes API server for tests, in this process: real HTTP/1.1 on the loopback, so that the real client code
//! runs against it. It stores whatever it is given, lists and watches as the API server does (resource versions,
//! pages, bookmarks, streaming lists, 410 Gone), answers discovery, forwards ports of pods over WebSocket, knows
//! bearer tokens and ClusterRoles, and fails on demand. What was asked of it is counted.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use egress_apiserver::{ApiServer, Fault};
//! use serde_json::json;
//!
//! let server = ApiServer::start().await?;
//! server.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})).unwrap();
//! server.fault(Fault::forbidden("list", "networkpolicies"));
//! // … a client at server.url() …
//! server.requested("list", "networkpolicies", 1).await;
//! # Ok(()) }
//! ```
//!
//! Objects are JSON as it was sent: nothing is defaulted or validated, so that a test can store what a newer or a
//! broken cluster would hold. Each version of a group is a store of its own (there is no conversion).

mod access;
mod answer;
mod certificate;
mod connections;
mod discovery;
mod fault;
mod kinds;
mod list;
mod portforward;
mod request;
mod requests;
mod select;
mod server;
mod status;
mod store;
mod watch;
mod write;

pub use access::{Access, Rules, RulesError};
pub use fault::{Disturbance, Fault};
pub use portforward::Target;
pub use server::{ApiServer, Builder};
pub use store::StoreError;
