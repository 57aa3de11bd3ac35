//! Calico's objects (`projectcalico.org/v3`), validated and parsed.

mod labels;
mod policy;
mod rule;
mod selector;
mod sets;

pub use policy::{CalicoPolicy, Forwarded};
pub use rule::{Action, Entity, Icmp, Rule, ServiceAccounts};
pub use selector::{Label, Labelled, Selector, SelectorError};
pub use sets::{NetworkSet, Tier};

pub(crate) use labels::{NamespaceLabels, PodLabels, ServiceAccountLabels, SetLabels};
