//! The agent as it runs: its start, its memory, its CPU, and how soon it says what happened.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use egress_lab::process::Process;
use egress_lab::tools;

use crate::SENDER;
use crate::figures::{Table, percentile};
use crate::send::{Train, settle, tcp, udp};
use crate::site::{DROPPED, Site, pod_ip};
use crate::state::{NODE, POLICIES, State};

/// How long a start may take before it is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running agent; killed when dropped.
struct Agent {
    process: Process,
    server: String,
    /// From its start.
    ready: Duration,
}

impl Agent {
    fn start(site: &Site, state: &Path, folder: &Path) -> Result<Self> {
        let server = format!("unix:{}", folder.join("agent.sock").display());
        let [.., high, low] = std::process::id().to_be_bytes();
        let metrics = SocketAddr::from((Ipv4Addr::new(127, high | 0x80, low, 1), 9750));
        let mut command = Command::new(env!("CARGO_BIN_EXE_egress-agent"));
        command.arg("run").arg("--cluster-state").arg(state).arg("--netns").arg(site.node.path());
        command.args(["--node-name", NODE, "--uplink", "up0", "--grpc-listen", &server]);
        command.args(["--metrics-listen", &metrics.to_string()]);
        let start = Instant::now();
        let mut process = Process::start(command, "egress-agent run")?;
        while !is_ready(metrics) {
            ensure!(process.running(), "the agent ended: {}", process.errors());
            ensure!(start.elapsed() < PATIENCE, "the agent is not ready: {}", process.errors());
            thread::sleep(Duration::from_millis(5));
        }
        Ok(Self { process, server, ready: start.elapsed() })
    }

    /// CPU time of all its threads, ever.
    fn cpu(&self) -> Result<Duration> {
        let mut clock = 0;
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: both are ours.
        let failed = unsafe {
            libc::clock_getcpuclockid(libc::pid_t::try_from(self.process.id())?, &raw mut clock) != 0
                || libc::clock_gettime(clock, &raw mut time) != 0
        };
        ensure!(!failed, "the agent's CPU clock");
        Ok(Duration::new(u64::try_from(time.tv_sec)?, u32::try_from(time.tv_nsec)?))
    }

    /// Resident memory, MiB: now and at its highest.
    fn memory(&self) -> Result<(f64, f64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let of = |key: &str| -> Result<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).context("no such line")?;
            Ok(line.trim().trim_end_matches("kB").trim().parse::<f64>()? / 1024.0)
        };
        Ok((of("VmRSS:")?, of("VmHWM:")?))
    }

    /// Drops so far: delivered, aggregated, lost.
    fn drops(&self) -> Result<[u64; 3]> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_egress-agent"));
        let text = tools::output(&mut command, &["status", "--server", &self.server, "-o", "json"])?;
        let status: serde_json::Value = serde_json::from_str(&text)?;
        let drops = status["events"].as_array().into_iter().flatten().find(|event| event["kind"] == "drop");
        let drops = drops.context("status without drops")?;
        let lost = drops["lost"].as_array().into_iter().flatten().filter_map(|stage| stage[1].as_u64()).sum();
        let number = |key: &str| drops[key].as_u64().context("status: drops");
        Ok([number("delivered")?, number("aggregated")?, lost])
    }
}

fn is_ready(at: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(at)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        write!(stream, "GET /readyz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}

/// Measures.
pub(crate) fn measure(table: &mut Table, state: &State, site: &Site, quick: bool) -> Result<()> {
    let small = state.write(250, 100)?;
    let agent = Agent::start(site, &small, state.folder())?;
    let ready = agent.ready.as_secs_f64();
    table.limit("start to ready, 250 pods, 100 policies", format!("{ready:.2} s"), ready, 2.0, " s");
    thread::sleep(Duration::from_secs(1));
    let (now, most) = agent.memory()?;
    table.note("RSS, 250 pods, 100 policies", format!("{now:.1} MiB (at most {most:.1})"));
    drop(agent);
    for (pods, limit) in [(110, 30.0), (250, 40.0), (1000, 64.0)] {
        let folder = state.write(pods, POLICIES)?;
        let agent = Agent::start(site, &folder, state.folder())?;
        let ready = agent.ready.as_secs_f64();
        let what = format!("start to ready, {pods} pods, 10,000 policies");
        table.limit(&what, format!("{ready:.2} s"), ready, 2.0, " s");
        thread::sleep(Duration::from_secs(1));
        let (now, most) = agent.memory()?;
        let what = format!("RSS, {pods} pods, 10,000 policies");
        table.limit(&what, format!("{now:.1} MiB (at most {most:.1})"), now, limit, " MiB");
        if pods == 250 {
            let seconds = if quick { 2 } else { 5 };
            idle(table, &agent, seconds)?;
            latency(table, &agent, site, "idle", if quick { 20 } else { 60 }, false, 50.0)?;
            latency(table, &agent, site, "flooded", if quick { 20 } else { 60 }, true, 250.0)?;
            busy(table, &agent, site, seconds)?;
        }
        if pods == 1000 {
            events(table, &agent, site, if quick { 2 } else { 4 })?;
            let (now, most) = agent.memory()?;
            let what = format!("RSS afterwards, {pods} pods, 10,000 policies");
            table.limit(&what, format!("{now:.1} MiB (at most {most:.1})"), now, limit, " MiB");
        }
    }
    Ok(())
}

fn idle(table: &mut Table, agent: &Agent, seconds: u64) -> Result<()> {
    let (cpu, start) = (agent.cpu()?, Instant::now());
    thread::sleep(Duration::from_secs(seconds));
    let share = (agent.cpu()? - cpu).as_secs_f64() / start.elapsed().as_secs_f64() * 100.0;
    table.limit("idle agent, 250 pods", format!("{share:.2} % of a core"), share, 0.3, " %");
    Ok(())
}

/// Sends a train at a pace until told to stop, on its own core; how many.
fn pace(train: &mut Train<'_>, a_second: u32, until: impl Fn() -> bool) -> Result<u64> {
    let step = usize::try_from(a_second / 1000)?;
    let start = Instant::now();
    let mut sent = 0;
    while !until() {
        train.send(step)?;
        sent += step as u64;
        let due = Duration::from_secs_f64(sent as f64 / f64::from(a_second));
        thread::sleep(due.saturating_sub(start.elapsed()));
    }
    Ok(sent)
}

fn busy(table: &mut Table, agent: &Agent, site: &Site, seconds: u64) -> Result<()> {
    let socket = site.raw_socket()?;
    // 10 flows of 10 pods, from random ports.
    let packets =
        (0..4000_u16).map(|n| udp(pod_ip(u32::from(n) % 10), 1024 + n, DROPPED, 5000 + n % 100, 32));
    let mut train = Train::new(&socket, packets.collect())?;
    pace(&mut train, 100_000, {
        let start = Instant::now();
        move || start.elapsed().as_millis() > 300
    })?;
    let (cpu, before, start) = (agent.cpu()?, agent.drops()?, Instant::now());
    let sent = pace(&mut train, 100_000, || start.elapsed().as_secs() >= seconds)?;
    let elapsed = start.elapsed().as_secs_f64();
    let share = (agent.cpu()? - cpu).as_secs_f64() / elapsed * 100.0;
    let after = agent.drops()?;
    let text = format!(
        "{share:.2} % of a core ({:.0} drops/s, {:.0} of them events)",
        sent as f64 / elapsed,
        (after[0] - before[0]) as f64 / elapsed
    );
    table.limit("agent at 100,000 drops a second", text, share, 3.0, " %");
    Ok(())
}

fn events(table: &mut Table, agent: &Agent, site: &Site, seconds: u64) -> Result<()> {
    let socket = site.raw_socket()?;
    // 1000 pods with 5 flows each, every one told four times a second.
    let packets = (0..5000_u16).map(|n| udp(pod_ip(u32::from(n) % 1000), 4000, DROPPED, 5000 + n / 1000, 32));
    let mut train = Train::new(&socket, packets.collect())?;
    train.send(train.len())?;
    let (before, cpu, start) = (agent.drops()?, agent.cpu()?, Instant::now());
    pace(&mut train, 20_000, || start.elapsed().as_secs() >= seconds)?;
    let elapsed = start.elapsed().as_secs_f64();
    let cpu = (agent.cpu()? - cpu).as_nanos() as f64;
    let after = agent.drops()?;
    let delivered = (after[0] - before[0]) as f64;
    let each = cpu / delivered;
    let text = format!(
        "{each:.0} ns ({:.0} events/s, {:.1} % of a core, {} lost)",
        delivered / elapsed,
        cpu / elapsed / 1e7,
        after[2] - before[2]
    );
    table.limit("CPU an event, the whole agent, drops of 5000 flows", text, each, 200.0, " ns");
    Ok(())
}

/// From a SYN that the node drops to the line that a following client prints.
fn latency(
    table: &mut Table,
    agent: &Agent,
    site: &Site,
    state: &str,
    trials: u16,
    flooded: bool,
    limit: f64,
) -> Result<()> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_egress-agent"));
    command.args(["query", "--server", &agent.server, "-o", "json", "--follow", "ns-0/pod-0"]);
    let client = Process::start(command, "egress-agent query --follow")?;
    let socket = site.raw_socket()?;
    let port = |trial: u16| if flooded { 30_000 + trial } else { 20_000 + trial };
    let stop = std::sync::atomic::AtomicBool::new(false);
    let done = || stop.load(std::sync::atomic::Ordering::Relaxed);
    thread::scope(|scope| -> Result<()> {
        if flooded {
            // Another pod, with all that one core has.
            scope.spawn(|| -> Result<()> {
                settle(SENDER, false)?;
                let packets = (0..4000_u16).map(|n| tcp(pod_ip(1), 1024 + n, DROPPED, 443, 2, 0)).collect();
                let mut train = Train::new(&socket, packets)?;
                while !done() {
                    train.send(640)?;
                }
                Ok(())
            });
        }
        let measured = (|| -> Result<Vec<f64>> {
            let mut sent = HashMap::new();
            let mut found: HashMap<u64, f64> = HashMap::new();
            // The client listens once it answers to the first.
            let mut first = 0;
            let start = Instant::now();
            for trial in 0..trials {
                let mut syn =
                    Train::new(&socket, vec![tcp(pod_ip(0), 4000 + trial, DROPPED, port(trial), 2, 0)])?;
                sent.insert(u64::from(port(trial)), Instant::now());
                syn.send(1)?;
                // The first may come before the client does: it is heard nevertheless, and not counted.
                let patience = Duration::from_millis(if trial == 0 { 3000 } else { 1000 });
                let deadline = Instant::now() + patience;
                while !found.contains_key(&u64::from(port(trial))) {
                    let Some(line) = client.line(deadline) else { break };
                    let verdict: serde_json::Value = serde_json::from_str(&line.text)?;
                    let Some(port) = verdict["peer"]["port"].as_u64() else { continue };
                    if let Some(sent) = sent.get(&port) {
                        found.entry(port).or_insert_with(|| (line.at - *sent).as_secs_f64() * 1e3);
                    }
                }
                if trial == 0 {
                    first = u64::from(port(trial));
                }
                // Not in step with the engine's own pace.
                thread::sleep(Duration::from_millis(u64::from(trial * 7 % 23) + 10));
            }
            found.remove(&first);
            if found.len() + 1 < usize::from(trials) {
                bail!(
                    "{} of {trials} verdicts came within {:.1} s: {}",
                    found.len(),
                    start.elapsed().as_secs_f64(),
                    client.errors()
                );
            }
            Ok(found.into_values().collect())
        })();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let mut found = measured?;
        let (half, most) = (percentile(&mut found, 0.5), percentile(&mut found, 0.99));
        let text = format!("p50 {half:.1} ms, p99 {most:.1} ms, of {}", found.len());
        table.limit(&format!("drop to a following client, p99, {state}"), text, most, limit, " ms");
        Ok(())
    })
}
