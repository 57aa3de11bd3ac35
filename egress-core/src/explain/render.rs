//! The answer on a terminal, in the manner of a good compiler error.

use super::{Explanation, PartView};
use crate::policy::{BackendView, Decision, SideView};
use crate::verdict::{Fix, PolicyFinding, PolicyResult, Side};

/// Narrower than this nothing readable comes out.
const NARROWEST: usize = 40;

/// The answer as text of at most `width` columns where words allow it; `color` adds ANSI colours.
#[must_use]
pub fn render(explanation: &Explanation, width: usize, color: bool) -> String {
    let mut page = Page { text: String::new(), width: width.max(NARROWEST), color };
    let Explanation { decision, egress, ingress, fix, backends, parts, notes, from, to } = explanation;
    page.title(from, to, *decision);
    for note in notes {
        page.blank();
        page.paragraph(2, "note: ", note);
    }
    if let Some(backends) = backends.as_deref().filter(|backends| !backends.is_empty()) {
        page.blank();
        for backend in backends {
            page.backend(backend);
        }
    }
    if let Some(parts) = parts {
        for part in parts {
            page.part(part);
        }
        return page.text;
    }
    page.side(Side::Egress, egress.as_ref(), "the source is not a pod with an address of its own");
    page.side(Side::Ingress, ingress.as_ref(), "the destination is not a pod with an address of its own");
    if let Some(fix) = fix {
        page.fix(fix);
    }
    page.text
}

/// Text under construction.
struct Page {
    text: String,
    width: usize,
    color: bool,
}

/// SGR parameters.
#[derive(Clone, Copy)]
enum Style {
    Bold,
    Red,
    Green,
    Yellow,
    Dim,
}

impl Style {
    const fn code(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Red => "1;31",
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Dim => "2",
        }
    }

    const fn of(decision: Decision) -> Self {
        match decision {
            Decision::Allow => Self::Green,
            Decision::Deny => Self::Red,
            Decision::Undecidable => Self::Yellow,
        }
    }
}

impl Page {
    fn title(&mut self, from: &str, to: &str, decision: Decision) {
        let title = if from.is_empty() || to.is_empty() { String::new() } else { format!("{from} → {to}") };
        let used = title.chars().count() + decision.as_str().len();
        if title.is_empty() {
            self.styled(decision.as_str(), Style::of(decision));
        } else {
            self.styled(&title, Style::Bold);
            let gap = self.width.saturating_sub(used);
            let gap = if gap >= 2 { " ".repeat(gap) } else { "\n  ".into() };
            self.text.push_str(&gap);
            self.styled(decision.as_str(), Style::of(decision));
        }
        self.text.push('\n');
    }

    fn backend(&mut self, backend: &BackendView) {
        let BackendView { ip, port, pod, ready, decision, .. } = backend;
        let pod = pod.as_ref().map(|pod| format!(" ({pod})")).unwrap_or_default();
        let state = if *ready { "" } else { ", not ready" };
        self.text.push_str(&format!("  → {}{pod}{state}: ", std::net::SocketAddr::new(*ip, *port)));
        self.styled(decision.as_str(), Style::of(*decision));
        self.text.push('\n');
    }

    /// A part of a range, with the sides that have a say.
    fn part(&mut self, part: &PartView) {
        let nets: Vec<String> = part.nets.iter().map(ToString::to_string).collect();
        self.blank();
        self.text.push_str("  ");
        self.styled(part.decision.as_str(), Style::of(part.decision));
        self.text.push('\n');
        self.paragraph(4, "", &nets.join(", "));
        for (side, view) in [(Side::Egress, &part.egress), (Side::Ingress, &part.ingress)] {
            for finding in view.iter().flat_map(|view| &view.policies) {
                self.finding(finding);
            }
            if view.as_ref().is_some_and(|view| !view.isolated) {
                self.paragraph(4, "", &format!("no policy selects the pod for {side}"));
            }
        }
    }

    fn side(&mut self, side: Side, view: Option<&SideView>, absent: &str) {
        self.blank();
        let Some(view) = view else {
            self.paragraph(2, &format!("{side}  "), &format!("no say: {absent}"));
            return;
        };
        self.text.push_str(&format!("  {side}  "));
        self.styled(view.decision.as_str(), Style::of(view.decision));
        self.text.push('\n');
        for finding in &view.policies {
            self.finding(finding);
        }
        let others = if view.isolated { "no other policy" } else { "no policy" };
        self.paragraph(4, "", &format!("{others} selects the pod for {side}"));
    }

    fn finding(&mut self, finding: &PolicyFinding) {
        let (mark, style) = match finding.result {
            PolicyResult::Admits => ("✓", Style::Green),
            PolicyResult::DoesNotAdmit | PolicyResult::Denies => ("✗", Style::Red),
            PolicyResult::NotApplicable => ("–", Style::Dim),
            PolicyResult::Undecidable => ("?", Style::Yellow),
        };
        self.text.push_str("    ");
        self.styled(mark, style);
        let namespace =
            finding.namespace.as_deref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        self.text.push_str(&format!(" {} {namespace}{}  ", finding.kind, finding.name));
        self.styled(finding.result.as_str(), style);
        self.text.push('\n');
        for sentence in &finding.why {
            self.paragraph(8, "", sentence);
        }
    }

    fn fix(&mut self, fix: &Fix) {
        self.blank();
        self.styled("  Fix", Style::Bold);
        self.text.push('\n');
        for line in fix.text.lines() {
            self.paragraph(4, "", line);
        }
        if let Some(manifest) = &fix.manifest {
            self.blank();
            // As it is, at the margin: to be copied.
            self.text.push_str(manifest);
        }
    }

    fn blank(&mut self) {
        self.text.push('\n');
    }

    /// Text wrapped at the page's width, all lines after the first indented as far as `lead` reaches.
    fn paragraph(&mut self, indent: usize, lead: &str, text: &str) {
        let margin = indent + lead.chars().count();
        let mut line = format!("{}{lead}", " ".repeat(indent));
        let mut used = margin;
        // Words keep the blanks behind them, so that columns within a line survive.
        for word in text.split_inclusive(' ') {
            if used > margin && used + word.trim_end().chars().count() > self.width {
                self.text.push_str(line.trim_end());
                self.text.push('\n');
                line = " ".repeat(margin);
                used = margin;
            }
            line.push_str(word);
            used += word.chars().count();
        }
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn styled(&mut self, text: &str, style: Style) {
        if self.color {
            self.text.push_str(&format!("\u{1b}[{}m{text}\u{1b}[0m", style.code()));
        } else {
            self.text.push_str(text);
        }
    }
}
