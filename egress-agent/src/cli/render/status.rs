//! What the agent sees: one screen of it, and the few lines that go with every answer.

use egress_core::time::Timestamp;

use super::View;
use super::text::{Ink, Pen, columns, wrap};
use crate::status::{AgentStatus, EventCount, HookState, HookStatus};
use crate::words::{clean, clock, human, thousands};

/// Devices of one kind that are named.
const MAX_DEVICES: usize = 6;

/// The screen of `status`.
pub(in super::super) fn status(status: &AgentStatus, view: &View) -> String {
    let pen = Pen { color: view.color, faded: false };
    let mut out = String::new();
    let node = if status.node.is_empty() { "a node without a name" } else { &status.node };
    let title = format!("egress-agent {} on {node}, kernel {}", status.version, status.kernel);
    out.push_str(&pen.ink(Ink::Bold, &clean(&title)));
    out.push('\n');
    out.push_str(&format!(
        "watching since {}, {}, {} held\n",
        since(&status.watching_since, view.now),
        counted(status.pods, "pod"),
        counted(status.verdicts, "verdict"),
    ));
    hooks(&mut out, &status.hooks, view.width, pen);
    if !status.events.is_empty() {
        events(&mut out, &status.events, pen);
    }
    let objects: Vec<_> =
        status.objects.iter().map(|(kind, count)| format!("{} {kind}", thousands(*count))).collect();
    let objects = match (objects.is_empty(), status.policies_as_of.is_empty()) {
        (true, _) => Vec::new(),
        (_, true) => vec![format!("{}; not complete yet", objects.join(", "))],
        (_, false) => vec![format!("{}; as of {}", objects.join(", "), clock(&status.policies_as_of))],
    };
    list(&mut out, "DEVICES", &devices(&status.devices), view.width, pen);
    list(&mut out, "CLUSTER", &objects, view.width, pen);
    list(&mut out, "PROBLEMS", &status.problems, view.width, pen);
    out
}

/// The screen of `doctor`: no counts, nothing has run yet.
pub(in super::super) fn doctor(status: &AgentStatus, view: &View) -> String {
    let pen = Pen { color: view.color, faded: false };
    let mut out = String::new();
    let title = format!("egress-agent {}, kernel {}", status.version, status.kernel);
    out.push_str(&pen.ink(Ink::Bold, &clean(&title)));
    out.push('\n');
    hooks(&mut out, &status.hooks, view.width, pen);
    list(&mut out, "DEVICES", &devices(&status.devices), view.width, pen);
    list(&mut out, "PROBLEMS", &status.problems, view.width, pen);
    out
}

/// What was watched, for standard error: one line if all is well, and one for each thing that is not.
pub(in super::super) fn watched(status: &AgentStatus, now: Timestamp, width: usize) -> String {
    let whole = status.hooks.iter().filter(|hook| hook.state == HookState::Attached).count();
    let hooks = match (whole, status.hooks.len()) {
        (1, 1) => "1 hook".to_owned(),
        (whole, all) if whole == all => format!("all {all} hooks"),
        (whole, all) => format!("{whole} of {all} hooks whole"),
    };
    let lost: Vec<String> = status.events.iter().filter(|count| !count.lost.is_empty()).map(lost).collect();
    let loss = if lost.is_empty() { "no event lost".to_owned() } else { format!("lost {}", lost.join(", ")) };
    let node = if status.node.is_empty() { String::new() } else { format!(" on {}", status.node) };
    let first = format!("watching{node} since {}: {hooks}, {loss}", since(&status.watching_since, now));
    let mut lines = vec![first];
    for hook in status.hooks.iter().filter(|hook| hook.state != HookState::Attached) {
        lines.push(format!("{} {}: {}", hook.hook, hook.state.as_str(), hook.note));
    }
    if status.policies_as_of.is_empty() {
        lines.push("the cluster's objects have not been read completely yet".to_owned());
    }
    lines.extend(status.problems.iter().map(|problem| format!("problem: {problem}")));
    let mut out = String::new();
    for line in lines {
        for (number, row) in wrap(&line, width.saturating_sub(4)).iter().enumerate() {
            out.push_str(if number == 0 { "# " } else { "#   " });
            out.push_str(row);
            out.push('\n');
        }
    }
    out
}

/// `1 pod`, `2 pods`.
fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(count), if count == 1 { "" } else { "s" })
}

/// `2025-11-20 01:00:00Z (1h 2m)`.
fn since(text: &str, now: Timestamp) -> String {
    match text.parse::<Timestamp>() {
        Ok(at) => format!("{} ({})", clock(text), human(now.since(at))),
        Err(_) if text.is_empty() => "an unknown time".to_owned(),
        Err(_) => clock(text),
    }
}

fn hooks(out: &mut String, hooks: &[HookStatus], width: usize, pen: Pen) {
    heading(out, "HOOKS", pen);
    let name = hooks.iter().map(|hook| columns(&hook.hook)).max().unwrap_or(0);
    // Notes beside the names where there is room for a sentence, else below.
    let column = 4 + name + 2 + 8 + 2;
    let (indent, below) = if column + 30 <= width { (column, false) } else { (6, true) };
    for hook in hooks {
        let (mark, ink) = match hook.state {
            HookState::Attached => ("✓", Ink::Green),
            HookState::Degraded => ("!", Ink::Yellow),
            HookState::Refused => ("✗", Ink::Red),
        };
        let pad = " ".repeat(name.saturating_sub(columns(&hook.hook)));
        out.push_str(&format!("  {} {}{pad}  ", pen.ink(ink, mark), clean(&hook.hook)));
        out.push_str(&pen.ink(ink, hook.state.as_str()));
        let notes = wrap(&hook.note, width.saturating_sub(indent));
        let pad = " ".repeat(if below { 0 } else { 10 - columns(hook.state.as_str()) });
        for (number, note) in notes.iter().filter(|note| !note.is_empty()).enumerate() {
            match (number, below) {
                (0, false) => out.push_str(&pad),
                _ => out.push_str(&format!("\n{}", " ".repeat(indent))),
            }
            out.push_str(note);
        }
        out.push('\n');
    }
}

fn events(out: &mut String, events: &[EventCount], pen: Pen) {
    let kind = events.iter().map(|count| columns(&count.kind)).max().unwrap_or(0).max(10);
    out.push('\n');
    let title = format!(
        "{:<width$}  {:>14}  {:>14}  {}",
        "EVENTS",
        "delivered",
        "aggregated",
        "lost",
        width = kind + 2
    );
    out.push_str(&pen.ink(Ink::Bold, &title));
    out.push('\n');
    for count in events {
        let numbers = (thousands(count.delivered), thousands(count.aggregated));
        out.push_str(&format!("  {:<kind$}  {:>14}  {:>14}  ", clean(&count.kind), numbers.0, numbers.1));
        let stages: Vec<_> =
            count.lost.iter().map(|(stage, lost)| format!("{} {stage}", thousands(*lost))).collect();
        match stages.is_empty() {
            true => out.push('0'),
            false => out.push_str(&pen.ink(Ink::Yellow, &clean(&stages.join(", ")))),
        }
        out.push('\n');
    }
}

/// Devices by what they are watched as, so that a node of a hundred pods is still one screen: `pod, both ways: veth-a,
/// veth-b and 108 more`. JSON has them all.
fn devices(devices: &[String]) -> Vec<String> {
    let mut kinds: Vec<(&str, Vec<&str>)> = Vec::new();
    for device in devices {
        let (name, kind) = device.split_once(" (").unwrap_or((device, ""));
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, names)) => names.push(name),
            None => kinds.push((kind, vec![name])),
        }
    }
    let named = |(kind, names): &(&str, Vec<&str>)| {
        let shown = names.iter().take(MAX_DEVICES).copied().collect::<Vec<_>>().join(", ");
        let more = match names.len().saturating_sub(MAX_DEVICES) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        match kind.strip_suffix(')') {
            Some(kind) => format!("{kind}: {shown}{more}"),
            None => format!("{shown}{more}"),
        }
    };
    kinds.iter().map(named).collect()
}

/// `7 packet events at ring`.
fn lost(count: &EventCount) -> String {
    let at = |(stage, lost): &(String, u64)| format!("{} {} events at {stage}", thousands(*lost), count.kind);
    count.lost.iter().map(at).collect::<Vec<_>>().join(", ")
}

fn list(out: &mut String, title: &str, items: &[String], width: usize, pen: Pen) {
    if items.is_empty() {
        return;
    }
    heading(out, title, pen);
    for item in items {
        for (number, line) in wrap(item, width.saturating_sub(4)).iter().enumerate() {
            out.push_str(if number == 0 { "  " } else { "    " });
            out.push_str(line);
            out.push('\n');
        }
    }
}

fn heading(out: &mut String, title: &str, pen: Pen) {
    out.push('\n');
    out.push_str(&pen.ink(Ink::Bold, title));
    out.push('\n');
}
