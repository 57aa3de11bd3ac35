//! One end of the traffic, as rules see it.

use std::net::IpAddr;
use std::sync::Arc;

use super::Question;
use crate::cluster::calico::{
    NamespaceLabels, NetworkSet, PodLabels, Selector, ServiceAccountLabels, ServiceAccounts, SetLabels,
};
use crate::cluster::{Namespace, Pod};
use crate::identity::ClusterIndex;
use crate::truth::Truth;
use crate::verdict::{PeerKind, Side};

/// One end of the traffic.
pub(super) struct End<'a> {
    index: &'a ClusterIndex,
    pub(super) ip: Option<IpAddr>,
    pub(super) pod: Option<&'a Pod>,
    pub(super) namespace: Option<&'a Namespace>,
    pub(super) kind: PeerKind,
    /// The network sets that hold the address, or may: those that name domains.
    pub(super) sets: Vec<(&'a NetworkSet, Truth)>,
    /// It is dialled.
    pub(super) dialled: bool,
}

/// Both ends of the traffic.
pub(super) struct Ends<'a> {
    pub(super) source: End<'a>,
    pub(super) destination: End<'a>,
}

impl<'a> Ends<'a> {
    /// The ends of the traffic that is asked about.
    pub(super) fn of(question: &Question<'a>) -> Self {
        let (own, peer) = (End::own, End::peer);
        match question.side {
            Side::Egress => Self { source: own(question, false), destination: peer(question, true) },
            Side::Ingress => Self { source: peer(question, false), destination: own(question, true) },
        }
    }
}

/// Which endpoints a rule selects: all that is given must hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Selection<'a> {
    pub(super) selector: Option<&'a Selector>,
    pub(super) namespaces: Option<&'a Selector>,
    /// Where there is no `namespaceSelector`: the namespace of the policy, if it has one.
    pub(super) own: Option<&'a str>,
    pub(super) accounts: Option<&'a ServiceAccounts>,
}

impl<'a> End<'a> {
    fn own(question: &Question<'a>, dialled: bool) -> Self {
        let index = question.index;
        let family = |ip: &&IpAddr| question.peer.address().is_none_or(|peer| peer.is_ipv4() == ip.is_ipv4());
        let ip = question.pod.ips.iter().find(family).copied();
        let namespace = index.namespace(&question.pod.namespace).map(Arc::as_ref);
        let end = Self {
            index,
            ip,
            pod: Some(question.pod),
            namespace,
            kind: PeerKind::Pod,
            sets: Vec::new(),
            dialled,
        };
        end.with_sets(&[])
    }

    fn peer(question: &Question<'a>, dialled: bool) -> Self {
        let peer = question.peer;
        let (pod, namespace) = (peer.pod.as_deref(), peer.namespace.as_deref());
        let (index, ip, kind) = (question.index, peer.address(), peer.kind);
        Self { index, ip, pod, namespace, kind, sets: Vec::new(), dialled }.with_sets(question.names)
    }

    /// `names`: what the source resolved to the address, as far as was seen.
    fn with_sets(mut self, names: &[String]) -> Self {
        let Some(ip) = self.ip else { return self };
        self.sets.extend(self.index.calico_sets_holding(ip).into_iter().map(|set| (&**set, Truth::Yes)));
        if self.dialled && self.kind == PeerKind::External {
            for set in self.index.calico_sets_of_domains() {
                let holds = in_any_domain(&set.domains, names);
                if holds != Truth::No {
                    self.sets.push((set, holds));
                }
            }
        }
        self
    }

    /// The selection selects it: as a pod, or as an address that a network set holds.
    pub(super) fn selected_by(&self, selection: Selection<'_>) -> Truth {
        let pod = self.pod.map_or(Truth::No, |pod| selection.selects_pod(pod, self.namespace));
        let sets = self.sets.iter().map(|(set, holds)| *holds & selection.selects_set(set, self.index));
        Truth::any(sets.chain([pod, self.selected_as_something_else(selection)]))
    }

    fn selected_as_something_else(&self, selection: Selection<'_>) -> Truth {
        match self.kind {
            // It may be any pod.
            PeerKind::Unresolved | PeerKind::Service => Truth::Unknown,
            // It may have a HostEndpoint, whose labels are not known. That is in no namespace.
            PeerKind::Node => selection.selects_host(),
            PeerKind::Pod | PeerKind::External => Truth::No,
        }
    }
}

/// A name of these is in one of the domains; not known where no name was seen.
pub(super) fn in_any_domain(domains: &[String], names: &[String]) -> Truth {
    match (domains, names) {
        ([], _) => Truth::No,
        (_, []) => Truth::Unknown,
        _ => names.iter().any(|name| domains.iter().any(|domain| in_domain(domain, name))).into(),
    }
}

/// `*` stands for any text within the name; case and a dot at the end make no difference.
pub(super) fn in_domain(pattern: &str, name: &str) -> bool {
    let plain = |text: &str| text.trim_end_matches('.').to_ascii_lowercase();
    let (pattern, name) = (plain(pattern), plain(name));
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => {
            name.len() > before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
        }
    }
}

impl Selection<'_> {
    fn selects_pod(&self, pod: &Pod, namespace: Option<&Namespace>) -> Truth {
        let labels = NamespaceLabels { name: Some(&pod.namespace), object: namespace };
        let by_account = self.accounts.map_or(Truth::Yes, |accounts| {
            let named = match pod.service_account.as_str() {
                _ if accounts.names.is_empty() => Truth::Yes,
                "" => Truth::Unknown,
                name => accounts.names.iter().any(|one| one == name).into(),
            };
            let labels = ServiceAccountLabels { name: &pod.service_account };
            named & accounts.selector.as_ref().map_or(Truth::Yes, |one| Truth::from(one.matches(&labels)))
        });
        self.selects_namespace(&labels)
            & self.selector.map_or(Truth::Yes, |one| Truth::from(one.matches(&PodLabels(pod))))
            & by_account
    }

    fn selects_set(&self, set: &NetworkSet, index: &ClusterIndex) -> Truth {
        // Network sets have no service account. The labels of their namespace count as those of a pod's do.
        if self.accounts.is_some() {
            return Truth::No;
        }
        let name = Some(set.namespace.as_str()).filter(|name| !name.is_empty());
        let object = name.and_then(|name| index.namespace(name)).map(Arc::as_ref);
        let labels = NamespaceLabels { name, object };
        let own = SetLabels { labels: &set.labels, namespace: &set.namespace };
        self.selects_namespace(&labels)
            & self.selector.map_or(Truth::Yes, |one| Truth::from(one.matches(&own)))
    }

    /// Something in no namespace, of labels that are not known.
    fn selects_host(&self) -> Truth {
        let nowhere = NamespaceLabels { name: None, object: None };
        if self.accounts.is_some() { Truth::No } else { self.selects_namespace(&nowhere) & Truth::Unknown }
    }

    fn selects_namespace(&self, labels: &NamespaceLabels<'_>) -> Truth {
        match (self.namespaces, self.own) {
            (Some(selector), _) => Truth::from(selector.matches(labels)),
            (None, Some(own)) => (labels.name == Some(own)).into(),
            (None, None) => Truth::Yes,
        }
    }
}
