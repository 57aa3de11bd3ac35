//! Bad clients of the agent's interface: they cost a bounded piece of memory, and capture nothing.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::flood::flood;
use super::{Check, denied_lab};
use crate::agent::{self, Agent};
use crate::http2::{Connection, END_HEADERS, Frame, LONGEST, headers};
use crate::lab::{Lab, Place};
use crate::pki::Pki;

/// The method that answers with a stream.
const QUERY: &str = "/egress.v1.EgressAgent/Query";
/// A question (`QueryRequest`) that goes on: `follow` is field 6.
const FOLLOW: &[u8] = &[6 << 3, 1];
/// Failed connections that stand in the history, so that there is something to answer.
const FAILURES: u16 = 40;
/// SYNs that are dropped while the bad clients are there.
const DROPS: u64 = 50_000;
/// What the agent may grow by, KiB: 64 connections of each listener may hold 128 KiB each.
const GROWTH: u64 = 16 * 1024;

pub(super) fn check() -> Check {
    Check {
        name: "hostile-clients",
        sentence: "1,000 streams, readers that take nothing, endless headers, questions of a megabyte, 20,000 resets, no \
                   certificate and a stranger's: memory stays bounded, no event is lost, and others are answered",
        needs: || None,
        agent: true,
        alone: false,
        run,
    }
}

fn run() -> Result<String> {
    let (lab, _enforced) = denied_lab()?;
    let pki = Pki::create(&lab.folder())?;
    let (open, guarded) = (free_port()?, free_port()?);
    let (certificate, key) = pki.agent()?;
    let agent = Agent::start(
        &lab,
        &[
            "--grpc-listen",
            &format!("127.0.0.1:{open}"),
            "--grpc-listen",
            &format!("0.0.0.0:{guarded}"),
            "--grpc-tls-cert-file",
            &certificate,
            "--grpc-tls-private-key-file",
            &key,
            "--grpc-client-ca-file",
            &pki.ca(),
        ],
    )?;
    let (open, guarded) =
        (SocketAddr::from(([127, 0, 0, 1], open)), SocketAddr::from(([127, 0, 0, 1], guarded)));
    for port in 0..FAILURES {
        let peer = format!("203.0.113.4:{}", 1000 + port);
        lab.run(Place::Client, &["connect", &peer, "--timeout", "0.1"])?.outcome(Duration::from_secs(10))?;
    }
    // What is set up once is there: for asking, for TLS, for a refused connection and a flood.
    flood(&lab, &agent, 0, DROPS)?;
    ensure!(agent.query(&[])?.len() >= usize::from(FAILURES), "the failures made no verdicts");
    stranger(guarded, &pki, None)?;
    Connection::open(open, 0).and_then(|mut client| client.call(1, QUERY, FOLLOW))?;

    let (id, before) = (agent.id(), agent.resident()?);
    let (over, peak) = (AtomicBool::new(false), AtomicU64::new(before));
    let lost = thread::scope(|scope| -> Result<u64> {
        let watch = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                peak.fetch_max(agent::resident(id).unwrap_or(0), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(20));
            }
        });
        let lost = attack(&lab, &agent, (open, guarded), &pki);
        over.store(true, Ordering::Relaxed);
        watch.join().ok().context("watching its memory panicked")?;
        lost
    })?;
    let (peak, after) = (peak.into_inner(), agent.resident()?);
    ensure!(lost == 0, "{lost} drops were lost to clients");
    ensure!(
        peak.saturating_sub(before) <= GROWTH,
        "the agent grew too much, KiB: {before} before, {peak} at most, {after} after"
    );
    agent.terminate()?;
    Ok(format!("RSS {before} KiB before, {peak} at most, {after} after; {DROPS} drops meanwhile, none lost"))
}

/// All of them at once; meanwhile a pod's SYNs are dropped and somebody else asks. Returns how many drops were lost.
fn attack(lab: &Lab, agent: &Agent, (open, guarded): (SocketAddr, SocketAddr), pki: &Pki) -> Result<u64> {
    thread::scope(|scope| {
        let clients = [
            scope.spawn(move || thousand_streams(open)),
            scope.spawn(move || read_nothing(open)),
            scope.spawn(move || reset_at_once(open)),
            scope.spawn(move || endless_headers(open)),
            scope.spawn(move || huge_questions(open)),
            scope.spawn(move || pings(open)),
            scope.spawn(move || nonsense(guarded)),
        ];
        let strangers = scope.spawn(move || {
            (0..10).try_for_each(|_| {
                stranger(guarded, pki, None)?;
                stranger(guarded, pki, Some("other"))
            })
        });
        let counts = flood(lab, agent, DROPS, DROPS)?;
        let answer = agent.query(&["--limit", "3"])?;
        ensure!(answer.len() == 3, "{} verdicts while bad clients are there", answer.len());
        for client in clients {
            let sent: Result<usize> = client.join().ok().context("a client panicked")?;
            ensure!(sent? > 0, "a client could not say anything");
        }
        strangers.join().ok().context("a client panicked")??;
        Ok(counts.lost)
    })
}

/// Frames that were sent before the server had enough, which is its good right.
fn sent(connection: io::Result<Connection>, say: impl Fn(&mut Connection, u32) -> io::Result<()>) -> usize {
    let Ok(mut connection) = connection else { return 0 };
    (0..5000).take_while(|number| say(&mut connection, 2 * number + 1).is_ok()).count()
}

/// Four connections with 250 streams each, all of which want to hear everything for ever.
fn thousand_streams(to: SocketAddr) -> Result<usize> {
    let mut streams = 0;
    let mut connections = Vec::new();
    for _ in 0..4 {
        let mut connection = Connection::open(to, 1 << 20)?;
        streams +=
            (0..250).take_while(|number| connection.call(2 * number + 1, QUERY, FOLLOW).is_ok()).count();
        connections.push(connection);
    }
    // They stay until each was answered something.
    connections.iter_mut().try_for_each(Connection::listen)?;
    Ok(streams)
}

/// As many streams as they may have, none of which takes a byte.
fn read_nothing(to: SocketAddr) -> Result<usize> {
    let mut connections = Vec::new();
    for _ in 0..16 {
        let mut connection = Connection::open(to, 0)?;
        for number in 0..16 {
            connection.call(2 * number + 1, QUERY, FOLLOW)?;
        }
        connections.push(connection);
    }
    connections.iter_mut().try_for_each(Connection::listen)?;
    Ok(connections.len())
}

/// Opened and reset before anybody has looked (CVE-2023-44487).
fn reset_at_once(to: SocketAddr) -> Result<usize> {
    const CANCEL: [u8; 4] = 8_u32.to_be_bytes();
    let block = headers(QUERY);
    let reset = |connection: &mut Connection, stream| {
        connection.send(Frame::Headers, END_HEADERS, stream, &block)?;
        connection.send(Frame::ResetStream, 0, stream, &CANCEL)
    };
    Ok((0..4).map(|_| sent(Connection::open(to, 0), reset)).sum())
}

/// Headers that never end (CVE-2024-27316): 80 MB if somebody kept them.
fn endless_headers(to: SocketAddr) -> Result<usize> {
    let filler = vec![0; LONGEST];
    let more = |connection: &mut Connection, stream| {
        let frame = if stream == 1 { Frame::Headers } else { Frame::Continuation };
        connection.send(frame, 0, 1, &filler)
    };
    Ok(sent(Connection::open(to, 0), more))
}

/// A filter of a megabyte on each stream: `to` is field 5.
fn huge_questions(to: SocketAddr) -> Result<usize> {
    let text = vec![b'x'; 1 << 20];
    // Its length as a varint: 2^20.
    let question = [&[5 << 3 | 2, 0x80, 0x80, 0x40][..], &text].concat();
    let ask = |connection: &mut Connection, stream| connection.call(stream, QUERY, &question);
    let mut asked = 0;
    for _ in 0..8 {
        let mut connection = Connection::open(to, 0)?;
        // Refused somewhere within the first ones.
        asked += 1 + (0..4).take_while(|number| ask(&mut connection, 2 * number + 1).is_ok()).count();
    }
    Ok(asked)
}

/// Pings whose answers nobody reads.
fn pings(to: SocketAddr) -> Result<usize> {
    Ok(sent(Connection::open(to, 0), |connection, _| connection.send(Frame::Ping, 0, 0, &[0; 8])))
}

/// What is neither TLS nor HTTP.
fn nonsense(to: SocketAddr) -> Result<usize> {
    let mut connections = Vec::new();
    for number in 0..8 {
        let mut connection = TcpStream::connect(to)?;
        // Closed early is right, too.
        let _ = connection.write_all(&vec![number; 64 * 1024]);
        connections.push(connection);
    }
    Ok(connections.len())
}

/// A client without a certificate, or with one that the authority never saw: it is told nothing.
fn stranger(to: SocketAddr, pki: &Pki, who: Option<&str>) -> Result<()> {
    let mut client = Command::new("openssl");
    client.args(["s_client", "-quiet", "-no_ign_eof", "-alpn", "h2", "-connect", &to.to_string()]);
    if let Some(who) = who {
        let (certificate, key) = pki.pair(who);
        client.args(["-cert", &certificate, "-key", &key]);
    }
    agent::die_with_parent(&mut client);
    let mut client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    // Nobody may be there any more to take it.
    let greeting = client.stdin.as_mut().context("no standard input")?;
    let _ = greeting.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    let _ = greeting.flush();
    let output = wait(client)?;
    ensure!(output.is_empty(), "a stranger is told {output:?}");
    Ok(())
}

/// What it was told until the agent hung up.
fn wait(mut client: std::process::Child) -> Result<Vec<u8>> {
    // Its standard input stays open: the agent has to end it.
    let input = client.stdin.take();
    let output = client.wait_with_output()?.stdout;
    drop(input);
    Ok(output)
}

/// A port that nobody has, just now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
