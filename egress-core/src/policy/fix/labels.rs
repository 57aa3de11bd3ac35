//! Which labels stand for a pod: those that its successor will have too.

use crate::cluster::{LabelSelector, Labels, NetworkPolicy, Pod};
use crate::identity::ClusterIndex;
use crate::policy::SideView;
use crate::verdict::PolicyResult;

/// Labels that controllers and tools set anew for each pod, revision or release.
const VOLATILE: &[&str] = &[
    "pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "rollouts-pod-template-hash",
    "helm.sh/chart",
    "chart",
    "heritage",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "service.istio.io/canonical-revision",
];

/// Labels of one pod or one run of a Job: only better than none.
const FLEETING: &[&str] = &[
    "controller-uid",
    "job-name",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
    "batch.kubernetes.io/job-completion-index",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
];

/// Labels that say which application a pod is.
const NAMING: &[&str] =
    &["app", "app.kubernetes.io/name", "app.kubernetes.io/instance", "k8s-app", "name", "run"];

/// The labels that distinguish a pod and stay when it is replaced; empty if it has none.
pub(in crate::policy) fn lasting(pod: &Pod) -> Labels {
    let without = |left_out: &[&[&str]]| -> Labels {
        pod.labels.iter().filter(|(key, _)| !left_out.iter().any(|keys| keys.contains(key))).collect()
    };
    let lasting = without(&[VOLATILE, FLEETING]);
    if lasting.is_empty() { without(&[VOLATILE]) } else { lasting }
}

/// A selector of nothing without labels: asks for one.
pub(super) fn unlabelled(pod: &Pod) -> String {
    format!(
        "pod {0} has no label of its own to select it by: give it one (kubectl label pod -n {1} {2} app={2}), then \
         allow this traffic for it",
        pod.reference(),
        pod.namespace,
        pod.name
    )
}

/// What selects the pod in a fix: the `podSelector` of a policy that isolates it if that means this application
/// alone, else the pod's lasting labels, within such a `podSelector`. Either way every pod it selects is isolated
/// already, so that a fix never isolates a pod anew.
pub(super) fn subject(index: &ClusterIndex, pod: &Pod, view: &SideView) -> Result<LabelSelector, String> {
    let isolating: Vec<_> = view
        .policies
        .iter()
        .filter(|finding| finding.kind == "NetworkPolicy" && finding.result == PolicyResult::DoesNotAdmit)
        .filter_map(|finding| index.network_policy(finding.namespace.as_deref()?, &finding.name))
        .collect();
    if let Some(policy) = isolating.iter().find(|policy| is_narrow(index, pod, policy)) {
        return Ok(policy.selector.clone());
    }
    let mut selector = LabelSelector::of_labels(lasting(pod));
    let widest = isolating.iter().min_by_key(|policy| {
        let selector = &policy.selector;
        selector.match_labels.len() + selector.expressions.len()
    });
    if let Some(policy) = widest {
        selector.match_labels.extend(&policy.selector.match_labels);
        selector.expressions.clone_from(&policy.selector.expressions);
    }
    if selector.match_labels.is_empty() { Err(unlabelled(pod)) } else { Ok(selector) }
}

/// The policy selects by what names an application, and no other application as far as is known.
fn is_narrow(index: &ClusterIndex, pod: &Pod, policy: &NetworkPolicy) -> bool {
    let own = lasting(pod);
    let alike =
        |other: &Pod| (other.workload.is_some() && other.workload == pod.workload) || lasting(other) == own;
    policy.selector.match_labels.keys().any(|key| NAMING.contains(&key))
        && index
            .pods_in(&pod.namespace)
            .filter(|other| policy.selector.matches(&other.labels))
            .all(|other| alike(other))
}
