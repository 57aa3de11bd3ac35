//! What the policies say of a connection.

use egress_core::policy::{Decision, SideView};

use super::View;
use super::text::{Ink, Pen, clean, labelled, marked};
use super::verdict::policies;
use crate::answers::{ExplainRequest, Explanation};

/// The block of `explain`: the decision, each side with its policies, and the fix.
pub(in super::super) fn explanation(
    request: &ExplainRequest,
    explanation: &Explanation,
    view: &View,
) -> String {
    let pen = Pen { color: view.color, faded: false };
    // Whoever asks for an explanation wants to see what admits, too.
    let view = &View { wide: true, ..view.clone() };
    let mut out = String::new();
    out.push_str(&pen.ink(ink(explanation.decision), explanation.decision.as_str()));
    let ExplainRequest { from, to, port, protocol, .. } = request;
    let to = if to.contains(':') { format!("[{to}]") } else { to.clone() };
    out.push_str(&pen.ink(Ink::Bold, &clean(&format!("   {from} → {to}:{port}/{protocol}"))));
    out.push_str("\n\n");
    match &explanation.backends {
        None => sides(&mut out, explanation.egress.as_ref(), explanation.ingress.as_ref(), view, pen),
        Some(backends) => {
            if backends.is_empty() {
                labelled(&mut out, pen, "", "the Service has no endpoint", Ink::Yellow, view.width);
            }
            for backend in backends {
                let pod = backend.pod.as_ref().map(|pod| format!("{}/{} ", pod.namespace, pod.name));
                let at = std::net::SocketAddr::new(backend.ip, backend.port);
                let ready = if backend.ready { "" } else { ", not ready" };
                let text = format!("backend {}({at}): {}{ready}", pod.unwrap_or_default(), backend.decision);
                out.push_str(&pen.ink(ink(backend.decision), &clean(&text)));
                out.push('\n');
                sides(&mut out, backend.egress.as_ref(), backend.ingress.as_ref(), view, pen);
            }
        }
    }
    if let Some(fix) = &explanation.fix {
        labelled(&mut out, pen, "Fix", &fix.text, Ink::Plain, view.width);
        if let Some(manifest) = &fix.manifest {
            out.push('\n');
            out.push_str(clean(manifest).trim_end());
            out.push('\n');
        }
    }
    out
}

fn sides(out: &mut String, egress: Option<&SideView>, ingress: Option<&SideView>, view: &View, pen: Pen) {
    for (word, end, side) in [("egress", "source", egress), ("ingress", "destination", ingress)] {
        let (sign, text) = match side {
            None => (("·", Ink::Dim), format!("{word}: the {end} is not a pod that policies apply to")),
            Some(side) => {
                let why = match (side.isolated, side.policies.len()) {
                    (false, _) => format!("no policy isolates the {end}"),
                    (true, 1) => format!("1 policy isolates the {end}"),
                    (true, many) => format!("{many} policies isolate the {end}"),
                };
                ((mark(side.decision), ink(side.decision)), format!("{word}: {}, {why}", side.decision))
            }
        };
        marked(out, pen, 2, sign, &text, view.width);
        if let Some(side) = side {
            policies(out, &side.policies, view, pen);
        }
    }
}

fn ink(decision: Decision) -> Ink {
    match decision {
        Decision::Allow => Ink::Green,
        Decision::Deny => Ink::Red,
        Decision::Undecidable => Ink::Yellow,
    }
}

fn mark(decision: Decision) -> &'static str {
    match decision {
        Decision::Allow => "✓",
        Decision::Deny => "✗",
        Decision::Undecidable => "?",
    }
}
