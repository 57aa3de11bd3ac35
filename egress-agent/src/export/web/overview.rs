//! The first page: what fails now, what failed, and the pods.

use std::collections::BTreeMap;

use egress_core::cluster::PodRef;
use egress_core::verdict::{State, Verdict};
use maud::{Markup, html};

use super::Seen;
use super::card::{card, pod_link};
use super::frame::{frame, node, watched};
use crate::answers::LocalPod;
use crate::words::clean;

/// Verdicts of a pod.
#[derive(Default)]
struct Count {
    active: usize,
    cleared: usize,
    workload: Option<String>,
    /// It is on the node now.
    here: bool,
}

/// `/`
pub(super) fn overview(seen: &Seen, local: &[LocalPod]) -> Markup {
    let of = |state| seen.verdicts.iter().filter(move |verdict| verdict.state == state);
    let active: Vec<&Verdict> = of(State::Active).collect();
    let cleared: Vec<&Verdict> = of(State::Cleared).collect();
    let pods = pods(&seen.verdicts, local);
    let content = html! {
        h1 { (node(&seen.status)) }
        (watched(seen))
        section #failing aria-labelledby="failing-title" {
            h2 #failing-title { "Failing now (" (active.len()) ")" }
            @if active.is_empty() { p #well .well { "Nothing fails that this agent can see." } }
            @for verdict in &active { (card(verdict, seen.now, true)) }
        }
        @if seen.more > 0 {
            p #more { (seen.older()) " older ones are not shown: egress-agent query" }
        }
        @if !cleared.is_empty() {
            section #cleared aria-labelledby="cleared-title" {
                h2 #cleared-title { "Works again (" (cleared.len()) ")" }
                @for verdict in &cleared { (card(verdict, seen.now, true)) }
            }
        }
        section #pods aria-labelledby="pods-title" {
            h2 #pods-title { "Pods (" (pods.len()) ")" }
            (table(&pods))
        }
    };
    frame(seen, &node(&seen.status), &content)
}

fn pods(verdicts: &[Verdict], local: &[LocalPod]) -> Vec<(PodRef, Count)> {
    let mut pods: BTreeMap<PodRef, Count> = BTreeMap::new();
    for pod in local {
        let count = pods.entry(pod.pod.clone()).or_default();
        (count.workload, count.here) = (pod.workload.clone(), true);
    }
    for verdict in verdicts {
        let pod = PodRef { namespace: verdict.pod.namespace.clone(), name: verdict.pod.name.clone() };
        let count = pods.entry(pod).or_default();
        match verdict.state {
            State::Active => count.active += 1,
            State::Cleared => count.cleared += 1,
        }
        if count.workload.is_none() {
            count.workload.clone_from(&verdict.pod.workload);
        }
    }
    let mut pods: Vec<_> = pods.into_iter().collect();
    // Those that fail first, the others by name.
    pods.sort_by_key(|(_, count)| std::cmp::Reverse(count.active > 0));
    pods
}

fn table(pods: &[(PodRef, Count)]) -> Markup {
    if pods.is_empty() {
        return html! { p { "No pod of this node is known." } };
    }
    html! {
        div.scroll role="region" aria-label="Table of pods" tabindex="0" {
            table {
                thead { tr {
                    th scope="col" { "Pod" } th scope="col" { "Owner" }
                    th.number scope="col" { "Failing" } th.number scope="col" { "Works again" }
                } }
                tbody {
                    @for (pod, count) in pods {
                        tr id={ "pod-" (clean(&pod.namespace)) "/" (clean(&pod.name)) } {
                            th scope="row" { (pod_link(&pod.namespace, &pod.name)) @if !count.here { " (gone)" } }
                            td { (clean(count.workload.as_deref().unwrap_or("none"))) }
                            td.number.bad[count.active > 0] { (count.active) }
                            td.number { (count.cleared) }
                        }
                    }
                }
            }
        }
    }
}
