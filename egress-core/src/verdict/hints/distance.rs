//! A refusal from nearer (or farther) than the host's other answers is not the host's.

use super::Surroundings;
use crate::decode::Tap;
use crate::flow::Outcome;
use crate::verdict::case::Case;
use crate::verdict::distance::{away, hops};
use crate::verdict::judge::Judgement;

/// Paths of one host may differ by a router or two.
const SAME_PATH: u8 = 2;

pub(super) fn hint(case: &Case<'_>, judgement: &mut Judgement, around: &Surroundings<'_>) {
    let Outcome::Refused { ttl } = case.event.outcome else { return };
    if case.event.journey.answer(Tap::UplinkIn).is_none() {
        return;
    }
    let Some(usual) = around.reach.ttl_of(case.event.client.destination.ip) else { return };
    if hops(ttl).abs_diff(hops(usual)) <= SAME_PATH {
        return;
    }
    judgement.detail.insert("usual_hops".to_owned(), hops(usual).into());
    judgement.hints.push(format!(
        "the reset was sent {} (TTL {ttl}), but this host accepts connections {} (TTL {usual}): something \
         between, such as a firewall or load balancer, refuses in its name",
        away(ttl),
        away(usual),
    ));
}
