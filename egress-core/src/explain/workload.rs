//! A workload as the source: each of its pods is asked for.

use std::sync::Arc;

use super::{ExplainError, Explanation};
use crate::cluster::Pod;
use crate::policy::Decision;

/// The answer that all pods of the workload get; where they differ that of one that is worst off, undecidable.
pub(super) fn explain(
    name: &str,
    pods: &[Arc<Pod>],
    ask: impl Fn(Arc<Pod>) -> Result<Explanation, ExplainError>,
) -> Result<Explanation, ExplainError> {
    let mut answers = pods.iter().map(|pod| ask(Arc::clone(pod))).collect::<Result<Vec<_>, _>>()?;
    let rank = |decision| match decision {
        Decision::Deny => 0,
        Decision::Undecidable => 1,
        Decision::Allow => 2,
    };
    let lists: Vec<String> = [Decision::Deny, Decision::Undecidable, Decision::Allow]
        .into_iter()
        .filter_map(|decision| {
            let with = answers.iter().zip(pods).filter(|(answer, _)| answer.decision == decision);
            let names: Vec<String> = with.map(|(_, pod)| pod.reference().to_string()).collect();
            (!names.is_empty()).then(|| format!("{decision}: {}", names.join(", ")))
        })
        .collect();
    let count = answers.len();
    let worst = answers.iter().enumerate().min_by_key(|(_, answer)| rank(answer.decision));
    let position = worst.map_or(0, |(position, _)| position);
    if count == 0 {
        return Err(ExplainError::NoSuchPod { name: name.to_owned(), hint: String::new() });
    }
    let mut answer = answers.swap_remove(position);
    if lists.len() > 1 {
        answer.notes.push(format!(
            "the pods of {name} differ: {}; below is {}",
            lists.join("; "),
            answer.from
        ));
        answer.decision = Decision::Undecidable;
        answer.fix = None;
    } else if count > 1 {
        answer
            .notes
            .push(format!("the {count} pods of {name} get the same answer; below is {}", answer.from));
    }
    answer.from = name.to_owned();
    Ok(answer)
}
