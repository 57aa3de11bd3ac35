//! The other end's address.

use ipnet::IpNet;

use super::Comparison;
use crate::cluster::IpBlock;
use crate::identity::Endpoint;
use crate::truth::Truth;

/// A range speaks of the address alone, whoever has it.
pub(in crate::policy::kinds) fn compare_range(
    cidr: &IpNet,
    except: &[IpNet],
    other: &Endpoint,
) -> Comparison {
    let Some(ip) = other.address() else {
        return Comparison::new(Truth::Unknown, format!("the address of {} is not known", name(other)));
    };
    if ip.is_ipv4() != cidr.addr().is_ipv4() {
        let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
        return Comparison::new(false, format!("{ip} is {family}"));
    }
    if !cidr.contains(&ip) {
        return Comparison::new(false, format!("{ip} is outside"));
    }
    match except.iter().find(|except| except.contains(&ip)) {
        Some(except) => Comparison::new(false, format!("{ip} is in the excepted {except}")),
        None => Comparison::new(true, format!("{ip} is inside")),
    }
}

/// `10.0.0.0/8 except 10.1.0.0/16`
pub(in crate::policy::kinds) fn describe_block(block: &IpBlock) -> String {
    let IpBlock { cidr, except } = block;
    if except.is_empty() {
        return cidr.to_string();
    }
    let except: Vec<String> = except.iter().map(ToString::to_string).collect();
    format!("{cidr} except {}", except.join(", "))
}

/// The other end, as a person calls it.
pub(in crate::policy::kinds) fn name(other: &Endpoint) -> String {
    match (other.pod_ref(), other.address()) {
        (Some(pod), Some(ip)) => format!("pod {pod} ({ip})"),
        (Some(pod), None) => format!("pod {pod}"),
        (None, Some(ip)) => ip.to_string(),
        (None, None) => "the destination".into(),
    }
}
