//! What all parts together came to.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::setup;

/// Counts of the whole run.
#[derive(Debug, Default)]
pub(super) struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
    /// Parts that failed, and what was skipped, in words.
    failures: Vec<String>,
    skips: Vec<String>,
    /// Stages in order, and when each began.
    stages: Vec<(&'static str, Instant)>,
}

impl Tally {
    /// A stage begins, and the one before it is over.
    pub(super) fn stage(&mut self, what: &'static str) {
        println!("\n--- {what}");
        self.stages.push((what, Instant::now()));
    }

    /// Runs a part that counts its tests on standard output, which is passed on.
    pub(super) fn run(&mut self, what: &str, command: &mut Command) {
        let before = self.failed;
        let result = self.pass_on(command);
        self.conclude(what, result, self.failed > before);
    }

    /// A part that is one test: it passed or it did not.
    pub(super) fn one(&mut self, what: &str, result: Result<()>) {
        if result.is_ok() {
            self.passed += 1;
        }
        self.conclude(what, result, false);
    }

    /// A part that printed its counts already.
    pub(super) fn lines(&mut self, what: &str, result: Result<Vec<String>>) {
        let before = self.failed;
        let result = result.map(|lines| lines.iter().for_each(|line| self.count(line)));
        self.conclude(what, result, self.failed > before);
    }

    /// A part that is left out.
    pub(super) fn skip(&mut self, what: &str, why: &str) {
        println!("skipped: {why}");
        self.skipped += 1;
        self.skips.push(format!("{what}: {why}"));
    }

    /// Prints the summary; its last line is the count.
    pub(super) fn print(&self) {
        self.print_times(Instant::now());
        println!();
        for skip in &self.skips {
            println!("skipped {skip}");
        }
        for failure in &self.failures {
            println!("failed {failure}");
        }
        println!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped);
    }

    /// Nothing failed.
    pub(super) const fn good(&self) -> bool {
        self.failed == 0
    }

    /// Nothing was skipped.
    pub(super) const fn complete(&self) -> bool {
        self.skipped == 0
    }

    /// Where the time went.
    fn print_times(&self, end: Instant) {
        let ends = self.stages.iter().skip(1).map(|(_, began)| *began).chain([end]);
        println!();
        for ((what, began), ended) in self.stages.iter().zip(ends) {
            println!("{:>5} s  {what}", (ended - *began).as_secs());
        }
        if let Some((_, first)) = self.stages.first() {
            println!("{:>5} s  all of it", (end - *first).as_secs());
        }
    }

    fn conclude(&mut self, what: &str, result: Result<()>, counted: bool) {
        if let Err(error) = result {
            println!("{what}: {error:#}");
            self.failures.push(format!("{what}: {error:#}"));
            if !counted {
                self.failed += 1;
            }
        }
    }

    fn pass_on(&mut self, command: &mut Command) -> Result<()> {
        let shown = setup::shown(command);
        let mut child =
            command.stdout(Stdio::piped()).spawn().with_context(|| format!("starting {shown}"))?;
        if let Some(output) = child.stdout.take() {
            for line in BufReader::new(output).lines() {
                let line = line?;
                println!("{line}");
                self.count(&line);
            }
        }
        let status = child.wait()?;
        if !status.success() {
            anyhow::bail!("{shown}: {status}");
        }
        Ok(())
    }

    /// Adds a line like `12 passed, 0 failed, 1 skipped` or cargo's `test result: ok. 12 passed; 0 failed; …`.
    fn count(&mut self, line: &str) {
        if let Some(skip) = line.strip_prefix("skipped ") {
            self.skips.push(skip.to_owned());
        }
        // The lab's last words on a trial, and cargo's on a test.
        let failed = line.strip_prefix("failed ").or_else(|| line.strip_suffix(" --- FAILED"));
        self.failures.extend(failed.or_else(|| line.strip_suffix(" ... FAILED")).map(str::to_owned));
        let counts = match line.trim_start_matches("| ").strip_prefix("test result: ") {
            Some(result) => result.split_once(". ").map_or("", |(_, counts)| counts),
            None if line.ends_with(" skipped") => line,
            None => return,
        };
        for part in counts.split([',', ';']) {
            let Some((number, word)) = part.trim().split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match word {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "skipped" | "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_counts_are_added() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test result: ok. 81 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 7.81s",
            "| test result: FAILED. 6 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s",
            "skipped noise-late-syn-ack healthy: no /dev/net/tun",
            "failed flood: counted 801968 of 800000",
            "parses_everything --- FAILED",
            "| test holds_until_killed ... FAILED",
            "64 passed, 8 failed, 1 skipped",
        ] {
            tally.count(line);
        }
        assert_eq!((tally.passed, tally.failed, tally.skipped), (151, 9, 3));
        assert_eq!(
            tally.failures,
            ["flood: counted 801968 of 800000", "parses_everything", "| test holds_until_killed"]
        );
        assert_eq!(tally.skips, ["noise-late-syn-ack healthy: no /dev/net/tun"]);
    }
}
