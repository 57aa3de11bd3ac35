//! Finding the agent to ask.

use super::args::ServerArgs;
use super::exit::Failure;
use crate::export::grpc::{Address, AgentClient, ClientError};

/// Connects to the agent given, or to the one at the default addresses.
pub(super) async fn connect(args: &ServerArgs) -> Result<AgentClient, Failure> {
    if let Some(address) = &args.server {
        return Ok(AgentClient::connect(address).await?);
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
