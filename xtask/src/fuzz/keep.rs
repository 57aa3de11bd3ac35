//! Corpora that are kept in the repository: few and small inputs that together reach most of what is reached.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};

use super::{MEMORY, PATIENCE, Places, fuzzer, longest};
use crate::setup;

/// Inputs that are kept of a target.
const MOST: usize = 64;

/// Inputs made of the lab's captures join what was found.
pub(super) fn seed(places: &Places) -> Result<()> {
    let folder = places.found.display().to_string();
    let seeds = ["run", "--quiet", "--package", "egress-fuzz", "--bin", "egress-fuzz-seeds", folder.as_str()];
    setup::run(&mut setup::cargo(&seeds)?)
}

/// Replaces a kept corpus by the best of it and of all that was found.
pub(super) fn keep(places: &Places, target: &str) -> Result<()> {
    let (kept, scratch) = (places.kept.join(target), places.found.join(format!("{target}.merge")));
    if scratch.exists() {
        fs::remove_dir_all(&scratch)?;
    }
    let merged = scratch.join("merged");
    fs::create_dir_all(&merged)?;
    let control = scratch.join("control");
    let mut merge = fuzzer(places, target);
    merge.args(["-merge=1", MEMORY, PATIENCE]).arg(format!("-merge_control_file={}", control.display()));
    let longest = longest(places, target)?;
    merge.arg(format!("-max_len={longest}"));
    merge.arg(&merged).arg(&kept).arg(places.found.join(target));
    setup::run(merge.stdout(Stdio::null()).stderr(Stdio::null()))?;
    let control = fs::read_to_string(&control).with_context(|| control.display().to_string())?;
    let inputs: Vec<(String, Vec<u8>)> = choose(&control)
        .into_iter()
        .map(|path| {
            // What is longer was cut before it ran.
            let mut input = fs::read(path)?;
            input.truncate(usize::try_from(longest)?);
            Ok((file_name(path), input))
        })
        .collect::<Result<_>>()?;
    fs::remove_dir_all(&kept)?;
    fs::create_dir_all(&kept)?;
    for (name, input) in &inputs {
        fs::write(kept.join(name), input)?;
    }
    fs::remove_dir_all(&scratch)?;
    let bytes: usize = inputs.iter().map(|(_, input)| input.len()).sum();
    println!("kept  {target:10} {} inputs, {bytes} bytes", inputs.len());
    Ok(())
}

fn file_name(path: &str) -> String {
    Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Of the files of a merge, those that add the most edges for their size, the best first. The control file lists
/// the files and then, for each by its number, its size (`STARTED`) and the edges that it was the first to reach
/// (`COV`); small files come first.
fn choose(control: &str) -> Vec<&str> {
    let mut lines = control.lines();
    let count = lines.next().and_then(|line| line.parse().ok()).unwrap_or(0);
    let files: Vec<&str> = lines.by_ref().skip(1).take(count).collect();
    let mut edges: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
    for line in lines {
        let mut words = line.split(' ');
        if words.next() == Some("COV")
            && let Some(file) = words.next().and_then(|word| word.parse().ok())
        {
            edges.insert(file, words.collect());
        }
    }
    let mut ranked: Vec<_> = edges.into_iter().filter(|(_, reached)| !reached.is_empty()).collect();
    ranked.sort_by_key(|(file, reached)| (std::cmp::Reverse(reached.len()), *file));
    ranked.iter().take(MOST).filter_map(|(file, _)| files.get(*file).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_that_add_most_are_chosen() {
        let control =
            "3\n0\na\nb\nc\nSTARTED 0 1\nFT 0 7\nCOV 0 1 2\nSTARTED 1 1\nCOV 1\nSTARTED 2 9\nCOV 2 3 4 5\n";
        assert_eq!(choose(control), ["c", "a"]);
    }
}
