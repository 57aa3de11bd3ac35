//! Figures: windows that alternate, medians, and the table.

use anyhow::Result;

/// What is attached in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// No program.
    None,
    /// A program that does nothing.
    Empty,
    /// Ours.
    Ours,
}

/// Nanoseconds a packet of windows that alternated.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    rounds: Vec<[f64; 3]>,
}

impl Windows {
    /// Measures each variant once a round, in an order that changes.
    pub(crate) fn measure(rounds: usize, mut window: impl FnMut(Variant) -> Result<f64>) -> Result<Self> {
        let all = [Variant::None, Variant::Empty, Variant::Ours];
        let mut windows = Self::default();
        for round in 0..rounds {
            let mut found = [0.0; 3];
            for step in 0..3 {
                let index = (round + if round % 2 == 0 { step } else { 3 - step }) % 3;
                found[index] = window(all[index])?;
            }
            windows.rounds.push(found);
        }
        Ok(windows)
    }

    fn costs(&self, index: usize) -> Vec<f64> {
        self.rounds.iter().map(|round| round[index] - round[0]).collect()
    }

    /// Per-packet cost of the program: (with ours − with none) / (with the empty one − with none).
    pub(crate) fn ratio(&self) -> Ratio {
        let (empty, ours) = (Spread::of(self.costs(1)), Spread::of(self.costs(2)));
        let base = Spread::of(self.rounds.iter().map(|round| round[0]).collect());
        Ratio { rounds: self.rounds.len(), base: base.median, empty, ours }
    }
}

/// What windows show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ratio {
    /// How many rounds.
    pub(crate) rounds: usize,
    /// The packet's way without a program, ns.
    pub(crate) base: f64,
    /// What the empty program adds, ns.
    pub(crate) empty: Spread,
    /// What ours adds, ns.
    pub(crate) ours: Spread,
}

impl Ratio {
    /// Ours by empty.
    pub(crate) fn median(&self) -> f64 {
        self.ours.median / self.empty.median
    }
}

/// Median and quartiles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    /// A quarter is below.
    pub(crate) low: f64,
    /// Half is.
    pub(crate) median: f64,
    /// Three quarters are.
    pub(crate) high: f64,
}

impl Spread {
    /// Of some values; NaN of none.
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |share: usize| values.get(values.len() * share / 4).copied().unwrap_or(f64::NAN);
        Self { low: at(1), median: at(2), high: at(3) }
    }
}

/// The value below which this share lies (0 to 1).
pub(crate) fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    // A share of a small count: no truncation to fear.
    let at = (0..values.len()).find(|at| *at as f64 >= share * last as f64);
    at.and_then(|at| values.get(at)).copied().unwrap_or(f64::NAN)
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    what: String,
    measured: String,
    budget: String,
    verdict: &'static str,
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// A figure with its limit; also shown at once.
    pub(crate) fn limit(&mut self, what: &str, measured: String, value: f64, limit: f64, unit: &str) {
        let verdict = if value <= limit { "met" } else { "not reached" };
        self.push(what, measured, format!("≤ {limit}{unit}"), verdict);
    }

    /// A ratio with its limit; 0 for none.
    pub(crate) fn ratio(&mut self, what: &str, ratio: &Ratio, limit: f64) {
        let Ratio { rounds, base, empty, ours } = ratio;
        let scale = empty.median;
        let measured = format!(
            "{:.2} × [{:.2} – {:.2}]   {:.0} ns, empty {:.0} ns, of {base:.0} ns; {rounds} rounds",
            ratio.median(),
            ours.low / scale,
            ours.high / scale,
            ours.median,
            empty.median,
        );
        if limit > 0.0 {
            self.limit(what, measured, ratio.median(), limit, " × empty");
        } else {
            self.note(what, measured);
        }
    }

    /// A figure without a limit.
    pub(crate) fn note(&mut self, what: &str, measured: String) {
        self.push(what, measured, String::new(), "");
    }

    /// A fact that holds or not.
    pub(crate) fn fact(&mut self, what: &str, measured: String, budget: &str, holds: bool) {
        self.push(what, measured, budget.to_owned(), if holds { "met" } else { "not reached" });
    }

    fn push(&mut self, what: &str, measured: String, budget: String, verdict: &'static str) {
        println!("  {what}: {measured}  {verdict}");
        self.rows.push(Row { what: what.to_owned(), measured, budget, verdict });
    }

    /// Everything, in columns.
    pub(crate) fn print(&self) {
        let width =
            |of: fn(&Row) -> &str| self.rows.iter().map(|row| of(row).chars().count()).max().unwrap_or(0);
        let (what, measured) = (width(|row| &row.what), width(|row| &row.measured));
        let budget = width(|row| &row.budget);
        println!("\n{:what$}  {:measured$}  {:budget$}", "what", "measured", "budget");
        for row in &self.rows {
            println!(
                "{:what$}  {:measured$}  {:budget$}  {}",
                row.what, row.measured, row.budget, row.verdict
            );
        }
    }
}
