//! What came out: a line a run, then the confusion matrix, the seconds to each verdict, and the count.

mod matrix;

use std::collections::BTreeMap;
use std::time::Duration;

use super::Ending;
use matrix::Matrix;

/// Collects endings and prints them.
#[derive(Default)]
pub(super) struct Report {
    with_agent: bool,
    passed: usize,
    failures: Vec<(String, String)>,
    skips: Vec<(String, String)>,
    matrix: Matrix,
    verdicts: Vec<Timed>,
}

/// A verdict that came.
struct Timed {
    scenario: String,
    cause: &'static str,
    took: Duration,
    promised: Duration,
}

impl Timed {
    fn late(&self) -> bool {
        self.took > self.promised
    }
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
                self.failures.push((name.clone(), why));
                trial
            }
        };
        self.matrix.add(&trial.expected, &trial.reported);
        if let (Some(cause), Some(took), Some(promised)) = (trial.expected.first(), trial.delay, trial.within)
        {
            let scenario = name.trim_end_matches(" broken").to_owned();
            self.verdicts.push(Timed { scenario, cause, took, promised });
        }
    }

    /// Prints the summary; its last line is the count.
    pub(super) fn print(&self) {
        if self.with_agent && !self.matrix.is_empty() {
            println!("\nexpected (down), reported (across), runs\n\n{}", self.matrix);
            self.print_scenarios();
            self.print_causes();
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

    fn print_scenarios(&self) {
        if self.verdicts.is_empty() {
            return;
        }
        println!("\nseconds from the first packet to the verdict, and within how many it is promised");
        let mut verdicts: Vec<_> = self.verdicts.iter().collect();
        verdicts.sort_by(|a, b| (a.cause, &a.scenario).cmp(&(b.cause, &b.scenario)));
        for verdict in verdicts {
            let Timed { scenario, cause, took, promised } = verdict;
            let late = if verdict.late() { "  late" } else { "" };
            let (took, promised) = (took.as_secs_f64(), promised.as_secs_f64());
            println!("  {cause:21} {scenario:36} {took:>6.2}  of {promised:>4.1}{late}");
        }
    }

    fn print_causes(&self) {
        let mut causes: BTreeMap<&str, Vec<&Timed>> = BTreeMap::new();
        for verdict in &self.verdicts {
            causes.entry(verdict.cause).or_default().push(verdict);
        }
        if causes.is_empty() {
            return;
        }
        println!("\nthe same by cause      runs   least  median    most    late");
        for (cause, verdicts) in &causes {
            println!("  {cause:21}{}", figures(verdicts));
        }
        println!("  {:21}{}", "all", figures(&self.verdicts.iter().collect::<Vec<_>>()));
    }
}

/// Runs, least, median, most, late.
fn figures(verdicts: &[&Timed]) -> String {
    let mut seconds: Vec<_> = verdicts.iter().map(|verdict| verdict.took.as_secs_f64()).collect();
    seconds.sort_by(f64::total_cmp);
    let at = |index: usize| seconds.get(index).copied().unwrap_or_default();
    let late = verdicts.iter().filter(|verdict| verdict.late()).count();
    let (least, median, most) = (at(0), at(seconds.len() / 2), at(seconds.len().saturating_sub(1)));
    format!(" {:>5} {least:>7.2} {median:>7.2} {most:>7.2} {late:>7}", seconds.len())
}
