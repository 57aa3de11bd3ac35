//! The ways out: Kubernetes Events; gRPC; metrics, the health of the agent and a page for people over HTTP.

pub mod events;
pub mod grpc;
pub mod http;
pub mod metrics;
pub mod web;
