//! What came out: a line a run, the confusion matrix, seconds to verdict, and the count.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Ending;

/// Collects endings and prints them.
#[derive(Default)]
pub(super) struct Report {
    with_agent: bool,
    passed: usize,
    failures: Vec<(String, String)>,
    skips: Vec<(String, String)>,
    /// (expected cause, reported cause) → runs
    matrix: BTreeMap<(String, String), usize>,
    /// Expected cause → delays
    delays: BTreeMap<String, Vec<Duration>>,
}

impl Report {
    pub(super) fn new(with_agent: bool) -> Self {
        Self { with_agent, ..Self::default() }
    }

    /// Prints one ending and keeps it.
    pub(super) fn add(&mut self, name: String, ending: Ending) {
        let trial = match ending {
            Ending::Skipped(reason) => {
                println!("skip  {name}: {reason}");
                self.skips.push((name, reason));
                return;
            }
            Ending::Passed(trial) => {
                let reported = if trial.reported.is_empty() { "-" } else { &trial.reported.join(", ") };
                let seconds = trial.delay.map(|d| format!("{:.2} s", d.as_secs_f64())).unwrap_or_default();
                println!("ok    {name:38} {reported:18} {seconds:>7}  {}", trial.note);
                self.passed += 1;
                trial
            }
            Ending::Failed(trial, why) => {
                println!("FAIL  {name}\n      {}", why.replace('\n', "\n      "));
                self.failures.push((name, why));
                trial
            }
        };
        let Some(expected) = trial.expected else { return };
        if trial.reported.is_empty() {
            *self.matrix.entry((expected.to_owned(), "none".to_owned())).or_default() += 1;
        }
        for reported in trial.reported {
            *self.matrix.entry((expected.to_owned(), reported)).or_default() += 1;
        }
        if let Some(delay) = trial.delay {
            self.delays.entry(expected.to_owned()).or_default().push(delay);
        }
    }

    /// Prints the summary; its last line is the count.
    pub(super) fn print(&self) {
        if self.with_agent && !self.matrix.is_empty() {
            self.print_matrix();
            self.print_delays();
        }
        for (name, reason) in &self.skips {
            println!("skipped {name}: {reason}");
        }
        for (name, why) in &self.failures {
            println!("failed {name}: {}", why.lines().next().unwrap_or_default());
        }
        println!();
        println!("{} passed, {} failed, {} skipped", self.passed, self.failures.len(), self.skips.len());
    }

    /// Nothing failed.
    pub(super) fn good(&self) -> bool {
        self.failures.is_empty()
    }

    fn print_matrix(&self) {
        let rows: BTreeSet<_> = self.matrix.keys().map(|(expected, _)| expected).collect();
        let columns: BTreeSet<_> = self.matrix.keys().map(|(_, reported)| reported).collect();
        println!("\nexpected (down), reported (across), runs");
        print!("{:18}", "");
        for column in &columns {
            print!(" {column:>17}");
        }
        println!();
        for row in rows {
            print!("{row:18}");
            for column in &columns {
                let count = self.matrix.get(&(row.clone(), (*column).clone())).copied().unwrap_or(0);
                print!(" {:>17}", if count == 0 { "·".to_owned() } else { count.to_string() });
            }
            println!();
        }
    }

    fn print_delays(&self) {
        println!("\nseconds from first packet to verdict");
        println!("{:18} {:>5} {:>7} {:>7} {:>7}", "", "runs", "least", "median", "most");
        for (cause, delays) in &self.delays {
            let mut seconds: Vec<_> = delays.iter().map(Duration::as_secs_f64).collect();
            seconds.sort_by(f64::total_cmp);
            let (Some(least), Some(most)) = (seconds.first(), seconds.last()) else { continue };
            let median = seconds[seconds.len() / 2];
            println!("{cause:18} {:>5} {least:>7.2} {median:>7.2} {most:>7.2}", seconds.len());
        }
    }
}
