//! Every chore of the project as `cargo xtask …`.

mod bench;
mod build_ebpf;
mod demo;
mod deploy;
mod docs;
mod fuzz;
mod image;
mod proto;
mod setup;
mod test;
mod toolchain;
mod unpacked;
mod verifier;
mod vm;

use std::process::ExitCode;

use clap::Parser;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Chores of the project")]
enum Task {
    /// What the agent costs on this machine, beside the budgets (root).
    Bench(bench::Args),
    /// The eBPF programs and the agent with them inside.
    Build,
    /// The eBPF programs only; finds or installs their toolchain.
    BuildEbpf,
    /// The main job, live: a blocked pod, the verdict, the fix.
    Demo,
    /// Writes the pages that are made from the code anew.
    Docs {
        /// Only prove that they are fresh.
        #[arg(long)]
        check: bool,
    },
    /// Writes what follows from the manifests and alert rules: the PrometheusRule, the README's facts.
    Deploy(deploy::Args),
    /// A container image with nothing in it but the agent, as an OCI archive.
    Image(image::Args),
    /// Generates the gRPC code anew.
    Proto {
        /// Only prove that it is fresh.
        #[arg(long)]
        check: bool,
    },
    /// All tests.
    Test(test::Args),
    /// How many instructions the verifier goes through, against the ceilings (root).
    Verifier(verifier::Args),
}

fn main() -> ExitCode {
    let result = match Task::parse() {
        Task::Bench(args) => bench::run(&args),
        Task::Build => setup::build(),
        Task::BuildEbpf => build_ebpf::run().map(|_| ()),
        Task::Demo => demo::run(),
        Task::Docs { check } => docs::run(check),
        Task::Deploy(args) => deploy::run(&args),
        Task::Image(args) => image::run(&args),
        Task::Proto { check } => proto::run(check),
        Task::Test(args) => test::run(&args),
        Task::Verifier(args) => verifier::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
