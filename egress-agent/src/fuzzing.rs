//! Doors for the fuzz targets of `tests/fuzz`: every parser here that takes bytes from outside, without what
//! usually brings them (a kernel, a server, files). Nothing else uses them.

use std::path::Path;

use egress_core::cluster::Object;
use egress_core::node::{ConntrackAnswer, FilterChain, NodeNetwork};
use egress_core::verdict::Verdict;

use crate::cli::args::RunArgs;
use crate::export::grpc::fuzzing as grpc;
use crate::netlink::fuzzing as netlink;
use crate::{cli, k8s};

/// Devices, addresses and routes of a netlink datagram.
#[must_use]
pub fn netlink_network(datagram: &[u8]) -> NodeNetwork {
    netlink::decode_network(datagram)
}

/// Conntrack entries of a netlink datagram.
#[must_use]
pub fn netlink_conntrack(datagram: &[u8]) -> Vec<ConntrackAnswer> {
    netlink::decode_conntrack(datagram)
}

/// Chains of nftables that can drop, from a netlink datagram.
#[must_use]
pub fn netlink_nftables(datagram: &[u8]) -> Vec<FilterChain> {
    netlink::decode_nftables(datagram)
}

/// Chains that can drop, from the image of a table of iptables-legacy and what the kernel says of it.
#[must_use]
pub fn iptables_legacy(v6: bool, info: &[u8], image: &[u8]) -> Vec<FilterChain> {
    netlink::decode_legacy(v6, info, image)
}

/// The objects of a manifest, or what is wrong with it, a line each.
pub fn manifest(bytes: Vec<u8>, json: bool) -> Result<Vec<Object>, Vec<String>> {
    let path = Path::new(if json { "manifest.json" } else { "manifest.yaml" });
    k8s::files::parse(path, bytes).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

/// The settings file of `run`; the error has a line for each thing that is wrong, and one above them.
pub fn config(text: &str) -> Result<RunArgs, String> {
    cli::config::parse(text).map_err(|problems| problems.to_string())
}

/// A message of `Query`, as a server reads it: its filter, or the refusal.
pub fn query_request(message: &[u8]) -> Option<Result<egress_core::history::Filter, String>> {
    grpc::query_request(message)
}

/// A message of `Explain`, as a server reads it and writes it again.
pub fn explain_request(message: &[u8]) -> Option<Result<(), String>> {
    grpc::explain_request(message)
}

/// An answer of `Explain`, as a client reads it.
pub fn explain_answer(message: &[u8]) -> Option<Result<(), String>> {
    grpc::explain_answer(message)
}

/// A verdict, as a client reads it.
pub fn verdict_answer(message: &[u8]) -> Option<Result<Verdict, String>> {
    grpc::verdict(message)
}

/// A verdict, as a server sends it.
#[must_use]
pub fn verdict_message(verdict: &Verdict) -> Vec<u8> {
    grpc::verdict_message(verdict)
}

/// A verdict as a person reads it in a terminal of this width.
#[must_use]
pub fn rendered(verdict: &Verdict, width: usize) -> String {
    cli::rendered(verdict, width)
}
