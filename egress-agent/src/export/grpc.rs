//! gRPC `egress.v1.EgressAgent`: the server beside health and reflection, and the client that `query` uses.
//! The generated types stop here; behind `convert` there are only our own.

mod accept;
mod address;
mod bytes;
mod client;
mod convert;
pub(crate) mod fuzzing;
mod handshakes;
mod listen;
#[expect(unreachable_pub, reason = "generated code makes everything public; it is used in this module only")]
mod proto;
mod server;
mod service;
mod tls;

pub use address::{Address, AddressError};
pub use bytes::{DecodeError, decode_verdict, encode_verdict};
pub use client::{AgentClient, ClientError, QueryMessage, QueryMessages, QueryOptions};
pub use convert::ConvertError;
pub use listen::{ListenError, Listener};
pub use server::{ServeError, serve};
pub use tls::{ClientTls, ClientTlsFiles, ServerTls, TlsError, TlsFiles};

#[cfg(test)]
mod tests;
