//! What stands beside the cause: what others of this node reach, the proxy of the pod's spec, the state of the
//! destination's pod. Hints sharpen what is said; none of them makes a cause.

mod distance;
mod peer;
mod proxy;
mod reach;

use super::case::Case;
use super::judge::Judgement;
use crate::identity::ClusterIndex;
use crate::reach::Reach;

/// What is known beside the flow itself.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Who reached what.
    pub reach: &'a Reach,
    /// The cluster.
    pub index: &'a ClusterIndex,
}

/// Adds to a judgement what its surroundings say.
pub fn hint(case: &Case<'_>, judgement: &mut Judgement, around: &Surroundings<'_>) {
    distance::hint(case, judgement, around);
    reach::hint(case, judgement, around);
    proxy::hint(case, judgement, around);
    peer::hint(case, judgement, around);
}

impl Judgement {
    /// Adds a sentence to the advice.
    fn advise_also(&mut self, sentence: &str) {
        if let Some(fix) = &mut self.fix {
            fix.text.push(' ');
            fix.text.push_str(sentence);
        }
    }
}
