//! What people and settings files say: the command line, addresses, targets, peers, durations, settings.
//!
//! The first byte chooses; a command line is cut into words at each newline.

use clap::Parser as _;
use egress_agent::cli::args::Cli;
use egress_agent::export::grpc::Address;
use egress_agent::export::http::HttpAddress;
use egress_agent::fuzzing;
use egress_core::history::ToFilter;
use egress_core::time::Timestamp;

use crate::Bytes;

pub(crate) fn run(input: &[u8]) {
    let mut bytes = Bytes(input);
    let choice = bytes.u8();
    let Ok(text) = std::str::from_utf8(bytes.0) else { return };
    match choice % 6 {
        0 => {
            let words = std::iter::once("egress-agent").chain(text.split('\n'));
            if let Err(error) = Cli::try_parse_from(words) {
                assert!(!error.to_string().is_empty());
            }
        }
        1 => {
            if let Err(error) = fuzzing::config(text) {
                let places = error.lines().skip(1).filter(|line| line.starts_with("settings:")).count();
                assert!(
                    places > 0 && places + 1 == error.lines().count(),
                    "a line without a place: {error:?}"
                );
            }
        }
        2 => written_and_read_again::<Address>(text),
        3 => written_and_read_again::<HttpAddress>(text),
        4 => written_and_read_again::<ToFilter>(text),
        _ => {
            let _ = text.parse::<Timestamp>();
        }
    }
}

/// What was understood is the same when it is written and read again.
fn written_and_read_again<T: std::str::FromStr + std::fmt::Display + PartialEq + std::fmt::Debug>(
    text: &str,
) {
    if let Ok(value) = text.parse::<T>() {
        let written = value.to_string();
        assert_eq!(written.parse::<T>().ok().as_ref(), Some(&value), "written as {written}");
    }
}
