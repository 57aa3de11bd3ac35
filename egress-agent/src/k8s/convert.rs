//! Kubernetes objects into the types of `egress_core::cluster`, validated as the API server would.
//!
//! A converter reports what is wrong in [`Errors`] and goes on, so that all errors of an object are told at once.
//! What it returns then is not to be used.

mod calico;
mod cilium;
mod endpoints;
mod field;
mod identity;
mod item;
mod pod;
mod policy;
mod selector;
mod service;
#[cfg(test)]
mod tests;
mod tiered;

pub use calico::{
    calico_global_network_set, calico_global_policy, calico_network_set, calico_policy, calico_tier,
};
pub use cilium::{cilium_cidr_group, cilium_clusterwide_network_policy, cilium_network_policy};
pub use endpoints::endpoint_slice;
pub use field::{Errors, FieldError};
pub use identity::{namespace, node};
pub use item::{Invalid, Item, Origin, item, named};
pub use pod::pod;
pub use policy::network_policy;
pub use service::service;
pub use tiered::{admin_network_policy, baseline_admin_network_policy, cluster_network_policy};

use std::net::IpAddr;

use egress_core::protocol::Protocol;
use field::Field;
use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The namespace of objects that name none.
const DEFAULT_NAMESPACE: &str = "default";
/// Every namespace carries its name under this label.
pub(super) const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Namespace and name of a namespaced object.
fn names(metadata: &mut ObjectMeta, errors: &mut Errors) -> (String, String) {
    let namespace = metadata.namespace.take().filter(|namespace| !namespace.is_empty());
    (namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()), name(metadata, errors))
}

fn name(metadata: &mut ObjectMeta, errors: &mut Errors) -> String {
    let name = metadata.name.take().unwrap_or_default();
    if name.is_empty() {
        errors.add(&Field::root("metadata").then("name"), "is missing");
    }
    name
}

/// What is kept of a list takes no more room than it needs: there are many, and they are kept for long.
fn compact<T>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    items.shrink_to_fit();
    items
}

/// An address.
fn ip(text: &str, at: &Field<'_>, errors: &mut Errors) -> Option<IpAddr> {
    errors.check(at, text.parse().map_err(|_| format!("\"{text}\" is not an IP address")))
}

/// A CIDR; bits beyond the prefix are cleared.
fn cidr(text: &str, at: &Field<'_>, errors: &mut Errors) -> Option<IpNet> {
    let parsed = text.parse::<IpNet>().map(|net| net.trunc());
    errors.check(
        at,
        parsed.map_err(|_| format!("\"{text}\" is not a CIDR such as 10.0.0.0/8 or 2001:db8::/32")),
    )
}

/// A port number, 1 to 65535.
fn port(number: i32, at: &Field<'_>, errors: &mut Errors) -> Option<u16> {
    let port = u16::try_from(number).ok().filter(|port| *port > 0);
    errors.check(at, port.ok_or_else(|| format!("{number} is not a port number (1 to 65535)")))
}

/// `protocol`, TCP by default.
fn protocol(text: Option<&str>, at: &Field<'_>, errors: &mut Errors) -> Protocol {
    let protocol = match text {
        None | Some("" | "TCP") => Ok(Protocol::Tcp),
        Some("UDP") => Ok(Protocol::Udp),
        Some("SCTP") => Ok(Protocol::Sctp),
        Some(other) => Err(format!("\"{other}\" is none of TCP, UDP, SCTP")),
    };
    errors.check(at, protocol).unwrap_or(Protocol::Other)
}

/// Whether a text can name a port: up to 15 of `a-z0-9-`, a letter among them (`IsValidPortName` of
/// `k8s.io/apimachinery/pkg/util/validation`).
fn is_port_name(text: &str) -> bool {
    text.len() <= 15
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && text.bytes().any(|b| b.is_ascii_lowercase())
        && !text.contains("--")
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// A port name.
fn port_name(text: String, at: &Field<'_>, errors: &mut Errors) -> Option<String> {
    let valid = is_port_name(&text);
    let message = || format!("\"{text}\" is neither a port number nor a port name");
    errors.check(at, if valid { Ok(()) } else { Err(message()) })?;
    Some(text)
}
