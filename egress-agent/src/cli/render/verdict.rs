//! One verdict as a block.

use egress_core::verdict::{
    Confidence, Direction, PolicyFinding, PolicyResult, SocketAddress, State, Verdict,
};

use super::View;
use super::path::path;
use super::text::{Ink, LABEL, Pen, columns, labelled, marked, wrap};
use crate::words::{bracketed, clean, counted, flow};

/// Sentences of one policy that are shown where there may be dozens.
const MAX_WHY: usize = 6;

/// The block of a verdict.
pub(in super::super) fn verdict(verdict: &Verdict, view: &View) -> String {
    let pen = Pen { color: view.color, faded: verdict.state == State::Cleared };
    let mut out = String::new();
    headline(&mut out, verdict, view, pen);
    out.push('\n');
    path(&mut out, verdict, view.width, pen);
    out.push('\n');
    labelled(&mut out, pen, "Why", &verdict.summary, Ink::Plain, view.width);
    policies(&mut out, &verdict.policies, view, pen);
    translation(&mut out, verdict, view, pen);
    fix(&mut out, verdict, view, pen);
    for (number, hint) in verdict.hints.iter().enumerate() {
        let label = if number == 0 { "Hint" } else { "" };
        labelled(&mut out, pen, label, hint, Ink::Plain, view.width);
    }
    if verdict.lost_events > 0 {
        let (events, were) = if verdict.lost_events == 1 { ("event", "was") } else { ("events", "were") };
        let text = format!(
            "{} {events} {were} lost while this was observed: there may be more to it.",
            verdict.lost_events
        );
        labelled(&mut out, pen, "Lost", &text, Ink::Yellow, view.width);
    }
    if view.wide {
        wide(&mut out, verdict, view, pen);
    }
    out
}

/// A verdict in a line: when, whether it fails still, why, who, how often.
pub(in super::super) fn in_a_line(verdict: &Verdict, view: &View) -> String {
    let pen = Pen { color: view.color, faded: false };
    let (word, ink) = match verdict.state {
        State::Active => ("fails      ", Ink::Red),
        State::Cleared => ("works again", Ink::Green),
    };
    let time = verdict.last_seen.to_string();
    let time = time.get(11..19).unwrap_or(&time);
    let rest = format!("{}  {}  {}", verdict.cause, flow(verdict), counted(verdict, view.now));
    format!("{time}Z  {}  {rest}", pen.ink(ink, word))
}

fn headline(out: &mut String, verdict: &Verdict, view: &View, pen: Pen) {
    let flow = flow(verdict);
    let cause = match verdict.state {
        State::Active => verdict.cause.to_string(),
        State::Cleared => format!("{} (cleared)", verdict.cause),
    };
    let sure = match verdict.confidence {
        Confidence::Certain => Ink::Plain,
        Confidence::Likely | Confidence::Possible => Ink::Yellow,
    };
    let counted = counted(verdict, view.now);
    let right = columns(&cause) + 3 + columns(verdict.confidence.as_str()) + 3 + columns(&counted);
    for (number, line) in wrap(&flow, view.width.saturating_sub(2)).iter().enumerate() {
        out.push_str(if number == 0 { "" } else { "\n  " });
        out.push_str(&pen.ink(Ink::Bold, line));
    }
    // Beside the flow where there is room, in a column of its own; else below it.
    let column = (columns(&flow) + 3).max(64);
    if column + right <= view.width {
        out.push_str(&" ".repeat(column - columns(&flow)));
    } else {
        out.push_str("\n  ");
    }
    out.push_str(&pen.ink(Ink::Red, &cause));
    out.push_str("   ");
    out.push_str(&pen.ink(sure, verdict.confidence.as_str()));
    out.push_str("   ");
    out.push_str(&pen.ink(Ink::Plain, &counted));
    out.push('\n');
}

/// The policies that do not let it through, with the reason for each rule; in the wide form those that do, too.
pub(super) fn policies(out: &mut String, all: &[PolicyFinding], view: &View, pen: Pen) {
    let relevant = |finding: &&PolicyFinding| {
        view.wide || !matches!(finding.result, PolicyResult::Admits | PolicyResult::NotApplicable)
    };
    let findings: Vec<&PolicyFinding> = all.iter().filter(relevant).collect();
    // One policy without a rule: the summary says it all.
    let told = |why: &&String| view.wide || !(why.starts_with("selects ") || why.starts_with("has no "));
    if let [only] = findings[..]
        && !only.why.iter().any(|why| told(&why))
    {
        return;
    }
    for finding in findings {
        let mark = match finding.result {
            PolicyResult::Admits => ("✓", Ink::Green),
            PolicyResult::DoesNotAdmit | PolicyResult::Denies => ("✗", Ink::Red),
            PolicyResult::NotApplicable => ("·", Ink::Dim),
            PolicyResult::Undecidable => ("?", Ink::Yellow),
        };
        let result = finding.result.as_str().replace('-', " ");
        let name = match &finding.namespace {
            Some(namespace) => format!("{namespace}/{}", finding.name),
            None => finding.name.clone(),
        };
        let heading = format!("{} {name} ({}): {result}", finding.kind, finding.side);
        marked(out, pen, LABEL, mark, &heading, view.width);
        let many = finding.why.len() > MAX_WHY + 1 && !view.wide;
        let shown = if many { MAX_WHY } else { finding.why.len() };
        let reasons: Vec<&String> = if findings_need_all(finding) {
            finding.why.iter().collect()
        } else {
            finding.why.iter().filter(told).collect()
        };
        for why in reasons.iter().take(shown) {
            marked(out, pen, LABEL + 2, ("-", Ink::Dim), why, view.width);
        }
        if reasons.len() > shown {
            let text = format!("{} more: -o wide", reasons.len() - shown);
            marked(out, pen, LABEL + 2, ("-", Ink::Dim), &text, view.width);
        }
    }
}

/// A finding that would be left without a word says even what is usually plain from the summary.
fn findings_need_all(finding: &PolicyFinding) -> bool {
    finding.why.iter().all(|why| why.starts_with("selects ") || why.starts_with("has no "))
}

fn translation(out: &mut String, verdict: &Verdict, view: &View, pen: Pen) {
    let address = |at: SocketAddress| {
        if at.port == 0 { at.ip.to_string() } else { format!("{}:{}", bracketed(at.ip, at.port), at.port) }
    };
    let mut lines = Vec::new();
    if let Some(source) = verdict.translation.source {
        let from = if verdict.direction == Direction::Egress { verdict.pod.ip } else { verdict.peer.ip };
        lines.push(format!("source {from} → {}", address(source)));
    }
    if let Some(destination) = verdict.translation.destination {
        let to = if verdict.direction == Direction::Egress { verdict.peer.ip } else { verdict.pod.ip };
        let to = address(SocketAddress { ip: to, port: verdict.peer.port });
        lines.push(format!("destination {to} → {}", address(destination)));
    }
    for (number, line) in lines.iter().enumerate() {
        labelled(out, pen, if number == 0 { "NAT" } else { "" }, line, Ink::Plain, view.width);
    }
}

/// How outlines of policies begin.
const OUTLINES: &[&str] =
    &["podSelector", "namespace ", "CiliumNetworkPolicy for ", "Calico NetworkPolicy for "];

fn fix(out: &mut String, verdict: &Verdict, view: &View, pen: Pen) {
    let Some(fix) = &verdict.fix else { return };
    // A manifest goes with its outline, which says what is allowed and not that it is to be allowed.
    let outline = fix.manifest.is_some() && OUTLINES.iter().any(|start| fix.text.starts_with(start));
    let lines: String = fix.text.lines().map(|line| format!("\n  {line}")).collect();
    let text = if outline { format!("Allow it explicitly:{lines}") } else { fix.text.clone() };
    labelled(out, pen, "Fix", &text, Ink::Plain, view.width);
    let (Some(_), Some(command), State::Active) = (&fix.manifest, &view.fix_command, verdict.state) else {
        return;
    };
    let peer = &verdict.peer;
    let to = match peer.port {
        0 => peer.ip.to_string(),
        port => format!("'{}:{port}'", bracketed(peer.ip, port)),
    };
    // Brackets mean something to a shell.
    let to = if peer.ip.is_ipv6() { to } else { to.replace('\'', "") };
    let parts = [
        command.clone(),
        format!("-n {} {}", verdict.pod.namespace, verdict.pod.name),
        format!("--to {to}"),
        "--fix".to_owned(),
        "| kubectl apply -f -".to_owned(),
    ];
    let indent = LABEL + 2;
    for line in shell_lines(&parts, view.width.saturating_sub(indent)) {
        out.push_str(&" ".repeat(indent));
        out.push_str(&pen.ink(Ink::Green, &clean(&line)));
        out.push('\n');
    }
}

/// A command on as many lines as it needs: still one command when it is pasted.
fn shell_lines(parts: &[String], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        // What goes on needs room for the backslash.
        let spare = if number + 1 < parts.len() { 2 } else { 0 };
        match lines.last_mut() {
            Some(line) if columns(line) + 1 + columns(part) + spare <= width => {
                line.push(' ');
                line.push_str(part);
            }
            Some(line) => {
                line.push_str(" \\");
                lines.push(format!("  {part}"));
            }
            None => lines.push(part.clone()),
        }
    }
    lines
}

/// Identities and evidence.
fn wide(out: &mut String, verdict: &Verdict, view: &View, pen: Pen) {
    for (number, evidence) in verdict.evidence.iter().enumerate() {
        let time = evidence.time.to_string();
        let time = time.get(11..26).unwrap_or(&time);
        let head = format!("{time} {:<8} ", evidence.stage);
        let room = view.width.saturating_sub(LABEL + columns(&head));
        for (row, line) in wrap(&evidence.text, room).iter().enumerate() {
            let label = if number == 0 && row == 0 { "  Seen  " } else { "        " };
            out.push_str(&pen.ink(Ink::Bold, label));
            let head = if row == 0 { head.clone() } else { " ".repeat(columns(&head)) };
            out.push_str(&pen.ink(Ink::Dim, &head));
            out.push_str(&pen.ink(Ink::Plain, line));
            out.push('\n');
        }
    }
    let pod = &verdict.pod;
    let mut facts = vec![format!("ip {}", pod.ip)];
    let named = [("uid", Some(&pod.uid)), ("node", Some(&pod.node)), ("owner", pod.workload.as_ref())];
    for (name, value) in named {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            facts.push(format!("{name} {value}"));
        }
    }
    labelled(out, pen, "Pod", &facts.join(", "), Ink::Dim, view.width);
    let mut facts = vec![format!("verdict {}", verdict.id), format!("first seen {}", verdict.first_seen)];
    facts.push(format!("last seen {}", verdict.last_seen));
    if let Some(as_of) = verdict.policies_as_of {
        facts.push(format!("policies as of {as_of}"));
    }
    labelled(out, pen, "Id", &facts.join(", "), Ink::Dim, view.width);
}
