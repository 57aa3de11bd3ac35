//! The history on disk as it meets the world: killed writers, full disks.
//!
//! The killed writer is this test program itself, started again with a variable that tells it what to be.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use egress_agent::store::{Options, Store};
use egress_core::history::Filter;
use egress_core::time::Timestamp;
use egress_core::verdict::Verdict;

/// Folder of the writer to be killed.
const WRITER: &str = "EGRESS_TEST_HISTORY_WRITER";

fn options(dir: &Path) -> Options {
    Options { dir: dir.to_owned(), max_bytes: 256 << 20, max_age: Duration::from_secs(86_400) }
}

fn now() -> Timestamp {
    egress_agent::host::wall_clock()
}

fn verdict(number: u64) -> Verdict {
    let mut verdict: Verdict =
        serde_json::from_str(include_str!("../src/testing/verdicts/policy-drop.json")).expect("a verdict");
    verdict.id = format!("{number:016x}");
    verdict.count = number;
    (verdict.first_seen, verdict.last_seen) = (now(), now());
    verdict
}

/// Numbers of the verdicts on disk.
fn numbers(store: &Store) -> Vec<u64> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.page(&Filter::default(), after, 1000);
        found.extend(page.verdicts.iter().map(|verdict| verdict.count));
        match page.next {
            Some(next) => after = Some(next),
            None => return found,
        }
    }
}

/// Not a test of its own: writes one verdict after the other, says so, and waits to be killed.
#[test]
fn writer() {
    let Some(dir) = std::env::var_os(WRITER) else { return };
    let (store, _) = Store::open(options(Path::new(&dir)), now()).unwrap();
    let first = numbers(&store).into_iter().max().map_or(0, |last| last + 1);
    for number in first.. {
        store.write(Arc::new(verdict(number)));
        println!("wrote {number} kept {}", store.facts().verdicts);
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_killed_writer_loses_nothing_that_it_said_was_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept = 0;
    for round in 0..8_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer", "--nocapture"])
            .env(WRITER, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Killed at another moment of its work each time: while it opens, gathers, commits.
        let mut began: Option<Instant> = None;
        let life = Duration::from_millis(130 + round * 270);
        for line in lines.by_ref() {
            let line = line.unwrap();
            let Some((_, told)) = line.strip_prefix("wrote ").and_then(|line| line.split_once(" kept "))
            else {
                continue;
            };
            kept = kept.max(told.parse::<u64>().unwrap());
            if began.get_or_insert_with(Instant::now).elapsed() >= life {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let (store, _) = Store::open(options(dir.path()), now()).unwrap();
        assert_eq!(store.facts().problems(), Vec::<String>::new(), "round {round}");
        let mut found = numbers(&store);
        found.sort_unstable();
        let whole: Vec<u64> = (0..found.len() as u64).collect();
        assert_eq!(found, whole, "round {round}: there is a hole");
        assert!(found.len() as u64 >= kept, "round {round}: {} of {kept} that were on disk", found.len());
        kept = found.len() as u64;
    }
    assert!(kept > 500, "{kept} verdicts in all: the test proved nothing");
}

/// A file system of its own, gone with this value.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn mount(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(dir.path())
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Self(dir))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_told_and_overcome_and_costs_nothing_that_was_there() {
    let Some(disk) = Tmpfs::mount("24m") else {
        println!("skipped: a file system cannot be mounted here (root?)");
        return;
    };
    let dir = disk.0.path().join("history");
    let (store, _) = Store::open(options(&dir), now()).unwrap();
    for number in 0..200 {
        store.write(Arc::new(verdict(number)));
    }
    store.flush();
    assert_eq!(numbers(&store).len(), 200);
    // Somebody else fills the disk.
    let other = disk.0.path().join("other");
    let _ = std::fs::write(&other, vec![1_u8; 32 << 20]);
    for number in 200..2000 {
        store.write(Arc::new(verdict(number)));
    }
    store.flush();
    let problems = store.facts().problems();
    assert!(problems.len() == 1, "{problems:?}");
    let told = problems[0].starts_with("history: nothing can be written to disk since ")
        && problems[0].contains("No space left on device")
        && problems[0].ends_with("kept in memory only");
    assert!(told, "{problems:?}");
    // What was there can still be read, and nothing waits for the disk.
    assert!(numbers(&store).len() >= 200, "{} left", numbers(&store).len());
    std::fs::remove_file(&other).unwrap();
    store.flush();
    assert_eq!(store.facts().problems(), Vec::<String>::new());
    let mut found = numbers(&store);
    found.sort_unstable();
    assert_eq!(found, (0..2000).collect::<Vec<u64>>(), "what waited was written");
    assert_eq!(store.lost(), 0);
}

#[test]
fn a_disk_that_is_full_at_the_start_keeps_no_agent_from_starting() {
    let Some(disk) = Tmpfs::mount("1m") else {
        println!("skipped: a file system cannot be mounted here (root?)");
        return;
    };
    let other = disk.0.path().join("other");
    let _ = std::fs::write(&other, vec![1_u8; 2 << 20]);
    let (store, _) = Store::open(options(disk.0.path()), now()).unwrap();
    store.write(Arc::new(verdict(1)));
    store.flush();
    assert!(store.facts().problems()[0].contains("No space left on device"), "{:?}", store.facts());
    // More than may wait: the rest is counted.
    for number in 0..6000 {
        store.write(Arc::new(verdict(number)));
        if number % 1000 == 0 {
            store.flush();
        }
    }
    store.flush();
    assert!(store.lost() > 0 && store.lost() < 3000, "{} lost", store.lost());
}
