//! The targets.

pub(crate) mod capture;
pub(crate) mod dns;
pub(crate) mod grpc;
pub(crate) mod legacy;
pub(crate) mod manifest;
pub(crate) mod netlink;
pub(crate) mod packet;
pub(crate) mod pipeline;
pub(crate) mod record;
pub mod records;
pub(crate) mod selector;
pub(crate) mod text;
pub(crate) mod tls;
pub mod world;
