//! The image as the DaemonSet runs it: its command line, capabilities, mounts and read-only root, in a real container.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::{Check, denied_lab};
use crate::agent;
use crate::container::{Container, Mount, Runtime};
use crate::lab::{Lab, Place};
use crate::plan::NODE_NAME;
use crate::tools;

/// Folder with `base.json` and `image.tar`, which `cargo xtask` prepares.
const PREPARED: &str = "EGRESS_DEPLOY";
/// How long the agent may take to say what it must.
const SAYS_WITHIN: Duration = Duration::from_secs(60);
/// Numbers of the capabilities (`include/uapi/linux/capability.h`).
const NUMBERS: &[(&str, u32)] =
    &[("NET_ADMIN", 12), ("SYS_PTRACE", 19), ("SYS_ADMIN", 21), ("SYSLOG", 34), ("PERFMON", 38), ("BPF", 39)];

pub(super) fn check() -> Check {
    Check {
        name: "sandbox",
        sentence: "the image under containerd, with exactly the DaemonSet's rights: a policy drop becomes a verdict, and \
                   a capability less is told by name",
        needs: || {
            if std::env::var_os(PREPARED).is_none() {
                return Some(format!("{PREPARED} is not set: cargo xtask test lab sandbox prepares it"));
            }
            ["containerd", "ctr", "runc"].into_iter().find_map(super::super::program)
        },
        agent: true,
        alone: false,
        run,
    }
}

fn run() -> Result<String> {
    let prepared = PathBuf::from(std::env::var_os(PREPARED).context("nothing is prepared")?);
    let base: Vec<Value> = serde_json::from_str(&fs::read_to_string(prepared.join("base.json"))?)?;
    let (lab, _) = denied_lab()?;
    let runtime = Runtime::start(&lab.folder(), &prepared.join("image.tar"))?;
    let pod = &object(&base, "DaemonSet")?["spec"]["template"]["spec"];
    let mounts = mounts(&lab, pod, &base)?;
    let start = |name: &str, pod: &Value| runtime.run(name, pod, &mounts, (&lab.node, NODE_NAME));

    let began = Instant::now();
    let mut container = start("agent", pod)?;
    await_word(&mut container, ": ready")?;
    let ready = began.elapsed();
    let resident = confined(container.pid()?, pod)?;
    verdict(&lab)?;
    container.terminate()?;
    let (_, status) = container.process.finish(Duration::from_secs(60))?;
    ensure!(status.success(), "SIGTERM ended it with {status}: {}", container.process.errors());
    drop(container);

    let added = pod.pointer("/containers/0/securityContext/capabilities/add").and_then(Value::as_array);
    let added = added.context("no capability is added")?;
    for missing in added {
        without(missing.as_str().unwrap_or_default(), pod, &start)?;
    }
    Ok(format!("ready {:.1} s after the start, RSS {resident} KiB (not optimised)", ready.as_secs_f64()))
}

/// Says which capability is missing: instead of starting, or of a function's name.
fn without<'a>(
    missing: &str,
    pod: &Value,
    start: &dyn Fn(&str, &Value) -> Result<Container<'a>>,
) -> Result<()> {
    let mut less = pod.clone();
    let added = less.pointer_mut("/containers/0/securityContext/capabilities/add");
    if let Some(Value::Array(added)) = added {
        added.retain(|name| *name != missing);
    }
    if missing == "SYSLOG" {
        // It starts without; `doctor` says what is lost.
        less["containers"][0]["args"] = json!(["doctor"]);
    }
    let mut container = start(&format!("without-{}", missing.to_lowercase().replace('_', "-")), &less)?;
    let (lines, status) = container.process.finish(SAYS_WITHIN)?;
    let said = format!("{}\n{}", lines.join("\n"), container.process.errors());
    ensure!(said.contains(&format!("CAP_{missing}")), "without {missing}: {status}: {said}");
    ensure!(missing == "SYSLOG" || !status.success(), "without {missing} it ends well: {said}");
    Ok(())
}

/// The container's volumes: the configuration, what is the node's, and the cluster in place of an API server.
fn mounts(lab: &Lab, pod: &Value, base: &[Value]) -> Result<Vec<Mount>> {
    let folder = lab.folder().join("node");
    let cluster =
        Mount { source: lab.cluster.folder().to_owned(), target: "/cluster".into(), read_only: true };
    let mut mounts = vec![cluster];
    for mount in pod["containers"][0]["volumeMounts"].as_array().into_iter().flatten() {
        let volumes = pod["volumes"].as_array().into_iter().flatten();
        let volume =
            volumes.clone().find(|volume| volume["name"] == mount["name"]).context("no such volume")?;
        let source = if let Some(path) = volume.pointer("/hostPath/path").and_then(Value::as_str) {
            if path.starts_with("/sys/") {
                PathBuf::from(path)
            } else {
                folder.join(path.trim_start_matches('/'))
            }
        } else {
            let config = object(base, "ConfigMap")?;
            let config = config["data"]["config.yaml"].as_str().context("no config.yaml")?;
            fs::create_dir_all(folder.join("config"))?;
            fs::write(folder.join("config/config.yaml"), format!("{config}\ncluster-state: [/cluster]\n"))?;
            folder.join("config")
        };
        fs::create_dir_all(&source)?;
        let target = mount["mountPath"].as_str().context("no mountPath")?.to_owned();
        mounts.push(Mount { source, target, read_only: mount["readOnly"] == true });
    }
    Ok(mounts)
}

/// What the kernel says of the process is what the manifest says; its resident memory, KiB.
fn confined(pid: u32, pod: &Value) -> Result<u64> {
    let process = Path::new("/proc").join(pid.to_string());
    let status = fs::read_to_string(process.join("status"))?;
    let field = |key: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
            .map(str::trim)
            .unwrap_or_default()
    };
    let added = pod.pointer("/containers/0/securityContext/capabilities/add").and_then(Value::as_array);
    let mut mask = 0u64;
    for name in added.into_iter().flatten().filter_map(Value::as_str) {
        let number = NUMBERS.iter().find(|(known, _)| *known == name).context("an unknown capability")?.1;
        mask |= 1 << number;
    }
    for (key, wanted) in [
        ("CapEff", format!("{mask:016x}")),
        ("CapBnd", format!("{mask:016x}")),
        ("CapAmb", format!("{:016x}", 0)),
        ("NoNewPrivs", "1".to_owned()),
        // A filter, not the strict mode.
        ("Seccomp", "2".to_owned()),
    ] {
        ensure!(field(key) == wanted, "{key} is {}, not {wanted}", field(key));
    }
    let mounts = fs::read_to_string(process.join("mountinfo"))?;
    let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).context("no root")?;
    ensure!(
        root.split(' ').nth(5).is_some_and(|options| options.split(',').any(|o| o == "ro")),
        "root: {root}"
    );
    let resident = field("VmRSS").trim_end_matches("kB").trim().parse()?;
    Ok(resident)
}

/// The blocked pod dials, and the agent in the container says why it fails.
fn verdict(lab: &Lab) -> Result<()> {
    let dial = ["connect", "203.0.113.4:443", "--timeout", "0.5"];
    let outcome = lab.run(Place::Client, &dial)?.outcome(Duration::from_secs(30))?;
    ensure!(outcome.outcome == "timeout", "the blocked pod's traffic: {outcome:?}");
    let server = format!("unix:{}", lab.folder().join("node/run/egress-agent/agent.sock").display());
    let deadline = Instant::now() + SAYS_WITHIN;
    loop {
        let args = ["query", "--server", &server, "-o", "json", "default/api-client"];
        let text = tools::output(&mut agent::command()?, &args)?;
        let verdicts: Vec<Value> = serde_json::from_str(&text)?;
        match verdicts.first() {
            Some(verdict) => {
                let named = verdict["policies"][0]["name"] == "deny-all-egress";
                ensure!(verdict["cause"] == "policy-drop" && named, "the verdict: {verdict}");
                // Function names need CAP_SYSLOG.
                ensure!(text.contains("nft_do_chain"), "no function is named: {verdict}");
                return Ok(());
            }
            None if Instant::now() > deadline => bail!("no verdict within {SAYS_WITHIN:?}"),
            None => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn await_word(container: &mut Container<'_>, word: &str) -> Result<()> {
    let deadline = Instant::now() + SAYS_WITHIN;
    while !container.process.errors().contains(word) {
        ensure!(container.process.running(), "it ended: {}", container.process.errors());
        ensure!(Instant::now() < deadline, "it does not say {word:?}: {}", container.process.errors());
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn object<'a>(objects: &'a [Value], kind: &str) -> Result<&'a Value> {
    objects.iter().find(|object| object["kind"] == kind).with_context(|| format!("no {kind}"))
}
