use std::fs;
use std::path::Path;

use egress_core::history::{History, PodFilter, ToFilter};
use egress_core::verdict::{Cause, SocketAddress, State};

use super::*;
use crate::testing;

const SECOND: i64 = 1_000_000;

fn options(dir: &Path) -> Options {
    Options { dir: dir.to_owned(), max_bytes: 64 << 20, max_age: Duration::from_secs(100 * 365 * 86_400) }
}

/// A store of a folder, now at this second.
fn open(dir: &Path, second: i64) -> (Store, Earlier) {
    Store::open(options(dir), Timestamp(second * SECOND)).unwrap()
}

fn verdict(id: &str, pod: &str, second: i64) -> Verdict {
    let mut verdict = testing::policy_drop();
    let (namespace, name) = pod.split_once('/').unwrap();
    verdict.id = id.into();
    verdict.pod.namespace = namespace.into();
    verdict.pod.name = name.into();
    verdict.first_seen = Timestamp(second * SECOND);
    verdict.last_seen = Timestamp(second * SECOND);
    verdict
}

fn write(store: &Store, verdicts: impl IntoIterator<Item = Verdict>) {
    for (number, verdict) in verdicts.into_iter().enumerate() {
        store.write(Arc::new(verdict));
        if number % 1000 == 999 {
            store.flush();
        }
    }
    store.flush();
}

/// Everything that a filter lets through, by pages of this size.
fn ids(store: &Store, filter: &Filter, page: usize) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.page(filter, after, page);
        found.extend(page.verdicts.iter().map(|verdict| verdict.id.clone()));
        match page.next {
            Some(next) => after = Some(next),
            None => return found,
        }
    }
}

fn of_pod(namespace: &str, name: &str) -> Filter {
    let pod = PodRef { namespace: namespace.into(), name: name.into() };
    Filter { pods: PodFilter::Pod(pod), ..Filter::default() }
}

#[test]
fn what_was_written_is_there_after_a_restart_whole_and_in_its_latest_revision() {
    let dir = tempfile::tempdir().unwrap();
    let mut revised = testing::dns_failure();
    revised.count += 5;
    revised.last_seen = Timestamp(revised.last_seen.0 + SECOND);
    {
        let (store, _) = open(dir.path(), 0);
        write(&store, testing::verdicts());
        write(&store, [revised.clone()]);
        assert_eq!(store.facts().verdicts, 7);
    }
    let (store, _) = open(dir.path(), 0);
    let mut expected = testing::verdicts();
    expected.retain(|verdict| verdict.id != revised.id);
    expected.push(revised);
    expected.sort_by_key(|verdict| std::cmp::Reverse(verdict.last_seen));
    let page = store.page(&Filter::default(), None, 100);
    let found: Vec<Verdict> = page.verdicts.iter().map(|verdict| Verdict::clone(verdict)).collect();
    assert_eq!(found, expected);
    assert!(page.next.is_none());
    assert!(store.knows_pod(&PodRef { namespace: "default".into(), name: "api-client".into() }));
    assert!(!store.knows_pod(&PodRef { namespace: "default".into(), name: "ghost".into() }));
    assert_eq!((store.lost(), store.facts().problems()), (0, vec![]));
}

/// Small numbers that look like chance and are the same every time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

/// The index answers every question as the history in memory does, which looks at each verdict.
#[test]
fn every_question_is_answered_as_from_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), 0);
    let mut history = History::new(10_000);
    let mut chance = Chance(7);
    let pods = ["default/a", "default/b", "other/a", "other/c"];
    let names = [None, Some("api.stripe.com."), Some("API.Stripe.com"), Some("db.internal")];
    let causes = [Cause::PolicyDrop, Cause::UpstreamTimeout, Cause::DnsFailure];
    for step in 0..1500 {
        // Ids come again: revisions change the peer, the cause and the time.
        let id = format!("v{}", chance.below(600));
        let mut verdict = verdict(&id, pods[usize::try_from(chance.below(4)).unwrap()], 0);
        verdict.last_seen = Timestamp((step / 3 + i64::try_from(chance.below(50)).unwrap()) * SECOND);
        verdict.cause = chance.pick(&causes);
        verdict.peer.name = chance.pick(&names).map(str::to_owned);
        verdict.peer.ip = format!("203.0.113.{}", chance.below(3)).parse().unwrap();
        verdict.peer.pod =
            (chance.below(4) == 0).then(|| PodRef { namespace: "other".into(), name: "c".into() });
        verdict.translation.destination =
            (chance.below(3) == 0).then(|| SocketAddress { ip: "10.0.0.9".parse().unwrap(), port: 8443 });
        let verdict = Arc::new(verdict);
        history.push(Arc::clone(&verdict));
        store.write(verdict);
        if step % 100 == 0 {
            store.flush();
        }
    }
    store.flush();
    let tos = [
        "api.stripe.com",
        "db.internal:443",
        "203.0.113.1",
        "203.0.113.1:80",
        "10.0.0.9:8443",
        "::ffff:203.0.113.2",
    ];
    let mut found = 0;
    for question in 0..400 {
        let pods = match chance.below(3) {
            0 => PodFilter::All,
            1 => PodFilter::Namespace(chance.pick(&["default", "other", "none"]).into()),
            _ => of_pod(chance.pick(&["default", "other"]), chance.pick(&["a", "b", "c"])).pods,
        };
        let filter = Filter {
            pods,
            since: (chance.below(2) == 0)
                .then(|| Timestamp(i64::try_from(chance.below(500)).unwrap() * SECOND)),
            causes: causes.iter().copied().filter(|_| chance.below(3) == 0).collect(),
            to: (chance.below(2) == 0).then(|| chance.pick(&tos).parse::<ToFilter>().unwrap()),
        };
        let held = history.query(&filter);
        let mut expected: Vec<_> =
            held.iter().map(|verdict| (verdict.last_seen, verdict.id.clone())).collect();
        let page = usize::try_from(1 + chance.below(70)).unwrap();
        let mut seen: Vec<_> = ids(&store, &filter, page)
            .into_iter()
            .map(|id| (history.get(&id).unwrap().last_seen, id))
            .collect();
        assert!(seen.is_sorted_by(|a, b| a.0 >= b.0), "question {question} {filter:?}");
        // Of one time any order will do.
        seen.sort();
        expected.sort();
        assert_eq!(seen, expected, "question {question} {filter:?}");
        found += seen.len();
    }
    assert!(found > 10_000, "{found} verdicts found in all");
}

#[test]
fn size_and_age_are_bounded_and_the_oldest_go_first() {
    let dir = tempfile::tempdir().unwrap();
    let now = crate::host::wall_clock().0 / SECOND;
    let limit = 16 << 20;
    let aged = Options { max_bytes: limit, max_age: Duration::from_secs(3600), ..options(dir.path()) };
    let (store, _) = Store::open(aged.clone(), Timestamp(now * SECOND)).unwrap();
    write(&store, [verdict("old", "default/x", now - 4000)]);
    assert_eq!(store.facts().verdicts, 0, "too old to be kept");
    let many = 5_000;
    write(
        &store,
        (0..many)
            .map(|n| verdict(&format!("{n:016x}"), &format!("default/pod-{}", n % 50), now - 1000 + n / 100)),
    );
    let first = store.facts();
    assert!(first.verdicts > 1000 && first.verdicts < 5_000, "{first:?}");
    // Revisions and more of the same: the file stays as it is.
    for round in 0..2 {
        write(
            &store,
            (0..1500)
                .map(|n| verdict(&format!("{:016x}", round * 3000 + n), "default/x", now - 500 + n / 100)),
        );
    }
    let facts = store.facts();
    assert!(facts.bytes <= limit, "{} bytes for {} verdicts", facts.bytes, facts.verdicts);
    assert!(facts.bytes > limit / 3, "only {} bytes of {limit} for {} verdicts", facts.bytes, facts.verdicts);
    let oldest = store.page(&Filter::default(), None, usize::MAX).verdicts.last().unwrap().last_seen;
    assert_eq!(facts.oldest, Some(oldest));
    let newest = store.page(&Filter::default(), None, 1).verdicts[0].last_seen;
    assert_eq!(newest, Timestamp((now - 500 + 14) * SECOND));
    drop(store);
    // An hour later there is nothing left, and nothing of the index either.
    let (store, _) =
        Store::open(Options { max_age: Duration::from_secs(1), ..aged }, Timestamp(now * SECOND)).unwrap();
    assert_eq!(store.facts().verdicts, 0);
    assert!(ids(&store, &of_pod("default", "x"), 100).is_empty());
}

#[test]
fn a_file_that_is_no_history_is_set_aside_and_told() {
    let other = |path: &Path| {
        let database = redb::Database::create(path).unwrap();
        let writing = database.begin_write().unwrap();
        writing.open_table(redb::TableDefinition::<u64, u64>::new("somebody else's")).unwrap();
        writing.commit().unwrap();
    };
    let newer = |path: &Path| {
        let database = redb::Database::create(path).unwrap();
        schema::prepare(&database).unwrap();
        let writing = database.begin_write().unwrap();
        writing.open_table(schema::NUMBERS).unwrap().insert("schema", 2).unwrap();
        writing.commit().unwrap();
    };
    let cut = |path: &Path| {
        {
            let (store, _) = open(path.parent().unwrap(), 0);
            write(&store, (0..2000).map(|n| verdict(&n.to_string(), "default/x", n)));
        }
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_len(100_000).unwrap();
    };
    type Make<'a> = &'a dyn Fn(&Path);
    let cases: [(&str, Make<'_>); 5] = [
        ("it is not a database", &|path| fs::write(path, "precious notes ".repeat(10_000)).unwrap()),
        ("another program's database", &other),
        ("it is of version 2, and this agent reads version 1", &newer),
        ("", &cut),
        ("a folder", &|path| fs::create_dir(path).unwrap()),
    ];
    for (why, make) in cases {
        let dir = tempfile::tempdir().unwrap();
        let path = file::path(dir.path());
        make(&path);
        let (store, _) = open(dir.path(), 0);
        let problems = store.facts().problems();
        let told = format!("history: {} cannot be read (", path.display());
        assert!(
            problems.len() == 1 && problems[0].starts_with(&told) && problems[0].contains(why),
            "{problems:?}"
        );
        assert!(path.with_extension("unreadable").exists(), "{why}");
        write(&store, [verdict("new", "default/x", 5)]);
        drop(store);
        let (store, _) = open(dir.path(), 0);
        assert_eq!(
            (ids(&store, &Filter::default(), 10), store.facts().problems()),
            (vec!["new".to_owned()], vec![])
        );
    }
}

#[test]
fn an_empty_file_is_a_beginning_and_damage_inside_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(file::path(dir.path()), "").unwrap();
    {
        let (store, _) = open(dir.path(), 0);
        assert!(store.facts().problems().is_empty());
        write(&store, (0..3000).map(|n| verdict(&n.to_string(), "default/x", n)));
    }
    // Behind the agent's back: a stretch in the middle is overwritten.
    let bytes = fs::read(file::path(dir.path())).unwrap();
    let mut damaged = bytes.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 400_000].fill(0xaa);
    fs::write(file::path(dir.path()), damaged).unwrap();
    let (store, _) = open(dir.path(), 0);
    let _ = ids(&store, &Filter::default(), 100);
    write(&store, (0..3000).map(|n| verdict(&n.to_string(), "default/y", 10_000 + n)));
    // Whatever was found out about the file: what is new can be written, at once or after the file was set aside.
    assert_eq!(ids(&store, &of_pod("default", "y"), 1000).len(), 3000, "{:?}", store.facts());
    assert_eq!(store.facts().failing, None);
}

#[test]
fn two_agents_on_one_folder_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), 0);
    let error = Store::open(options(dir.path()), Timestamp(0)).unwrap_err();
    let expected = format!(
        "the history in {} is in use by another agent: each needs a folder of its own",
        dir.path().display()
    );
    assert_eq!(error.to_string(), expected);
    write(&store, [verdict("a", "default/x", 1)]);
    drop(store);
    assert_eq!(ids(&open(dir.path(), 0).0, &Filter::default(), 10), ["a"]);
}

#[test]
fn a_folder_that_cannot_be_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    let error = Store::open(options(&file), Timestamp(0)).unwrap_err();
    assert!(
        error.to_string().starts_with(&format!("cannot keep the history in {}: ", file.display())),
        "{error}"
    );
}

#[test]
fn what_was_active_is_taken_up_and_says_that_nobody_watched() {
    let dir = tempfile::tempdir().unwrap();
    let began = crate::host::wall_clock().0 / SECOND;
    {
        let (store, earlier) = open(dir.path(), began);
        assert!(earlier.active.is_empty() && store.facts().gaps.is_empty());
        let cleared = Verdict { state: State::Cleared, ..verdict("over", "default/x", began) };
        write(&store, [verdict("a", "default/x", began), cleared, verdict("b", "default/x", began + 1)]);
    }
    let again = began + 3600;
    let (store, earlier) = open(dir.path(), again);
    let gaps = store.facts().gaps;
    assert_eq!(gaps.len(), 1);
    assert!(gaps[0].until == Timestamp(again * SECOND) && gaps[0].from.0 >= began * SECOND, "{gaps:?}");
    assert!(gaps[0].from.0 < (began + 60) * SECOND, "{gaps:?}");
    let hints: Vec<_> =
        earlier.active.iter().map(|v| (v.id.as_str(), v.hints.last().unwrap().clone())).collect();
    let hint = format!(
        "not watched from {} to {}, when no agent ran: it may have been over since",
        gaps[0].from, gaps[0].until
    );
    assert_eq!(hints, [("b", hint.clone()), ("a", hint)]);
    write(&store, earlier.active);
    drop(store);
    // Once more: one hint, of the last time.
    let (_store, earlier) = open(dir.path(), again + 3600);
    let count = |v: &Verdict| v.hints.iter().filter(|hint| hint.starts_with("not watched")).count();
    assert_eq!(earlier.active.iter().map(count).collect::<Vec<_>>(), [1, 1]);
}
