//! What the pipeline is fed. A capture is a list of these.

use serde::{Deserialize, Serialize};

use crate::cluster::ClusterChange;
use crate::node::NodeChange;
use crate::time::{ClockOffset, Mono};
use crate::verdict::Verdict;

/// One input of the pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "input")]
pub enum Input {
    /// A record of the kernel side, raw.
    Record {
        /// The bytes, as `egress-common` lays them out.
        #[serde(with = "hex")]
        bytes: Vec<u8>,
    },
    /// The cluster changed.
    Cluster {
        /// When it was learned.
        at: Mono,
        /// The change.
        change: ClusterChange,
    },
    /// The node changed, or answered.
    Node {
        /// When it was learned.
        at: Mono,
        /// The change.
        change: NodeChange,
    },
    /// The kernel's names that later records refer to (drop reasons, functions).
    Names {
        /// Drop reasons by number.
        reasons: Vec<(u32, String)>,
        /// Functions: first address, end, name.
        functions: Vec<(u64, u64, String)>,
    },
    /// Time went on.
    Tick {
        /// Now.
        now: Mono,
        /// Wall clock minus monotonic clock.
        offset: ClockOffset,
    },
    /// An earlier run of the agent left these verdicts open.
    Resume {
        /// The verdicts, `active`.
        verdicts: Vec<Verdict>,
    },
}

/// Bytes as hexadecimal text.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        let text: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if !text.len().is_multiple_of(2) || !text.is_ascii() {
            return Err(serde::de::Error::custom("an odd number of hexadecimal digits, or other characters"));
        }
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).map_err(serde::de::Error::custom))
            .collect()
    }
}
