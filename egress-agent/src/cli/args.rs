//! Commands and their flags, as the command line takes them.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum, ValueHint};
use egress_core::history::ToFilter;
use egress_core::protocol::Protocol;
use egress_core::verdict::Cause;

use super::duration::parse_duration;
use super::size::parse_history_size;
use super::target::Target;
use crate::export::grpc::{Address, ClientTlsFiles, TlsFiles};
use crate::export::http::HttpAddress;
use crate::store;

/// Why can this pod not reach that endpoint?
///
/// The agent watches the node's kernel and keeps the answers; `query` asks for them, also after the fact.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    /// Colours: on a terminal unless NO_COLOR is set, always, or never.
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub color: Color,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The command line of a program that is called so.
#[must_use]
pub fn command(program: &'static str) -> clap::Command {
    let examples = |text: &str| text.replace("PROGRAM", program);
    Cli::command()
        .name(program)
        .bin_name(program)
        .mut_subcommand("query", |query| query.after_help(examples(QUERY_EXAMPLES)))
        .mut_subcommand("explain", |explain| explain.after_help(examples(EXPLAIN_EXAMPLES)))
}

const QUERY_EXAMPLES: &str = "\
Examples:
  PROGRAM query api-client
  PROGRAM query -n shop deploy/web --since 1h
  PROGRAM query -A --cause policy-drop
  PROGRAM query ns/shop --follow
  PROGRAM query api-client --fix | kubectl apply -f -

Exit status:
  0 answered, 1 failed, 2 usage, 3 no such pod, 4 unreachable, 5 partial";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  PROGRAM explain --from web --to 203.0.113.4 --port 443
  PROGRAM explain --from deploy/shop/web --to db.data.svc --port 5432
  PROGRAM explain --from web --to db --port 5432 --with changed.yaml
  PROGRAM explain --from web --to api.example.com --port 443 \\
      --dns api.example.com=203.0.113.4

Exit status:
  0 answered, 1 failed, 2 usage, 3 no such pod or Service, 4 unreachable";

/// When answers have colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch this node: the agent itself. Needs root or CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN and CAP_SYSLOG.
    Run(RunArgs),
    /// Why did a pod's connections fail? Asks the agent for its verdicts.
    Query(QueryArgs),
    /// What would the policies say of a connection? From the cluster as it is, also before a policy is applied.
    Explain(ExplainArgs),
    /// What the agent sees and what it does not: hooks, pods, counts, losses.
    Status(StatusArgs),
    /// Can this node run the agent? Says so hook by hook, and what is lost where one is refused.
    Doctor(DoctorArgs),
    /// Watch this node like `run`, and write everything that was seen to a file for `replay`.
    Record(RecordArgs),
    /// Make the verdicts of a capture again. Needs no root and no kernel.
    Replay(ReplayArgs),
    /// Remove what a killed agent left on kernels without TCX. Touches nothing that is not ours.
    Cleanup(CleanupArgs),
    /// Print the completion script of a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// Where the agent looks.
#[derive(Args, Clone, Debug, Default)]
pub struct Sources {
    /// Kubernetes objects from files or folders (what `kubectl get … -o yaml` prints), watched for change, in place of
    /// an API server. May be repeated: objects of later ones replace those of the same name in earlier ones [default:
    /// the API server of the cluster this runs in, then the kubeconfig's].
    #[arg(long, value_name = "FILE|DIR", value_hint = ValueHint::AnyPath)]
    pub cluster_state: Vec<PathBuf>,
    /// Name of this node in the cluster [default: the variable NODE_NAME, then the host name].
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// Network namespace to treat as the node's [default: the one of process 1].
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub netns: Option<PathBuf>,
    /// Device towards the outside [default: those of the default routes]. May be repeated.
    #[arg(long, value_name = "DEVICE")]
    pub uplink: Vec<String>,
    /// The tree of cgroups v2, whose directories name pods and containers [default: where it is mounted]. In a container
    /// this is the host's, mounted somewhere.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub cgroup_root: Option<PathBuf>,
    /// Have the kernel say which chain of nftables dropped a packet. Costs every packet that goes through a chain a
    /// little; `doctor` says whether this kernel can.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = false)]
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set, hide_default_value = true, hide_possible_values = true)]
    pub trace_netfilter: bool,
}

/// `run`
#[derive(Args, Clone, Debug, Default)]
pub struct RunArgs {
    /// Settings from a YAML file with the names of these flags as keys; flags win.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Only say whether the settings of --config can be used, and start nothing.
    #[arg(long, requires = "config")]
    pub check: bool,
    /// Where it looks.
    #[command(flatten)]
    pub sources: Sources,
    /// Keep the verdicts in this folder, so that they outlive the agent. One agent a folder [default: in memory only].
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub history: Option<PathBuf>,
    /// How large the history on disk may grow; the oldest verdicts go first [default: 256Mi].
    #[arg(long, value_name = "SIZE", value_parser = parse_history_size)]
    pub history_size: Option<u64>,
    /// How long the history on disk goes back [default: 7d].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub history_age: Option<Duration>,
    /// Where gRPC listens: unix:PATH or host:port, off the loopback with mutual TLS only. May be repeated [default:
    /// unix:/run/egress-agent/agent.sock and 127.0.0.1:50051].
    #[arg(long, value_name = "ADDRESS")]
    pub grpc_listen: Vec<Address>,
    /// Certificate for gRPC off the loopback, PEM, with those up to its authority. Read again when it changes.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath,
          requires_all = ["grpc_tls_private_key_file", "grpc_client_ca_file"])]
    pub grpc_tls_cert_file: Option<PathBuf>,
    /// Key of that certificate, PEM.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "grpc_tls_cert_file")]
    pub grpc_tls_private_key_file: Option<PathBuf>,
    /// Authorities of the clients that may ask off the loopback, PEM.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "grpc_tls_cert_file")]
    pub grpc_client_ca_file: Option<PathBuf>,
    /// A client that may ask off the loopback, by the common name or a name in its certificate. May be repeated
    /// [default: every client of the authorities].
    #[arg(long, value_name = "NAME", requires = "grpc_client_ca_file")]
    pub grpc_allow_client: Vec<String>,
    /// Where /metrics, /healthz and /readyz are served: host:port, or :port for every address [default: :9750].
    #[arg(long, value_name = "ADDRESS")]
    pub metrics_listen: Option<HttpAddress>,
    /// Whether metrics of pods carry the label `pod` [default: true].
    #[arg(long, value_name = "BOOL")]
    pub metrics_pod_label: Option<bool>,
    /// Whether failures make Kubernetes Events on their pods, where the cluster is read from an API server [default:
    /// true].
    #[arg(long, value_name = "BOOL")]
    pub events: Option<bool>,
    /// Whether the metrics port has a page for people at `/`: what fails on this node and why, for peers on the
    /// loopback only (a port-forward, ssh -L) [default: true].
    #[arg(long, value_name = "BOOL")]
    pub web: Option<bool>,
    /// Write everything that was seen to this file, as `record` does: the lab replays it beside what was answered.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, hide = true)]
    pub record: Option<PathBuf>,
}

impl RunArgs {
    /// Where gRPC listens, with the default.
    #[must_use]
    pub fn grpc_addresses(&self) -> Vec<Address> {
        match self.grpc_listen.as_slice() {
            [] => vec![Address::default_socket(), Address::default_port()],
            given => given.to_vec(),
        }
    }

    /// The files for mutual TLS, where they are given.
    #[must_use]
    pub fn grpc_tls(&self) -> Option<TlsFiles> {
        Some(TlsFiles {
            certificate: self.grpc_tls_cert_file.clone()?,
            key: self.grpc_tls_private_key_file.clone()?,
            client_ca: self.grpc_client_ca_file.clone()?,
            allowed: self.grpc_allow_client.clone(),
        })
    }

    /// How the history is kept on disk, if it is.
    #[must_use]
    pub fn history(&self) -> Option<store::Options> {
        Some(store::Options {
            dir: self.history.clone()?,
            max_bytes: self.history_size.unwrap_or(256 << 20),
            max_age: self.history_age.unwrap_or(Duration::from_secs(7 * 86_400)),
        })
    }

    /// Where HTTP listens, with the default.
    #[must_use]
    pub fn metrics_address(&self) -> HttpAddress {
        self.metrics_listen.clone().unwrap_or_default()
    }

    /// Whether there is a page for people.
    #[must_use]
    pub fn web(&self) -> bool {
        self.web.unwrap_or(true)
    }

    /// Whether failures make Kubernetes Events on their pods.
    #[must_use]
    pub fn events(&self) -> bool {
        self.events.unwrap_or(true)
    }

    /// Whether metrics of pods carry the label `pod`.
    #[must_use]
    pub fn metrics_pod_label(&self) -> bool {
        self.metrics_pod_label.unwrap_or(true)
    }
}

/// Which agent to ask.
#[derive(Args, Clone, Debug, Default)]
pub struct ServerArgs {
    /// The agent to ask: unix:PATH or host:port. Without it: the agent's socket, where there is one; else the agents of
    /// the kubeconfig's cluster, through its API server; else 127.0.0.1:50051. (`explain` reads the cluster itself,
    /// wherever one is at hand.)
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["node", "context", "kubeconfig", "agent_namespace"])]
    pub server: Option<Address>,
    /// Ask the agent of this node, through the API server.
    #[arg(long, value_name = "NODE")]
    pub node: Option<String>,
    /// The context of the kubeconfig to use [default: the current one].
    #[arg(long, value_name = "CONTEXT")]
    pub context: Option<String>,
    /// The kubeconfig to use [default: the variable KUBECONFIG, then ~/.kube/config].
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub kubeconfig: Option<PathBuf>,
    /// The namespace in which the agents run [default: wherever their label is found].
    #[arg(long, value_name = "NS")]
    pub agent_namespace: Option<String>,
    /// With --server host:port: the authority of the agent's certificate, PEM. Makes the connection TLS.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "server")]
    pub certificate_authority: Option<PathBuf>,
    /// With --server host:port: the certificate to show, PEM.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires_all = ["client_key", "certificate_authority"])]
    pub client_certificate: Option<PathBuf>,
    /// With --server host:port: the key of that certificate, PEM.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "client_certificate")]
    pub client_key: Option<PathBuf>,
    /// With --server host:port: the name in the agent's certificate [default: the host].
    #[arg(long, value_name = "NAME", requires = "certificate_authority")]
    pub tls_server_name: Option<String>,
}

impl ServerArgs {
    /// The files for TLS, where it is asked for.
    pub(super) fn tls(&self) -> Option<ClientTlsFiles> {
        Some(ClientTlsFiles {
            ca: self.certificate_authority.clone()?,
            identity: self.client_certificate.clone().zip(self.client_key.clone()),
            server_name: self.tls_server_name.clone(),
        })
    }
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// For people, with evidence and identities.
    Wide,
    /// One JSON array; with --follow one object a line.
    Json,
    /// YAML.
    Yaml,
}

/// How an answer is printed, where there is nothing to widen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PlainOutput {
    /// For people.
    #[default]
    Table,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// `query`
#[derive(Args, Clone, Debug, Default)]
pub struct QueryArgs {
    /// The pod: POD or NS/POD; or TYPE/NAME, which is pod, deploy, sts, ds, job or ns. Without it every pod of the
    /// namespace, or of the node.
    #[arg(value_name = "[NS/]POD | TYPE/NAME")]
    pub target: Option<Target>,
    /// Namespace of the pod [default: that of the kubeconfig's context, then default].
    #[arg(short, long, value_name = "NS")]
    pub namespace: Option<String>,
    /// Every pod of the cluster, on all nodes.
    #[arg(short = 'A', long, conflicts_with_all = ["target", "namespace"])]
    pub all_namespaces: bool,
    /// Only failures of the last while: 30s, 15m, 2h, 1d, 1h30m.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub since: Option<Duration>,
    /// Only this cause. May be repeated.
    #[arg(long, value_name = "CAUSE", value_parser = causes())]
    pub cause: Vec<Cause>,
    /// Only failures towards this peer: a name as the pod asked for it, or an address, with or without a port.
    #[arg(long, value_name = "HOST|IP[:PORT]")]
    pub to: Option<ToFilter>,
    /// Go on with new and revised verdicts as they are made.
    #[arg(short, long)]
    pub follow: bool,
    /// Only so many failures, the most recent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Print only the policies that would fix it, as YAML for `kubectl apply -f -`.
    #[arg(long, conflicts_with_all = ["follow", "output"])]
    pub fix: bool,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
    /// Which agent to ask.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// `explain`
#[derive(Args, Clone, Debug)]
pub struct ExplainArgs {
    /// Who connects: [NS/]POD, TYPE/[NS/]NAME (deploy, sts, ds, rs, job, cj), an address or a range of them.
    #[arg(long, value_name = "[NS/]POD|IP")]
    pub from: String,
    /// To whom: the same, or [NS/]SERVICE, a Service's DNS name, or a name given by --dns.
    #[arg(long, value_name = "[NS/]POD|IP|SERVICE")]
    pub to: String,
    /// Namespace of what is named without one [default: that of the kubeconfig's context].
    #[arg(short, long, value_name = "NS")]
    pub namespace: Option<String>,
    /// Destination port.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// Protocol.
    #[arg(long, value_name = "PROTOCOL", default_value = "TCP", value_parser = protocols())]
    pub protocol: Protocol,
    /// Read the cluster from these files or folders (what `kubectl get … -o yaml` prints) instead of its API server. May
    /// be repeated: objects of later ones replace those of the same name in earlier ones.
    #[arg(long, value_name = "FILE|DIR", value_hint = ValueHint::AnyPath,
          conflicts_with_all = ["server", "node", "context", "kubeconfig"])]
    pub cluster_state: Vec<PathBuf>,
    /// Answer as if these manifests had been applied to the cluster: their objects replace those of the same name. May be
    /// repeated. Nothing is written.
    #[arg(long, value_name = "FILE|DIR", value_hint = ValueHint::AnyPath, conflicts_with_all = ["server", "node"])]
    pub with: Vec<PathBuf>,
    /// Take a name to mean this address. May be repeated.
    #[arg(long, value_name = "NAME=IP", value_parser = parse_dns)]
    pub dns: Vec<(String, IpAddr)>,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: PlainOutput,
    /// Which agent to ask.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// `status`
#[derive(Args, Clone, Debug, Default)]
pub struct StatusArgs {
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: PlainOutput,
    /// Which agent to ask.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// `doctor`
#[derive(Args, Clone, Debug, Default)]
pub struct DoctorArgs {
    /// Network namespace to treat as the node's [default: the one of process 1].
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub netns: Option<PathBuf>,
    /// Device towards the outside [default: those of the default routes]. May be repeated.
    #[arg(long, value_name = "DEVICE")]
    pub uplink: Vec<String>,
    /// The tree of cgroups v2 [default: where it is mounted].
    #[arg(long, value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub cgroup_root: Option<PathBuf>,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: PlainOutput,
}

/// `record`
#[derive(Args, Clone, Debug)]
pub struct RecordArgs {
    /// File to write the capture to.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Stop after this time [default: when interrupted].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// Where it looks.
    #[command(flatten)]
    pub sources: Sources,
}

/// `replay`
#[derive(Args, Clone, Debug)]
pub struct ReplayArgs {
    /// The capture.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// How to print the verdicts.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// `cleanup`
#[derive(Args, Clone, Debug, Default)]
pub struct CleanupArgs {
    /// Network namespace to treat as the node's [default: the one of process 1].
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub netns: Option<PathBuf>,
}

/// The causes by their words; a wrong one is answered with all of them.
fn causes() -> impl TypedValueParser<Value = Cause> {
    PossibleValuesParser::new(Cause::ALL.iter().map(|cause| cause.as_str()))
        .try_map(|word| word.parse::<Cause>())
}

fn protocols() -> impl TypedValueParser<Value = Protocol> {
    PossibleValuesParser::new(["TCP", "UDP", "SCTP"]).try_map(|word| word.parse::<Protocol>())
}

fn parse_dns(text: &str) -> Result<(String, IpAddr), String> {
    let (name, ip) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("NAME=IP is wanted")?;
    let ip = ip.parse().map_err(|_| format!("\"{ip}\" is not an IP address"))?;
    Ok((name.to_owned(), ip))
}

#[cfg(test)]
mod tests;
