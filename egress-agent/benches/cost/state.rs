//! A cluster's objects as files.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::site::pod_ip;

/// Name of the node.
pub(crate) const NODE: &str = "bench-node";
/// NetworkPolicies of the large cluster, in a hundred namespaces.
pub(crate) const POLICIES: u32 = 10_000;

/// Folders of manifests.
#[derive(Debug)]
pub(crate) struct State {
    folder: TempDir,
}

impl State {
    /// An empty folder.
    pub(crate) fn create() -> Result<Self> {
        Ok(Self { folder: tempfile::tempdir().context("a folder for manifests")? })
    }

    /// Where other files may lie.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// So many pods on the node and so many policies; pods have neighbours on another node, as in a cluster.
    pub(crate) fn write(&self, pods: u32, policies: u32) -> Result<PathBuf> {
        let folder = self.folder.path().join(format!("cluster-{pods}-{policies}"));
        list(&folder, "objects", &objects(pods))?;
        let policies: Vec<String> = (0..policies).map(network_policy).collect();
        list(&folder, "policies", &policies)?;
        Ok(folder)
    }

    /// The same with policies of Calico's, which select a thousand network sets of ten nets each.
    pub(crate) fn write_calico(&self, pods: u32, policies: u32) -> Result<PathBuf> {
        let folder = self.folder.path().join(format!("calico-{pods}-{policies}"));
        list(&folder, "objects", &objects(pods))?;
        let policies: Vec<String> = (0..policies).map(calico_policy).collect();
        list(&folder, "policies", &policies)?;
        let sets: Vec<String> = (0..1000).map(network_set).collect();
        list(&folder, "sets", &sets)?;
        Ok(folder)
    }
}

fn objects(pods: u32) -> Vec<String> {
    let mut objects = Vec::new();
    objects.push(format!(
            r#"{{"apiVersion":"v1","kind":"Node","metadata":{{"name":"{NODE}"}},"spec":{{"podCIDR":"10.99.0.0/16"}},
               "status":{{"addresses":[{{"type":"InternalIP","address":"192.0.2.1"}}]}}}}"#
        ));
    for number in 0..100 {
        objects.push(format!(
            r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"ns-{number}"}},
                   "status":{{"phase":"Active"}}}}"#
        ));
    }
    for number in 0..pods {
        let ip = pod_ip(number);
        objects.push(format!(
                r#"{{"apiVersion":"v1","kind":"Pod",
                   "metadata":{{"name":"pod-{number}","namespace":"ns-{}","uid":"uid-{number}",
                     "labels":{{"app":"app-{number}","env":"prod","pod-template-hash":"7d4b9c6f8"}}}},
                   "spec":{{"nodeName":"{NODE}","containers":[{{"name":"main","image":"example.com/main:1"}}]}},
                   "status":{{"phase":"Running","podIP":"{ip}","podIPs":[{{"ip":"{ip}"}}],"hostIP":"192.0.2.1",
                     "conditions":[{{"type":"Ready","status":"True"}}]}}}}"#,
                number % 100
            ));
    }
    objects
}

fn network_policy(number: u32) -> String {
    format!(
        r#"{{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy",
           "metadata":{{"name":"p-{number}","namespace":"ns-{}"}},
           "spec":{{"podSelector":{{"matchLabels":{{"env":"prod","app":"app-{number}"}}}},
             "policyTypes":["Egress"],
             "egress":[{{"to":[{{"podSelector":{{"matchLabels":{{"app":"db"}}}}}},
                               {{"ipBlock":{{"cidr":"10.0.0.0/8"}}}}],
                         "ports":[{{"protocol":"TCP","port":5432}}]}},
                       {{"ports":[{{"protocol":"UDP","port":53}}]}}]}}}}"#,
        number % 100
    )
}

/// Rules for network sets, so that the sets of the destination count.
fn calico_policy(number: u32) -> String {
    format!(
        r#"{{"apiVersion":"projectcalico.org/v3","kind":"NetworkPolicy",
           "metadata":{{"name":"p-{number}","namespace":"ns-{}"}},
           "spec":{{"selector":"env == 'prod' && app == 'app-{number}'","order":{number},"types":["Egress"],
             "egress":[{{"action":"Allow","protocol":"TCP",
                         "destination":{{"selector":"app == 'db'","ports":[5432]}}}},
                       {{"action":"Allow","protocol":"TCP",
                         "destination":{{"selector":"set == 'set-{}'","namespaceSelector":"global()"}}}},
                       {{"action":"Allow","protocol":"UDP","destination":{{"ports":[53]}}}}]}}}}"#,
        number % 100,
        number % 1000
    )
}

fn network_set(number: u32) -> String {
    let nets: Vec<String> = (0..10)
        .map(|net| format!(r#""172.{}.{}.{}/32""#, 16 + net, number / 250, 1 + number % 250))
        .collect();
    format!(
        r#"{{"apiVersion":"projectcalico.org/v3","kind":"GlobalNetworkSet",
           "metadata":{{"name":"set-{number}","labels":{{"set":"set-{number}"}}}},
           "spec":{{"nets":[{}]}}}}"#,
        nets.join(",")
    )
}

fn list(folder: &Path, name: &str, items: &[String]) -> Result<()> {
    fs::create_dir_all(folder)?;
    let path = folder.join(format!("{name}.json"));
    let mut text = r#"{"apiVersion":"v1","kind":"List","items":["#.to_owned();
    write!(text, "{}]}}", items.join(",\n"))?;
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}
