//! `query`: the verdicts of one agent, or of those of a cluster.

use std::collections::HashMap;
use std::time::Duration;

use egress_core::history::{PodFilter, in_order_of_repair};
use egress_core::verdict::{State, Verdict};
use serde::Serialize;

use super::answer::{Answer, Told};
use super::args::{Output, QueryArgs};
use super::exit::Failure;
use super::live::Live;
use super::render::{self, View};
use super::target::Asked;
use super::terminal::{self, Ui, now};
use crate::export::grpc::QueryMessage;
use crate::status::AgentStatus;
use crate::words;

/// How often the ages at the bottom of a terminal are drawn anew.
const REDRAW: Duration = Duration::from_secs(1);

/// Asks, prints, and with `--follow` goes on printing.
pub(super) async fn query(args: &QueryArgs, ui: &mut Ui<'_>) -> Result<(), Failure> {
    let (mut answer, asked) = Answer::to(args).await?;
    let command = fix_command(ui, Some(args));
    let mut watched = None;
    if args.follow {
        return follow(&mut answer, args, &asked, command, ui).await;
    }
    let mut verdicts = Vec::new();
    while let Some(told) = answer.next().await? {
        match told {
            Told::Message(QueryMessage::Watched(status)) => {
                tell_watched(&status, ui)?;
                watched = Some(status);
            }
            Told::Message(QueryMessage::Verdict(verdict)) => verdicts.push(*verdict),
            Told::Message(QueryMessage::EndOfHistory | QueryMessage::Lagged(_)) => {}
            Told::Note(text) => note(&text, ui)?,
        }
    }
    let outcome = answer.outcome(&asked.words);
    let (Ok(()) | Err(Failure::Partial(_))) = &outcome else { return outcome };
    latest(&mut verdicts);
    verdicts.truncate(args.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX));
    let pod = if let PodFilter::Pod(pod) = &asked.pods { Some(pod) } else { None };
    in_order_of_repair(&mut verdicts, pod);
    if args.fix {
        print_fixes(&verdicts, ui)?;
        return outcome;
    }
    print(&verdicts, args.output, command, ui)?;
    if verdicts.is_empty() && matches!(args.output, Output::Table | Output::Wide) {
        writeln!(ui.out, "{}", nothing(args, &asked.words, watched.as_deref()))?;
    }
    outcome
}

/// Keeps the latest revision of each verdict: one that was revised while the answer was sent comes twice.
fn latest(verdicts: &mut Vec<Verdict>) {
    let key = |verdict: &Verdict| (verdict.pod.node.clone(), verdict.id.clone());
    let mut last = HashMap::new();
    for (place, verdict) in verdicts.iter().enumerate() {
        last.insert(key(verdict), place);
    }
    if last.len() == verdicts.len() {
        return;
    }
    let mut place = 0;
    verdicts.retain(|verdict| {
        place += 1;
        last.get(&key(verdict)) == Some(&(place - 1))
    });
    verdicts.sort_by_key(|verdict| std::cmp::Reverse(verdict.last_seen));
}

/// Prints verdicts as they come.
pub(super) fn print(
    verdicts: &[Verdict],
    output: Output,
    fix_command: Option<String>,
    ui: &mut Ui<'_>,
) -> Result<(), Failure> {
    match output {
        Output::Json => {
            serde_json::to_writer_pretty(&mut *ui.out, verdicts)?;
            writeln!(ui.out)?;
        }
        Output::Yaml => ui.out.write_all(yaml(verdicts)?.as_bytes())?,
        Output::Table | Output::Wide => {
            let view = view(output, fix_command, ui);
            for (number, verdict) in verdicts.iter().enumerate() {
                if number > 0 {
                    writeln!(ui.out)?;
                }
                ui.out.write_all(render::verdict(verdict, &view).as_bytes())?;
            }
        }
    }
    Ok(())
}

async fn follow(
    answer: &mut Answer,
    args: &QueryArgs,
    asked: &Asked,
    fix_command: Option<String>,
    ui: &mut Ui<'_>,
) -> Result<(), Failure> {
    let mut view = view(args.output, fix_command, ui);
    let mut live = Live::new(ui.live, asked.words.clone());
    // The history comes newest first; what follows it is newer still. Shown in the order of time.
    let mut history = Vec::new();
    let mut in_history = true;
    // Ages grow where they are drawn in place; elsewhere nobody waits for this.
    let mut clock = tokio::time::interval(REDRAW);
    let drawn = ui.live && matches!(args.output, Output::Table | Output::Wide);
    loop {
        let told = tokio::select! {
            told = answer.next() => told?,
            _ = clock.tick(), if drawn && !in_history => {
                (view.now, view.width) = (now(), terminal::width());
                live.draw(&view, ui)?;
                continue;
            }
        };
        view.now = now();
        let message = match told {
            None => break,
            Some(Told::Message(message)) => message,
            Some(Told::Note(text)) if drawn && !in_history => {
                live.note(&text, &view, ui)?;
                continue;
            }
            Some(Told::Note(text)) => {
                note(&text, ui)?;
                continue;
            }
        };
        match message {
            QueryMessage::Watched(status) => tell_watched(&status, ui)?,
            QueryMessage::Verdict(verdict) if in_history => history.push(*verdict),
            QueryMessage::Verdict(verdict) => print_one(*verdict, args.output, &mut live, &view, ui)?,
            QueryMessage::EndOfHistory => {
                in_history = false;
                for verdict in history.drain(..).rev() {
                    print_one(verdict, args.output, &mut live, &view, ui)?;
                }
                if drawn {
                    live.draw(&view, ui)?;
                } else {
                    writeln!(ui.err, "following {}; interrupt to end", asked.words)?;
                }
            }
            QueryMessage::Lagged(missed) => {
                let text = format!(
                    "{missed} verdicts were passed over, this client was too slow; the history has them"
                );
                if drawn {
                    live.note(&text, &view, ui)?;
                } else {
                    writeln!(ui.err, "{text}")?;
                }
            }
        }
    }
    answer.outcome(&asked.words)?;
    Err(Failure::Failed("the agent ended the answer".to_owned()))
}

/// One verdict of a stream: shown to people, a line of JSON, or a YAML document.
fn print_one(
    verdict: Verdict,
    output: Output,
    live: &mut Live,
    view: &View,
    ui: &mut Ui<'_>,
) -> Result<(), Failure> {
    match output {
        Output::Json => {
            serde_json::to_writer(&mut *ui.out, &verdict)?;
            writeln!(ui.out)?;
        }
        Output::Yaml => write!(ui.out, "---\n{}", yaml(&verdict)?)?,
        Output::Table | Output::Wide => return Ok(live.show(verdict, view, ui)?),
    }
    Ok(ui.out.flush()?)
}

/// Only the manifests, so that the output can be applied; the rest is told on standard error.
fn print_fixes(verdicts: &[Verdict], ui: &mut Ui<'_>) -> Result<(), Failure> {
    let mut printed: Vec<&str> = Vec::new();
    for verdict in verdicts.iter().filter(|verdict| verdict.state == State::Active) {
        let Some(fix) = &verdict.fix else { continue };
        match &fix.manifest {
            Some(manifest) if printed.contains(&manifest.as_str()) => {}
            Some(manifest) => {
                if !printed.is_empty() && !manifest.starts_with("---") {
                    writeln!(ui.out, "---")?;
                }
                writeln!(ui.out, "{}", manifest.trim_end())?;
                printed.push(manifest);
            }
            None => {
                let headline = words::flow(verdict);
                writeln!(ui.err, "{headline}: {}: {}", verdict.cause, words::clean(&fix.text))?;
            }
        }
    }
    if printed.is_empty() {
        writeln!(ui.err, "there is nothing that applying a policy would fix")?;
    }
    Ok(())
}

fn note(text: &str, ui: &mut Ui<'_>) -> Result<(), Failure> {
    writeln!(ui.err, "{text}")?;
    Ok(ui.err.flush()?)
}

fn tell_watched(status: &AgentStatus, ui: &mut Ui<'_>) -> Result<(), Failure> {
    let text = render::watched(status, now(), ui.width);
    Ok(ui.err.write_all(text.as_bytes())?)
}

/// What an empty answer says.
fn nothing(args: &QueryArgs, asked: &str, watched: Option<&AgentStatus>) -> String {
    let mut text = format!("no failures seen for {asked}");
    if let Some(to) = &args.to {
        text.push_str(&format!(" towards {to}"));
    }
    if !args.cause.is_empty() {
        let causes: Vec<_> = args.cause.iter().map(|cause| cause.as_str()).collect();
        text.push_str(&format!(" with cause {}", causes.join(" or ")));
    }
    match (args.since, watched) {
        (Some(since), _) => text.push_str(&format!(" in the last {}", words::human(since))),
        (None, Some(status)) if !status.watching_since.is_empty() => {
            text.push_str(&format!(" since {}", words::clock(&status.watching_since)));
        }
        _ => {}
    }
    text
}

fn view(output: Output, fix_command: Option<String>, ui: &Ui<'_>) -> View {
    View { width: ui.width, color: ui.color, wide: output == Output::Wide, now: now(), fix_command }
}

/// The beginning of the command that prints a verdict's fix; pod and peer are added for each.
pub(super) fn fix_command(ui: &Ui<'_>, args: Option<&QueryArgs>) -> Option<String> {
    let args = &args?.server;
    let mut command = format!("{} query", ui.program);
    let kubeconfig = args.kubeconfig.as_ref().map(|path| path.display().to_string());
    for (flag, value) in [
        ("server", args.server.as_ref().map(ToString::to_string)),
        ("context", args.context.clone()),
        ("kubeconfig", kubeconfig),
    ] {
        if let Some(value) = value {
            command.push_str(&format!(" --{flag} {value}"));
        }
    }
    Some(command)
}

/// A value as YAML.
pub(super) fn yaml<T: Serialize + ?Sized>(value: &T) -> Result<String, Failure> {
    // By way of JSON: what is left out there is left out here.
    let value = serde_json::to_value(value)?;
    let mut text = serde_saphyr::to_string(&value).map_err(|error| Failure::Failed(error.to_string()))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
