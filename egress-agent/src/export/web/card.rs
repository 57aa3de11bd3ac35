//! One verdict.

use egress_core::time::Timestamp;
use egress_core::verdict::{PolicyFinding, PolicyResult, State, Verdict};
use maud::{Markup, html};

use super::route::route;
use crate::words::{clean, counted, flow, human};

/// The card of a verdict; its details are folded away or open.
pub(super) fn card(verdict: &Verdict, now: Timestamp, folded: bool) -> Markup {
    let over = verdict.state == State::Cleared;
    let id = clean(&verdict.id);
    let heading = flow(verdict);
    let (from, to) = heading.split_once(" → ").unwrap_or((&heading, ""));
    let word = if over { "works again" } else { "fails" };
    html! {
        article id={ "card-" (id) } .card .over[over] aria-labelledby={ "h-" (id) } data-say={ (heading) ": " (word) ", " (verdict.cause) }
        {
            h3 id={ "h-" (id) } { (from) @if !to.is_empty() { " " span.to { "to" } " " (to) } }
            p.what {
                strong.cause { (verdict.cause) } " "
                span.sure { (verdict.confidence) } " "
                @if over { span { "works again" } " " }
                span.count { (counted(verdict, now)) }
            }
            (route(verdict))
            p.why { (clean(&verdict.summary)) }
            (policies(verdict))
            @if let Some(fix) = &verdict.fix {
                h4 { "Fix" }
                p.fix { (clean(&fix.text)) }
            }
            @for hint in &verdict.hints { p.hint { "Hint: " (clean(hint)) } }
            @if verdict.lost_events > 0 {
                p.warn { "Events lost while this was observed: " (verdict.lost_events) ". There may be more to it." }
            }
            details id={ "d-" (id) } open[!folded] {
                summary id={ "s-" (id) } { "Evidence and details" span.unseen { " of " (heading) } }
                (details(verdict))
            }
        }
    }
}

/// A link to a pod's page.
pub(super) fn pod_link(namespace: &str, name: &str) -> Markup {
    let part = |text: &str| text.bytes().map(encoded).collect::<String>();
    html! { a href={ "/pods/" (part(namespace)) "/" (part(name)) } { (clean(namespace)) "/" (clean(name)) } }
}

/// A byte of a path segment.
fn encoded(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    }
}

/// The policies that do not let it through, and why; the others are among the details.
fn policies(verdict: &Verdict) -> Markup {
    let refusing = |finding: &&PolicyFinding| {
        !matches!(finding.result, PolicyResult::Admits | PolicyResult::NotApplicable)
    };
    let findings: Vec<&PolicyFinding> = verdict.policies.iter().filter(refusing).collect();
    html! { @if !findings.is_empty() { ul.policies { @for finding in findings { (policy(finding)) } } } }
}

fn policy(finding: &PolicyFinding) -> Markup {
    let name = match &finding.namespace {
        Some(namespace) => format!("{namespace}/{}", finding.name),
        None => finding.name.clone(),
    };
    html! {
        li {
            (clean(&finding.kind)) " " strong { (clean(&name)) } " (" (finding.side) ") "
            (finding.result.as_str().replace('-', " "))
            @if !finding.why.is_empty() { ul { @for why in &finding.why { li { (clean(why)) } } } }
        }
    }
}

fn details(verdict: &Verdict) -> Markup {
    let span = human(verdict.last_seen.since(verdict.first_seen));
    let admitting = |finding: &&PolicyFinding| finding.result == PolicyResult::Admits;
    html! {
        @if let Some(manifest) = verdict.fix.as_ref().and_then(|fix| fix.manifest.as_deref()) {
            h4 { "A policy that admits it" }
            pre tabindex="0" role="group" aria-label="Policy as YAML" { code { (clean(manifest)) } }
        }
        @if !verdict.evidence.is_empty() {
            h4 { "Seen" }
            ol.evidence {
                @for evidence in &verdict.evidence {
                    li { time { (time_of_day(evidence.time)) } " " span.stage { (evidence.stage) } " " (clean(&evidence.text)) }
                }
            }
        }
        @let admits: Vec<&PolicyFinding> = verdict.policies.iter().filter(admitting).collect();
        @if !admits.is_empty() {
            h4 { "Policies that admit it" }
            ul.policies { @for finding in admits { (policy(finding)) } }
        }
        dl.facts {
            div { dt { "Pod" } dd { (pod_link(&verdict.pod.namespace, &verdict.pod.name)) " " (verdict.pod.ip) } }
            @if let Some(workload) = &verdict.pod.workload { div { dt { "Owner" } dd { (clean(workload)) } } }
            @if let Some(source) = verdict.translation.source {
                div { dt { "Left as" } dd { (source.ip) @if source.port != 0 { " port " (source.port) } } }
            }
            @if let Some(to) = verdict.translation.destination {
                div { dt { "Went to" } dd { (to.ip) @if to.port != 0 { " port " (to.port) } } }
            }
            div { dt { "First" } dd { (time_of_day(verdict.first_seen)) " UTC" } }
            div { dt { "Last" } dd { (time_of_day(verdict.last_seen)) " UTC, " (span) " later" } }
            div { dt { "Verdict" } dd { (clean(&verdict.id)) } }
        }
    }
}

/// `02:00:31.000123`
fn time_of_day(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(11..26).unwrap_or(&text).to_owned()
}
