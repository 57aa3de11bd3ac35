//! The lab's cluster on an API server, for agents that do not read it from files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use egress_apiserver::{Access, ApiServer, Rules};

use crate::lab::Lab;

/// What the agent is installed with.
const MANIFEST: &str = include_str!("../../deploy/base/rbac.yaml");
const USER: &str = "system:serviceaccount:egress-agent:egress-agent";
const TOKEN: &str = "secret";

/// An API server over TLS that holds what the files of a lab's cluster hold.
#[derive(Debug)]
pub struct ApiCluster {
    server: ApiServer,
    kubeconfig: PathBuf,
}

impl ApiCluster {
    /// Starts it; the agent may do what the manifest says.
    pub fn start(lab: &Lab) -> Result<Self> {
        let server = ApiServer::builder().tls().access(access(Self::rules()?)).start_on_thread()?;
        for entry in fs::read_dir(lab.cluster.folder())? {
            server.apply_yaml(&fs::read_to_string(entry?.path())?)?;
        }
        let kubeconfig = lab.folder().join("kubeconfig");
        fs::write(&kubeconfig, server.kubeconfig(TOKEN))?;
        Ok(Self { server, kubeconfig })
    }

    /// The rights of the manifest.
    pub fn rules() -> Result<Rules> {
        Ok(Rules::of_cluster_role("egress-agent", MANIFEST)?)
    }

    /// From now on the agent may do this.
    pub fn allow(&self, rules: Rules) {
        self.server.set_access(access(rules));
    }

    /// The server, to change and to disturb it.
    pub const fn server(&self) -> &ApiServer {
        &self.server
    }

    /// What the agent finds it by.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }
}

fn access(rules: Rules) -> Access {
    Access::default().user(TOKEN, USER, rules)
}
