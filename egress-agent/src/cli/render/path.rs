//! The way of the packet on one line, broken where it broke; what broke it stands there or just below.

use egress_core::verdict::{HopOutcome, Verdict};

use super::text::{Ink, Pen, columns, wrap};
use crate::picture::{Link, Picture};

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
    let Picture { stations, reached, notes } = Picture::of(verdict);
    let end = reached.unwrap_or(stations.len());
    let mut pieces = Vec::new();
    for (number, station) in stations[..end].iter().enumerate() {
        // A way of which nothing was seen but its end begins with the link to it.
        if number > 0 || station.link != Link::Seen {
            let text = match &station.link {
                Link::Device(device) => format!("── {device} ──▶"),
                Link::Seen => "──▶".to_owned(),
                Link::Unseen => "╌╌▶".to_owned(),
            };
            pieces.push(Piece { text, ink: Ink::Dim, breakable: true });
        }
        let ink = if station.outcome == HopOutcome::Unseen { Ink::Dim } else { Ink::Plain };
        pieces.push(Piece { text: station.name.clone(), ink, breakable: false });
    }
    let beyond = stations[end..].iter().map(|station| station.name.clone()).collect();
    Plan { pieces, broken: reached.is_some(), beyond, notes }
}
