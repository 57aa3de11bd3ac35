//! Whose a cgroup is. The edges read the cgroup tree; here the answers are kept, and what is not known yet is asked.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use crate::node::{Owner, OwnerAnswer, OwnerQuery};
use crate::time::Mono;

/// Answers kept at most, of either kind; the oldest go first.
const KEPT: usize = 8192;
/// Questions kept at most until they are taken.
const QUESTIONS: usize = 256;
/// What was asked is asked again after this time.
const AGAIN: Duration = Duration::from_secs(5);
/// That a cgroup is no pod's is believed so long: the kernel does not use its number again, but the tree may be read
/// while it is being built.
const NOBODY: Duration = Duration::from_secs(30);
/// The number of a process may soon be another's.
const PROCESS: Duration = Duration::from_secs(1);

/// Whose a socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// A pod's.
    Pod(Arc<Owner>),
    /// No pod's, or nothing tells.
    Nobody,
    /// It has been asked.
    Asked,
}

/// Cgroups and processes, and the pods they belong to.
#[derive(Debug, Default)]
pub struct Owners {
    cgroups: Answers<u64>,
    processes: Answers<u32>,
    asked: HashMap<(u64, u32), Mono>,
    questions: Vec<OwnerQuery>,
}

impl Owners {
    /// Whose a socket is that has this cgroup and was dialled by this process (0 where unknown) at that time. Asks
    /// what is not known.
    pub fn of(&mut self, cgroup: u64, pid: u32, at: Mono) -> Ownership {
        if let Some(known) = self.known(cgroup, pid, at) {
            return known;
        }
        if cgroup == 0 && pid == 0 {
            return Ownership::Nobody;
        }
        let key = (cgroup, pid);
        if self.asked.get(&key).is_none_or(|asked| at.since(*asked) >= AGAIN)
            && self.questions.len() < QUESTIONS
        {
            if self.asked.len() >= KEPT {
                self.asked.retain(|_, asked| at.since(*asked) < AGAIN);
            }
            self.asked.insert(key, at);
            self.questions.push(OwnerQuery { cgroup, pid, at });
        }
        if self.asked.contains_key(&key) { Ownership::Asked } else { Ownership::Nobody }
    }

    /// The same from memory; `None`: not known.
    #[must_use]
    pub fn known(&self, cgroup: u64, pid: u32, at: Mono) -> Option<Ownership> {
        let cgroup = self.cgroups.get(&cgroup, at, NOBODY);
        if let Some(Some(owner)) = cgroup {
            return Some(Ownership::Pod(Arc::clone(owner)));
        }
        let process = if pid == 0 { None } else { self.processes.get(&pid, at, PROCESS) };
        match (cgroup, process) {
            (_, Some(Some(owner))) => Some(Ownership::Pod(Arc::clone(owner))),
            (_, Some(None)) => Some(Ownership::Nobody),
            (Some(_), None) if pid == 0 => Some(Ownership::Nobody),
            _ => None,
        }
    }

    /// It has been asked, and the answer may still come.
    #[must_use]
    pub fn is_awaited(&self, cgroup: u64, pid: u32, at: Mono) -> bool {
        self.asked.contains_key(&(cgroup, pid)) && self.known(cgroup, pid, at).is_none()
    }

    /// Takes in an answer.
    pub fn note(&mut self, answer: OwnerAnswer, at: Mono) {
        let OwnerAnswer { query, owner, by_process } = answer;
        self.asked.remove(&(query.cgroup, query.pid));
        let owner = owner.map(Arc::new);
        match &owner {
            Some(_) if !by_process => self.cgroups.put(query.cgroup, owner, at),
            _ => {
                self.cgroups.put(query.cgroup, None, at);
                if query.pid != 0 {
                    self.processes.put(query.pid, owner, at);
                }
            }
        }
    }

    /// Questions since the last call.
    pub fn take_questions(&mut self) -> Vec<OwnerQuery> {
        std::mem::take(&mut self.questions)
    }
}

/// Answers by key, in the order in which they came.
#[derive(Debug)]
struct Answers<K> {
    by_key: HashMap<K, (Option<Arc<Owner>>, Mono)>,
    order: VecDeque<K>,
}

impl<K> Default for Answers<K> {
    fn default() -> Self {
        Self { by_key: HashMap::new(), order: VecDeque::new() }
    }
}

impl<K: Copy + Eq + Hash> Answers<K> {
    fn put(&mut self, key: K, owner: Option<Arc<Owner>>, at: Mono) {
        if self.by_key.insert(key, (owner, at)).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_key.remove(&oldest);
        }
    }

    /// The answer; one that names nobody only while it is fresh.
    fn get(&self, key: &K, at: Mono, fresh: Duration) -> Option<Option<&Arc<Owner>>> {
        let (owner, told) = self.by_key.get(key)?;
        let stale = at.since(*told) >= fresh && (owner.is_none() || fresh == PROCESS);
        (!stale).then_some(owner.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Mono {
        Mono(3_600_000_000_000 + ms * 1_000_000)
    }

    fn answer(query: OwnerQuery, uid: Option<&str>, by_process: bool) -> OwnerAnswer {
        let owner = uid.map(|uid| Owner { pod_uid: uid.to_owned(), container: None });
        OwnerAnswer { query, owner, by_process }
    }

    fn uid(ownership: Ownership) -> String {
        match ownership {
            Ownership::Pod(owner) => owner.pod_uid.clone(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_cgroup_is_asked_once_and_stays_known() {
        let mut owners = Owners::default();
        assert_eq!(owners.of(7, 0, at(0)), Ownership::Asked);
        assert_eq!(owners.of(7, 0, at(1)), Ownership::Asked);
        let [query] = owners.take_questions()[..] else { panic!("one question") };
        owners.note(answer(query, Some("a"), false), at(2));
        assert_eq!(uid(owners.of(7, 0, at(3))), "a");
        assert_eq!(uid(owners.of(7, 99, at(3_600_000))), "a", "whichever process dials");
        assert!(owners.take_questions().is_empty());
    }

    #[test]
    fn nobody_is_believed_for_a_while_and_a_process_for_a_moment() {
        let mut owners = Owners::default();
        assert_eq!(owners.of(0, 0, at(0)), Ownership::Nobody, "nothing to ask by");
        owners.of(1, 42, at(0));
        let query = owners.take_questions()[0];
        owners.note(answer(query, Some("b"), true), at(1));
        assert_eq!(uid(owners.of(1, 42, at(900))), "b");
        assert_eq!(owners.of(1, 0, at(900)), Ownership::Nobody, "the cgroup alone names nobody");
        assert_eq!(owners.of(1, 42, at(1_100)), Ownership::Asked, "the number may be another's by now");
        assert_eq!(owners.of(1, 0, at(31_000)), Ownership::Asked);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut owners = Owners::default();
        for cgroup in 1..=20_000 {
            let query = OwnerQuery { cgroup, pid: 0, at: at(0) };
            owners.note(answer(query, Some("x"), false), at(0));
            owners.of(100_000 + cgroup, 0, at(0));
        }
        assert_eq!((owners.cgroups.by_key.len(), owners.questions.len()), (KEPT, QUESTIONS));
        assert!(owners.asked.len() <= QUESTIONS);
    }
}
