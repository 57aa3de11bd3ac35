//! The kept corpora go through their targets: no fuzzer, no root, a second or two.

use std::fs;
use std::path::Path;

use egress_fuzz::TARGETS;

/// Files that a corpus has at most: it is run with every `cargo test`.
const MOST: usize = 400;

#[test]
fn every_kept_input_passes() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for target in TARGETS {
        let folder = corpora.join(target.name);
        let files: Vec<_> = fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.unwrap().path())
            .collect();
        assert!((1..=MOST).contains(&files.len()), "{} inputs in {}", files.len(), folder.display());
        for file in files {
            let input = fs::read(&file).unwrap();
            assert!(input.len() <= target.longest, "{} is longer than the target takes", file.display());
            // Named before it runs: a panic then stands right below.
            println!("{}", file.display());
            (target.run)(&input);
        }
    }
}
