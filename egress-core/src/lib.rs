//! The thinking of egress-agent: decode → flow → identity → policy → verdict → history.
//!
//! Pure: no I/O, no clock, no threads. Records of the kernel and changes of the cluster go in, verdicts come
//! out; time is always an argument.
#![forbid(unsafe_code)]

pub mod capture;
pub mod cluster;
pub mod decode;
pub mod explain;
pub mod flow;
pub mod history;
pub mod identity;
pub mod input;
pub mod names;
pub mod node;
pub mod pipeline;
pub mod policy;
pub mod protocol;
pub mod reach;
pub mod similar;
pub mod sockets;
pub mod tally;
pub mod time;
mod truth;
pub mod verdict;
