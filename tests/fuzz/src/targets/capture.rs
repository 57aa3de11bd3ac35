//! Captures: the text is read and replayed.

use egress_core::capture::Capture;

pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Capture::parse(text) {
        Ok(capture) => {
            for verdict in capture.replay() {
                assert!(!verdict.summary.is_empty(), "a verdict that says nothing");
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
