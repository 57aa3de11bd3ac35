//! A policy that allows isolates what it selects as well.

use super::Question;
use crate::cluster::{Namespace, Object, Pod, Policy};
use crate::policy::kinds;
use crate::truth::Truth;

/// A pod that the policy would select and that nothing isolates in its place on this side so far: it would be cut off from
/// everything else.
pub(super) fn by(question: &Question<'_>, added: &Object) -> Option<String> {
    let (namespace, selector) = match added {
        Object::NetworkPolicy(policy) => (policy.namespace(), policy.selector.to_string()),
        Object::CiliumPolicy(policy) => (policy.namespace(), kinds::describe_subject(policy)),
        Object::CalicoPolicy(policy) => (policy.namespace(), policy.selector.to_string()),
        _ => return None,
    };
    let index = question.index;
    if !kinds::is_isolated_beside(question, added) {
        return Some(format!(
            "a policy that allows this would cut off pod {} from everything else, because no policy governs it there so far",
            question.pod.reference()
        ));
    }
    let own = index.namespace(namespace).map(AsRef::as_ref);
    let mut others = index.pods_in(namespace).filter(|pod| {
        !pod.is_same(question.pod) && !pod.host_network && !pod.finished && selects(added, pod, own)
    });
    let free = others.find(|pod| !kinds::is_isolated_beside(&Question { pod, ..*question }, added))?;
    Some(format!(
        "a policy for pods {selector} would cut off pod {}, which no policy governs so far: give pod {} a label of its \
         own, then allow this traffic for it",
        free.reference(),
        question.pod.reference()
    ))
}

fn selects(added: &Object, pod: &Pod, namespace: Option<&Namespace>) -> bool {
    let selects = match added {
        Object::NetworkPolicy(policy) => policy.selects(pod, namespace),
        Object::CiliumPolicy(policy) => policy.selects(pod, namespace),
        Object::CalicoPolicy(policy) => policy.selects(pod, namespace),
        _ => Truth::No,
    };
    selects != Truth::No
}
