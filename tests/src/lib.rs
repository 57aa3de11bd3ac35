//! The lab: small clusters out of network namespaces on the real kernel, real traffic and real faults in them, and
//! the scenarios that judge the agent by what it says about them.

pub mod agent;
pub mod api;
pub mod bpf;
pub mod cgroup;
pub mod cleanup;
pub mod client;
pub mod cluster;
pub mod container;
pub mod demo;
pub mod enforce;
pub mod expect;
pub mod harness;
pub mod http2;
pub mod lab;
pub mod netns;
pub mod pki;
pub mod plan;
pub mod process;
pub mod prometheus;
pub mod proxy;
pub mod scenario;
pub mod shell;
pub mod tools;
pub mod topology;
pub mod traffic;
