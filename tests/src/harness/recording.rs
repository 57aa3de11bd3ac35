//! What a trial's agent was fed, replayed: the same events must give the same verdicts, without root and without a
//! kernel. A trial that is asked to keeps the capture and the live answer for the replay test.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::agent::{self, Agent};
use crate::lab::Lab;
use crate::tools;

/// The capture of a running agent.
#[derive(Debug)]
pub(super) struct Recording {
    file: PathBuf,
}

impl Recording {
    /// Where the agent of this lab is to write.
    pub(super) fn of(lab: &Lab) -> Self {
        Self { file: lab.folder().join("trial.capture") }
    }

    /// The agent's arguments.
    pub(super) fn arguments(&self) -> Vec<String> {
        vec!["--record".to_owned(), self.file.display().to_string()]
    }

    /// Ends the agent and replays its capture: it must say what the agent said last. With a folder and a name the
    /// capture is kept, and beside it what the live agent said.
    pub(super) fn prove(&self, agent: Agent, keep: Option<(&Path, &str)>) -> Result<()> {
        let live = sorted(agent.query(&[])?);
        agent.terminate()?;
        let file = self.file.display().to_string();
        let text = tools::output(&mut agent::command()?, &["replay", &file, "-o", "json"])?;
        let replayed =
            sorted(serde_json::from_str(&text).with_context(|| format!("replay printed: {text}"))?);
        if timeless(&live) != timeless(&replayed) {
            bail!(
                "the replay says something else.\nlive:   {}\nreplay: {}",
                Value::from(live),
                Value::from(replayed)
            );
        }
        if let Some((folder, name)) = keep {
            fs::copy(&self.file, folder.join(format!("{name}.capture")))?;
            fs::write(folder.join(format!("{name}.json")), serde_json::to_string_pretty(&live)? + "\n")?;
        }
        Ok(())
    }
}

/// In the order of the replay test: verdicts that fall due at the same moment come in no particular one.
fn sorted(mut verdicts: Vec<Value>) -> Vec<Value> {
    verdicts.sort_by_key(|v| {
        [&v["pod"]["namespace"], &v["pod"]["name"], &v["peer"], &v["cause"]].map(Value::to_string)
    });
    verdicts
}

/// The verdicts as text, without their times.
fn timeless(verdicts: &[Value]) -> String {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for time in ["first_seen", "last_seen", "policies_as_of", "time"] {
                    fields.remove(time);
                }
                fields.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut verdicts = Value::from(verdicts.to_vec());
    strip(&mut verdicts);
    verdicts.to_string()
}
