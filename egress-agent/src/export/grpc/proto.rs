//! The generated code of `proto/egress/v1/egress.proto` (`cargo xtask proto`).

include!("../generated/egress.v1.rs");
include!("../generated/descriptors.rs");
