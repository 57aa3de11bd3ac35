//! The ways out: gRPC, metrics and the health of the agent over HTTP.

pub mod grpc;
pub mod http;
pub mod metrics;
