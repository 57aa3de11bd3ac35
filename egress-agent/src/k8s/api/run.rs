//! Everything that follows the API server, together.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use egress_core::cluster::ClusterChange;
use kube::Client;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::backoff::Backoff;
use super::discover;
use super::follow::Follower;
use super::hub::Hub;
use super::kinds::{Resource, WATCHED};
use super::peers::{self, Questions};

/// How often it is looked for custom resources that were installed since.
const DISCOVERY: Duration = Duration::from_secs(300);

/// Follows everything that is watched and answers questions, for ever.
pub(super) async fn run(client: Client, node: &str, hub: Arc<Hub>, questions: Questions) {
    hub.tell(vec![ClusterChange::PeersOnDemand]);
    // Answers do not wait for lists, nor lists for answers.
    tokio::join!(follow_all(client.clone(), node, &hub), peers::answer(client, &hub, questions));
}

async fn follow_all(client: Client, node: &str, hub: &Arc<Hub>) {
    let mut followers = JoinSet::new();
    let mut followed = BTreeSet::new();
    let follow = |resource: Resource, followers: &mut JoinSet<Resource>, followed: &mut BTreeSet<String>| {
        if followed.insert(resource.qualified()) {
            hub.expect([resource]);
            followers.spawn(Follower::new(client.clone(), resource, node, Arc::clone(hub)).follow());
        }
    };
    for row in WATCHED.iter().filter(|row| !row.is_custom()) {
        let Some(api_version) = row.versions.first() else { continue };
        follow(Resource { row, api_version }, &mut followers, &mut followed);
    }
    let mut backoff = Backoff::new(super::follow::seed(node, "discovery"));
    let mut next_look = Instant::now();
    loop {
        tokio::select! {
            () = sleep_until(next_look) => {
                let outcome = discover::custom(&client).await;
                let wait = match &outcome {
                    Ok(resources) => {
                        backoff.reset();
                        for resource in resources {
                            follow(*resource, &mut followers, &mut followed);
                        }
                        backoff.jittered(DISCOVERY)
                    }
                    Err(fault) => backoff.next(fault.wait()),
                };
                next_look = Instant::now() + wait;
                hub.discovered(outcome.map(drop));
            }
            Some(ended) = followers.join_next() => {
                // A resource that is not there is looked for again with the next look.
                if let Ok(resource) = ended {
                    followed.remove(&resource.qualified());
                }
            }
        }
    }
}
