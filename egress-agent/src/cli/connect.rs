//! Finding the agent to ask.
//!
//! What the flags name; else, on a node, the agent's socket; else the cluster of the kubeconfig; else the agent's port
//! on the loopback.

use std::path::Path;

use egress_core::cluster::PodRef;

use super::args::ServerArgs;
use super::exit::Failure;
use super::reach;
use crate::export::grpc::{Address, AgentClient, ClientError, ClientTls};
use crate::k8s::reach::has_kubeconfig;

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// One agent: at this address, or at the default ones.
    Agent(Option<Address>),
    /// The agents of a cluster, through its API server.
    Cluster,
}

/// Chooses the way. Only a cluster knows the pods of a `workload`.
pub(super) fn way(args: &ServerArgs, workload: bool) -> Result<Way, Failure> {
    let socket = Address::default_socket();
    let here = matches!(&socket, Address::Unix(path) if present(path));
    choose(args, workload, here, has_kubeconfig())
}

fn choose(args: &ServerArgs, workload: bool, here: bool, kubeconfig: bool) -> Result<Way, Failure> {
    match &args.server {
        Some(_) if workload => Err(Failure::Usage(
            "the pods of a workload are known to the API server and not to one agent: name a pod or ns/NAME, or leave \
             --server out"
                .to_owned(),
        )),
        Some(address) => Ok(Way::Agent(Some(address.clone()))),
        None if args.context.is_some() || args.kubeconfig.is_some() || args.node.is_some() => Ok(Way::Cluster),
        None if workload && !kubeconfig => Err(Failure::Usage(
            "the pods of a workload are known to the API server and not to one agent, and there is no kubeconfig: give \
             --kubeconfig, or name a pod or ns/NAME"
                .to_owned(),
        )),
        None if workload || (kubeconfig && !here) => Ok(Way::Cluster),
        None => Ok(Way::Agent(None)),
    }
}

fn present(socket: &Path) -> bool {
    socket.exists()
}

/// The agent that knows most of a pod, wherever it is; of no pod: any agent.
pub(super) async fn connect(args: &ServerArgs, pod: Option<&PodRef>) -> Result<AgentClient, Failure> {
    match way(args, false)? {
        Way::Agent(at) => to(&at, args).await,
        Way::Cluster => reach::one(args, pod).await,
    }
}

/// Connects to the agent given, or to the one at the default addresses.
pub(super) async fn to(at: &Option<Address>, args: &ServerArgs) -> Result<AgentClient, Failure> {
    if let Some(address) = at {
        let tls = args.tls();
        let tls = tls
            .map(|files| ClientTls::load(&files))
            .transpose()
            .map_err(|error| Failure::Failed(error.to_string()))?;
        return Ok(AgentClient::connect_with(address, tls.as_ref()).await?);
    }
    let (socket, port) = (Address::default_socket(), Address::default_port());
    let socket_error = match AgentClient::connect(&socket).await {
        Ok(client) => return Ok(client),
        Err(ClientError::Unreachable { why, .. }) => why,
        Err(error) => return Err(error.into()),
    };
    match AgentClient::connect(&port).await {
        Ok(client) => Ok(client),
        Err(ClientError::Unreachable { why: port_error, .. }) => {
            Err(Failure::NoDefault { socket, socket_error, port, port_error })
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_first_then_the_node_then_the_kubeconfig_then_the_loopback() {
        let none = ServerArgs::default();
        let server = ServerArgs { server: Some(Address::default_port()), ..ServerArgs::default() };
        let context = ServerArgs { context: Some("prod".into()), ..ServerArgs::default() };
        let agent = Way::Agent(None);
        for (args, workload, here, kubeconfig, expected) in [
            (&server, false, true, true, Way::Agent(Some(Address::default_port()))),
            (&context, false, true, false, Way::Cluster),
            (&none, false, true, true, agent.clone()),
            (&none, true, true, true, Way::Cluster),
            (&none, false, false, true, Way::Cluster),
            (&none, false, false, false, agent),
        ] {
            assert_eq!(choose(args, workload, here, kubeconfig).unwrap(), expected, "{args:?}");
        }
        for (args, kubeconfig) in [(&server, true), (&none, false)] {
            let error = choose(args, true, true, kubeconfig).unwrap_err();
            assert!(matches!(error, Failure::Usage(ref why) if why.contains("API server")), "{error}");
        }
    }
}
