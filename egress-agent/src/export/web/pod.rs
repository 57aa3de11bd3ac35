//! The page of a pod: everything that failed, opened.

use egress_core::cluster::PodRef;
use egress_core::verdict::{State, Verdict};
use maud::{Markup, html};

use super::Seen;
use super::card::card;
use super::frame::{frame, watched};
use crate::words::clean;

/// `/pods/NAMESPACE/NAME`
pub(super) fn pod(seen: &Seen, pod: &PodRef, known: bool) -> Markup {
    let name = format!("{}/{}", clean(&pod.namespace), clean(&pod.name));
    let active = seen.verdicts.iter().filter(|verdict| verdict.state == State::Active).count();
    let own = |verdict: &&Verdict| verdict.pod.name == pod.name && verdict.pod.namespace == pod.namespace;
    let content = html! {
        nav aria-label="Where this is" { a href="/" { "All pods of this node" } }
        h1 { (name) }
        @if let Some(verdict) = seen.verdicts.iter().find(own) {
            p {
                "Address " (verdict.pod.ip)
                @if let Some(workload) = &verdict.pod.workload { ", of " (clean(workload)) }
            }
        }
        (watched(seen))
        section #failing aria-labelledby="failing-title" {
            h2 #failing-title { "What failed (" (active) " now, " (seen.verdicts.len() - active) " over)" }
            @if !known {
                p #well { "This agent knows no pod of this name, and has no verdict of one." }
            } @else if seen.verdicts.is_empty() {
                p #well .well { "Nothing failed that this agent could see." }
            }
            @for verdict in &seen.verdicts { (card(verdict, seen.now, false)) }
            @if seen.more > 0 {
                p #more { (seen.older()) " older ones are not shown: egress-agent query " (name) }
            }
        }
    };
    frame(seen, &name, &content)
}
