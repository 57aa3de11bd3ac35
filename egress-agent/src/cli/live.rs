//! `query --follow` for people.
//!
//! What is new, or has become something else, is printed as a block, and what works again as a line: these stay in the
//! scrollback as the log of an incident. That the same failure goes on is no news: on a terminal its count and age stand in a
//! few lines at the bottom that are drawn anew in place; elsewhere each revision is a line.

use std::collections::HashMap;
use std::io;

use egress_core::time::Timestamp;
use egress_core::verdict::{Cause, Confidence, State, Verdict};

use super::render::{self, View};
use super::terminal::Ui;
use crate::words::{counted, flow};

/// Failures that the lines at the bottom name.
const MAX_NAMED: usize = 5;
/// Failures that are remembered at all; beyond, the one that was seen the longest ago is forgotten.
const MAX_KEPT: usize = 4096;

/// What was shown so far.
pub(super) struct Live {
    /// The output is a terminal, where lines can be drawn anew.
    terminal: bool,
    /// What is followed, in words.
    what: String,
    kept: HashMap<String, Verdict>,
    /// Columns of the lines drawn at the bottom.
    drawn: Vec<usize>,
}

impl Live {
    /// Nothing shown yet.
    pub(super) fn new(terminal: bool, what: String) -> Self {
        Self { terminal, what, kept: HashMap::new(), drawn: Vec::new() }
    }

    /// Shows a verdict that was made or revised.
    pub(super) fn show(&mut self, verdict: Verdict, view: &View, ui: &mut Ui<'_>) -> io::Result<()> {
        let before = self.kept.get(&verdict.id);
        let again = before.is_some_and(|before| substance(before) == substance(&verdict));
        let cleared =
            before.is_some_and(|before| before.cause == verdict.cause) && verdict.state == State::Cleared;
        if !again || !self.terminal {
            self.erase(view, ui)?;
            if !again && !cleared {
                writeln!(ui.out, "{}", render::verdict(&verdict, view))?;
            } else {
                writeln!(ui.out, "{}", render::in_a_line(&verdict, view))?;
            }
        }
        self.keep(verdict);
        self.draw(view, ui)
    }

    /// Says something beside the verdicts, on standard error.
    pub(super) fn note(&mut self, text: &str, view: &View, ui: &mut Ui<'_>) -> io::Result<()> {
        self.erase(view, ui)?;
        ui.out.flush()?;
        writeln!(ui.err, "{text}")?;
        self.draw(view, ui)
    }

    /// Draws the lines at the bottom anew: ages grow.
    pub(super) fn draw(&mut self, view: &View, ui: &mut Ui<'_>) -> io::Result<()> {
        if self.terminal {
            self.erase(view, ui)?;
            for line in self.lines(view.now) {
                let line = render::cut(&line, view.width.saturating_sub(1));
                writeln!(ui.out, "{}", render::dim(&line, view))?;
                self.drawn.push(render::columns(&line));
            }
        }
        ui.out.flush()
    }

    fn erase(&mut self, view: &View, ui: &mut Ui<'_>) -> io::Result<()> {
        // A terminal that has become narrower has broken the lines.
        let rows: usize =
            self.drawn.drain(..).map(|columns| columns.max(1).div_ceil(view.width.max(1))).sum();
        if rows > 0 {
            // Up to the first line that was drawn, and away with everything below.
            write!(ui.out, "\u{1b}[{rows}A\r\u{1b}[J")?;
        }
        Ok(())
    }

    fn keep(&mut self, verdict: Verdict) {
        self.kept.insert(verdict.id.clone(), verdict);
        if self.kept.len() > MAX_KEPT {
            let oldest =
                self.kept.values().min_by_key(|verdict| verdict.last_seen).map(|verdict| verdict.id.clone());
            self.kept.remove(&oldest.unwrap_or_default());
        }
    }

    fn lines(&self, now: Timestamp) -> Vec<String> {
        let mut failing: Vec<&Verdict> =
            self.kept.values().filter(|verdict| verdict.state == State::Active).collect();
        failing.sort_by_key(|verdict| (std::cmp::Reverse(verdict.last_seen), verdict.id.as_str()));
        let count = match failing.len() {
            0 => "nothing fails".to_owned(),
            1 => "1 failure".to_owned(),
            many => format!("{many} failures"),
        };
        let mut lines = vec![format!("── following {}: {count}; interrupt to end", self.what)];
        for verdict in failing.iter().take(MAX_NAMED) {
            lines.push(format!("   {}  {}  {}", verdict.cause, counted(verdict, now), flow(verdict)));
        }
        if failing.len() > MAX_NAMED {
            lines.push(format!("   and {} more", failing.len() - MAX_NAMED));
        }
        lines
    }
}

/// What makes a revision news.
fn substance(verdict: &Verdict) -> (State, Cause, Confidence, &str) {
    (verdict.state, verdict.cause, verdict.confidence, &verdict.summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn view() -> View {
        let now = "2025-11-20T02:00:33Z".parse().unwrap();
        View { width: 80, color: false, wide: false, now, fix_command: None }
    }

    /// What stands on the standard output after these verdicts.
    fn shown(terminal: bool, verdicts: impl IntoIterator<Item = Verdict>) -> String {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut ui = Ui::for_tests(&mut out, &mut err, 80);
        let mut live = Live::new(terminal, "default/api-client".to_owned());
        for verdict in verdicts {
            live.show(verdict, &view(), &mut ui).unwrap();
        }
        live.note("7 verdicts were passed over", &view(), &mut ui).unwrap();
        assert_eq!(String::from_utf8(err).unwrap(), "7 verdicts were passed over\n");
        String::from_utf8(out).unwrap()
    }

    fn counted_on(count: u64) -> Verdict {
        Verdict { count, ..testing::story() }
    }

    fn cleared() -> Verdict {
        Verdict { state: State::Cleared, ..counted_on(9) }
    }

    /// What a terminal shows: the erasing carried out.
    fn screen(output: &str) -> Vec<String> {
        let mut lines: Vec<String> = vec![String::new()];
        let mut rest = output;
        while let Some(c) = rest.chars().next() {
            if let Some((up, after)) =
                rest.strip_prefix("\u{1b}[").and_then(|rest| rest.split_once("A\r\u{1b}[J"))
            {
                lines.truncate(lines.len() - up.parse::<usize>().unwrap());
                lines.pop();
                lines.push(String::new());
                rest = after;
                continue;
            }
            match c {
                '\n' => lines.push(String::new()),
                c => lines.last_mut().unwrap().push(c),
            }
            rest = &rest[c.len_utf8()..];
        }
        lines
    }

    #[test]
    fn on_a_terminal_a_failure_that_goes_on_is_one_block_and_a_line_that_counts() {
        let output = shown(true, [counted_on(6), counted_on(7), counted_on(8)]);
        let screen = screen(&output);
        assert_eq!(screen.iter().filter(|line| line.contains("  Why   ")).count(), 1, "{screen:#?}");
        assert_eq!(
            screen[screen.len() - 3..],
            [
                "── following default/api-client: 1 failure; interrupt to end",
                "   policy-drop  8 SYNs in 31s, last 2s ago  default/api-client → api.stripe.co…",
                "",
            ]
        );
    }

    #[test]
    fn what_works_again_is_a_line_and_what_fails_otherwise_is_a_block() {
        let other = Verdict { summary: "Another reason.".into(), ..counted_on(7) };
        let screen = screen(&shown(true, [counted_on(6), other, cleared()]));
        assert_eq!(screen.iter().filter(|line| line.contains("  Why   ")).count(), 2, "{screen:#?}");
        let line = "02:00:31Z  works again  policy-drop  default/api-client → api.stripe.com (203.0.113.4):443/TCP  \
                    9 SYNs in 31s, last 2s ago";
        assert!(screen.contains(&line.to_owned()), "{screen:#?}");
        assert_eq!(
            screen[screen.len() - 2],
            "── following default/api-client: nothing fails; interrupt to end"
        );
    }

    #[test]
    fn in_a_file_everything_is_appended() {
        let output = shown(false, [counted_on(6), counted_on(7), cleared()]);
        assert!(!output.contains('\u{1b}'), "{output}");
        assert_eq!(output.matches("  Why   ").count(), 1, "{output}");
        assert!(output.contains("\n02:00:31Z  fails        policy-drop  default/api-client"), "{output}");
        assert!(output.contains("\n02:00:31Z  works again  policy-drop  default/api-client"), "{output}");
    }

    #[test]
    fn lines_that_a_narrower_terminal_has_broken_are_erased_whole() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut ui = Ui::for_tests(&mut out, &mut err, 80);
        let mut live = Live::new(true, "any pod".to_owned());
        live.show(counted_on(6), &View { width: 140, ..view() }, &mut ui).unwrap();
        live.draw(&View { width: 50, ..view() }, &mut ui).unwrap();
        // The first line has 49 columns, the second 101: one row and three.
        assert!(String::from_utf8(out).unwrap().contains("\u{1b}[4A\r\u{1b}[J"));
    }

    #[test]
    fn many_failures_are_counted_and_the_bottom_stays_low() {
        let many = (0..9).map(|number| Verdict { id: format!("v-{number}"), ..testing::story() });
        let screen = screen(&shown(true, many));
        assert_eq!(screen[screen.len() - 2], "   and 4 more");
        assert!(screen[screen.len() - 8].contains("9 failures"), "{screen:#?}");
    }
}
