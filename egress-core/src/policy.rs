//! Policy: do the cluster's policies admit this traffic, and which of them have a say?
//!
//! Pure evaluation, as the APIs document it, of one flow against the [`ClusterIndex`]. A policy's verdict on a flow
//! is a *finding* with the compared values in words; findings of one side make its [`SideView`], both sides the
//! [`PolicyView`]. Each kind of policy has its file under `kinds/`.
//!
//! [`ClusterIndex`]: crate::identity::ClusterIndex

mod evaluate;
mod fix;
mod kinds;
mod ladder;
mod lines;
mod model;
mod outcomes;
mod services;
#[cfg(test)]
pub(crate) mod tests;

pub use evaluate::evaluate;
pub use fix::{fix, fix_policies};
pub use lines::lines;
pub use model::{BackendView, Decision, PolicyFlow, PolicyView, SideView};
