//! Which custom resources the server has: asked once in a while, so that what is not installed costs nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::Client;
use serde_json::Value;

use super::body::Body;
use super::fault::Fault;
use super::kinds::{Resource, WATCHED, Watched};

/// The answer is dead when nothing came for so long.
const SILENCE: Duration = Duration::from_secs(30);

/// The custom resources whose group and version the server serves. One of the group may still be missing, which its
/// list then says.
pub(super) async fn custom(client: &Client) -> Result<Vec<Resource>, Fault> {
    let served = served(client).await?;
    let rows = WATCHED.iter().filter(|row| row.is_custom());
    Ok(rows.filter_map(|row| choose(row, &served)).collect())
}

/// Those of them that are really there: where one is not, a person without rights is refused as if it was.
pub(super) async fn installed(client: &Client) -> Result<Vec<Resource>, Fault> {
    let mut found = custom(client).await?;
    let versions: BTreeSet<&str> = found.iter().map(|resource| resource.api_version).collect();
    for version in versions {
        let text = Body::get(client, &format!("/apis/{version}")).await?.whole(SILENCE).await?;
        let list: Value = serde_json::from_slice(&text).map_err(|error| Fault::Garbled(error.to_string()))?;
        let there = list["resources"].as_array();
        let there = there.ok_or_else(|| Fault::Garbled(format!("/apis/{version} names no resources")))?;
        let names: BTreeSet<&str> = there.iter().filter_map(|one| one["name"].as_str()).collect();
        found.retain(|resource| resource.api_version != version || names.contains(resource.row.plural));
    }
    Ok(found)
}

fn choose(row: &'static Watched, served: &BTreeSet<String>) -> Option<Resource> {
    let api_version = row.versions.iter().find(|version| served.contains(**version))?;
    Some(Resource { row, api_version })
}

/// `GROUP/VERSION` of everything that `/apis` names.
async fn served(client: &Client) -> Result<BTreeSet<String>, Fault> {
    let text = Body::get(client, "/apis").await?.whole(SILENCE).await?;
    let groups: Value = serde_json::from_slice(&text).map_err(|error| Fault::Garbled(error.to_string()))?;
    let groups =
        groups["groups"].as_array().ok_or_else(|| Fault::Garbled("/apis names no groups".to_owned()))?;
    let versions = groups.iter().filter_map(|group| group["versions"].as_array()).flatten();
    Ok(versions.filter_map(|version| version["groupVersion"].as_str()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_version_that_is_served_is_chosen() {
        let served = |versions: &[&str]| versions.iter().map(|version| (*version).to_owned()).collect();
        let chosen = |kind: &str, versions: &[&str]| {
            let row = WATCHED.iter().find(|row| row.kind == kind).unwrap();
            choose(row, &served(versions)).map(|resource| resource.api_version)
        };
        let both = ["projectcalico.org/v3", "crd.projectcalico.org/v1"];
        assert_eq!(chosen("GlobalNetworkPolicy", &both), Some("crd.projectcalico.org/v1"));
        assert_eq!(chosen("GlobalNetworkPolicy", &both[..1]), Some("projectcalico.org/v3"));
        assert_eq!(chosen("CiliumNetworkPolicy", &both), None);
    }
}
