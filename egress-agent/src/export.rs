//! The ways out: gRPC; metrics, the health of the agent and a page for people over HTTP.

pub mod grpc;
pub mod http;
pub mod metrics;
pub mod web;
