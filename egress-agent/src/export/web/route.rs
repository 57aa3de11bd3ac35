//! The way of the packet: a list of stations for who hears it, a line of them for who sees it.

use egress_core::verdict::{HopOutcome, Verdict};
use maud::{Markup, html};

use crate::picture::{Link, Picture, Station};

/// How a station looks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// The packet was there.
    Reached,
    /// Nobody watches there.
    Dim,
    /// It never came there.
    Beyond,
}

/// Draws the way.
pub(super) fn route(verdict: &Verdict) -> Markup {
    let Picture { stations, reached, notes } = Picture::of(verdict);
    let end = reached.unwrap_or(stations.len());
    html! {
        ol.route aria-label="The way of the packet" {
            @for (number, at) in stations.iter().enumerate() {
                @let look = match (number >= end, at.outcome) {
                    (true, _) => Look::Beyond,
                    (_, HopOutcome::Unseen) => Look::Dim,
                    _ => Look::Reached,
                };
                @if reached == Some(number) { (broken(&notes)) }
                (station(at, number, look))
            }
            @if reached == Some(stations.len()) { (broken(&notes)) }
        }
    }
}

fn station(at: &Station, number: usize, look: Look) -> Markup {
    let class = match look {
        Look::Reached => "reached",
        Look::Dim => "dim",
        Look::Beyond => "beyond",
    };
    let said = match look {
        Look::Reached if at.outcome == HopOutcome::Translated => ", addresses translated",
        Look::Reached => "",
        Look::Dim => ", not watched",
        Look::Beyond => ", not reached",
    };
    html! {
        li.(class) {
            @if (number > 0 || at.link != Link::Seen) && look != Look::Beyond {
                @match &at.link {
                    Link::Device(device) => span.link { span.unseen { "through " } (device) span.unseen { " to " } },
                    Link::Seen => span.link {},
                    Link::Unseen => span.link.faint {},
                }
            }
            span.station { (at.name) span.unseen { (said) } }
        }
    }
}

fn broken(notes: &[String]) -> Markup {
    html! {
        li.broken {
            svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false" {
                path d="M3 3 13 13 M13 3 3 13" fill="none" stroke="currentColor" stroke-width="2.5" stroke-linecap="round" {}
            }
            span.station { span.unseen { "broken: " } @for (number, note) in notes.iter().enumerate() {
                @if number > 0 { br; } (note)
            } }
        }
    }
}
