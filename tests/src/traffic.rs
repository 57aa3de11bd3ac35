//! The helper's servers and clients: they run inside a namespace and speak real protocols.

pub mod connect;
pub mod delay;
pub mod dns;
pub mod echo;
pub mod flood;
pub mod lookup;
pub mod malformed;
mod raw;
pub mod sctp;
pub mod serve;
mod short_lived;
pub mod sidecar;
pub mod transfer;
pub mod udp;

use anyhow::Result;

use crate::client::Outcome;

/// Says on standard output that a server is ready.
fn announce_ready() -> Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready")?;
    out.flush()?;
    Ok(())
}

/// Prints a client's result.
fn print(outcome: &Outcome) -> Result<()> {
    println!("{}", serde_json::to_string(outcome)?);
    Ok(())
}
