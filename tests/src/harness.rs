//! Runs the scenarios, some at a time, and says what came out.

mod recording;
mod report;
mod trial;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;

use anyhow::{Result, bail};

use crate::scenario::checks::{self, Check};
use crate::scenario::{self, Health, Scenario};
use crate::{agent, cleanup};
use report::Report;
use trial::Trial;

/// Trials side by side, for each processor. More of them make verdicts late on a machine of two.
const JOBS: usize = 3;

/// Which scenarios, and how.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only scenarios whose name contains one of these.
    pub filter: Vec<String>,
    /// Prove the lab alone: real traffic and real faults, no agent.
    #[arg(long)]
    pub no_agent: bool,
    /// Print names and sentences.
    #[arg(long)]
    pub list: bool,
    /// Record each fault and each noise into this folder (`NAME.capture`), for the replay test.
    #[arg(long, value_name = "FOLDER")]
    pub record: Option<PathBuf>,
    /// How many run side by side; each mostly waits [default: three for each processor].
    #[arg(long)]
    pub jobs: Option<usize>,
}

/// Failures that may be accidents of a busy machine and are run again; more of them are none.
const ACCIDENTS: usize = 6;

/// One thing to run.
#[derive(Clone, Copy)]
enum Job<'a> {
    Trial(&'a Scenario, Health),
    Check(&'a Check),
}

/// How a job ended.
enum Ending {
    /// As expected.
    Passed(Trial),
    /// Not as expected; says how.
    Failed(Trial, String),
    /// Could not be run here; says why.
    Skipped(String),
}

/// Runs what the arguments say. Needs root.
pub fn run(args: &Args) -> Result<ExitCode> {
    let (scenarios, checks) = (scenario::all(), checks::all());
    let wanted = |name: &str| args.filter.is_empty() || args.filter.iter().any(|f| name.contains(f.as_str()));
    let scenarios: Vec<_> = scenarios.iter().filter(|s| wanted(s.name)).collect();
    let checks: Vec<_> = checks.iter().filter(|c| wanted(c.name) && !(args.no_agent && c.agent)).collect();
    if scenarios.is_empty() && checks.is_empty() {
        bail!("no scenario matches {}", args.filter.join(", "));
    }
    if args.list {
        for scenario in scenarios {
            println!("{:28} {:7} {}", scenario.name, scenario.topology.to_string(), scenario.sentence);
        }
        for check in checks {
            println!("{:28} {:7} {}", check.name, "", check.sentence);
        }
        return Ok(ExitCode::SUCCESS);
    }
    // SAFETY: a plain system call.
    if unsafe { libc::geteuid() } != 0 {
        bail!("network namespaces need root");
    }
    if !args.no_agent {
        let binary = agent::binary()?;
        if !binary.exists() {
            bail!("{} is not there: build egress-agent, or pass --no-agent", binary.display());
        }
    }
    for tag in cleanup::sweep() {
        println!("removed what {tag} left");
    }

    let mut jobs = VecDeque::new();
    for &scenario in &scenarios {
        if scenario.expect.is_some() {
            jobs.push_back(Job::Trial(scenario, Health::Broken));
        }
        jobs.push_back(Job::Trial(scenario, Health::Healthy));
    }
    jobs.extend(checks.iter().filter(|c| !c.alone).map(|&c| Job::Check(c)));
    let report = Mutex::new(Report::new(!args.no_agent));
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    let failed = Mutex::new(Vec::new());
    work(&Mutex::new(jobs), &report, args, args.jobs.unwrap_or(JOBS * processors), &failed);
    // These measure memory or use the whole machine: one after the other, beside nothing else.
    let alone = checks.iter().filter(|c| c.alone).map(|&c| Job::Check(c)).collect();
    work(&Mutex::new(alone), &report, args, 1, &failed);
    let failed = failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    run_again(failed, &report, args);

    let report = report.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    report.print();
    Ok(if report.good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What failed and how; it is reported once it has run again, alone.
type Failed<'a> = Mutex<Vec<(Job<'a>, Ending)>>;

fn work<'a>(
    jobs: &Mutex<VecDeque<Job<'a>>>,
    report: &Mutex<Report>,
    args: &Args,
    workers: usize,
    failed: &Failed<'a>,
) {
    std::thread::scope(|scope| {
        for _ in 0..workers.max(1) {
            scope.spawn(|| {
                while let Some(job) = jobs.lock().ok().and_then(|mut jobs| jobs.pop_front()) {
                    let (name, ending) = perform(&job, args);
                    match (&ending, failed.lock()) {
                        (Ending::Failed(_, why), Ok(mut failed)) => {
                            println!("again {name:31} {}", why.lines().next().unwrap_or_default());
                            failed.push((job, ending));
                        }
                        _ => {
                            if let Ok(mut report) = report.lock() {
                                report.add(name, ending);
                            }
                        }
                    }
                }
            });
        }
    });
}

/// What failed, once more and alone. That it failed at first is told with its success.
fn run_again(failed: Vec<(Job<'_>, Ending)>, report: &Mutex<Report>, args: &Args) {
    let accidents = failed.len() <= ACCIDENTS;
    for (job, first) in failed {
        let (name, mut ending) =
            if accidents { perform(&job, args) } else { (name_of(&job), Ending::Skipped(String::new())) };
        ending = match (ending, first) {
            (Ending::Passed(mut trial), Ending::Failed(_, why)) => {
                let why = why.lines().next().unwrap_or_default();
                trial.note = format!("{}, at the second run; the first: {why}", trial.note);
                Ending::Passed(trial)
            }
            (Ending::Skipped(_), first) => first,
            (ending, _) => ending,
        };
        if let Ok(mut report) = report.lock() {
            report.add(name, ending);
        }
    }
}

fn name_of(job: &Job<'_>) -> String {
    match job {
        Job::Trial(scenario, health) => {
            let word = if *health == Health::Broken { "broken" } else { "healthy" };
            format!("{} {word}", scenario.name)
        }
        Job::Check(check) => check.name.to_owned(),
    }
}

fn perform(job: &Job<'_>, args: &Args) -> (String, Ending) {
    let name = name_of(job);
    match job {
        Job::Trial(scenario, health) => {
            if let Some(reason) = (scenario.needs)() {
                return (name, Ending::Skipped(reason));
            }
            (name, guard(|trial| trial.perform(scenario, *health, args)))
        }
        Job::Check(check) => (name, {
            match (check.needs)() {
                Some(reason) => Ending::Skipped(reason),
                None => guard(|trial| {
                    trial.note = (check.run)()?;
                    Ok(())
                }),
            }
        }),
    }
}

/// Runs one job; a panic is a failure of that job alone.
fn guard(body: impl FnOnce(&mut Trial) -> Result<()>) -> Ending {
    let mut trial = Trial::default();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(&mut trial)));
    match result {
        Ok(Ok(())) => Ending::Passed(trial),
        Ok(Err(error)) => Ending::Failed(trial, format!("{error:#}")),
        Err(_) => Ending::Failed(trial, "it panicked".to_owned()),
    }
}
