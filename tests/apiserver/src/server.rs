//! The server, as a test holds it.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};

use crate::access::Access;
use crate::answer::Shared;
use crate::certificate::Certificate;
use crate::connections;
use crate::fault::{Disturbance, Fault, Faults};
use crate::kinds::{self, Kind};
use crate::portforward::{Target, Targets};
use crate::requests::Requests;
use crate::store::{Store, StoreError};

/// Disturbances that a watch may be behind with.
const DISTURBANCES: usize = 256;

/// A running API server; it stops when dropped.
#[derive(Debug)]
pub struct ApiServer {
    address: SocketAddr,
    authority: Option<String>,
    shared: Arc<Shared>,
    reachable: watch::Sender<bool>,
    /// The thread it runs on, where it has one of its own. Ends when told by `reachable`.
    _thread: Option<std::thread::JoinHandle<()>>,
}

/// How a server is to be.
#[derive(Clone, Debug)]
pub struct Builder {
    listen: SocketAddr,
    tls: bool,
    access: Access,
}

impl Default for Builder {
    fn default() -> Self {
        let listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        Self { listen, tls: false, access: Access::default() }
    }
}

impl Builder {
    /// Where it listens; a free port of the loopback otherwise.
    #[must_use]
    pub const fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Speaks TLS, with a certificate of an authority of its own ([`ApiServer::authority`]).
    #[must_use]
    pub const fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Who may do what; everybody everything otherwise.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Starts it on the runtime of the caller.
    ///
    /// # Errors
    /// The address cannot be had.
    pub async fn start(self) -> io::Result<ApiServer> {
        let listener = TcpListener::bind(self.listen).await?;
        let (server, serve) = self.prepare(listener)?;
        tokio::spawn(serve);
        Ok(server)
    }

    /// Starts it on a thread of its own, for callers without a runtime.
    ///
    /// # Errors
    /// The address or the thread cannot be had.
    pub fn start_on_thread(self) -> io::Result<ApiServer> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(self.listen))?;
        let (mut server, serve) = self.prepare(listener)?;
        let thread = std::thread::Builder::new().name("apiserver".to_owned());
        server._thread = Some(thread.spawn(move || runtime.block_on(serve))?);
        Ok(server)
    }

    fn prepare(
        self,
        listener: TcpListener,
    ) -> io::Result<(ApiServer, impl Future<Output = ()> + Send + use<>)> {
        let address = listener.local_addr()?;
        let certificate = self.tls.then(|| Certificate::create(address.ip())).transpose()?;
        let shared = Arc::new(Shared {
            store: Arc::new(Mutex::new(Store::new())),
            access: Mutex::new(self.access),
            faults: Faults::default(),
            requests: Requests::new(),
            targets: Targets::default(),
            disturbances: broadcast::Sender::new(DISTURBANCES),
        });
        let (reachable, told) = watch::channel(true);
        let (tls, authority) = certificate.map(|c| (c.config, c.authority_pem)).unzip();
        let serve = connections::serve(listener, tls, Arc::clone(&shared), told);
        Ok((ApiServer { address, authority, shared, reachable, _thread: None }, serve))
    }
}

impl ApiServer {
    /// A server over plain HTTP on a free port of the loopback, that lets everybody do everything.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start() -> io::Result<Self> {
        Builder::default().start().await
    }

    /// How it is to be, in detail.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// PEM of the authority that clients must trust, where it speaks TLS.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    /// A kubeconfig for this server and the user of this token (empty: none), as JSON, which is YAML too.
    #[must_use]
    pub fn kubeconfig(&self, token: &str) -> String {
        let mut cluster = json!({"server": self.url()});
        if let Some(authority) = &self.authority {
            cluster["certificate-authority-data"] = base64(authority.as_bytes()).into();
        }
        let user = if token.is_empty() { json!({}) } else { json!({"token": token}) };
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        });
        config.to_string()
    }

    /// Serves another kind, as after its CustomResourceDefinition was applied.
    pub fn define(&self, api_version: &str, plural: &str, kind: &str, namespaced: bool) {
        let kind = Kind { kind: kind.to_owned(), namespaced };
        self.shared.store().define(kinds::resource(api_version, plural), kind);
    }

    /// Serves a kind no longer; its objects are gone.
    pub fn undefine(&self, api_version: &str, plural: &str) {
        self.shared.store().undefine(&kinds::resource(api_version, plural));
    }

    /// Creates or replaces an object as it is, and gives its version.
    ///
    /// # Errors
    /// It has no name, or nothing serves its kind.
    pub fn apply(&self, object: Value) -> Result<u64, StoreError> {
        let mut store = self.shared.store();
        let (resource, key) = store.place(&object)?;
        store.put(&resource, key, object);
        Ok(store.version())
    }

    /// Creates or replaces every object of a YAML text; lists are taken apart.
    ///
    /// # Errors
    /// As [`ApiServer::apply`]; text that is no YAML.
    pub fn apply_yaml(&self, text: &str) -> io::Result<usize> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(io::Error::other)?;
        let mut count = 0;
        for document in documents.into_iter().filter(|document| !document.is_null()) {
            let objects = match document {
                Value::Object(mut list) if list.get("items").is_some_and(Value::is_array) => {
                    let Some(Value::Array(items)) = list.remove("items") else { continue };
                    items
                }
                other => vec![other],
            };
            for object in objects {
                self.apply(object).map_err(io::Error::other)?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Deletes an object; whether it was there. The namespace is empty for objects of the cluster.
    #[must_use]
    pub fn delete(&self, api_version: &str, plural: &str, namespace: &str, name: &str) -> bool {
        let key = (namespace.to_owned(), name.to_owned());
        self.shared.store().delete(&kinds::resource(api_version, plural), &key).is_some()
    }

    /// An object as it is stored.
    #[must_use]
    pub fn get(&self, api_version: &str, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = (namespace.to_owned(), name.to_owned());
        self.shared.store().get(&kinds::resource(api_version, plural), &key).map(|object| (**object).clone())
    }

    /// All objects of a resource.
    #[must_use]
    pub fn list(&self, api_version: &str, plural: &str) -> Vec<Value> {
        let resource = kinds::resource(api_version, plural);
        self.shared.store().list(&resource).map(|(_, object)| (**object).clone()).collect()
    }

    /// The newest version of anything.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.shared.store().version()
    }

    /// Forgets old versions: who asks for changes since one of them gets 410 Gone.
    pub fn compact(&self) {
        self.shared.store().compact();
    }

    /// Who may do what from now on.
    pub fn set_access(&self, access: Access) {
        *self.shared.access.lock().unwrap_or_else(PoisonError::into_inner) = access;
    }

    /// From now on requests fail so.
    pub fn fault(&self, fault: Fault) {
        self.shared.faults.add(fault);
    }

    /// No request fails any more.
    pub fn heal(&self) {
        self.shared.faults.clear();
    }

    /// Disturbs the open watches of a resource (`*`: all of them).
    pub fn disturb(&self, resource: &str, disturbance: Disturbance) {
        // Without open watches there is nothing to disturb.
        let _ = self.shared.disturbances.send((resource.to_owned(), disturbance));
    }

    /// Out of reach: every connection breaks, and new ones are reset (and counted, as `connect` of nothing).
    pub fn begin_outage(&self) {
        self.reachable.send_replace(false);
    }

    /// In reach again.
    pub fn end_outage(&self) {
        self.reachable.send_replace(true);
    }

    /// Where a port of a pod really is, for `pods/portforward`.
    pub fn forward(&self, namespace: &str, pod: &str, port: u16, target: Target) {
        self.shared.targets.insert(namespace, pod, port, target);
    }

    /// Nothing listens in this pod any more.
    pub fn forward_nowhere(&self, namespace: &str, pod: &str) {
        self.shared.targets.remove(namespace, pod);
    }

    /// How often this was asked; `*` stands for every verb or every resource. A subresource is `pods/portforward`.
    #[must_use]
    pub fn count(&self, verb: &str, resource: &str) -> u64 {
        self.shared.requests.count(verb, resource)
    }

    /// Everything that was asked, by verb and resource.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<(String, String), u64> {
        self.shared.requests.all()
    }

    /// Every refusal (401, 403) so far, as it was worded.
    #[must_use]
    pub fn refusals(&self) -> Vec<String> {
        self.shared.requests.refused()
    }

    /// Waits until this was asked so often.
    pub async fn requested(&self, verb: &str, resource: &str, at_least: u64) {
        self.shared.requests.reached(verb, resource, at_least).await;
    }
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let of = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = of(0) << 16 | of(1) << 8 | of(2);
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_pads() {
        let table = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (text, expected) in table {
            assert_eq!(super::base64(text.as_bytes()), expected);
        }
    }
}
