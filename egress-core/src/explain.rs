//! `explain`: would this traffic be admitted, by which policies, and if not, what would admit it?
//!
//! The same evaluation as for a verdict, asked by name and without any packet.

mod answer;
mod ends;
mod error;
mod mention;
mod notes;
mod range;
mod render;
#[cfg(test)]
mod tests;
mod workload;

pub use answer::{ExplainRequest, Explanation, explain};
pub use error::ExplainError;
pub use mention::{Mention, qualified};
pub use range::PartView;
pub use render::render;
