//! The conntrack table at its maximum. `nf_conntrack_max` is global, so this needs a machine of its own.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use egress_agent::answers::Journal;
use egress_agent::engine::{Engine, Message, Options, Outbox, Shared};
use egress_agent::export::metrics::Metrics;
use egress_agent::k8s::SourceEvent;
use egress_agent::netlink::conntrack::Conntrack;
use egress_agent::netlink::netns::Netns;
use egress_agent::netlink::{filters, network};
use egress_core::cluster::{ClusterChange, Pod};
use egress_core::history::Filter;
use egress_core::node::NodeChange;
use egress_core::time::Timestamp;
use egress_core::verdict::{Cause, Confidence, Verdict};

use super::site::{POD_IPV4, Site};

/// Most entries of the table.
const LIMIT: u32 = 64;
/// How long something may take that happens at once.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_full_conntrack_table_is_told_with_who_fills_it() {
    if std::env::var_os("EGRESS_OWN_MACHINE").is_none() {
        eprintln!("skipped: nf_conntrack_max is global, this runs in `cargo xtask test vm` only");
        return;
    }
    let Some(site) = Site::build("full") else { return };
    // A rule that asks makes the node track.
    site.nft("add rule inet t forward ct state invalid counter");
    std::fs::write("/proc/sys/net/netfilter/nf_conntrack_max", LIMIT.to_string()).expect("sets the limit");
    let names = site.names();
    let (pod, node) = names.split_once(' ').expect("two names");
    let netns = Netns::open(format!("/run/netns/{node}")).expect("the node");
    let journal = Arc::new(Journal::new(None, 100));
    let shared =
        Shared { journal: Arc::clone(&journal), metrics: Arc::new(Metrics::new(true)), events: None };
    let options = Options {
        node_name: "n1".to_owned(),
        netns: Netns::open(format!("/run/netns/{node}")).expect("the node"),
        record: None,
        force_clsact: false,
        cgroups: egress_agent::cgroups::Roots::default(),
        trace_netfilter: false,
    };
    let engine = Engine::start(options, shared).expect("starts");
    let outbox = &engine.outbox;
    let uplinks = vec![super::site::UPLINK.to_owned()];
    let _network = network::watch(&netns, uplinks, to(outbox)).expect("devices");
    let _filters = filters::watch(&netns, to(outbox)).expect("filters");
    let conntrack = Conntrack::start(&netns, to(outbox)).expect("conntrack");
    outbox.deliver(Message::Conntrack(conntrack));
    outbox.deliver(Message::Source(SourceEvent::Changes(vec![
        ClusterChange::Apply { object: client(pod).into() },
        ClusterChange::Synced { at: Timestamp(1) },
    ])));
    await_ready(outbox);

    // Entries that are in use are not thrown out to make room: connections, answered, and kept.
    let listener = netns.run(|| TcpListener::bind("10.99.0.1:8080").expect("listens")).expect("the node");
    let pod_netns = Netns::open(format!("/run/netns/{pod}")).expect("the pod");
    let held: Vec<TcpStream> = pod_netns
        .run(|| {
            let wait = Duration::from_millis(500);
            let to = listener.local_addr().expect("an address");
            (0..LIMIT + 8).map_while(|_| TcpStream::connect_timeout(&to, wait).ok()).collect()
        })
        .expect("the pod");
    assert!(held.len() >= 32, "only {} connections", held.len());
    site.connect("192.0.2.9:443", Duration::from_secs(3));

    let verdict = told(&journal, |verdict| {
        verdict.cause == Cause::ConntrackFull && verdict.peer.ip.to_string() == "192.0.2.9"
    });
    assert_eq!(verdict.confidence, Confidence::Certain);
    assert_eq!(verdict.detail["max"], LIMIT);
    assert!(verdict.detail["count"].as_u64().is_some_and(|count| count * 100 >= u64::from(LIMIT) * 95));
    assert!(verdict.detail["top_talkers"][0].as_str().is_some_and(|who| who.starts_with("default/client: ")));
    println!("{}", verdict.summary);
    assert!(verdict.fix.as_ref().is_some_and(|fix| fix.text.contains("nf_conntrack_max=128")));
    engine.stop();
    drop(held);
}

fn to(outbox: &Outbox) -> impl Fn(NodeChange) + Send + 'static {
    let outbox = outbox.clone();
    move |change| {
        outbox.deliver(Message::Node(change));
    }
}

fn client(netns: &str) -> Pod {
    Pod {
        namespace: "default".to_owned(),
        name: "client".to_owned(),
        uid: "uid-client".to_owned(),
        node: "n1".to_owned(),
        ips: vec![POD_IPV4.into()],
        ready: true,
        netns_path: Some(format!("/run/netns/{netns}")),
        ..Pod::default()
    }
}

/// Until the pod's namespace is known and its device watched.
fn await_ready(outbox: &Outbox) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (reply, status) = tokio::sync::oneshot::channel();
        outbox.deliver(Message::Status(reply));
        let status = status.blocking_recv().expect("a status");
        if status.pods == 1 && status.devices.len() >= 2 {
            return;
        }
        assert!(Instant::now() < deadline, "not ready: {status:?}");
        std::thread::yield_now();
    }
}

/// Follows the verdicts; a machine that never tells is stopped from outside.
fn told(journal: &Journal, which: impl Fn(&Verdict) -> bool) -> Arc<Verdict> {
    let (_, mut fresh) = journal.follow(Filter::default());
    if let Some(found) = journal.in_memory(&Filter::default()).into_iter().find(|verdict| which(verdict)) {
        return found;
    }
    loop {
        let verdict = fresh.blocking_recv().expect("a verdict");
        println!("{}: {}", verdict.cause, verdict.summary);
        if which(&verdict) {
            return verdict;
        }
    }
}
