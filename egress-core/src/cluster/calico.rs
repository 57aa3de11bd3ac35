//! Calico's policies (`projectcalico.org/v3`), validated and parsed.

mod selector;

pub use selector::{Label, Labelled, Selector, SelectorError};
