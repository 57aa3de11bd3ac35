//! The whole of it against a real HTTP server: what it tells, as the engine would take it in.

mod faults;
mod follow;
mod outage;
mod peers;
mod rights;
mod scale;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use egress_apiserver::ApiServer;
use egress_core::cluster::{ClusterChange, ObjectKind, PodRef};
use egress_core::identity::ClusterIndex;
use egress_core::time::{Mono, Timestamp};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::hub::Hub;
use super::peers::PeerAsker;
use super::{connect, run};
use crate::k8s::SourceEvent;

/// The node of every test.
const NODE: &str = "worker-1";

/// What the engine would know.
#[derive(Debug)]
struct Known {
    index: ClusterIndex,
    problems: Vec<String>,
    /// Addresses that were asked for and answered.
    answered: Vec<IpAddr>,
}

/// An API server that is followed.
struct Followed {
    known: watch::Receiver<Arc<Mutex<Known>>>,
    asker: PeerAsker,
    _task: tokio::task::JoinHandle<()>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self._task.abort();
    }
}

/// Follows with the rights of this token. The clock is that of the runtime: it can be virtual.
async fn follow(server: &ApiServer, token: &str) -> Followed {
    let config = kube::config::Kubeconfig::from_yaml(&server.kubeconfig(token)).unwrap();
    let options = kube::config::KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(config, &options).await.unwrap();
    let config = connect::prepared(config);
    let client = connect::client(&config).unwrap();
    let known = Arc::new(Mutex::new(Known {
        index: ClusterIndex::new(NODE),
        problems: Vec::new(),
        answered: Vec::new(),
    }));
    let (tell, told) = watch::channel(Arc::clone(&known));
    let sink = move |event| {
        let mut held = known.lock().unwrap();
        match event {
            SourceEvent::Changes(changes) => {
                for change in changes {
                    if let ClusterChange::Peer { ip, .. } = &change {
                        held.answered.push(*ip);
                    }
                    held.index.apply(change, Mono(0));
                }
            }
            SourceEvent::Problems(problems) => {
                held.problems = problems.iter().map(ToString::to_string).collect();
            }
        }
        drop(held);
        tell.send_replace(Arc::clone(&known));
    };
    let began = tokio::time::Instant::now();
    let clock = move || Timestamp(1_000_000 + i64::try_from(began.elapsed().as_micros()).unwrap());
    let hub = Arc::new(Hub::new("SERVER", sink, clock));
    let (asker, questions) = super::peers::channel();
    let task = tokio::spawn(async move { run::run(client, NODE, hub, questions).await });
    Followed { known: told, asker, _task: task }
}

impl Followed {
    /// Waits until this holds; what is known otherwise is in the panic of a test that takes too long.
    async fn until(&mut self, what: &str, holds: impl Fn(&Known) -> bool) {
        let reached = self.known.wait_for(|known| holds(&known.lock().unwrap()));
        if tokio::time::timeout(Duration::from_secs(7200), reached).await.is_err() {
            panic!("{what} did not come: {:#?}", self.known.borrow().lock().unwrap());
        }
    }

    async fn until_synced(&mut self) {
        self.until("the first sync", |known| known.index.synced_at().is_some()).await;
    }

    fn look<T>(&self, at: impl Fn(&Known) -> T) -> T {
        at(&self.known.borrow().lock().unwrap())
    }

    fn as_of(&self) -> Timestamp {
        self.look(|known| known.index.synced_at().unwrap())
    }
}

impl Known {
    fn has_pod(&self, name: &str) -> bool {
        self.index.pod("shop", name).is_some()
    }

    /// Policies of which it is known only that they are there.
    fn unevaluated(&self) -> usize {
        let counts = self.index.counts().into_iter();
        counts.filter(|(kind, _)| *kind == ObjectKind::OtherPolicy).map(|(_, count)| count).sum()
    }

    fn has_policy(&self, name: &str) -> bool {
        self.index.network_policy("shop", name).is_some()
    }
}

fn pod(name: &str, ip: &str, node: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "shop", "name": name, "labels": {"app": name},
            "annotations": {"egress-agent.io/netns": "/run/netns/evil"}, "managedFields": [{"manager": "kubelet"}]},
        "spec": {"nodeName": node, "containers": [{"name": "c"}]}, "status": {"podIP": ip, "podIPs": [{"ip": ip}]}})
}

/// A policy that lets the pod labelled so reach one block.
fn policy(name: &str, app: &str, cidr: &str) -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"namespace": "shop", "name": name},
        "spec": {"podSelector": {"matchLabels": {"app": app}}, "policyTypes": ["Egress"],
            "egress": [{"to": [{"ipBlock": {"cidr": cidr}}]}]}})
}

/// A small cluster.
async fn cluster() -> ApiServer {
    let server = ApiServer::start().await.unwrap();
    fill(&server);
    server
}

fn fill(server: &ApiServer) {
    let objects = [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"team": "a"}}}),
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}, "spec": {"podCIDRs": ["10.0.1.0/24"]},
            "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.10"}]}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "web"},
            "spec": {"clusterIPs": ["10.96.0.20"], "ports": [{"port": 80, "protocol": "TCP"}]}}),
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"namespace": "shop", "name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
            "endpoints": [{"addresses": ["10.0.2.5"], "targetRef": {"kind": "Pod", "name": "far", "namespace": "shop"}}],
            "ports": [{"name": "", "port": 8080, "protocol": "TCP"}]}),
        pod("near", "10.0.1.5", NODE),
        pod("far", "10.0.2.5", "worker-2"),
        policy("some", "near", "203.0.113.0/24"),
    ];
    for object in objects {
        server.apply(object).unwrap();
    }
}

/// The pods that are known, for messages.
fn pods(known: &Known) -> Vec<PodRef> {
    known.index.pods().map(|pod| pod.reference()).collect()
}
