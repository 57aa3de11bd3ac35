//! `egress-lab`: the scenarios, the demo, and the servers and clients that run inside the lab's namespaces.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use egress_lab::traffic::{
    connect, delay, dns, echo, flood, lookup, malformed, sctp, serve, sidecar, transfer, udp,
};
use egress_lab::{cleanup, demo, harness, shell};

#[derive(Debug, Parser)]
#[command(name = "egress-lab", about = "Small clusters out of network namespaces")]
enum Command {
    /// Run the scenarios.
    Test(harness::Args),
    /// The tour: a pod that cannot reach api.stripe.com, and why.
    Demo,
    /// Build a lab and keep it until Ctrl-C, for a look by hand.
    Up(shell::Args),
    /// Remove what labs that were killed have left.
    Sweep,
    /// Accept TCP connections.
    ServeTcp(serve::Args),
    /// Take the connections that a pod diverts to its loopback, as a mesh does.
    ServeSidecar(sidecar::Args),
    /// Receive UDP datagrams.
    ServeUdp(udp::ServeArgs),
    /// Take and give bytes over TCP.
    ServeTransfer(transfer::ServeArgs),
    /// Answer DNS questions.
    ServeDns(dns::Args),
    /// Join two namespaces by a slow line.
    DelayLine(delay::Args),
    /// Open TCP connections.
    Connect(connect::Args),
    /// Transfer bytes over TCP.
    Transfer(transfer::Args),
    /// Resolve a name.
    Lookup(lookup::Args),
    /// Send UDP datagrams.
    SendUdp(udp::SendArgs),
    /// Answer SCTP associations, or refuse them.
    ServeSctp(sctp::ServeArgs),
    /// Open an SCTP association.
    ConnectSctp(sctp::ConnectArgs),
    /// Ping.
    Echo(echo::Args),
    /// Send SYNs.
    Flood(flood::Args),
    /// Send malformed packets.
    Malformed(malformed::Args),
}

fn main() -> ExitCode {
    match run(Command::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("egress-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Test(args) => {
            cleanup::handle_signals()?;
            return harness::run(&args);
        }
        Command::Demo => {
            cleanup::handle_signals()?;
            demo::run()?;
        }
        Command::Up(args) => {
            cleanup::handle_signals()?;
            shell::run(&args)?;
        }
        Command::Sweep => {
            for tag in cleanup::sweep() {
                println!("removed {tag}");
            }
        }
        Command::ServeTcp(args) => serve::run(&args)?,
        Command::ServeSidecar(args) => sidecar::run(&args)?,
        Command::ServeUdp(args) => udp::serve(&args)?,
        Command::ServeTransfer(args) => transfer::serve(&args)?,
        Command::ServeDns(args) => dns::run(&args)?,
        Command::DelayLine(args) => delay::run(&args)?,
        Command::Connect(args) => connect::run(&args)?,
        Command::Transfer(args) => transfer::run(&args)?,
        Command::Lookup(args) => lookup::run(&args)?,
        Command::SendUdp(args) => udp::send(&args)?,
        Command::ServeSctp(args) => sctp::serve(&args)?,
        Command::ConnectSctp(args) => sctp::connect(&args)?,
        Command::Echo(args) => echo::run(&args)?,
        Command::Flood(args) => flood::run(&args)?,
        Command::Malformed(args) => malformed::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}
