//! TCP socket states.

/// State of a TCP socket, `net/tcp_states.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpState {
    /// Both ways open.
    Established,
    /// Connecting.
    SynSent,
    /// Answering.
    SynReceived,
    /// Gone, or never used.
    Close,
    /// Any other.
    Other(u8),
}

impl TcpState {
    /// From the kernel's number (part of its UAPI: `BPF_TCP_*`).
    #[must_use]
    pub const fn from_raw(raw: u8) -> Self {
        match raw {
            1 => Self::Established,
            2 => Self::SynSent,
            3 | 12 => Self::SynReceived,
            7 => Self::Close,
            other => Self::Other(other),
        }
    }
}
