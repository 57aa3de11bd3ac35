//! egress-agent: why can this pod not reach that endpoint?

use std::process::ExitCode;

fn main() -> ExitCode {
    egress_agent::cli::main()
}
