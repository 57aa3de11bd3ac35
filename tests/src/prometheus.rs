//! A real Prometheus that scrapes a lab's agent, evaluates rules, and answers queries.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::process::Process;
use crate::tools;

/// How long it may take to start; it replays nothing and listens within a second.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Pause between two questions.
const POLL: Duration = Duration::from_millis(100);

/// A running Prometheus on the loopback. Killed when dropped.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts it: it scrapes `target` each second as job `egress-agent` and evaluates `rules` each second.
    /// Its files go into `folder`.
    pub fn start(folder: &Path, target: SocketAddr, rules: &str) -> Result<Self> {
        let folder = folder.join("prometheus");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("rules.yaml"), rules)?;
        // Labels of the pods come with the metrics and win over those of the target, as in the PodMonitor.
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [rules.yaml]\n\
             scrape_configs:\n\
             - job_name: egress-agent\n  honor_labels: true\n  static_configs: [{{targets: ['{target}']}}]\n"
        );
        fs::write(folder.join("prometheus.yml"), config)?;
        // A free port of an address that only this lab has.
        let address = TcpListener::bind((target.ip(), 0))?.local_addr()?;
        let mut command = Command::new("prometheus");
        // SAFETY: `prepare_child` makes async-signal-safe system calls only.
        unsafe { std::os::unix::process::CommandExt::pre_exec(&mut command, tools::prepare_child) };
        command.current_dir(&folder).args([
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            "--log.level=warn",
            &format!("--web.listen-address={address}"),
        ]);
        let mut prometheus = Self { process: Process::start(command, "prometheus")?, address };
        prometheus.await_ready()?;
        Ok(prometheus)
    }

    fn await_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        while self.ask("GET", "/-/ready", "").is_err() {
            ensure!(self.process.running(), "prometheus ended: {}", self.process.errors());
            ensure!(Instant::now() < deadline, "prometheus is not ready: {}", self.process.errors());
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// The series that an expression gives now.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>> {
        let body = format!("query={}", encode(expression));
        let answer = self.ask("POST", "/api/v1/query", &body).with_context(|| expression.to_owned())?;
        let result = answer["data"]["result"].as_array();
        result.cloned().with_context(|| format!("{expression}: {answer}"))
    }

    /// Waits until an expression gives something (`there`), or nothing; the series and how long it took.
    pub fn await_query(
        &self,
        expression: &str,
        there: bool,
        within: Duration,
    ) -> Result<(Vec<Value>, Duration)> {
        let start = Instant::now();
        loop {
            let found = self.query(expression)?;
            if found.is_empty() != there {
                return Ok((found, start.elapsed()));
            }
            if start.elapsed() > within {
                let word = if there { "empty" } else { "there" };
                bail!("{expression} is still {word} after {within:?}: {found:?}");
            }
            std::thread::sleep(POLL);
        }
    }

    /// Every rule with its state.
    pub fn rules(&self) -> Result<Vec<Value>> {
        let answer = self.ask("GET", "/api/v1/rules", "")?;
        let groups = answer["data"]["groups"].as_array().with_context(|| format!("no groups: {answer}"))?;
        Ok(groups.iter().filter_map(|group| group["rules"].as_array()).flatten().cloned().collect())
    }

    /// One request; the JSON of its answer, or its text as a string.
    fn ask(&self, method: &str, path: &str, body: &str) -> Result<Value> {
        let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        // HTTP/1.0: the answer comes in one piece and ends with the connection.
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) =
            answer.split_once("\r\n\r\n").context("an HTTP answer without an end of its head")?;
        ensure!(head.split(' ').nth(1) == Some("200"), "{}: {body}", head.lines().next().unwrap_or_default());
        Ok(serde_json::from_str(body).unwrap_or_else(|_| Value::from(body)))
    }
}

/// Percent-encodes a form's value.
fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
