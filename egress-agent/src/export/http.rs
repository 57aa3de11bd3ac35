//! `/metrics`, `/healthz` and `/readyz` over HTTP.

mod address;

pub use address::{HttpAddress, HttpAddressError};
