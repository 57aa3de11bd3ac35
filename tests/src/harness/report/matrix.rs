//! The confusion matrix. Columns bear letters, which stand before the rows' names, so that all causes fit 80 columns.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Without a verdict; also what healthy traffic must have.
const NONE: &str = "none";

/// Runs by what they had to say and what they said.
#[derive(Debug, Default)]
pub(super) struct Matrix {
    /// (expected cause, reported cause) → runs
    cells: BTreeMap<(String, String), usize>,
}

impl Matrix {
    /// Adds a run. A cause that was expected and came counts as itself; one that was not expected stands against
    /// the first that was, and one that did not come against `none`.
    pub(super) fn add(&mut self, expected: &[&'static str], reported: &[String]) {
        let Some(first) = expected.first() else { return };
        let none = [NONE.to_owned()];
        let reported = if reported.is_empty() { &none } else { reported };
        for &cause in expected.iter().collect::<BTreeSet<_>>() {
            if reported.iter().any(|reported| reported == cause) {
                self.count(cause, cause);
            } else if reported.iter().all(|reported| expected.contains(&reported.as_str())) {
                self.count(cause, NONE);
            }
        }
        for other in reported.iter().filter(|reported| !expected.contains(&reported.as_str())) {
            self.count(first, other);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    fn count(&mut self, expected: &str, reported: &str) {
        *self.cells.entry((expected.to_owned(), reported.to_owned())).or_default() += 1;
    }

    /// The causes that occur, `none` last.
    fn names(&self) -> Vec<&str> {
        let all = self.cells.keys().flat_map(|(expected, reported)| [expected.as_str(), reported.as_str()]);
        let mut names: Vec<_> = all.collect::<BTreeSet<_>>().into_iter().collect();
        names.sort_by_key(|name| (*name == NONE, *name));
        names
    }
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.names();
        let at = |row: &str, column: &str| self.cells.get(&(row.to_owned(), column.to_owned())).copied();
        let letters: Vec<char> = ('a'..='z').take(names.len()).collect();
        // Wide enough for the column's largest number, and a space.
        let width = |column: &str| {
            let most = names.iter().filter_map(|row| at(row, column)).max().unwrap_or(0);
            most.to_string().len().max(1) + 1
        };
        let widths: Vec<usize> = names.iter().map(|column| width(column).max(3)).collect();
        write!(f, "{:23}", "")?;
        for (letter, width) in letters.iter().zip(&widths) {
            write!(f, "{letter:>width$}")?;
        }
        writeln!(f)?;
        for (letter, row) in letters.iter().zip(&names) {
            write!(f, "{letter} {row:21}")?;
            for (column, width) in names.iter().zip(&widths) {
                match at(row, column) {
                    Some(runs) => write!(f, "{runs:>width$}")?,
                    None => write!(f, "{:>width$}", "\u{b7}")?,
                }
            }
            writeln!(f)?;
        }
        let right: usize =
            self.cells.iter().filter(|((row, column), _)| row == column).map(|(_, runs)| runs).sum();
        let all: usize = self.cells.values().sum();
        write!(f, "{all} counted, {right} as expected (on the diagonal), {} otherwise", all - right)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAUSES: [&str; 17] = [
        "policy-drop",
        "firewall-drop",
        "service-no-endpoints",
        "dns-failure",
        "nat-missing",
        "nat-exhausted",
        "conntrack-full",
        "mtu",
        "upstream-timeout",
        "upstream-refused",
        "upstream-unreachable",
        "upstream-reset",
        "tls-failure",
        "route-drop",
        "mesh-blocked",
        "local-resource",
        "unknown",
    ];

    #[test]
    fn all_causes_fit_into_80_columns() {
        let mut matrix = Matrix::default();
        for cause in CAUSES {
            (0..40).for_each(|_| matrix.add(&[cause], &[cause.to_owned()]));
        }
        (0..250).for_each(|_| matrix.add(&[NONE], &[]));
        matrix.add(&["mtu"], &["unknown".to_owned()]);
        let shown = matrix.to_string();
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        assert!(shown.ends_with("931 counted, 930 as expected (on the diagonal), 1 otherwise"), "{shown}");
    }

    #[test]
    fn several_expected_causes_are_each_on_the_diagonal() {
        let mut matrix = Matrix::default();
        let reported = |causes: &[&str]| causes.iter().map(|&cause| cause.to_owned()).collect::<Vec<_>>();
        matrix.add(&["dns-failure", "policy-drop"], &reported(&["dns-failure", "policy-drop"]));
        matrix.add(&["dns-failure", "policy-drop"], &reported(&["dns-failure"]));
        matrix.add(&["mtu"], &reported(&["unknown"]));
        matrix.add(&["none"], &[]);
        let cells: Vec<_> = matrix.cells.iter().map(|((e, r), n)| format!("{e} {r} {n}")).collect();
        let wanted = [
            "dns-failure dns-failure 2",
            "mtu unknown 1",
            "none none 1",
            "policy-drop none 1",
            "policy-drop policy-drop 1",
        ];
        assert_eq!(cells, wanted);
    }
}
