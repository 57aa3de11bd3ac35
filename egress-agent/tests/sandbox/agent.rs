//! The agent once more, for the image of the lab's sandbox, which wants it linked statically. It is an example because
//! cargo builds examples from what it builds tests from: only this file is compiled twice.

use std::process::ExitCode;

fn main() -> ExitCode {
    egress_agent::cli::main()
}
