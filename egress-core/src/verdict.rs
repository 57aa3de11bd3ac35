//! Verdicts: what the product says. The shape is a contract (JSON `egress.v1`, gRPC, metric labels).

mod book;
mod case;
mod causes;
mod dialler;
mod distance;
mod evidence;
mod hints;
mod judge;
mod model;
mod path;
pub(crate) mod questions;

pub use book::{Book, Subject};
pub use case::Case;
pub(crate) use causes::place::owner::enforces_policies;
pub use dialler::Dialler;
pub use evidence::evidence;
pub use hints::{Surroundings, hint};
pub use judge::{Judgement, judge};
pub use model::{
    Affects, Cause, Confidence, Direction, Evidence, Fix, Hop, HopOutcome, PathHop, PeerKind, PeerRef,
    PodIdentity, PolicyFinding, PolicyResult, SCHEMA, Side, SocketAddress, Stage, State, Translation,
    Verdict,
};
pub use path::path;
