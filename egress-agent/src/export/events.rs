//! Kubernetes Events on pods, so that `kubectl describe pod` tells the story: one for each cause and destination, counted
//! up instead of repeated, and never more than the budgets allow. The engine only puts verdicts into a bounded queue;
//! what does not find room is counted.

mod ledger;
mod message;
mod post;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use egress_core::verdict::Verdict;
use kube::{Client, Config};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::status::{HookState, HookStatus};
use ledger::{Answer, Ledger, Pace};

/// Verdicts that may wait.
const QUEUE: usize = 1024;
/// How often is looked for what is due.
const TICK: Duration = Duration::from_millis(250);
/// After a failure nothing is tried for so long; twice as long after each further one, up to the longest.
const BACKOFF: Duration = Duration::from_secs(2);
const LONGEST_BACKOFF: Duration = Duration::from_secs(300);

/// Writes Events until it is dropped.
#[derive(Debug)]
pub struct Events {
    queue: mpsc::Sender<Arc<Verdict>>,
    /// Dropping it ends the thread, whatever the API server does.
    stop: Option<oneshot::Sender<()>>,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

/// How it goes.
#[derive(Debug, Default)]
struct State {
    lost: AtomicU64,
    written: AtomicU64,
    held_back: AtomicU64,
    problem: Mutex<Option<String>>,
}

impl Events {
    /// Starts writing as this node, from a thread of its own.
    ///
    /// # Errors
    /// No thread or runtime can be started, or the settings of the API server cannot be used.
    pub fn start(config: Config, node: &str) -> io::Result<Self> {
        Self::with_pace(config, node, Pace::default())
    }

    fn with_pace(config: Config, node: &str, pace: Pace) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = {
            let _within = runtime.enter();
            Client::try_from(config).map_err(io::Error::other)?
        };
        let (queue, verdicts) = mpsc::channel(QUEUE);
        let state = Arc::new(State::default());
        let writer = Writer {
            client,
            node: node.to_owned(),
            state: Arc::clone(&state),
            ledger: Ledger::new(pace),
            began: Instant::now(),
            backoff: BACKOFF,
            resume: None,
        };
        let (stop, stopped) = oneshot::channel();
        let write = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = writer.run(verdicts) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("events".to_owned()).spawn(write)?;
        Ok(Self { queue, stop: Some(stop), state, thread: Some(thread) })
    }

    /// A verdict is new or revised. Never waits.
    pub fn tell(&self, verdict: &Arc<Verdict>) {
        if message::is_told(verdict) && self.queue.try_send(Arc::clone(verdict)).is_err() {
            self.state.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Verdicts that found no room in the queue.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.state.lost.load(Ordering::Relaxed)
    }

    /// How it goes, as `status` tells it.
    #[must_use]
    pub fn status(&self) -> HookStatus {
        let (written, held) =
            (self.state.written.load(Ordering::Relaxed), self.state.held_back.load(Ordering::Relaxed));
        let problem = self.state.problem.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut note = format!("{written} written");
        if held > 0 {
            note.push_str(&format!(", {held} held back by the limits of pod and node"));
        }
        let state = if problem.is_some() { HookState::Degraded } else { HookState::Attached };
        if let Some(problem) = problem {
            note.push_str(&format!("; {problem}"));
        }
        HookStatus { hook: "k8s:events".to_owned(), state, note }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the events thread panicked");
        }
    }
}

/// The thread's own.
struct Writer {
    client: Client,
    node: String,
    state: Arc<State>,
    ledger: Ledger,
    began: Instant,
    backoff: Duration,
    /// Nothing is tried before.
    resume: Option<Instant>,
}

impl Writer {
    async fn run(mut self, mut verdicts: mpsc::Receiver<Arc<Verdict>>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                verdict = verdicts.recv() => match verdict {
                    Some(verdict) => self.ledger.note(&verdict, self.began.elapsed()),
                    None => return,
                },
                _ = tick.tick() => self.write().await,
            }
        }
    }

    /// Writes what is due, one after the other; stops at the first failure of the server.
    async fn write(&mut self) {
        if self.resume.is_some_and(|resume| Instant::now() < resume) {
            return;
        }
        while let Some(due) = self.ledger.next(self.began.elapsed()) {
            let answer = post::post(&self.client, &self.node, &due).await;
            let failed = match &answer {
                Answer::Written => {
                    self.state.written.fetch_add(1, Ordering::Relaxed);
                    None
                }
                Answer::Gone | Answer::Expired => None,
                Answer::Failed(why) => Some(why.clone()),
            };
            self.ledger.answered(&due.key, &answer, self.began.elapsed());
            if let Some(why) = &failed {
                self.resume = Some(Instant::now() + self.backoff);
                self.backoff = (self.backoff * 2).min(LONGEST_BACKOFF);
                self.tell_problem(Some(why.clone()));
                break;
            }
            self.backoff = BACKOFF;
            self.tell_problem(None);
        }
        self.state.held_back.store(self.ledger.held_back(), Ordering::Relaxed);
    }

    /// Notes a problem, and logs one that is new.
    fn tell_problem(&self, problem: Option<String>) {
        let mut known = self.state.problem.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(problem) = problem.as_ref().filter(|problem| Some(*problem) != known.as_ref()) {
            tracing::warn!("{problem}");
        }
        *known = problem;
    }
}

#[cfg(test)]
mod tests;
