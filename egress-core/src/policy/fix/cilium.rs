//! A fix by name: a CiliumNetworkPolicy with `toFQDNs`, and the DNS rule from which Cilium learns the name where there is
//! none.

use super::{Allow, ends, labels, name};
use crate::cluster::{
    CILIUM_NAMESPACE, CiliumFqdn, CiliumPeer, CiliumPolicy, CiliumPort, CiliumRule, CiliumSelector,
    CiliumSpec, Expression, Labels, ObjectKind, Operator, PortMatch, ServiceTarget,
};
use crate::identity::ClusterIndex;
use crate::policy::kinds::{Question, Sight, sight};
use crate::policy::{PolicyFlow, SideView};
use crate::verdict::PolicyResult;

/// Where clusters have their DNS servers, as Services.
const DNS_SERVICES: &[(&str, &str)] = &[("kube-system", "kube-dns"), ("openshift-dns", "dns-default")];
/// The port of DNS.
const DNS: u16 = 53;

/// What would admit the traffic by the name that was last resolved to its destination, the smallest first; nothing where
/// no policy of Cilium's isolates the pod, or no name is known.
pub(super) fn by_name(question: &Question<'_>, denying: &SideView, flow: &PolicyFlow) -> Vec<Allow> {
    let of_cilium = [ObjectKind::CiliumNetworkPolicy, ObjectKind::CiliumClusterwideNetworkPolicy];
    let isolates = denying.policies.iter().any(|finding| {
        finding.result == PolicyResult::DoesNotAdmit
            && of_cilium.iter().any(|kind| finding.kind == kind.as_str())
    });
    let pod = question.pod;
    let labels: Labels = CiliumSelector::counted(&labels::lasting(pod)).collect();
    let Some(host) = ends::host(question, flow) else { return Vec::new() };
    if !isolates || labels.is_empty() {
        return Vec::new();
    }
    let policy = |rules: Vec<CiliumRule>| CiliumPolicy {
        namespace: pod.namespace.clone(),
        name: name::of_host(pod, &host, flow),
        specs: vec![CiliumSpec {
            selector: equal(&labels, None),
            isolates_egress: true,
            egress: rules,
            ..CiliumSpec::default()
        }],
    };
    let by_name = CiliumRule {
        peers: Some(vec![CiliumPeer::Fqdn(CiliumFqdn::Name(host.clone()))]),
        ports: vec![port(Some(flow.protocol), flow.port)],
        ..CiliumRule::default()
    };
    let lets_through = match sight(question, Some(&host)) {
        Sight::Seen => return vec![Allow::of(policy(vec![by_name]))],
        // Somebody chose which names may be asked for: this one more.
        Sight::Unlisted => CiliumFqdn::Name(host.clone()),
        // A resolver asks for the name in every search domain first, and may give up where one is refused.
        Sight::Blind | Sight::Unknown => CiliumFqdn::Pattern("*".into()),
    };
    let dns = dns_rule(question.index, lets_through);
    let remark = "Cilium learns names only from DNS answers that a DNS rule lets it see, and this pod has none for this name";
    let allow = |rules| Allow { remark: Some(remark.into()), ..Allow::of(policy(rules)) };
    vec![allow(vec![dns.clone()]), allow(vec![by_name, dns])]
}

/// Questions to the cluster's DNS servers go through Cilium's proxy.
fn dns_rule(index: &ClusterIndex, lets_through: CiliumFqdn) -> CiliumRule {
    let found = DNS_SERVICES.iter().find_map(|(namespace, name)| index.service(namespace, name));
    let by_selector = found.and_then(|service| Some((service, service.selector.clone()?)));
    let (namespace, labels, number) = match &by_selector {
        Some((service, labels)) => {
            let dns = service.ports.iter().find(|port| port.port == DNS);
            let behind = dns.and_then(|port| Some(index.backends(service, port).first()?.port));
            let target = dns.and_then(|port| match port.target {
                ServiceTarget::Number(number) => Some(number),
                ServiceTarget::Name(_) => None,
            });
            (service.namespace.as_str(), labels.clone(), behind.or(target).unwrap_or(DNS))
        }
        None => ("kube-system", Labels::from([("k8s-app", "kube-dns")]), DNS),
    };
    CiliumRule {
        peers: Some(vec![CiliumPeer::Endpoints(equal(&labels, Some(namespace)))]),
        ports: vec![CiliumPort { dns: vec![lets_through], ..port(None, number) }],
        ..CiliumRule::default()
    }
}

fn port(protocol: Option<crate::protocol::Protocol>, number: u16) -> CiliumPort {
    CiliumPort { protocol, port: Some(PortMatch::Number(number)), beyond: String::new(), dns: Vec::new() }
}

/// The selector of these labels, in this namespace.
fn equal(labels: &Labels, namespace: Option<&str>) -> CiliumSelector {
    let in_namespace = namespace.map(|name| (CILIUM_NAMESPACE, name));
    let one = |(key, value): (&str, &str)| Expression {
        key: key.to_owned(),
        operator: Operator::In,
        values: vec![value.to_owned()],
    };
    CiliumSelector { requirements: labels.iter().chain(in_namespace).map(one).collect() }
}
