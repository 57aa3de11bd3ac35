//! The answers of several agents as one.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use egress_core::verdict::Verdict;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Interval, MissedTickBehavior};

use super::plan::{Keep, Plan};
use super::{CONNECT, connect};
use crate::cli::answer::Told;
use crate::cli::exit::Failure;
use crate::export::grpc::{ClientError, QueryMessage, QueryMessages, QueryOptions};
use crate::k8s::reach::{AgentPod, Reach};

/// Nodes asked at a time, unless they are followed.
const AT_A_TIME: usize = 16;
/// Messages of all nodes that wait for whoever prints them.
const WAITING: usize = 256;
/// How long an agent may be silent in the middle of its history.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often progress is told.
const PROGRESS: Duration = Duration::from_secs(1);

/// What comes from a node.
enum News {
    Message(QueryMessage),
    /// The answer is complete.
    Answered,
    /// The agent knows nothing of the pod.
    Unknown,
    /// There is no answer, or no more of it.
    Failed(String),
}

/// The answers of several agents.
pub(in crate::cli) struct Fan {
    news: mpsc::Receiver<(String, News)>,
    keep: Keep,
    follow: bool,
    exists: bool,
    similar: Vec<String>,
    asked: usize,
    /// Nodes that have told all their history, or ended.
    past: BTreeSet<String>,
    unknown: usize,
    failures: Vec<(String, String)>,
    /// Verdicts of the history, until every node has told it.
    history: Vec<Verdict>,
    telling: bool,
    progress: Interval,
}

impl Fan {
    /// Asks every agent of a plan.
    pub(in crate::cli) fn ask(reach: &Reach, plan: Plan, options: &QueryOptions) -> Self {
        let (sender, news) = mpsc::channel(WAITING);
        let asked = plan.nodes.len();
        let places = Arc::new(Semaphore::new(if options.follow { asked } else { AT_A_TIME }));
        for (node, agent) in plan.nodes {
            let (reach, options, sender, places) =
                (reach.clone(), options.clone(), sender.clone(), Arc::clone(&places));
            tokio::spawn(async move {
                let _place = places.acquire().await;
                let end = ask_node(&reach, &node, agent, &options, &sender).await;
                // Whoever asked may have gone.
                let _ = sender.send((node, end)).await;
            });
        }
        let mut progress = tokio::time::interval_at(tokio::time::Instant::now() + PROGRESS, PROGRESS);
        progress.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Self {
            news,
            keep: plan.keep,
            follow: options.follow,
            exists: plan.exists,
            similar: plan.similar,
            asked,
            past: BTreeSet::new(),
            unknown: 0,
            failures: Vec::new(),
            history: Vec::new(),
            telling: false,
            progress,
        }
    }

    /// What comes next: the history of all nodes, the most recent first, and where they are followed what is new; how
    /// far it is meanwhile. `None`: no node has more. May be dropped and called again.
    pub(in crate::cli) async fn next(&mut self) -> Option<Told> {
        loop {
            if self.telling {
                if let Some(verdict) = self.history.pop() {
                    return Some(Told::Message(QueryMessage::Verdict(Box::new(verdict))));
                }
                self.telling = false;
                return Some(Told::Message(QueryMessage::EndOfHistory));
            }
            let waiting = self.past.len() < self.asked;
            let news = tokio::select! {
                news = self.news.recv() => news,
                _ = self.progress.tick(), if waiting => {
                    let far = format!("# {} of {} nodes have answered", self.past.len(), self.asked);
                    return Some(Told::Note(far));
                }
            };
            let (node, news) = news?;
            let mut note = None;
            let ended = match news {
                News::Message(QueryMessage::Verdict(verdict)) => {
                    if !self.keep.wants(&verdict) {
                        continue;
                    }
                    if !waiting {
                        return Some(Told::Message(QueryMessage::Verdict(verdict)));
                    }
                    self.history.push(*verdict);
                    continue;
                }
                News::Message(QueryMessage::EndOfHistory) => true,
                News::Message(other) => return Some(Told::Message(other)),
                News::Answered => !self.follow,
                News::Unknown => {
                    self.unknown += 1;
                    true
                }
                News::Failed(why) => {
                    if self.follow {
                        let more = if self.past.contains(&node) { " any more" } else { "" };
                        note = Some(Told::Note(format!("# node {node} does not answer{more}: {why}")));
                    }
                    self.failures.push((node.clone(), why));
                    true
                }
            };
            if ended && self.past.insert(node) && self.past.len() == self.asked {
                self.begin_telling();
            }
            if note.is_some() {
                return note;
            }
        }
    }

    /// Every node has told its history. A verdict that came twice counts in its later revision.
    fn begin_telling(&mut self) {
        let mut latest: HashMap<(String, String), Verdict> = HashMap::new();
        for verdict in self.history.drain(..) {
            latest.insert((verdict.pod.node.clone(), verdict.id.clone()), verdict);
        }
        self.history.extend(latest.into_values());
        self.history.sort_by(|a, b| (a.last_seen, &b.id).cmp(&(b.last_seen, &a.id)));
        self.telling = true;
    }

    /// How it went: whether every node answered, and whether any knew what was asked for.
    pub(in crate::cli) fn outcome(&self, words: &str) -> Result<(), Failure> {
        let told: Vec<String> =
            self.failures.iter().map(|(node, why)| format!("node {node}: {why}")).collect();
        let told = told.join("; ");
        if !self.failures.is_empty() && self.failures.len() >= self.asked {
            return Err(Failure::NoAgent(format!("no agent answers: {told}")));
        }
        if !self.failures.is_empty() {
            return Err(Failure::Partial(told));
        }
        if self.unknown == self.asked && !self.exists {
            let meant = match self.similar.as_slice() {
                [] => String::new(),
                alike => format!(" (did you mean {}?)", alike.join(" or ")),
            };
            return Err(Failure::NotFound(format!(
                "no pod {words}{meant}: neither the cluster nor any agent's history knows it"
            )));
        }
        Ok(())
    }
}

/// Asks one node and passes on what it says; returns how it ended.
async fn ask_node(
    reach: &Reach,
    node: &str,
    agent: Option<AgentPod>,
    options: &QueryOptions,
    sender: &mpsc::Sender<(String, News)>,
) -> News {
    let Some(agent) = agent else { return News::Failed("no agent runs there".to_owned()) };
    let begun = async {
        let mut client = connect(reach, node, &agent).await.map_err(News::Failed)?;
        client.query(options).await.map_err(ending)
    };
    let mut messages = match tokio::time::timeout(CONNECT, begun).await {
        Ok(Ok(messages)) => messages,
        Ok(Err(end)) => return end,
        Err(_) => return News::Failed(format!("no answer in {} s", CONNECT.as_secs())),
    };
    let mut history = true;
    loop {
        match next(&mut messages, history).await {
            Ok(Some(message)) => {
                history &= message != QueryMessage::EndOfHistory;
                if sender.send((node.to_owned(), News::Message(message))).await.is_err() {
                    return News::Answered;
                }
            }
            Ok(None) if options.follow => return News::Failed("the agent ended the answer".to_owned()),
            Ok(None) => return News::Answered,
            Err(end) => return end,
        }
    }
}

async fn next(messages: &mut QueryMessages, in_history: bool) -> Result<Option<QueryMessage>, News> {
    if !in_history {
        return messages.next().await.map_err(ending);
    }
    match tokio::time::timeout(PATIENCE, messages.next()).await {
        Ok(message) => message.map_err(ending),
        Err(_) => Err(News::Failed(format!("silent for {} s", PATIENCE.as_secs()))),
    }
}

fn ending(error: ClientError) -> News {
    match error {
        ClientError::NotFound(_) => News::Unknown,
        ClientError::Unreachable { why, .. } | ClientError::Failed { why, .. } => News::Failed(why),
        other => News::Failed(other.to_string()),
    }
}
