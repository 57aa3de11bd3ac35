//! Every chore of the project as `cargo xtask …`.

mod demo;
mod setup;
mod test;

use std::process::ExitCode;

use clap::Parser;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Chores of the project")]
enum Task {
    /// The main job, live: a blocked pod, the verdict, the fix.
    Demo,
    /// All tests.
    Test(test::Args),
}

fn main() -> ExitCode {
    let result = match Task::parse() {
        Task::Demo => demo::run(),
        Task::Test(args) => test::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
