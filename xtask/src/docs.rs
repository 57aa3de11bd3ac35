//! `cargo xtask docs [--check]`: the pages that are made from the code. The tests of the agent hold the pages against
//! the code (`egress-agent/tests/docs.rs`); told to, they write them anew.

use anyhow::Result;

use crate::setup;

/// Writes the pages anew, or with `check` fails if one is not what the code says.
pub(crate) fn run(check: bool) -> Result<()> {
    let mut tests = setup::cargo(&["test", "--package", "egress-agent", "--test", "docs", "--quiet"])?;
    if !check {
        tests.env("UPDATE_DOCS", "1");
    }
    setup::run(&mut tests)
}
