//! `explain`: what the policies say of a connection that need not have happened.

use super::args::{ExplainArgs, PlainOutput};
use super::commands::block_on;
use super::connect::connect;
use super::exit::Failure;
use super::query::yaml;
use super::render::{self, View};
use super::terminal::{Ui, now};
use crate::answers::ExplainRequest;
use crate::app;

/// Asks the files given, or a running agent, and prints the answer.
pub(super) fn explain(args: &ExplainArgs, ui: &mut Ui<'_>) -> Result<(), Failure> {
    let request = ExplainRequest {
        from: args.from.clone(),
        to: args.to.clone(),
        port: args.port,
        protocol: args.protocol,
        dns: args.dns.clone(),
    };
    let explanation = if args.cluster_state.is_empty() {
        let answer = async { Ok::<_, Failure>(connect(&args.server).await?.explain(&request).await?) };
        block_on(answer)??
    } else {
        app::explain(&args.cluster_state, &request)?
    };
    match args.output {
        PlainOutput::Json => {
            serde_json::to_writer_pretty(&mut *ui.out, &explanation)?;
            writeln!(ui.out)?;
        }
        PlainOutput::Yaml => ui.out.write_all(yaml(&explanation)?.as_bytes())?,
        PlainOutput::Table => {
            let view = View { width: ui.width, color: ui.color, wide: false, now: now(), fix_command: None };
            ui.out.write_all(render::explanation(&request, &explanation, &view).as_bytes())?;
        }
    }
    Ok(())
}
