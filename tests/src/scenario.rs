//! Scenarios: a topology and a sentence. Each fault has a healthy twin, the same traffic without the fault.

pub mod checks;
mod compare;
mod dns;
mod firewall;
mod hairpin;
mod identity;
mod mesh;
mod mtu;
mod nat;
mod noise;
mod policy;
mod reset;
mod resource;
mod route;
mod service;
mod several;
mod tls;
mod unknown;
mod upstream;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::agent::Agent;
use crate::api::ApiCluster;
use crate::client::Outcome;
use crate::enforce::{Backend, Match, Refusal};
use crate::expect::Expect;
use crate::lab::{Lab, Place};
use crate::plan::{Dual, Family};
use crate::topology::Topology;

/// With the fault, or its healthy twin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// The fault is there.
    Broken,
    /// The same without the fault: no verdict may be made.
    Healthy,
}

/// A scenario.
pub struct Scenario {
    /// Name, the filter's subject.
    pub name: &'static str,
    /// What happens, in a sentence.
    pub sentence: &'static str,
    /// On which node.
    pub topology: Topology,
    /// What must be there; a reason why it is not skips the scenario.
    pub needs: fn() -> Option<String>,
    /// Before the agent starts: servers, rules, policies.
    pub set_up: fn(&mut Lab, Health) -> Result<()>,
    /// The traffic, which proves by its own outcome that the fault is real.
    pub traffic: fn(&mut Run) -> Result<()>,
    /// The verdict that the fault must make; without one only the healthy run exists.
    pub expect: Option<fn() -> Expect>,
    /// Further verdicts that the same traffic must make.
    pub also: fn() -> Vec<Expect>,
    /// How long after healthy traffic a wrong verdict might still come.
    pub quiet: Duration,
    /// The agent's cluster is an API server, which may be changed meanwhile, instead of files.
    pub on_api: bool,
}

impl Scenario {
    /// A scenario that needs nothing special and prepares nothing.
    const fn new(
        name: &'static str,
        topology: Topology,
        sentence: &'static str,
        traffic: fn(&mut Run) -> Result<()>,
    ) -> Self {
        Self {
            name,
            sentence,
            topology,
            needs: || None,
            set_up: |_, _| Ok(()),
            traffic,
            expect: None,
            also: Vec::new,
            quiet: Duration::from_millis(1500),
            on_api: false,
        }
    }

    const fn set_up(mut self, set_up: fn(&mut Lab, Health) -> Result<()>) -> Self {
        self.set_up = set_up;
        self
    }

    const fn expect(mut self, expect: fn() -> Expect) -> Self {
        self.expect = Some(expect);
        self
    }

    const fn also(mut self, also: fn() -> Vec<Expect>) -> Self {
        self.also = also;
        self
    }

    const fn needs(mut self, needs: fn() -> Option<String>) -> Self {
        self.needs = needs;
        self
    }

    const fn on_api(mut self) -> Self {
        self.on_api = true;
        self
    }

    const fn quiet(mut self, quiet: Duration) -> Self {
        self.quiet = quiet;
        self
    }
}

/// Every scenario.
pub fn all() -> Vec<Scenario> {
    let groups: [fn() -> Vec<Scenario>; 18] = [
        policy::all,
        firewall::all,
        several::all,
        service::all,
        hairpin::all,
        nat::all,
        route::all,
        mtu::all,
        resource::all,
        dns::all,
        tls::all,
        reset::all,
        mesh::all,
        upstream::all,
        compare::all,
        identity::all,
        unknown::all,
        noise::all,
    ];
    groups.iter().flat_map(|group| group()).collect()
}

/// A scenario that runs.
pub struct Run {
    /// The lab.
    pub lab: Lab,
    /// With the fault or without.
    pub health: Health,
    /// The agent, unless the lab is to be proven without it.
    pub agent: Option<Agent>,
    /// The API server, where the cluster is on one.
    pub api: Option<ApiCluster>,
    /// When the traffic that fails began.
    pub began: Instant,
}

impl Run {
    /// Whether the fault is there.
    pub fn broken(&self) -> bool {
        self.health == Health::Broken
    }

    /// Installs a refusal.
    fn refuse(&self, backend: Backend, chain: &str, what: Match, how: Refusal) -> Result<()> {
        backend.refuse(&self.lab.node, chain, what, how).map(drop)
    }

    /// Waits until the agent knows this many objects of a kind.
    fn await_known(&self, kind: &str, count: u64) -> Result<()> {
        self.agent.as_ref().map_or(Ok(()), |agent| agent.await_objects(kind, count))
    }

    /// Waits until the agent has read the policy files.
    fn await_policies(&self) -> Result<()> {
        let files = std::fs::read_dir(self.lab.cluster.folder())?;
        let wanted =
            files.flatten().filter(|file| file.file_name().to_string_lossy().starts_with("policy-")).count();
        self.await_known("networkpolicy", u64::try_from(wanted)?)
    }

    /// Creates or replaces an object of the API server's.
    fn apply(&self, object: serde_json::Value) -> Result<()> {
        self.api()?.server().apply(object)?;
        Ok(())
    }

    fn api(&self) -> Result<&ApiCluster> {
        self.api.as_ref().context("the cluster of this scenario is in files")
    }

    /// The failing traffic begins now.
    fn begin(&mut self) {
        self.began = Instant::now();
    }

    /// The client dials an address; the outcome must be `broken` with the fault, `connected` without.
    fn dial(&mut self, family: Family, to: Dual, port: u16, broken: &str) -> Result<()> {
        self.dial_with(family, to, port, broken, &["--timeout", "1.4"])
    }

    /// The client dials an address, patiently enough for a third SYN.
    fn dial_long(&mut self, family: Family, to: Dual, port: u16, broken: &str) -> Result<()> {
        self.dial_with(family, to, port, broken, &["--timeout", "3.6"])
    }

    fn dial_with(&mut self, family: Family, to: Dual, port: u16, broken: &str, args: &[&str]) -> Result<()> {
        let peer = std::net::SocketAddr::new(to.of(family), port).to_string();
        self.begin();
        let mut all = vec!["connect", peer.as_str()];
        all.extend(args);
        let outcome = self.client(Place::Client, &all)?;
        self.check(&outcome, broken, "connected")
    }

    /// The client asks for a name; the outcome must be `broken` with the fault, `noerror` without.
    fn ask(&mut self, name: &str, broken: &str, args: &[&str]) -> Result<()> {
        self.begin();
        let mut all = vec!["lookup", name];
        all.extend(args);
        let outcome = self.client(Place::Client, &all)?;
        self.check(&outcome, broken, "noerror")
    }

    /// The client asks a UDP service twice, a second apart; the outcome must be `broken` with the fault.
    fn ask_udp(&mut self, to: Dual, port: u16, broken: &str) -> Result<()> {
        let peer = std::net::SocketAddr::new(to.of(Family::V4), port).to_string();
        self.begin();
        let outcome = self.client(Place::Client, &["send-udp", &peer, "--count", "2", "--answer", "1"])?;
        self.check(&outcome, broken, "answered")
    }

    /// Runs a client to its end.
    fn client(&self, at: Place, args: &[&str]) -> Result<Outcome> {
        self.lab.run(at, args)?.outcome(Duration::from_secs(60))
    }

    /// Runs a client that must have this outcome, fault or not.
    fn must(&self, at: Place, args: &[&str], word: &str) -> Result<Outcome> {
        let outcome = self.client(at, args)?;
        ensure!(outcome.outcome == word, "{} ended as {outcome:?}, not {word}", args.join(" "));
        Ok(outcome)
    }

    fn check(&self, outcome: &Outcome, broken: &str, healthy: &str) -> Result<()> {
        let word = if self.broken() { broken } else { healthy };
        if outcome.outcome != word {
            bail!("the traffic itself is wrong: {outcome:?}, not {word}");
        }
        Ok(())
    }
}

/// Waits until IPv6 works through the whole lab. The kernel joins the groups of neighbour discovery when it notices
/// the carrier, which it does once a second.
pub(crate) fn await_ipv6(lab: &Lab) -> Result<()> {
    use crate::plan;
    for pod in &lab.pods {
        let address = std::net::SocketAddr::new(plan::STRIPE.of(Family::V6), 443);
        pod.netns.enter(|| {
            let deadline = Instant::now() + Duration::from_secs(10);
            while Instant::now() < deadline {
                if std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100)).is_ok() {
                    return Ok(());
                }
            }
            bail!("{} cannot reach {address}", pod.name)
        })?;
    }
    Ok(())
}

/// Skips where a program is missing.
fn program(name: &str) -> Option<String> {
    (!crate::tools::available(name)).then(|| format!("{name} is not installed"))
}
