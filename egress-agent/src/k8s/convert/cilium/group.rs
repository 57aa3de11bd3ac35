//! CiliumCIDRGroup (`cilium.io/v2`, before that `v2alpha1`).

use egress_core::cluster::CiliumCidrGroup;
use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use serde::Deserialize;

use super::peers::network;
use crate::k8s::convert::field::Field;
use crate::k8s::convert::{Errors, compact, name};

/// A group of ranges.
#[derive(Debug, Deserialize)]
pub struct CidrGroup {
    #[serde(default)]
    metadata: v1::ObjectMeta,
    #[serde(default)]
    spec: Spec,
}

#[derive(Debug, Default, Deserialize)]
struct Spec {
    #[serde(default, rename = "externalCIDRs")]
    external_cidrs: Vec<String>,
}

/// Converts a CiliumCIDRGroup.
pub fn cilium_cidr_group(mut object: CidrGroup, errors: &mut Errors) -> CiliumCidrGroup {
    let spec = Field::root("spec");
    let list = spec.then("externalCIDRs");
    let given = object.spec.external_cidrs.iter().enumerate();
    CiliumCidrGroup {
        cidrs: compact(given.filter_map(|(index, text)| network(text, &list.item(index), errors))),
        name: name(&mut object.metadata, errors),
        labels: object.metadata.labels.unwrap_or_default().into(),
    }
}
