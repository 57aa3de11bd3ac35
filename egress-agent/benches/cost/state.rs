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
        fs::create_dir_all(&folder)?;
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
        list(&folder.join("objects.json"), &objects)?;
        let policies: Vec<String> = (0..policies)
            .map(|number| {
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
            })
            .collect();
        list(&folder.join("policies.json"), &policies)?;
        Ok(folder)
    }
}

fn list(path: &Path, items: &[String]) -> Result<()> {
    let mut text = r#"{"apiVersion":"v1","kind":"List","items":["#.to_owned();
    write!(text, "{}]}}", items.join(",\n"))?;
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
