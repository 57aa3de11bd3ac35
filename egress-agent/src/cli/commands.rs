//! Every command and what carries it out.

use std::future::Future;

use clap::CommandFactory as _;

use super::args::{Cli, Command, Output, PlainOutput, StatusArgs};
use super::connect::connect;
use super::exit::Failure;
use super::terminal::{Ui, now};
use super::{explain, query, render};
use crate::app;
use crate::status::{AgentStatus, HookState};

/// Carries out a command.
pub(super) fn dispatch(command: Command, ui: &mut Ui<'_>) -> Result<(), Failure> {
    match command {
        Command::Run(args) => match args.config.as_ref().filter(|_| args.check) {
            Some(path) => Ok(writeln!(ui.out, "{}: the settings can be used", path.display())?),
            None => Ok(app::run(&args)?),
        },
        Command::Query(args) => block_on(query::query(&args, ui))?,
        Command::Explain(args) => explain::explain(&args, ui),
        Command::Status(args) => block_on(status(&args, ui))?,
        Command::Doctor(args) => {
            let found = app::doctor(&args)?;
            print_status(&found, args.output, ui, render::doctor)?;
            let refused = found.hooks.iter().filter(|hook| hook.state == HookState::Refused).count();
            match found.hooks.len() {
                all if all == refused => {
                    Err(Failure::Failed("this node cannot run the agent: no hook can be attached".into()))
                }
                _ => Ok(()),
            }
        }
        Command::Record(args) => Ok(app::record(&args)?),
        Command::Replay(args) => {
            let verdicts = app::replay(&args)?;
            query::print(&verdicts, args.output, query::fix_command(ui, None), ui)?;
            if verdicts.is_empty() && matches!(args.output, Output::Table | Output::Wide) {
                writeln!(ui.out, "no verdicts in {}", args.file.display())?;
            }
            Ok(())
        }
        Command::Cleanup(args) => {
            let removed = app::cleanup(&args)?;
            if removed.is_empty() {
                writeln!(ui.out, "nothing of ours was left")?;
            }
            for line in removed {
                writeln!(ui.out, "removed {line}")?;
            }
            Ok(())
        }
        Command::Completions { shell } => {
            // The script is for the binary's own name, however this run was called.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "egress-agent", &mut script);
            Ok(ui.out.write_all(&script)?)
        }
    }
}

async fn status(args: &StatusArgs, ui: &mut Ui<'_>) -> Result<(), Failure> {
    let status = connect(&args.server, None).await?.status().await?;
    print_status(&status, args.output, ui, render::status)
}

fn print_status(
    status: &AgentStatus,
    output: PlainOutput,
    ui: &mut Ui<'_>,
    table: fn(&AgentStatus, &render::View) -> String,
) -> Result<(), Failure> {
    match output {
        PlainOutput::Json => {
            serde_json::to_writer_pretty(&mut *ui.out, status)?;
            Ok(writeln!(ui.out)?)
        }
        PlainOutput::Yaml => Ok(ui.out.write_all(query::yaml(status)?.as_bytes())?),
        PlainOutput::Table => {
            let view =
                render::View { width: ui.width, color: ui.color, wide: false, now: now(), fix_command: None };
            Ok(ui.out.write_all(table(status, &view).as_bytes())?)
        }
    }
}

/// Runs a client's work to its end on this thread.
pub(super) fn block_on<F: Future>(work: F) -> Result<F::Output, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(|error| Failure::Failed(format!("cannot start: {error}")))?.block_on(work))
}
