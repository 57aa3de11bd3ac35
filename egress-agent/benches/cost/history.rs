//! The history on disk: a million verdicts, asked as people ask.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use egress_agent::host;
use egress_agent::store::{Options, Store};
use egress_core::cluster::PodRef;
use egress_core::history::{Filter, PodFilter};
use egress_core::time::Timestamp;
use egress_core::verdict::{Cause, Verdict};

use crate::figures::Table;

/// Pods of the node over the time that the history spans.
const PODS: u32 = 2000;
/// Questions of each kind.
const QUESTIONS: u32 = 500;
/// The default of `--history-size`, bytes.
const DEFAULT_SIZE: u64 = 256 << 20;
/// Verdicts of an answer.
const LIMIT: usize = 100;
/// The budget of a question, milliseconds.
const BUDGET: f64 = 5.0;

/// What is asked the nth time.
type Question = fn(u32) -> Filter;

/// Measures.
pub(crate) fn measure(table: &mut Table, quick: bool) -> Result<()> {
    let count = if quick { 50_000 } else { 1_000_000 };
    let dir = tempfile::tempdir()?;
    let options = Options {
        dir: dir.path().to_owned(),
        max_bytes: 64 << 30,
        max_age: Duration::from_secs(365 * 86_400),
    };
    let now = host::wall_clock();
    let (store, _) = Store::open(options, now)?;
    let template: Verdict =
        serde_json::from_str(include_str!("../../src/testing/verdicts/policy-drop.json"))?;
    let began = Instant::now();
    for number in 0..count {
        store.write(Arc::new(verdict(&template, number, count, now)));
        if number % 4000 == 3999 {
            store.flush();
        }
    }
    store.flush();
    let facts = store.facts();
    ensure!(facts.verdicts == u64::from(count), "{} of {count} verdicts are there", facts.verdicts);
    let each = began.elapsed().as_secs_f64() * 1e6 / f64::from(count);
    let megabytes = facts.bytes >> 20;
    table.note(
        &format!("history: a new verdict written, {count} of them"),
        format!("{each:.0} µs, {megabytes} MiB on disk"),
    );
    let anonymous = resident()?;
    let kinds: [(&str, Question); 9] = [
        ("of a pod", |n| of(PodFilter::Pod(pod(n * 7 % PODS)))),
        ("of a namespace", |n| of(namespace(n))),
        ("of a cause", |n| Filter { causes: vec![cause(n)], ..Filter::default() }),
        ("of the last hour", |_| Filter { since: Some(ago(1)), ..Filter::default() }),
        ("of a pod and the last two days", |n| Filter {
            since: Some(ago(48)),
            ..of(PodFilter::Pod(pod(n * 7 % PODS)))
        }),
        ("of a namespace and a cause", |n| Filter { causes: vec![cause(n)], ..of(namespace(n)) }),
        ("towards an address", |n| Filter {
            to: address(n * 31 % 5000).to_string().parse().ok(),
            ..Filter::default()
        }),
        ("of a pod towards an address", |n| {
            let number = n * 31;
            let PodRef { namespace, name } = pod(number.wrapping_mul(2_654_435_761) % PODS);
            Filter {
                to: address(number.wrapping_mul(40_503) % 5000).to_string().parse().ok(),
                ..of(PodFilter::Pod(PodRef { namespace, name }))
            }
        }),
        ("of everything", |_| Filter::default()),
    ];
    for (what, filter) in kinds {
        let mut took = Vec::new();
        for n in 0..QUESTIONS {
            let filter = filter(n);
            let began = Instant::now();
            let page = store.page(&filter, None, LIMIT);
            took.push(began.elapsed().as_secs_f64() * 1e3);
            ensure!(!page.verdicts.is_empty(), "no verdict {what}: {filter:?}");
        }
        took.sort_by(f64::total_cmp);
        let p99 = *took.get(took.len() * 99 / 100).context("no question was asked")?;
        let median = took[took.len() / 2];
        let text = format!("p99 {p99:.2} ms, median {median:.2} ms");
        table.limit(
            &format!("query over {count} verdicts, the newest {LIMIT} {what}"),
            text,
            p99,
            BUDGET,
            " ms",
        );
    }
    table.note(
        "history: anonymous memory of the process, filled / asked",
        format!("{anonymous} / {} MiB", resident()?),
    );
    drop(store);
    fits(table, &template, now)
}

/// How many verdicts stay within the default size, and how long the file is then.
fn fits(table: &mut Table, template: &Verdict, now: Timestamp) -> Result<()> {
    const MORE_THAN_FIT: u32 = 100_000;
    let dir = tempfile::tempdir()?;
    let max_age = Duration::from_secs(365 * 86_400);
    let options = Options { dir: dir.path().to_owned(), max_bytes: DEFAULT_SIZE, max_age };
    let (store, _) = Store::open(options, now)?;
    for number in 0..MORE_THAN_FIT {
        store.write(Arc::new(verdict(template, number, MORE_THAN_FIT, now)));
        if number % 4000 == 3999 {
            store.flush();
        }
    }
    store.flush();
    let facts = store.facts();
    table.note(
        "history: verdicts within the default --history-size",
        format!(
            "{} of {MORE_THAN_FIT}, {} of {} MiB on disk",
            facts.verdicts,
            facts.bytes >> 20,
            DEFAULT_SIZE >> 20
        ),
    );
    Ok(())
}

/// Anonymous memory of this process, MiB: what the store holds beside the kernel's pages of its file.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("no RssAnon")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? >> 10)
}

fn ago(hours: i64) -> Timestamp {
    Timestamp(host::wall_clock().0 - hours * 3_600_000_000)
}

fn verdict(template: &Verdict, number: u32, count: u32, now: Timestamp) -> Verdict {
    let mut verdict = template.clone();
    verdict.id = format!("{:016x}", u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let PodRef { namespace, name } = pod(number.wrapping_mul(2_654_435_761) % PODS);
    (verdict.pod.namespace, verdict.pod.name) = (namespace, name);
    verdict.cause = cause(number / 3);
    verdict.peer.ip = address(number.wrapping_mul(40_503) % 5000).into();
    verdict.peer.name = Some(format!("host-{}.example.com", number % 5000));
    // A week, evenly.
    let ago = i64::from(count - number) * 7 * 86_400_000_000 / i64::from(count);
    verdict.last_seen = Timestamp(now.0 - ago);
    verdict
}

fn pod(number: u32) -> PodRef {
    PodRef { namespace: format!("team-{}", number % 20), name: format!("api-{number}-7d4b9c6f8-x2x7p") }
}

fn namespace(number: u32) -> PodFilter {
    PodFilter::Namespace(format!("team-{}", number % 20))
}

fn cause(number: u32) -> Cause {
    Cause::ALL[usize::try_from(number).unwrap_or(0) % Cause::ALL.len()]
}

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(203, 0, 113, 0)) + number)
}

fn of(pods: PodFilter) -> Filter {
    Filter { pods, ..Filter::default() }
}
