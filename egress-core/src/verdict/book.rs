//! Open verdicts: repetitions count up, better causes revise, success clears.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::{Cause, Confidence, Direction, State, Verdict, dialler::KEYS, evidence::KEPT};
use crate::cluster::PodRef;
use crate::protocol::Protocol;
use crate::time::Timestamp;
use crate::verdict::SocketAddress;

/// Open verdicts kept at most; the oldest is let go (the history keeps it).
const CAPACITY: usize = 16_384;
/// DNS names kept of one verdict.
const NAMES: usize = 16;
/// A failure after this long a pause is a new episode.
const EPISODE: Duration = Duration::from_secs(15 * 60);

/// What a verdict is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The local pod.
    pub pod: PodRef,
    /// Its side.
    pub direction: Direction,
    /// The other end.
    pub peer: SocketAddress,
    /// Protocol.
    pub protocol: Protocol,
    /// The DNS name, where a name failed.
    pub name: Option<String>,
}

impl Subject {
    /// What a verdict is about.
    fn of(verdict: &Verdict) -> Self {
        let name = verdict.peer.name.clone().filter(|_| verdict.cause == Cause::DnsFailure);
        Self {
            pod: PodRef { namespace: verdict.pod.namespace.clone(), name: verdict.pod.name.clone() },
            direction: verdict.direction,
            peer: SocketAddress { ip: verdict.peer.ip, port: verdict.peer.port },
            protocol: verdict.peer.protocol,
            name,
        }
    }
}

/// Attempt of an earlier run: none of this one has the number.
const EARLIER: u64 = 0;

/// The open verdicts.
#[derive(Debug, Default)]
pub struct Book {
    by_subject: HashMap<Subject, Vec<Entry>>,
    order: VecDeque<Subject>,
}

#[derive(Debug)]
struct Entry {
    attempt: u64,
    /// It harms connections that are established already: that they can be established does not heal it.
    after_opening: bool,
    verdict: Arc<Verdict>,
}

impl Book {
    /// Takes up a verdict that an earlier run of the agent left open: what is seen of its subject from now on revises
    /// or clears it.
    pub fn resume(&mut self, verdict: Arc<Verdict>) {
        let subject = Subject::of(&verdict);
        if verdict.state != State::Active
            || (self.by_subject.len() >= CAPACITY && !self.by_subject.contains_key(&subject))
        {
            return;
        }
        let entries = self.by_subject.entry(subject.clone()).or_insert_with(|| {
            self.order.push_back(subject);
            Vec::new()
        });
        if entries.iter().all(|entry| entry.verdict.id != verdict.id) {
            let after_opening = may_follow_opening(&verdict);
            entries.push(Entry { attempt: EARLIER, after_opening, verdict });
        }
    }

    /// Files a fresh verdict of an attempt: as a new one, or as a revision or repetition of an open one.
    pub fn file(
        &mut self,
        subject: Subject,
        attempt: u64,
        after_opening: bool,
        fresh: Verdict,
    ) -> Arc<Verdict> {
        if self.by_subject.len() >= CAPACITY
            && !self.by_subject.contains_key(&subject)
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_subject.remove(&oldest);
        }
        let entries = self.by_subject.entry(subject.clone()).or_insert_with(|| {
            self.order.push_back(subject.clone());
            Vec::new()
        });
        entries.retain(|entry| {
            let recent = fresh.last_seen.since(entry.verdict.last_seen) < EPISODE;
            // A socket may take longer than that to give up.
            entry.verdict.state == State::Active && (recent || entry.attempt == attempt)
        });
        let same =
            entries.iter_mut().find(|entry| entry.attempt == attempt || entry.verdict.cause == fresh.cause);
        match same {
            Some(entry) => {
                entry.verdict = Arc::new(merge(&entry.verdict, fresh));
                entry.attempt = attempt;
                entry.after_opening = after_opening;
                Arc::clone(&entry.verdict)
            }
            None => {
                let verdict = Arc::new(Verdict { id: id(&subject, &fresh), ..fresh });
                entries.push(Entry { attempt, after_opening, verdict: Arc::clone(&verdict) });
                verdict
            }
        }
    }

    /// Adds attempts that were only counted to the open verdict of a subject.
    pub fn add(&mut self, subject: &Subject, count: u64, at: Timestamp) -> Option<Arc<Verdict>> {
        let entry = self.by_subject.get_mut(subject)?.last_mut()?;
        if entry.verdict.state != State::Active {
            return None;
        }
        let mut verdict = Verdict::clone(&entry.verdict);
        verdict.count = verdict.count.saturating_add(count);
        verdict.last_seen = verdict.last_seen.max(at);
        entry.verdict = Arc::new(verdict);
        Some(Arc::clone(&entry.verdict))
    }

    /// Conntrack shows how the flow of an open verdict was translated. Gives the verdict if that is new.
    pub fn translate(
        &mut self,
        subject: &Subject,
        source: Option<SocketAddress>,
        destination: Option<SocketAddress>,
        backend: Option<PodRef>,
    ) -> Option<Arc<Verdict>> {
        let entry = self.by_subject.get_mut(subject)?.last_mut()?;
        let mut verdict = Verdict::clone(&entry.verdict);
        let translation = &mut verdict.translation;
        translation.source = translation.source.or(source);
        translation.destination = translation.destination.or(destination);
        verdict.peer.pod = verdict.peer.pod.take().or(backend);
        if verdict == *entry.verdict {
            return None;
        }
        entry.verdict = Arc::new(verdict);
        Some(Arc::clone(&entry.verdict))
    }

    /// The same traffic succeeded: its open verdicts are cleared, as far as that disproves their causes.
    pub fn clear(&mut self, subject: &Subject, disproved: fn(Cause) -> bool) -> Vec<Arc<Verdict>> {
        self.clear_where(subject, |entry| disproved(entry.verdict.cause))
    }

    /// The same connection can be established: open verdicts on that are cleared.
    pub fn clear_opening(&mut self, subject: &Subject) -> Vec<Arc<Verdict>> {
        self.clear_where(subject, |entry| !entry.after_opening)
    }

    fn clear_where(&mut self, subject: &Subject, healed: impl Fn(&Entry) -> bool) -> Vec<Arc<Verdict>> {
        let Some(entries) = self.by_subject.get_mut(subject) else { return Vec::new() };
        let cleared: Vec<Entry> = entries.extract_if(.., |entry| healed(entry)).collect();
        if entries.is_empty() {
            self.by_subject.remove(subject);
            self.order.retain(|known| known != subject);
        }
        cleared
            .into_iter()
            .map(|entry| Arc::new(Verdict { state: State::Cleared, ..Verdict::clone(&entry.verdict) }))
            .collect()
    }

    /// The verdict that this attempt was the last to make or revise is open.
    #[must_use]
    pub fn is_open(&self, attempt: u64) -> bool {
        self.by_subject.values().flatten().any(|entry| entry.attempt == attempt)
    }

    /// Nothing is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_subject.is_empty()
    }
}

/// Whether the failure may have been one of an established connection. A verdict does not keep that, so where both are
/// possible it is not taken for healed by a connection that opens.
fn may_follow_opening(verdict: &Verdict) -> bool {
    let established =
        || verdict.detail.get("kind").and_then(serde_json::Value::as_str) == Some("established");
    match verdict.cause {
        Cause::TlsFailure | Cause::UpstreamReset | Cause::Mtu | Cause::LocalResource => true,
        Cause::UpstreamTimeout => established(),
        _ => false,
    }
}

/// The open verdict with what is new. The better cause stays; the counts add up.
fn merge(open: &Verdict, fresh: Verdict) -> Verdict {
    let (mut kept, other) =
        if knows_more(&fresh, open) { (fresh.clone(), open) } else { (open.clone(), &fresh) };
    kept.id.clone_from(&open.id);
    kept.count = open.count.saturating_add(fresh.count);
    kept.first_seen = open.first_seen.min(fresh.first_seen);
    kept.last_seen = open.last_seen.max(fresh.last_seen);
    kept.lost_events = open.lost_events.max(fresh.lost_events);
    kept.translation.source = kept.translation.source.or(other.translation.source);
    kept.translation.destination = kept.translation.destination.or(other.translation.destination);
    kept.peer.name = kept.peer.name.take().or_else(|| other.peer.name.clone());
    add_names(&mut kept, other);
    add_dialler(&mut kept, other);
    let mut evidence = open.evidence.clone();
    for piece in fresh.evidence {
        if !evidence.contains(&piece) {
            evidence.push(piece);
        }
    }
    // The first pieces tell how it began, the last how it is now.
    while evidence.len() > KEPT {
        evidence.remove(KEPT / 2);
    }
    kept.evidence = evidence;
    kept
}

/// Whether what is new tells the cause at least as well as what is open: a better cause, the same one as surely,
/// and never silence over a drop that was seen.
fn knows_more(fresh: &Verdict, open: &Verdict) -> bool {
    let saw_drop = |verdict: &Verdict| verdict.detail.contains_key("reason");
    // A filter that was inferred from a refusal gives way to the drop itself.
    let inferred = |verdict: &Verdict| {
        matches!(verdict.cause, Cause::PolicyDrop | Cause::FirewallDrop)
            && !saw_drop(verdict)
            && verdict.confidence != Confidence::Certain
    };
    let explained = |verdict: &Verdict| saw_drop(verdict) && verdict.cause != Cause::Unknown;
    if inferred(open) && explained(fresh) {
        return true;
    }
    if inferred(fresh) && explained(open) {
        return false;
    }
    let key = |verdict: &Verdict| (rank(verdict.cause), verdict.confidence, !saw_drop(verdict));
    key(fresh) <= key(open)
}

/// `detail.names`: every name that waited, from both.
fn add_names(kept: &mut Verdict, other: &Verdict) {
    let Some(serde_json::Value::Array(others)) = other.detail.get("names") else { return };
    let names = kept.detail.entry("names").or_insert_with(|| serde_json::Value::Array(Vec::new()));
    if let serde_json::Value::Array(names) = names {
        for name in others {
            if !names.contains(name) && names.len() < NAMES {
                names.push(name.clone());
            }
        }
    }
}

/// Who dialled, where only the other one knows.
fn add_dialler(kept: &mut Verdict, other: &Verdict) {
    if KEYS.iter().all(|key| !kept.detail.contains_key(*key)) {
        for key in KEYS {
            if let Some(value) = other.detail.get(key) {
                kept.detail.insert(key.to_owned(), value.clone());
            }
        }
    }
}

/// Order when several fit; silence and ignorance last.
const fn rank(cause: Cause) -> u8 {
    match cause {
        Cause::ConntrackFull => 0,
        Cause::NatExhausted => 1,
        Cause::ServiceNoEndpoints => 2,
        Cause::PolicyDrop => 3,
        Cause::FirewallDrop => 4,
        Cause::Unknown => 20,
        Cause::UpstreamTimeout => 15,
        Cause::NatMissing => 14,
        _ => 10,
    }
}

/// Stable over replays: FNV-1a of what the verdict is about and when it began.
fn id(subject: &Subject, verdict: &Verdict) -> String {
    let text = format!("{subject:?} {} {}", verdict.cause, verdict.first_seen);
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::test_verdict;

    fn subject() -> Subject {
        Subject::of(&test_verdict("old", "default/api-client", 100))
    }

    #[test]
    fn what_an_earlier_run_left_open_is_revised_under_its_id_and_cleared_by_success() {
        let mut book = Book::default();
        book.resume(Arc::new(test_verdict("old", "default/api-client", 100)));
        let fresh = test_verdict("", "default/api-client", 160);
        let filed = book.file(subject(), 1, false, fresh);
        assert_eq!((filed.id.as_str(), filed.count, filed.state), ("old", 12, State::Active));
        let cleared = book.clear_opening(&subject());
        assert_eq!(
            cleared.iter().map(|v| (v.id.as_str(), v.state)).collect::<Vec<_>>(),
            [("old", State::Cleared)]
        );
        assert!(book.is_empty());
    }

    #[test]
    fn a_new_episode_has_an_id_of_its_own_and_what_is_cleared_is_not_taken_up() {
        let mut book = Book::default();
        book.resume(Arc::new(test_verdict("old", "default/api-client", 100)));
        let later = 100 + i64::try_from(EPISODE.as_secs()).unwrap();
        let filed = book.file(subject(), 1, false, test_verdict("", "default/api-client", later));
        assert_ne!(filed.id, "old");
        let mut book = Book::default();
        let over = Verdict { state: State::Cleared, ..test_verdict("old", "default/api-client", 100) };
        book.resume(Arc::new(over));
        assert!(book.is_empty());
    }

    #[test]
    fn an_opening_heals_no_failure_that_may_have_come_after_it() {
        let mut book = Book::default();
        let reset = Verdict { cause: Cause::UpstreamReset, ..test_verdict("old", "default/api-client", 100) };
        book.resume(Arc::new(reset));
        assert!(book.clear_opening(&subject()).is_empty());
        assert_eq!(book.clear(&subject(), |cause| cause == Cause::UpstreamReset).len(), 1);
    }
}
