//! Verdicts: what the product says. The shape is a contract (JSON `egress.v1`, gRPC, metric labels).

mod model;

pub use model::{
    Affects, Cause, Confidence, Direction, Evidence, Fix, Hop, HopOutcome, PathHop, PeerKind, PeerRef,
    PodIdentity, PolicyFinding, PolicyResult, SCHEMA, Side, SocketAddress, Stage, State, Translation,
    Verdict,
};
