//! The order in which verdicts are shown: what to fix first, first.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::cluster::PodRef;
use crate::time::Timestamp;
use crate::verdict::{Affects, Cause, Confidence, Stage, State, Verdict};

/// Puts verdicts, most recently seen first, into the order in which one would fix them.
///
/// Pod by pod: the one that was `asked` for, then by the most recent trouble. Of a pod: what is still so before what is
/// over; name resolution before all else, because nothing that is reached by name works without it (a name that does
/// not exist keeps no other from being resolved); then the nearest first: what the pod or the node itself drops hides what lies beyond; then the surer; then the more recent.
pub fn in_order_of_repair(verdicts: &mut [Verdict], asked: Option<&PodRef>) {
    let pod = |verdict: &Verdict| PodRef {
        namespace: verdict.pod.namespace.clone(),
        name: verdict.pod.name.clone(),
    };
    let mut pods: HashMap<PodRef, usize> = asked.map(|pod| (pod.clone(), 0)).into_iter().collect();
    for verdict in &*verdicts {
        let next = pods.len();
        pods.entry(pod(verdict)).or_insert(next);
    }
    verdicts.sort_by_cached_key(|verdict| (pods.get(&pod(verdict)).copied(), key(verdict)));
}

/// Name resolution as such does not work.
fn blocks_names(verdict: &Verdict) -> bool {
    let outcome = verdict.detail.get("outcome").and_then(serde_json::Value::as_str);
    verdict.affects == Affects::Dns && !matches!(outcome, Some("nxdomain" | "nodata"))
}

/// Smaller is to be fixed first.
fn key(verdict: &Verdict) -> (bool, bool, bool, Stage, Confidence, Reverse<Timestamp>) {
    (
        verdict.state == State::Cleared,
        !blocks_names(verdict),
        // Where nothing is known there is nothing to fix before something else.
        verdict.cause == Cause::Unknown,
        verdict.stage,
        verdict.confidence,
        Reverse(verdict.last_seen),
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::verdict;
    use super::*;

    fn with(id: &str, pod: &str, change: impl FnOnce(&mut Verdict)) -> Verdict {
        let mut verdict = verdict(id, pod, 5);
        change(&mut verdict);
        verdict
    }

    fn order(mut verdicts: Vec<Verdict>, asked: Option<&PodRef>) -> Vec<String> {
        in_order_of_repair(&mut verdicts, asked);
        verdicts.into_iter().map(|verdict| verdict.id).collect()
    }

    #[test]
    fn names_first_then_the_nearest_then_the_surest() {
        let verdicts = vec![
            with("over", "default/a", |v| v.state = State::Cleared),
            with("upstream", "default/a", |v| v.stage = Stage::Upstream),
            with("typo", "default/a", |v| {
                (v.affects, v.stage) = (Affects::Dns, Stage::Upstream);
                v.detail.insert("outcome".to_owned(), "nxdomain".into());
            }),
            with("unknown", "default/a", |v| v.cause = Cause::Unknown),
            with("likely", "default/a", |v| v.confidence = Confidence::Likely),
            verdict("new", "default/a", 9),
            verdict("old", "default/a", 1),
            with("dns", "default/a", |v| v.affects = Affects::Dns),
        ];
        let expected = ["dns", "new", "old", "likely", "upstream", "typo", "unknown", "over"];
        assert_eq!(order(verdicts, None), expected);
    }

    #[test]
    fn pods_stay_together_and_the_one_that_was_asked_for_comes_first() {
        let verdicts = || {
            vec![
                with("b1", "default/b", |_| {}),
                with("a1", "default/a", |_| {}),
                with("b2", "default/b", |v| v.affects = Affects::Dns),
            ]
        };
        assert_eq!(order(verdicts(), None), ["b2", "b1", "a1"]);
        let asked = PodRef { namespace: "default".to_owned(), name: "a".to_owned() };
        assert_eq!(order(verdicts(), Some(&asked)), ["a1", "b2", "b1"]);
    }
}
