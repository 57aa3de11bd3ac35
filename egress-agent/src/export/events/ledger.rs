//! Which Events are written when: pure, on a clock that is given.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use egress_core::protocol::Protocol;
use egress_core::verdict::{Cause, State, Verdict};

/// Series kept at most; the one that was quiet longest goes first.
const SERIES: usize = 2048;
/// A series that is quiet for so long is forgotten: the API server forgets Events after an hour.
const QUIET: Duration = Duration::from_secs(55 * 60);

/// How fast it goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// A new verdict is written after this time: a better cause may still come.
    pub(super) settle: Duration,
    /// An Event is counted up at most this often.
    pub(super) update: Duration,
    /// Writes of one pod: so many at once, and another one after each of these times.
    pub(super) pod: (u32, Duration),
    /// Writes of the node, likewise.
    pub(super) node: (u32, Duration),
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            settle: Duration::from_secs(1),
            update: Duration::from_secs(60),
            pod: (10, Duration::from_secs(60)),
            node: (50, Duration::from_secs(2)),
        }
    }
}

/// What an Event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pod: (String, String, String),
    cause: Cause,
    peer: (IpAddr, u16, Protocol),
    /// The name that failed, for name resolution: its server is the same for every name.
    name: Option<String>,
}

impl Key {
    fn of(verdict: &Verdict) -> Self {
        let (pod, peer) = (&verdict.pod, &verdict.peer);
        Self {
            pod: (pod.namespace.clone(), pod.name.clone(), pod.uid.clone()),
            cause: verdict.cause,
            peer: (peer.ip, peer.port, peer.protocol),
            name: peer.name.clone().filter(|_| verdict.cause == Cause::DnsFailure),
        }
    }
}

/// An Event to be written.
#[derive(Clone, Debug)]
pub(super) struct Due {
    pub(super) key: Key,
    /// The verdict as it is now.
    pub(super) verdict: Arc<Verdict>,
    /// Name of the Event.
    pub(super) name: String,
    /// It is there already and is counted up.
    pub(super) update: bool,
    pub(super) count: u64,
    pub(super) first: egress_core::time::Timestamp,
}

/// What the API server made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Written.
    Written,
    /// The Event that was to be counted up is no more.
    Expired,
    /// Pod or namespace are going: nobody wants it.
    Gone,
    /// Not now; says why.
    Failed(String),
}

/// Repetitions of one thing.
#[derive(Debug)]
struct Series {
    verdict: Arc<Verdict>,
    name: String,
    first: egress_core::time::Timestamp,
    /// Counted by verdicts before this one.
    before: u64,
    /// Count that was written last, 0 if none.
    written: u64,
    since: Duration,
    changed: Duration,
    tried: Duration,
}

impl Series {
    fn count(&self) -> u64 {
        self.before.saturating_add(self.verdict.count)
    }
}

/// A budget that fills up by and by.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: u32,
    filled: Duration,
}

impl Bucket {
    fn take(&mut self, (most, each): (u32, Duration), now: Duration) -> bool {
        let gained =
            (now.saturating_sub(self.filled).as_nanos() / each.as_nanos().max(1)).min(u128::from(most));
        let gained = u32::try_from(gained).unwrap_or(most);
        if gained > 0 {
            self.tokens = self.tokens.saturating_add(gained).min(most);
            self.filled = now;
        }
        let granted = self.tokens > 0;
        self.tokens -= u32::from(granted);
        granted
    }
}

/// Series and budgets.
#[derive(Debug)]
pub(super) struct Ledger {
    pace: Pace,
    series: HashMap<Key, Series>,
    node: Bucket,
    pods: HashMap<(String, String, String), Bucket>,
    held_back: u64,
}

impl Ledger {
    pub(super) fn new(pace: Pace) -> Self {
        let node = Bucket { tokens: pace.node.0, filled: Duration::ZERO };
        Self { pace, series: HashMap::new(), node, pods: HashMap::new(), held_back: 0 }
    }

    /// Times that something due had to wait for a budget.
    pub(super) const fn held_back(&self) -> u64 {
        self.held_back
    }

    /// A verdict is new, revised or cleared.
    pub(super) fn note(&mut self, verdict: &Arc<Verdict>, now: Duration) {
        // A better cause takes the place of what was not written yet.
        self.series.retain(|key, series| {
            series.written > 0 || series.verdict.id != verdict.id || key.cause == verdict.cause
        });
        let key = Key::of(verdict);
        if verdict.state == State::Cleared {
            if self.series.get(&key).is_some_and(|series| series.written == 0) {
                self.series.remove(&key);
            }
            return;
        }
        if let Some(series) = self.series.get_mut(&key) {
            if series.verdict.id != verdict.id {
                series.before = series.count();
            }
            series.verdict = Arc::clone(verdict);
            series.changed = now;
            return;
        }
        self.make_room(now);
        let name = super::message::name(verdict);
        let series = Series {
            verdict: Arc::clone(verdict),
            name,
            first: verdict.first_seen,
            before: 0,
            written: 0,
            since: now,
            changed: now,
            tried: Duration::ZERO,
        };
        self.series.insert(key, series);
    }

    fn make_room(&mut self, now: Duration) {
        self.series.retain(|_, series| now.saturating_sub(series.changed) < QUIET);
        if self.series.len() >= SERIES
            && let Some(quietest) =
                self.series.iter().min_by_key(|(_, series)| series.changed).map(|(key, _)| key.clone())
        {
            self.series.remove(&quietest);
            self.held_back += 1;
        }
        let series = &self.series;
        self.pods.retain(|pod, _| series.keys().any(|key| key.pod == *pod));
    }

    /// The next that is due and that the budgets allow: what is new before what is counted up.
    pub(super) fn next(&mut self, now: Duration) -> Option<Due> {
        let pace = self.pace;
        let is_due = |series: &Series| match series.written {
            0 => now.saturating_sub(series.since) >= pace.settle,
            written => series.count() > written && now.saturating_sub(series.tried) >= pace.update,
        };
        let mut due: Vec<&Key> =
            self.series.iter().filter(|(_, series)| is_due(series)).map(|(key, _)| key).collect();
        due.sort_by_key(|key| self.series.get(*key).map(|series| (series.written > 0, series.since)));
        let due: Vec<Key> = due.into_iter().cloned().collect();
        for key in due {
            let bucket =
                self.pods.entry(key.pod.clone()).or_insert(Bucket { tokens: pace.pod.0, filled: now });
            if !bucket.take(pace.pod, now) {
                self.hold_back(&key, now);
                continue;
            }
            if !self.node.take(pace.node, now) {
                self.hold_back(&key, now);
                return None;
            }
            let series = self.series.get_mut(&key)?;
            series.tried = now;
            return Some(Due {
                verdict: Arc::clone(&series.verdict),
                name: series.name.clone(),
                update: series.written > 0,
                count: series.count(),
                first: series.first,
                key,
            });
        }
        None
    }

    /// Counts it, and lets it rest for a while.
    fn hold_back(&mut self, key: &Key, now: Duration) {
        self.held_back += 1;
        if let Some(series) = self.series.get_mut(key) {
            series.tried = now;
            series.since = now;
        }
    }

    /// The answer to the one that was due.
    pub(super) fn answered(&mut self, key: &Key, answer: &Answer, now: Duration) {
        let Some(series) = self.series.get_mut(key) else { return };
        match answer {
            Answer::Written => series.written = series.count(),
            Answer::Gone => drop(self.series.remove(key)),
            Answer::Expired => {
                series.written = 0;
                series.since = now;
            }
            Answer::Failed(_) if series.written == 0 => series.since = now,
            Answer::Failed(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::policy_drop as verdict;

    fn second(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn revised(change: impl FnOnce(&mut Verdict)) -> Arc<Verdict> {
        let mut verdict = verdict();
        change(&mut verdict);
        Arc::new(verdict)
    }

    /// All that is due now, as written.
    fn written(ledger: &mut Ledger, now: Duration) -> Vec<(bool, u64)> {
        let mut all = Vec::new();
        while let Some(due) = ledger.next(now) {
            ledger.answered(&due.key, &Answer::Written, now);
            all.push((due.update, due.count));
        }
        all
    }

    #[test]
    fn one_for_each_cause_and_destination_and_then_counted_up() {
        let mut ledger = Ledger::new(Pace::default());
        ledger.note(&revised(|v| v.count = 1), second(0));
        assert_eq!(written(&mut ledger, second(0)), [], "a better cause may still come");
        ledger.note(&revised(|v| v.count = 3), second(1));
        ledger.note(&revised(|v| (v.peer.port, v.id) = (8443, "other".into())), second(1));
        assert_eq!(written(&mut ledger, second(2)), [(false, 3), (false, verdict().count)]);
        ledger.note(&revised(|v| v.count = 9), second(10));
        assert_eq!(written(&mut ledger, second(11)), [], "not every second");
        assert_eq!(written(&mut ledger, second(62)), [(true, 9)]);
        assert_eq!(written(&mut ledger, second(200)), [], "nothing new");
        // A new episode of the same.
        ledger.note(&revised(|v| (v.count, v.id) = (2, "later".into())), second(1000));
        assert_eq!(written(&mut ledger, second(1001)), [(true, 11)]);
    }

    #[test]
    fn what_is_cleared_or_mended_in_time_is_not_written() {
        let mut ledger = Ledger::new(Pace::default());
        ledger.note(&revised(|_| {}), second(0));
        ledger.note(&revised(|v| v.state = State::Cleared), second(0));
        assert_eq!(written(&mut ledger, second(5)), []);
        ledger.note(&revised(|v| v.cause = Cause::Unknown), second(10));
        ledger.note(&revised(|v| v.cause = Cause::PolicyDrop), second(10));
        assert_eq!(written(&mut ledger, second(12)).len(), 1, "the better cause alone");
    }

    #[test]
    fn a_noisy_pod_does_not_cost_its_neighbours_and_the_node_has_a_limit_too() {
        let mut ledger = Ledger::new(Pace::default());
        for port in 1..=100_u16 {
            ledger.note(&revised(|v| (v.peer.port, v.id) = (port, port.to_string())), second(0));
        }
        ledger.note(&revised(|v| (v.pod.name, v.id) = ("quiet".into(), "quiet".into())), second(0));
        assert_eq!(written(&mut ledger, second(1)).len(), 11);
        assert!(ledger.held_back() > 0);
        for pod in 0..100_u16 {
            ledger.note(&revised(|v| (v.pod.name, v.id) = (format!("p{pod}"), format!("p{pod}"))), second(2));
        }
        assert!(written(&mut ledger, second(3)).len() <= 50);
    }

    #[test]
    fn an_event_that_expired_is_written_anew_and_one_of_a_namespace_that_goes_is_dropped() {
        let mut ledger = Ledger::new(Pace::default());
        ledger.note(&revised(|v| v.count = 1), second(0));
        written(&mut ledger, second(1));
        ledger.note(&revised(|v| v.count = 2), second(100));
        let due = ledger.next(second(100)).unwrap();
        ledger.answered(&due.key, &Answer::Expired, second(100));
        assert_eq!(written(&mut ledger, second(101)), [(false, 2)]);
        ledger.note(&revised(|v| v.count = 5), second(200));
        let due = ledger.next(second(200)).unwrap();
        ledger.answered(&due.key, &Answer::Gone, second(200));
        assert_eq!(written(&mut ledger, second(400)), []);
        for number in 0..5000_u32 {
            ledger.note(
                &revised(|v| {
                    (v.peer.name, v.id, v.cause) =
                        (Some(number.to_string()), number.to_string(), Cause::DnsFailure)
                }),
                second(500),
            );
        }
        assert!(ledger.series.len() <= SERIES);
    }
}
