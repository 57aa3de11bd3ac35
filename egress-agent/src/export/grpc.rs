//! gRPC `egress.v1.EgressAgent`: the server beside health and reflection, and the client that `query` uses.
//! The generated types stop here; behind `convert` there are only our own.

mod address;
mod client;
mod convert;
pub(crate) mod fuzzing;
mod listen;
#[expect(unreachable_pub, reason = "generated code makes everything public; it is used in this module only")]
mod proto;
mod server;
mod service;

pub use address::{Address, AddressError};
pub use client::{AgentClient, ClientError, QueryMessage, QueryMessages, QueryOptions};
pub use convert::ConvertError;
pub use listen::{ListenError, Listener};
pub use server::{ServeError, serve};

#[cfg(test)]
mod tests;
