//! What people read: a verdict as a headline, the way of the packet with the broken hop, why, and what to do.
//!
//! Laid out by hand for a terminal of any width from 40 columns; names are never cut. Everything that came from
//! outside (names asked for by pods, names of objects) loses its control characters before it reaches a terminal.

mod path;
mod status;
mod text;
mod verdict;

pub(super) use status::{doctor, status, watched};
pub(super) use text::{columns, cut, dim};
pub(super) use verdict::{in_a_line, verdict};

use egress_core::time::Timestamp;

/// How to lay out.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// Columns.
    pub(super) width: usize,
    /// With colours.
    pub(super) color: bool,
    /// With evidence and identities.
    pub(super) wide: bool,
    /// When "2s ago" is counted from.
    pub(super) now: Timestamp,
    /// The beginning of the command that prints a verdict's fix, if there is one to suggest.
    pub(super) fix_command: Option<String>,
}

#[cfg(test)]
mod tests;
