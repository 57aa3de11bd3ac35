//! What this agent sees and does not see: shared by `status`, `doctor`, gRPC and the metrics.

use serde::{Deserialize, Serialize};

/// State of one kernel hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookStatus {
    /// Kernel name of the hook: `skb:kfree_skb`, `tcp:tcp_retransmit_skb`, `tc:pod`, `tc:uplink`, ….
    pub hook: String,
    /// Attached, degraded or refused.
    pub state: HookState,
    /// Attached: how (tp_btf, TCX, the devices). Degraded: why and what is lost. Refused: the exact error.
    pub note: String,
}

/// How well a hook works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookState {
    /// All of it works.
    Attached,
    /// It works in part.
    Degraded,
    /// It does not work.
    Refused,
}

impl HookState {
    /// The word people read.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attached => "attached",
            Self::Degraded => "degraded",
            Self::Refused => "refused",
        }
    }
}

/// Events of one kind, since the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventCount {
    /// `drop`, `packet`, `retransmit`, `sock-state`, `reset`.
    pub kind: String,
    /// Records delivered to user space.
    pub delivered: u64,
    /// Counted in the kernel without a record of their own (drops aggregated, packets withheld).
    pub aggregated: u64,
    /// Lost, by stage (`ring`, `aggregation-map`, `queue`, `decode`, `flow-table`, `history`, `subscriber`); zero stages left out.
    pub lost: Vec<(String, u64)>,
}

/// One screen of what the agent is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// Version of the agent.
    pub version: String,
    /// Name of the node, empty if not known.
    pub node: String,
    /// Kernel release.
    pub kernel: String,
    /// Since when it watches, RFC 3339.
    pub watching_since: String,
    /// Local pods known.
    pub pods: u64,
    /// Verdicts held in the history.
    pub verdicts: u64,
    /// Hooks.
    pub hooks: Vec<HookStatus>,
    /// Events by kind.
    pub events: Vec<EventCount>,
    /// Devices watched, `name (role, directions)`.
    pub devices: Vec<String>,
    /// Policies as of, RFC 3339; empty before the first complete reading.
    pub policies_as_of: String,
    /// Objects known, by kind.
    pub objects: Vec<(String, u64)>,
    /// What is wrong with the inputs: malformed objects by name and field, and the like.
    pub problems: Vec<String>,
    /// What is kept on disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryStatus>,
}

/// The history on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryStatus {
    /// Its folder.
    pub folder: String,
    /// Verdicts on disk.
    pub verdicts: u64,
    /// Size of its file, bytes.
    pub bytes: u64,
    /// When the oldest of them was last seen, RFC 3339; empty if there is none.
    pub oldest: String,
    /// Times in which no agent watched, from and until, RFC 3339, the latest last.
    pub gaps: Vec<(String, String)>,
}
