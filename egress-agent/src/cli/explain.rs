//! `explain`: what the policies say of a connection that need not have happened.

use egress_core::cluster::PodRef;
use serde_json::Value;

use super::args::{ExplainArgs, PlainOutput};
use super::commands::block_on;
use super::connect::connect;
use super::exit::Failure;
use super::query::yaml;
use super::terminal::Ui;
use crate::answers::{ExplainRequest, Explanation};
use crate::app;
use crate::words::clean;

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
        let answer = async {
            Ok::<_, Failure>(connect(&args.server, pod(&args.from).as_ref()).await?.explain(&request).await?)
        };
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
            let text = egress_core::explain::render(&cleaned(&explanation)?, ui.width, ui.color);
            ui.out.write_all(text.as_bytes())?;
        }
    }
    Ok(())
}

/// The pod that `[NS/]POD` names, to find its node: not an address.
fn pod(from: &str) -> Option<PodRef> {
    if from.parse::<std::net::IpAddr>().is_ok() {
        return None;
    }
    let (namespace, name) = from.split_once('/').unwrap_or(("default", from));
    Some(PodRef { namespace: namespace.to_owned(), name: name.to_owned() })
}

/// The same without what could steer a terminal: files may hold anything for a name.
fn cleaned(explanation: &Explanation) -> Result<Explanation, Failure> {
    let mut value = serde_json::to_value(explanation)?;
    clean_value(&mut value);
    let (from, to) = (clean(&explanation.from).into_owned(), clean(&explanation.to).into_owned());
    Ok(Explanation { from, to, ..serde_json::from_value(value)? })
}

fn clean_value(value: &mut Value) {
    match value {
        Value::String(text) => *text = clean(text).into_owned(),
        Value::Array(values) => values.iter_mut().for_each(clean_value),
        Value::Object(map) => map.values_mut().for_each(clean_value),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
