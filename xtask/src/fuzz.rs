//! `cargo xtask test fuzz`: the targets of `tests/fuzz` under libFuzzer, with a stable compiler.
//!
//! The compiler's own coverage pass (`sancov-module`) marks every edge; libFuzzer, which the crate `libfuzzer-sys`
//! brings, is built with the system's C++ compiler. One program has all targets, so it is built and linked once.

mod keep;

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, bail};

use crate::setup::{self, Tool};

/// Seconds a target is fuzzed, unless told otherwise.
const SECONDS: u64 = 15;
/// Megabytes that a target may take.
const MEMORY: &str = "-rss_limit_mb=1024";
/// Seconds that one input may take.
const PATIENCE: &str = "-timeout=10";
/// The same inputs in the same order each time: a shorter run is the beginning of a longer one, and what CI finds can be
/// found again here. `--seed` goes elsewhere.
const SEED: u32 = 1;
/// Edges, tables of them, and comparisons are told to the fuzzer.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                     -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";

const COMPILER: &[Tool] = &[Tool { program: "c++", package: "g++", why: "compiles libFuzzer" }];

/// What to fuzz, and how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these targets.
    target: Vec<String>,
    /// Seconds for each target.
    #[arg(long, default_value_t = SECONDS)]
    seconds: u64,
    /// Where the search begins; the same seed searches the same way.
    #[arg(long, default_value_t = SEED)]
    seed: u32,
    /// Run a single input, as a finding says it.
    #[arg(long, value_name = "FILE", requires = "target")]
    input: Option<PathBuf>,
    /// Afterwards keep in `tests/fuzz/corpus` a few inputs that reach most of what was reached.
    #[arg(long, conflicts_with = "input")]
    keep: bool,
}

impl Default for Args {
    fn default() -> Self {
        Self { target: Vec::new(), seconds: SECONDS, seed: SEED, input: None, keep: false }
    }
}

/// Where things are.
#[derive(Debug)]
pub(crate) struct Places {
    program: PathBuf,
    /// Kept corpora, in the repository.
    kept: PathBuf,
    /// What is found along the way, in the target folder.
    found: PathBuf,
    /// Inputs that fail, in the target folder.
    findings: PathBuf,
}

/// Runs the targets. The lines count what passed and failed.
pub(crate) fn run(places: &Places, args: &Args) -> Result<Vec<String>> {
    let all = targets(places)?;
    if let Some(unknown) = args.target.iter().find(|name| !all.contains(name)) {
        bail!("{unknown} is no target; there are {}", all.join(", "));
    }
    let wanted: Vec<String> =
        all.into_iter().filter(|name| args.target.is_empty() || args.target.contains(name)).collect();
    if let Some(input) = &args.input {
        for target in &wanted {
            setup::run(fuzzer(places, target).arg(MEMORY).arg(PATIENCE).arg(input))?;
        }
        return Ok(vec!["1 passed, 0 failed, 0 skipped".to_owned()]);
    }
    if args.keep {
        keep::seed(places)?;
    }
    let failed = side_by_side(places, &wanted, args)?;
    if args.keep && failed == 0 {
        for target in &wanted {
            keep::keep(places, target)?;
        }
    }
    let line = format!("{} passed, {failed} failed, 0 skipped", wanted.len() - failed);
    println!("{line}");
    if failed > 0 {
        println!("once mended, a finding belongs into a unit test of the parser, and into tests/fuzz/corpus");
    }
    Ok(vec![line])
}

/// Builds the fuzzer.
pub(crate) fn build() -> Result<Places> {
    setup::ensure(COMPILER)?;
    println!("building the fuzzer");
    let (target, host) = (crate::build_ebpf::target()?.join("fuzz"), host()?);
    let mut cargo = setup::cargo(&[
        "build",
        "--quiet",
        "--package",
        "egress-fuzz",
        "--bin",
        "egress-fuzz",
        "--features",
        "libfuzzer",
        "--profile",
        "fuzz",
        "--target",
        &host,
    ])?;
    cargo.env("RUSTFLAGS", FLAGS).env("CARGO_TARGET_DIR", &target).env_remove("CARGO_ENCODED_RUSTFLAGS");
    setup::run(&mut cargo)?;
    let folder = setup::workspace()?.join("tests/fuzz");
    Ok(Places {
        program: target.join(host).join("fuzz/egress-fuzz"),
        kept: folder.join("corpus"),
        found: target.join("found"),
        findings: target.join("findings"),
    })
}

/// The machine as the compiler names it. Naming it keeps the flags off build scripts and macros.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("starting rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    Ok(host.to_owned())
}

/// Every target has a corpus.
fn targets(places: &Places) -> Result<Vec<String>> {
    let folders = fs::read_dir(&places.kept).with_context(|| places.kept.display().to_string())?;
    let mut names = Vec::new();
    for folder in folders {
        names.push(folder?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn fuzzer(places: &Places, target: &str) -> Command {
    let mut fuzzer = Command::new(&places.program);
    fuzzer.env("EGRESS_FUZZ_TARGET", target).env("RUST_BACKTRACE", "1");
    fuzzer
}

/// Runs the targets, as many at a time as there are processors. Returns how many failed.
fn side_by_side(places: &Places, targets: &[String], args: &Args) -> Result<usize> {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let waiting = Mutex::new(targets.iter().collect::<VecDeque<_>>());
    let next = || waiting.lock().ok().and_then(|mut waiting| waiting.pop_front());
    let results = std::thread::scope(|scope| {
        let work = || {
            let mut failed = 0;
            while let Some(target) = next() {
                failed += usize::from(!fuzz(places, target, args)?);
            }
            Ok(failed)
        };
        let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join()).collect::<Vec<_>>()
    });
    let mut failed = 0;
    for result in results {
        let counted: Result<usize> = result.unwrap_or_else(|_| bail!("a thread panicked"));
        failed += counted?;
    }
    Ok(failed)
}

/// Runs one target; false: there is a finding, which was told.
fn fuzz(places: &Places, target: &str, args: &Args) -> Result<bool> {
    let (found, findings) = (places.found.join(target), places.findings.join(target));
    for folder in [&found, &findings] {
        fs::create_dir_all(folder)?;
    }
    let mut command = fuzzer(places, target);
    command.arg(&found).arg(places.kept.join(target));
    command.arg(format!("-artifact_prefix={}/", findings.display()));
    command.arg(format!("-max_total_time={}", args.seconds.max(1))).arg(format!("-seed={}", args.seed));
    command.args([MEMORY, PATIENCE, "-print_final_stats=1"]);
    command.arg(format!("-max_len={}", longest(places, target)?));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut lines = VecDeque::new();
    let mut stats = Stats::default();
    if let Some(errors) = child.stderr.take() {
        for line in BufReader::new(errors).lines() {
            let line = line?;
            stats.read(&line);
            lines.push_back(line);
            if lines.len() > 60 {
                lines.pop_front();
            }
        }
    }
    let status = child.wait()?;
    if status.success() {
        println!("ok    fuzz {target:10} {stats}");
        return Ok(true);
    }
    let input = stats.artifact.as_deref().map_or_else(|| findings.display().to_string(), str::to_owned);
    println!("FAIL  fuzz {target}: {status}");
    for line in lines {
        println!("      {line}");
    }
    println!("      again: cargo xtask test fuzz {target} --input {input}");
    Ok(false)
}

/// The longest input, as the fuzzer itself says.
fn longest(places: &Places, target: &str) -> Result<u64> {
    let output = Command::new(&places.program)
        .env("EGRESS_FUZZ_TARGET", target)
        .env("EGRESS_FUZZ_LONGEST", "1")
        .stdin(Stdio::null())
        .output()?;
    String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .context("the fuzzer does not say its longest input")
}

/// Figures of a run, from what libFuzzer writes.
#[derive(Debug, Default)]
struct Stats {
    runs: u64,
    coverage: u64,
    memory: u64,
    artifact: Option<String>,
}

impl Stats {
    fn read(&mut self, line: &str) {
        let number =
            |text: &str| text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0);
        if let Some((_, after)) = line.split_once(" cov: ") {
            self.coverage = number(after);
        }
        if let Some(runs) = line.strip_prefix("stat::number_of_executed_units: ") {
            self.runs = number(runs);
        }
        if let Some(memory) = line.strip_prefix("stat::peak_rss_mb: ") {
            self.memory = number(memory);
        }
        if let Some((_, path)) = line.split_once("Test unit written to ") {
            self.artifact = Some(path.to_owned());
        }
    }
}

impl std::fmt::Display for Stats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>9} inputs, {:>5} edges, {:>4} MB", self.runs, self.coverage, self.memory)
    }
}
