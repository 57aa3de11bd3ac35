//! gRPC messages: the first byte chooses which, the rest is the message. A verdict that was understood is shown.

use egress_agent::fuzzing;

use crate::Bytes;

/// Widths of terminals, also foolish ones.
const WIDTHS: &[usize] = &[0, 1, 40, 80, 120];

pub(crate) fn run(input: &[u8]) {
    let mut bytes = Bytes(input);
    match bytes.u8() % 4 {
        0 => drop(fuzzing::query_request(bytes.0)),
        1 => drop(fuzzing::explain_request(bytes.0)),
        2 => drop(fuzzing::explain_answer(bytes.0)),
        _ => {
            let width = bytes.pick(WIDTHS);
            let Some(Ok(verdict)) = fuzzing::verdict_answer(bytes.0) else { return };
            let shown = fuzzing::rendered(&verdict, width);
            let hostile = shown.chars().find(|c| c.is_control() && *c != '\n');
            assert_eq!(hostile, None, "a control character reaches the terminal");
            let again = fuzzing::verdict_answer(&fuzzing::verdict_message(&verdict));
            let same = again.and_then(Result::ok).is_some_and(|again| again.id == verdict.id);
            assert!(same, "what was sent is not what is read");
        }
    }
}
