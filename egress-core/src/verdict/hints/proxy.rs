//! The proxy that the pod's spec sets: it was gone around, or it is itself what does not answer, or others use one.

mod bypass;
mod setting;

use std::sync::Arc;

use super::Surroundings;
use crate::cluster::Pod;
use crate::flow::Outcome;
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Direction, PeerKind};

use bypass::Cover;
use setting::{Setting, Variable};

pub(super) fn hint(case: &Case<'_>, judgement: &mut Judgement, around: &Surroundings<'_>) {
    if case.direction != Direction::Egress {
        return;
    }
    let Some(pod) = &case.pod.pod else { return };
    let settings = setting::of(pod);
    if let Some(setting) = settings.iter().find(|setting| is_proxy(case, setting)) {
        dials(judgement, setting);
    } else if judgement.cause == Cause::DnsFailure || case.protocol() != crate::protocol::Protocol::Tcp {
        // Only TCP goes by a proxy.
    } else if case.peer.kind != PeerKind::External {
        // The cluster's own addresses are meant to be reached directly.
    } else if settings.iter().any(|setting| setting.variable != Variable::No) {
        around_it(case, judgement, &settings, pod);
    } else {
        others(case, judgement, pod, around);
    }
}

/// Whether the other end (or the name that was asked for) is the proxy.
fn is_proxy(case: &Case<'_>, setting: &Setting) -> bool {
    if setting.variable == Variable::No {
        return false;
    }
    if let Outcome::Dns(failure) = &case.event.outcome {
        return setting.is_named(&failure.name);
    }
    let to = case.event.client.destination;
    if case.protocol() != crate::protocol::Protocol::Tcp || !setting.ports().contains(&to.port) {
        return false;
    }
    let service = case.peer.service.as_ref().map(|service| service.reference());
    setting.host.parse() == Ok(to.ip)
        || case.name.as_deref().is_some_and(|name| setting.is_named(name))
        || service.is_some_and(|service| {
            let home = case.pod.pod.as_ref().map_or("", |pod| pod.namespace.as_str());
            let names = [
                format!("{}.{}.svc.cluster.local", service.name, service.namespace),
                format!("{}.{}.svc", service.name, service.namespace),
                format!("{}.{}", service.name, service.namespace),
            ];
            names.iter().any(|name| setting.host.eq_ignore_ascii_case(name))
                || (service.namespace == home && setting.host.eq_ignore_ascii_case(&service.name))
        })
}

/// The proxy itself is what fails.
fn dials(judgement: &mut Judgement, setting: &Setting) {
    note(judgement, setting, "dialled");
    judgement.hints.push(format!(
        "this is the proxy that {} of container {} names ({}): all that the container sends out by it fails, whatever \
         it asks for",
        setting.name,
        setting.container,
        setting.shown()
    ));
}

/// A proxy is set, and the connection went to its target directly.
fn around_it(case: &Case<'_>, judgement: &mut Judgement, settings: &[Setting], pod: &Arc<Pod>) {
    let port = case.event.client.destination.port;
    let wanted = match port {
        443 | 8443 | 9443 => Variable::Https,
        80 | 8000 | 8080 => Variable::Http,
        _ => Variable::All,
    };
    let fits = |variable| settings.iter().find(|setting| setting.variable == variable);
    let Some(setting) = fits(wanted).or_else(|| fits(Variable::All)) else { return };
    let exempt =
        settings.iter().find(|other| other.variable == Variable::No && other.container == setting.container);
    let ip = case.event.client.destination.ip;
    let cover =
        exempt.map_or(Cover::No, |exempt| bypass::covers(&exempt.host, case.name.as_deref(), ip, port));
    note(judgement, setting, "bypassed");
    judgement.detail.insert("no_proxy".to_owned(), cover.as_str().into());
    let several = if pod.containers.len() > 1 {
        format!(" for container {}", setting.container)
    } else {
        String::new()
    };
    let begin = format!(
        "the pod's spec sets {}={}{several}, and this connection went around it to {} directly",
        setting.name,
        setting.shown(),
        case.address()
    );
    judgement.hints.push(match cover {
        Cover::By(entry) => format!("{begin}: NO_PROXY covers it (\"{entry}\"), so that is as configured"),
        Cover::No => format!(
            "{begin}, although NO_PROXY does not cover it: the program does not honour {} or sets its own client",
            setting.name
        ),
        Cover::Unknown => format!(
            "{begin}; whether NO_PROXY covers it is not known, because the name it was dialled by is not known"
        ),
    });
}

/// No proxy is set, and others of this node use one.
fn others(case: &Case<'_>, judgement: &mut Judgement, pod: &Arc<Pod>, around: &Surroundings<'_>) {
    let beyond = matches!(
        judgement.cause,
        Cause::UpstreamTimeout
            | Cause::UpstreamRefused
            | Cause::UpstreamUnreachable
            | Cause::UpstreamReset
            | Cause::PolicyDrop
            | Cause::FirewallDrop
    );
    let web = matches!(case.event.client.destination.port, 80 | 443 | 8000 | 8080 | 8443 | 9443);
    // A node whose pods reach this host directly has no need of a proxy.
    if !beyond || !web || judgement.detail.get("scope").is_some_and(|scope| scope == "this-pod") {
        return;
    }
    let user =
        around.index.local_pods().filter(|other| other.reference() != pod.reference()).find_map(|other| {
            let settings = setting::of(other);
            settings
                .into_iter()
                .find(|setting| setting.variable != Variable::No)
                .map(|setting| (other, setting))
        });
    let Some((other, setting)) = user else { return };
    judgement.hints.push(format!(
        "this pod's spec sets no proxy; pod {} on this node goes out by one ({}={})",
        other.reference(),
        setting.name,
        setting.shown()
    ));
}

fn note(judgement: &mut Judgement, setting: &Setting, role: &str) {
    judgement.detail.insert("proxy".to_owned(), setting.shown().into());
    judgement.detail.insert("proxy_role".to_owned(), role.into());
}
