//! The objects of the lab's cluster as files that an agent reads and watches instead of an API server.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::plan::{self, BRIDGE, COREDNS, DNS_SERVICE, NODE, NODE_NAME, NODE_PODS_V4, NODE_PODS_V6};
use crate::topology::PodNetns;

/// A folder of manifests.
#[derive(Debug)]
pub struct ClusterState {
    folder: PathBuf,
}

impl ClusterState {
    /// Writes namespaces, node, pods, the DNS Service and its endpoints.
    pub(crate) fn create(folder: PathBuf, pods: &[PodNetns]) -> Result<Self> {
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let state = Self { folder };
        state.write("namespaces.json", &list(vec![namespace(plan::NAMESPACE), namespace("kube-system")]))?;
        state.write("nodes.json", &list(vec![node()]))?;
        state.write("pods.json", &list(pods.iter().map(pod).collect()))?;
        state.write(
            "services.json",
            &list(vec![
                dns_service(),
                dns_endpoints("IPv4", COREDNS.v4.into()),
                dns_endpoints("IPv6", COREDNS.v6.into()),
            ]),
        )?;
        Ok(state)
    }

    /// The folder to give to `--cluster-state`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Adds or replaces a file of JSON.
    pub fn write(&self, file: &str, content: &Value) -> Result<()> {
        self.write_text(file, &serde_json::to_string_pretty(content)?)
    }

    /// Adds or replaces a file, at once: a reader sees the old one or the new one.
    pub fn write_text(&self, file: &str, content: &str) -> Result<()> {
        let new = self.folder.with_extension("new");
        let path = self.folder.join(file);
        fs::write(&new, content).with_context(|| format!("writing {}", new.display()))?;
        fs::rename(&new, &path).with_context(|| format!("writing {}", path.display()))
    }

    /// Changes the object of a pod: its spec, annotations or status.
    pub fn change_pod(&self, name: &str, change: impl FnOnce(&mut Value)) -> Result<()> {
        let path = self.folder.join("pods.json");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let mut all: Value = serde_json::from_str(&text)?;
        let pod = all["items"].as_array_mut().and_then(|pods| {
            pods.iter_mut().find(|pod| pod.pointer("/metadata/name").is_some_and(|found| found == name))
        });
        change(pod.with_context(|| format!("there is no pod {name}"))?);
        self.write("pods.json", &all)
    }

    /// Removes a file.
    pub fn remove(&self, file: &str) -> Result<()> {
        let path = self.folder.join(file);
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))
    }

    /// Adds or replaces a NetworkPolicy of namespace `default`; `spec` is its `spec`.
    pub fn policy(&self, name: &str, spec: Value) -> Result<()> {
        self.write(
            &format!("policy-{name}.json"),
            &json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                "metadata": {"name": name, "namespace": plan::NAMESPACE},
                "spec": spec,
            }),
        )
    }

    /// Adds or replaces Service `default/web` at [`plan::SERVICE`] with what belongs to it: `spec` goes into its
    /// `spec`; its EndpointSlices hold these endpoints (IPv4 and IPv6) under these ports.
    pub fn service(&self, spec: &Value, endpoints: &[Value], ports: &Value) -> Result<()> {
        self.write("service-web.json", &list(service_web(spec, endpoints, ports)))
    }

    /// Adds or replaces a pod of namespace `default` that runs nowhere in the lab.
    pub fn pod_elsewhere(&self, name: &str, labels: Value, ports: Value, status: Value) -> Result<()> {
        self.write(
            &format!("pod-{name}.json"),
            &json!({"apiVersion": "v1", "kind": "Pod",
                    "metadata": {"name": name, "namespace": plan::NAMESPACE, "uid": format!("uid-{name}"),
                                 "labels": labels},
                    "spec": {"nodeName": "worker-2",
                             "containers": [{"name": "web", "image": "example.com/web:1", "ports": ports}]},
                    "status": status}),
        )
    }

    /// `deny-all-egress`: isolates the client for egress and admits nothing.
    pub fn deny_all_egress(&self) -> Result<()> {
        self.policy(
            "deny-all-egress",
            json!({"podSelector": {"matchLabels": {"app": "firewall-test"}}, "policyTypes": ["Egress"]}),
        )
    }

    /// `dns-only`: isolates the client for egress and admits its DNS questions.
    pub fn allow_only_dns(&self) -> Result<()> {
        self.policy(
            "dns-only",
            json!({"podSelector": {"matchLabels": {"app": "firewall-test"}}, "policyTypes": ["Egress"],
                   "egress": [{"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}]}),
        )
    }

    /// `web-only`: isolates the client for egress and admits TCP 443 to anywhere, so no DNS.
    pub fn allow_only_web(&self) -> Result<()> {
        self.policy(
            "web-only",
            json!({"podSelector": {"matchLabels": {"app": "firewall-test"}}, "policyTypes": ["Egress"],
                   "egress": [{"ports": [{"protocol": "TCP", "port": 443}]}]}),
        )
    }

    /// `deny-all-ingress`: isolates the server for ingress and admits nothing.
    pub fn deny_all_ingress(&self) -> Result<()> {
        self.policy(
            "deny-all-ingress",
            json!({"podSelector": {"matchLabels": {"app": "api-server"}}, "policyTypes": ["Ingress"]}),
        )
    }
}

fn list(items: Vec<Value>) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace",
           "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
           "status": {"phase": "Active"}})
}

fn node() -> Value {
    json!({"apiVersion": "v1", "kind": "Node",
           "metadata": {"name": NODE_NAME, "labels": {"kubernetes.io/hostname": NODE_NAME}},
           "spec": {"podCIDR": NODE_PODS_V4, "podCIDRs": [NODE_PODS_V4, NODE_PODS_V6]},
           "status": {"addresses": [
               {"type": "InternalIP", "address": NODE.v4},
               {"type": "InternalIP", "address": NODE.v6},
               {"type": "InternalIP", "address": BRIDGE.v4},
               {"type": "Hostname", "address": NODE_NAME}]}})
}

/// A pod of the lab: ready, owned by a ReplicaSet of a Deployment of its name, its namespace given by path.
fn pod(pod: &PodNetns) -> Value {
    let PodNetns { name, namespace, ips, netns, .. } = pod;
    let hash = "7d4b9c6f8";
    let app = match *name {
        "api-client" => "firewall-test",
        other => other,
    };
    let ports = match *name {
        "coredns" => json!([{"name": "dns", "containerPort": 53, "protocol": "UDP"},
                            {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"}]),
        "api-server" => json!([{"name": "http", "containerPort": 8080, "protocol": "TCP"}]),
        _ => json!([]),
    };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": namespace,
            "uid": format!("00000000-0000-4000-8000-{:012}", ips.v4.octets()[3]),
            "labels": {"app": app, "k8s-app": name, "pod-template-hash": hash},
            "annotations": {"egress-agent.io/netns": netns.path()},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{name}-{hash}"),
                                 "uid": "00000000-0000-4000-8000-000000000000", "controller": true}],
        },
        "spec": {"nodeName": NODE_NAME,
                 "containers": [{"name": name, "image": format!("example.com/{name}:1"), "ports": ports}]},
        "status": {"phase": "Running", "podIP": ips.v4, "podIPs": [{"ip": ips.v4}, {"ip": ips.v6}],
                   "hostIP": NODE.v4, "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

fn dns_service() -> Value {
    json!({"apiVersion": "v1", "kind": "Service",
           "metadata": {"name": "kube-dns", "namespace": "kube-system"},
           "spec": {"clusterIP": DNS_SERVICE.v4, "clusterIPs": [DNS_SERVICE.v4, DNS_SERVICE.v6],
                    "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "PreferDualStack",
                    "selector": {"k8s-app": "coredns"},
                    "ports": [{"name": "dns", "port": 53, "targetPort": 53, "protocol": "UDP"},
                              {"name": "dns-tcp", "port": 53, "targetPort": 53, "protocol": "TCP"}]}})
}

fn service_web(spec: &Value, endpoints: &[Value], ports: &Value) -> Vec<Value> {
    let mut full = json!({"clusterIP": plan::SERVICE.v4, "clusterIPs": [plan::SERVICE.v4, plan::SERVICE.v6],
                          "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "PreferDualStack"});
    if let (Value::Object(full), Value::Object(given)) = (&mut full, spec) {
        full.extend(given.clone());
    }
    let service = json!({"apiVersion": "v1", "kind": "Service",
                         "metadata": {"name": "web", "namespace": plan::NAMESPACE}, "spec": full});
    let is_v4 = |endpoint: &&Value| endpoint["addresses"][0].as_str().is_some_and(|ip| ip.contains('.'));
    let slices = [("IPv4", true), ("IPv6", false)].map(|(family, v4)| {
        let held: Vec<_> = endpoints.iter().filter(|endpoint| is_v4(endpoint) == v4).collect();
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
               "metadata": {"name": format!("web-{}", family.to_lowercase()), "namespace": plan::NAMESPACE,
                            "labels": {"kubernetes.io/service-name": "web"}},
               "endpoints": held, "ports": ports})
    });
    std::iter::once(service).chain(slices).collect()
}

fn dns_endpoints(family: &str, ip: std::net::IpAddr) -> Value {
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
           "metadata": {"name": format!("kube-dns-{}", family.to_lowercase()), "namespace": "kube-system",
                        "labels": {"kubernetes.io/service-name": "kube-dns"}},
           "endpoints": [{"addresses": [ip], "nodeName": NODE_NAME,
                          "conditions": {"ready": true, "serving": true, "terminating": false},
                          "targetRef": {"kind": "Pod", "namespace": "kube-system", "name": "coredns"}}],
           "ports": [{"name": "dns", "port": 53, "protocol": "UDP"},
                     {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]})
}
