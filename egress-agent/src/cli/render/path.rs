//! The way of the packet on one line, broken where it broke; what broke it stands there or just below.

use std::net::IpAddr;

use egress_core::verdict::{Direction, Hop, HopOutcome, PathHop, Verdict};

use super::text::{Ink, Pen, clean, columns, wrap};

/// Margin before the line, and before its continuation.
const MARGIN: usize = 2;
const CONTINUED: usize = 6;

/// A piece of the line that is not broken.
struct Piece {
    text: String,
    ink: Ink,
    /// A new line may begin before it.
    breakable: bool,
}

/// Draws the path.
pub(super) fn path(out: &mut String, verdict: &Verdict, width: usize, pen: Pen) {
    let Plan { pieces, broken, beyond, notes } = plan(verdict);
    let (mut line, mut used) = (" ".repeat(MARGIN), MARGIN);
    for (number, piece) in pieces.iter().enumerate() {
        let gap = usize::from(number > 0);
        // A piece that may begin a line takes the next one with it: a link and the station behind it.
        let next =
            pieces.get(number + 1).filter(|next| !next.breakable).map_or(0, |next| columns(&next.text) + 1);
        let last = if number + 2 >= pieces.len() && broken { 4 } else { 0 };
        if piece.breakable && used + gap + columns(&piece.text) + next + last > width {
            out.push_str(line.trim_end());
            out.push('\n');
            (line, used) = (" ".repeat(CONTINUED), CONTINUED);
        } else {
            line.push_str(&" ".repeat(gap));
            used += gap;
        }
        line.push_str(&pen.ink(piece.ink, &piece.text));
        used += columns(&piece.text);
    }
    if !broken {
        out.push_str(&line);
        out.push('\n');
        return;
    }
    line.push(' ');
    line.push_str(&pen.ink(Ink::Red, "──✗"));
    let mark = used + 3;
    used += 4;
    let rest = |gap: &str| beyond.iter().map(|station| format!("{gap}{station}")).collect::<String>();
    let first = notes.first().map_or("", String::as_str);
    let inline = [8, 4].into_iter().find(|gap| {
        !first.is_empty() && used + 1 + columns(first) + columns(&rest(&" ".repeat(*gap))) <= width
    });
    let below = match inline {
        Some(gap) => {
            line.push(' ');
            line.push_str(&pen.ink(Ink::Red, first));
            line.push_str(&pen.ink(Ink::Dim, &rest(&" ".repeat(gap))));
            &notes[1..]
        }
        None => {
            for station in &beyond {
                if used + 3 + columns(station) > width {
                    line.push('\n');
                    line.push_str(&" ".repeat(CONTINUED - 3));
                    used = CONTINUED - 3;
                }
                line.push_str(&pen.ink(Ink::Dim, &format!("   {station}")));
                used += 3 + columns(station);
            }
            &notes[..]
        }
    };
    out.push_str(&line);
    out.push('\n');
    let column = if inline.is_some() { mark + 2 } else { mark };
    for note in below {
        // Under the mark, moved left as far as it must to fit.
        let column = column.min(width.saturating_sub(columns(note)).max(CONTINUED));
        for line in wrap(note, width.saturating_sub(column)) {
            out.push_str(&" ".repeat(column));
            out.push_str(&pen.ink(Ink::Red, &line));
            out.push('\n');
        }
    }
}

/// What there is to draw.
struct Plan {
    /// Stations and links up to the break, or to the end.
    pieces: Vec<Piece>,
    /// It broke.
    broken: bool,
    /// Stations behind the break.
    beyond: Vec<String>,
    /// What broke it.
    notes: Vec<String>,
}

fn plan(verdict: &Verdict) -> Plan {
    let hops = &verdict.path;
    let breaks =
        |hop: &PathHop| matches!(hop.outcome, HopOutcome::Dropped | HopOutcome::Refused | HopOutcome::Silent);
    let at = hops.iter().position(breaks);
    // Who was silent beyond the node was never seen to be reached.
    let unreached =
        |hop: &PathHop| hop.outcome == HopOutcome::Silent && matches!(hop.hop, Hop::Upstream | Hop::Peer);
    let reached = match at {
        Some(at) if unreached(&hops[at]) && at > 0 => at,
        Some(at) => at + 1,
        None => hops.len(),
    };
    let mut pieces = Vec::new();
    for (number, hop) in hops[..reached].iter().enumerate() {
        if number > 0 {
            let text = link(&hops[number - 1], hop);
            pieces.push(Piece { text, ink: Ink::Dim, breakable: true });
        }
        let ink = if hop.outcome == HopOutcome::Unseen { Ink::Dim } else { Ink::Plain };
        pieces.push(Piece { text: station(hop, verdict), ink, breakable: false });
    }
    let mut beyond: Vec<String> = hops[reached..].iter().map(|hop| station(hop, verdict)).collect();
    let ends = hops.last().is_some_and(|last| matches!(last.hop, Hop::Upstream | Hop::Peer));
    if verdict.direction == Direction::Egress && !ends {
        let end = verdict.peer.ip.to_string();
        match at {
            Some(_) => beyond.push(end),
            None => {
                pieces.push(Piece { text: "╌╌▶".to_owned(), ink: Ink::Dim, breakable: true });
                pieces.push(Piece { text: end, ink: Ink::Dim, breakable: false });
            }
        }
    }
    Plan { pieces, broken: at.is_some(), beyond, notes: notes(at.map(|at| &hops[at]), verdict) }
}

/// Where it broke, then the kernel's own words for it.
fn notes(hop: Option<&PathHop>, verdict: &Verdict) -> Vec<String> {
    let Some(hop) = hop else { return Vec::new() };
    let place = match (&hop.r#where, hop.outcome) {
        (Some(place), _) => clean(place).replace('\n', " "),
        (None, HopOutcome::Silent) => "nothing came back".to_owned(),
        (None, outcome) => outcome.to_string(),
    };
    let fact = |key: &str| verdict.detail.get(key).and_then(|value| value.as_str()).map(|text| clean(text));
    let kernel = match (fact("reason"), fact("function")) {
        (Some(reason), Some(function)) => Some(format!("{reason} in {function}")),
        (Some(reason), None) => Some(reason.into_owned()),
        _ => None,
    };
    let kernel = kernel.filter(|words| hop.outcome != HopOutcome::Silent && !place.contains(words.as_str()));
    std::iter::once(place).chain(kernel).collect()
}

/// What stands between two stations: the device at the pod's end, if known.
fn link(from: &PathHop, to: &PathHop) -> String {
    let device = match (from.hop, to.hop) {
        (Hop::Pod, _) => from.device.as_deref(),
        (_, Hop::Pod | Hop::Peer) => to.device.as_deref(),
        _ => None,
    };
    match device {
        Some(device) => format!("── {} ──▶", clean(device)),
        None if from.outcome == HopOutcome::Unseen || to.outcome == HopOutcome::Unseen => "╌╌▶".to_owned(),
        None => "──▶".to_owned(),
    }
}

fn station(hop: &PathHop, verdict: &Verdict) -> String {
    let peer: IpAddr = verdict.peer.ip;
    let name = match hop.hop {
        Hop::Pod => verdict.pod.name.clone(),
        Hop::Node if hop.outcome == HopOutcome::Translated => "node (NAT)".to_owned(),
        Hop::Node => "node".to_owned(),
        Hop::Uplink => hop.device.clone().unwrap_or_else(|| "uplink".to_owned()),
        Hop::Upstream => peer.to_string(),
        Hop::Peer => verdict.peer.pod.as_ref().map_or_else(|| peer.to_string(), |pod| pod.name.clone()),
    };
    clean(&name).replace('\n', " ")
}
