//! A small cluster on this machine: pods, their node, and the internet, each a network namespace.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::bpf::Shot;
use crate::cgroup::PodCgroup;
use crate::cleanup;
use crate::client::Client;
use crate::cluster::ClusterState;
use crate::netns::Netns;
use crate::plan::{self, Dual};
use crate::process::Process;
use crate::topology::{self, PodNetns, Topology};

/// How long a helper may take to say that it is ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long a program of the system may run.
const PROGRAM_ENDS_WITHIN: Duration = Duration::from_secs(60);

/// A lab, taken down when dropped. Field order is the order of taking down: processes first.
#[derive(Debug)]
pub struct Lab {
    servers: Vec<Process>,
    programs: Vec<Shot>,
    cgroups: Vec<PodCgroup>,
    /// The pods: client, server, coredns.
    pub pods: Vec<PodNetns>,
    /// The node's namespace.
    pub node: Netns,
    /// The internet's namespace.
    pub internet: Netns,
    /// A namespace beyond the internet's, where a scenario added one.
    far: Option<Netns>,
    /// The objects of the cluster, as files.
    pub cluster: ClusterState,
    tag: String,
}

impl Lab {
    /// Builds it: namespaces, links, routes, translation, the DNS servers, and a web server for each of the two
    /// hosts outside. Traffic flows when this returns.
    pub fn new(topology: Topology) -> Result<Self> {
        let mut lab = Self::bare(topology)?;
        let stripe = [(plan::STRIPE, 443), (plan::GITHUB, 443)];
        lab.serve_tcp(Place::Internet, &stripe, TcpBehaviour::Echo)?;
        lab.serve_dns_pair()?;
        Ok(lab)
    }

    /// Builds it without any server.
    pub fn bare(topology: Topology) -> Result<Self> {
        let tag = cleanup::next_tag();
        let result = Self::build(topology, &tag);
        if result.is_err() {
            cleanup::forget(&tag);
            // What was built is gone with its handles; only the folder may be left.
            let _ = fs::remove_dir_all(cleanup::folder(&tag));
        }
        result.with_context(|| format!("building the {topology} lab {tag}"))
    }

    fn build(topology: Topology, tag: &str) -> Result<Self> {
        let folder = cleanup::folder(tag);
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let node = Netns::create(&format!("{tag}-node"))?;
        let internet = Netns::create(&format!("{tag}-inet"))?;
        let mut pods = Vec::new();
        for (n, (namespace, name, ips)) in [
            (plan::NAMESPACE, "api-client", plan::CLIENT),
            (plan::NAMESPACE, "api-server", plan::SERVER),
            ("kube-system", "coredns", plan::COREDNS),
        ]
        .into_iter()
        .enumerate()
        {
            let netns = Netns::create(&format!("{tag}-{name}"))?;
            pods.push(PodNetns { name, namespace, ips, netns, device: topology.device(n) });
        }
        topology::join_internet(&node, &internet)?;
        topology.build(&node, &pods)?;
        let cluster = ClusterState::create(folder.join("cluster"), &pods)?;
        Ok(Self {
            servers: Vec::new(),
            programs: Vec::new(),
            cgroups: Vec::new(),
            pods,
            node,
            internet,
            far: None,
            cluster,
            tag: tag.to_owned(),
        })
    }

    /// `eg-<pid>-<n>`: what all names of this lab begin with.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// A folder for files of this lab, removed with it.
    pub fn folder(&self) -> PathBuf {
        cleanup::folder(&self.tag)
    }

    /// The pod whose traffic fails.
    pub fn client(&self) -> &PodNetns {
        &self.pods[0]
    }

    /// The pod beside it.
    pub fn server(&self) -> &PodNetns {
        &self.pods[1]
    }

    /// The pod that answers DNS.
    pub fn coredns(&self) -> &PodNetns {
        &self.pods[2]
    }

    /// The namespace of a place.
    pub fn netns(&self, place: Place) -> &Netns {
        match place {
            Place::Client => &self.client().netns,
            Place::Server => &self.server().netns,
            Place::CoreDns => &self.coredns().netns,
            Place::Node => &self.node,
            Place::Internet => &self.internet,
            Place::Far => self.far.as_ref().unwrap_or(&self.internet),
        }
    }

    /// Gives a pod a UID that no other lab's has and a container of this id, and changes its object further.
    pub fn change_identity(
        &self,
        pod: &str,
        container_id: &str,
        change: impl FnOnce(&mut Value),
    ) -> Result<()> {
        let uid = self.pod_uid(pod);
        self.cluster.change_pod(pod, |object| {
            object["metadata"]["uid"] = json!(uid);
            let id = format!("containerd://{container_id}");
            object["status"]["containerStatuses"] =
                json!([{"name": pod, "containerID": id, "ready": true, "image": "", "imageID": "", "restartCount": 0}]);
            change(object);
        })
    }

    /// The cgroup of such a pod's container, made if it is not there: what a process moves to.
    pub fn cgroup_of(&mut self, pod: &str, container_id: &str) -> Result<String> {
        let cgroup = PodCgroup::create(&self.tag, &self.pod_uid(pod), container_id)?;
        let folder = cgroup.folder().display().to_string();
        self.cgroups.push(cgroup);
        Ok(folder)
    }

    /// A UID of this lab alone: other labs' agents see the same cgroup tree.
    fn pod_uid(&self, pod: &str) -> String {
        let mut numbers = self.tag.split('-').filter_map(|part| part.parse::<u32>().ok());
        let (process, lab) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        format!("{process:08x}-{:04x}-4000-8000-{:012x}", lab & 0xffff, pod.len())
    }

    /// Keeps a program attached as long as the lab stands.
    pub fn keep(&mut self, program: Shot) {
        self.programs.push(program);
    }

    /// Starts SCTP servers on both families of an address that accept, or abort.
    pub fn serve_sctp(&mut self, at: Place, listen: (Dual, u16), abort: bool) -> Result<()> {
        let mut args = vec!["serve-sctp".to_owned()];
        args.extend(listen_both(listen.0, listen.1));
        if abort {
            args.push("--abort".to_owned());
        }
        self.start(at, &args)
    }

    /// Adds a namespace beyond the internet's, joined to nothing yet; returns its path.
    pub fn add_far(&mut self) -> Result<String> {
        let netns = Netns::create(&format!("{}-far", self.tag))?;
        let path = netns.path().display().to_string();
        self.far = Some(netns);
        Ok(path)
    }

    /// Adds a host beyond the internet, behind a line that takes `mtu` bytes, which serves transfers on a port.
    pub fn add_narrow(&mut self, host: Dual, port: u16, mtu: u32) -> Result<()> {
        self.add_far()?;
        topology::join_narrow(&self.internet, self.netns(Place::Far), host, mtu)?;
        self.serve_transfer(Place::Far, host, port)
    }

    /// Starts a server that takes and gives bytes, on both families of an address.
    pub fn serve_transfer(&mut self, at: Place, host: Dual, port: u16) -> Result<()> {
        let mut args = vec!["serve-transfer".to_owned()];
        args.extend(listen_both(host, port));
        self.start(at, &args)
    }

    /// Starts a TCP server on both families of each address; returns when it listens.
    pub fn serve_tcp(&mut self, at: Place, listen: &[(Dual, u16)], how: TcpBehaviour) -> Result<()> {
        let mut args = vec!["serve-tcp".to_owned(), "--behaviour".to_owned(), how.as_str().to_owned()];
        for (ips, port) in listen {
            args.push(format!("{}:{port}", ips.v4));
            args.push(format!("[{}]:{port}", ips.v6));
        }
        self.start(at, &args)
    }

    /// Starts a UDP server on both families of an address that echoes, or swallows what it gets.
    pub fn serve_udp(&mut self, at: Place, listen: (Dual, u16), echo: bool) -> Result<()> {
        let (ips, port) = listen;
        let mut args =
            vec!["serve-udp".to_owned(), format!("{}:{port}", ips.v4), format!("[{}]:{port}", ips.v6)];
        if !echo {
            args.push("--silent".to_owned());
        }
        self.start(at, &args)
    }

    /// Starts the resolver of the internet and the cluster's DNS server, which asks it.
    pub fn serve_dns_pair(&mut self) -> Result<()> {
        let mut args = vec!["serve-dns".to_owned()];
        args.extend(listen_both(plan::RESOLVER, 53));
        for (name, ips) in [("api.stripe.com", plan::STRIPE), ("api.github.com", plan::GITHUB)] {
            args.push(format!("--zone={name}={}", ips.v4));
            args.push(format!("--zone={name}={}", ips.v6));
        }
        self.start(Place::Internet, &args)?;

        let mut args = vec!["serve-dns".to_owned()];
        args.extend(listen_both(plan::COREDNS, 53));
        args.push("--own=cluster.local".to_owned());
        args.push(format!("--zone=kube-dns.kube-system.svc.cluster.local={}", plan::DNS_SERVICE.v4));
        args.push(format!("--forward={}:53", plan::RESOLVER.v4));
        self.start(Place::CoreDns, &args)
    }

    /// Starts a helper that runs until the lab is taken down; returns when it says that it is ready.
    pub fn start(&mut self, at: Place, args: &[String]) -> Result<()> {
        let mut process = self.spawn(at, args)?;
        process.await_line("ready", READY_WITHIN)?;
        self.servers.push(process);
        Ok(())
    }

    /// Starts a program of the system that runs until the lab is taken down; returns when it prints this word.
    pub fn start_program(&mut self, at: Place, program: &str, args: &[&str], ready: &str) -> Result<()> {
        let mut command = self.netns(at).command(program);
        command.args(args);
        let mut process = Process::start(command, &format!("{program} {} in {at:?}", args.join(" ")))?;
        process.await_line(ready, READY_WITHIN)?;
        self.servers.push(process);
        Ok(())
    }

    /// Runs a program of the system to its end; whether it succeeded, and what it wrote.
    pub fn run_program(&self, at: Place, program: &str, args: &[&str]) -> Result<(bool, String)> {
        let mut command = self.netns(at).command(program);
        command.args(args);
        let mut process = Process::start(command, &format!("{program} {} in {at:?}", args.join(" ")))?;
        let (lines, status) = process.finish(PROGRAM_ENDS_WITHIN)?;
        Ok((status.success(), format!("{}\n{}", lines.join("\n"), process.errors())))
    }

    /// Starts a client that prints one result.
    pub fn run(&self, at: Place, args: &[&str]) -> Result<Client> {
        let args: Vec<String> = args.iter().map(|&a| a.to_owned()).collect();
        Ok(Client::new(self.spawn(at, &args)?))
    }

    fn spawn(&self, at: Place, args: &[String]) -> Result<Process> {
        let mut command = self.netns(at).command(helper()?);
        command.args(args);
        Process::start(command, &format!("{} in {at:?}", args.join(" ")))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.servers.clear();
        // A folder that cannot be removed is found by the next sweep.
        let _ = fs::remove_dir_all(self.folder());
        cleanup::forget(&self.tag);
    }
}

/// Where something runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The pod whose traffic fails.
    Client,
    /// The pod beside it.
    Server,
    /// The pod that answers DNS.
    CoreDns,
    /// The node.
    Node,
    /// Outside.
    Internet,
    /// Beyond the internet, after [`Lab::add_far`].
    Far,
}

/// What a TCP server does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpBehaviour {
    /// Sends back what it gets until the client closes.
    Echo,
    /// Closes it at once.
    Close,
    /// Reads a little, then resets it.
    Reset,
    /// Sends back some of what it gets, then resets it with the rest unread.
    ResetLater,
    /// Sends back one piece, pauses, then closes with a reset.
    ResetAtEnd,
    /// Sends back one piece, then forgets the connection without a word.
    Forget,
}

impl TcpBehaviour {
    /// The word of the helper's command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Close => "close",
            Self::Reset => "reset",
            Self::ResetLater => "reset-later",
            Self::ResetAtEnd => "reset-at-end",
            Self::Forget => "forget",
        }
    }
}

fn listen_both(ips: Dual, port: u16) -> [String; 2] {
    [format!("{}:{port}", ips.v4), format!("[{}]:{port}", ips.v6)]
}

/// The helper binary: this program, unless `EGRESS_LAB` names another.
fn helper() -> Result<PathBuf> {
    match std::env::var_os("EGRESS_LAB") {
        Some(path) => Ok(path.into()),
        None => std::env::current_exe().context("finding this program's own file"),
    }
}
