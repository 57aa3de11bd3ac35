//! What every page has around its content.

use egress_core::verdict::State;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::Seen;
use super::assets::{SCRIPT, STYLE};
use crate::status::{AgentStatus, HookState};
use crate::words::{clean, clock, human, thousands};

/// The document. `title` is the window's, `content` goes into the main landmark.
pub(super) fn frame(seen: &Seen, title: &str, content: &Markup) -> Markup {
    let node = node(&seen.status);
    let failing = seen.verdicts.iter().filter(|verdict| verdict.state == State::Active).count();
    let title = if failing > 0 { format!("({failing}) {title}") } else { title.to_owned() };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · egress-agent" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#main" { "Skip to what fails" }
                header.top {
                    p.brand { a href="/" { "egress-agent" } " " span.node { (node) } }
                    p.live {
                        span #when { "as of " time { (clock(&seen.now.to_string())) } }
                        button #pause type="button" aria-pressed="false" hidden { "Pause" }
                        noscript { span { "reload to renew" } }
                    }
                }
                main #main tabindex="-1" { (content) }
                footer #foot { (foot(&seen.status)) }
                p #say .unseen role="status" aria-live="polite" {}
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

/// What this node is called.
pub(super) fn node(status: &AgentStatus) -> String {
    if status.node.is_empty() { "a node without a name".to_owned() } else { clean(&status.node).into_owned() }
}

/// Since when, and how well it is watched: what an empty page is worth.
pub(super) fn watched(seen: &Seen) -> Markup {
    let status = &seen.status;
    let since = status.watching_since.parse().map(|at| human(seen.now.since(at)));
    let whole = status.hooks.iter().filter(|hook| hook.state == HookState::Attached).count();
    let lost: u64 = status.events.iter().flat_map(|event| &event.lost).map(|(_, lost)| lost).sum();
    html! {
        dl.facts {
            div { dt { "Watching" } dd { "for " (since.unwrap_or_else(|_| "an unknown time".to_owned())) } }
            div { dt { "Pods" } dd { (thousands(status.pods)) } }
            div.warn[whole < status.hooks.len()] {
                dt { "Hooks" } dd { (whole) " of " (status.hooks.len()) " whole" }
            }
            div.warn[lost > 0] { dt { "Events lost" } dd { (thousands(lost)) } }
            div.warn[status.policies_as_of.is_empty()] {
                dt { "Cluster" }
                dd { @if status.policies_as_of.is_empty() { "not read yet" } @else { "in step" } }
            }
        }
        @let troubles = troubles(status);
        @if !troubles.is_empty() {
            details #troubles {
                summary #troubles-summary { "What is not seen or not whole (" (troubles.len()) ")" }
                ul { @for trouble in troubles { li { (trouble) } } }
            }
        }
    }
}

fn troubles(status: &AgentStatus) -> Vec<String> {
    let hooks = status.hooks.iter().filter(|hook| hook.state != HookState::Attached);
    let hooks = hooks.map(|hook| format!("{} {}: {}", hook.hook, hook.state.as_str(), hook.note));
    let lost = status.events.iter().flat_map(|event| {
        event
            .lost
            .iter()
            .map(|(stage, lost)| format!("{} {} events lost at {stage}", thousands(*lost), event.kind))
    });
    hooks.chain(lost).chain(status.problems.iter().cloned()).map(|text| clean(&text).into_owned()).collect()
}

fn foot(status: &AgentStatus) -> Markup {
    html! {
        p {
            "Version " (clean(&status.version)) ", kernel " (clean(&status.kernel)) ". "
            @if !status.policies_as_of.is_empty() { "Policies as of " (clock(&status.policies_as_of)) ". " }
            "Metrics: " a href="/metrics" { "/metrics" } "."
        }
    }
}
