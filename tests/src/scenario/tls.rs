//! `tls-failure`: handshakes that end in an alert, made by OpenSSL on both ends.

use std::net::SocketAddr;

use anyhow::{Result, bail};
use serde_json::json;

use super::{Health, Run, Scenario, await_ipv6, program};
use crate::expect::Expect;
use crate::lab::{Lab, Place};
use crate::pki::{Pki, SERVER_NAME};
use crate::plan::{Dual, Family, NODE, SERVER, STRIPE};
use crate::topology::Topology;

/// Port of the TLS servers.
pub(super) const TLS: u16 = 8443;
/// A Service in front of the server pod.
const SERVICE: &str = "10.96.0.20";

pub(super) fn all() -> Vec<Scenario> {
    let new = |name, sentence, traffic: fn(&mut Run) -> Result<()>| {
        Scenario::new(name, Topology::Routed, sentence, traffic).needs(|| program("openssl"))
    };
    vec![
        new("tls-unknown-ca", "over TLS 1.2 the client does not trust the server's CA and says so", |run| {
            untrusting(run, Family::V4, &["-tls1_2"])
        })
        .set_up(|lab, _| serve(lab, Place::Internet, &[]))
        .expect(|| by_client("unknown_ca", Family::V4)),
        new("tls-unknown-ca-ipv6", "the same over IPv6 and TLS 1.3", |run| {
            untrusting(run, Family::V6, &["-tls1_3"])
        })
        .set_up(|lab, _| {
            await_ipv6(lab)?;
            serve(lab, Place::Internet, &[])
        })
        .expect(|| by_client("unknown_ca", Family::V6)),
        Scenario::new(
            "tls-expired-bridge",
            Topology::Bridge,
            "the client's clock is ten years ahead: to it the server's certificate is expired",
            |run| {
                let wrong: &[&str] = if run.broken() { &["-attime", "2111111111"] } else { &[] };
                handshake(run, at(STRIPE, Family::V4), &[&["-tls1_2"], wrong].concat())
            },
        )
        .needs(|| program("openssl"))
        .set_up(|lab, _| serve(lab, Place::Internet, &[]))
        .expect(|| by_client("certificate_expired", Family::V4)),
        new("tls-protocol-version", "the server takes TLS 1.3 only, the client offers TLS 1.2 only", |run| {
            handshake(run, at(STRIPE, Family::V4), &["-tls1_2"])
        })
        .set_up(|lab, health| serve(lab, Place::Internet, broken_only(health, &["-tls1_3"])))
        .expect(|| Expect {
            says: &[
                ("/summary", "takes none of the TLS versions"),
                ("/fix/text", "TLS 1.2"),
                ("/detail/versions/0", "TLS 1.2"),
            ],
            ..by_server("protocol_version")
        }),
        new("tls-handshake-failure", "client and server share no cipher suite of TLS 1.2", |run| {
            handshake(run, at(STRIPE, Family::V4), &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"])
        })
        .set_up(|lab, health| {
            let only = ["-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"];
            serve(lab, Place::Internet, broken_only(health, &only))
        })
        .expect(|| by_server("handshake_failure")),
        new(
            "tls-13-groups",
            "over TLS 1.3 client and server share no group: an alert before encryption",
            |run| handshake(run, at(STRIPE, Family::V4), &["-tls1_3", "-groups", "X25519"]),
        )
        .set_up(|lab, health| serve(lab, Place::Internet, broken_only(health, &["-groups", "P-384"])))
        .expect(|| by_server("handshake_failure")),
        new("tls-unrecognized-name", "the server does not serve the name that the client asks for", |run| {
            handshake(run, at(STRIPE, Family::V4), &["-tls1_2"])
        })
        .set_up(|lab, health| {
            let name = if health == Health::Broken { "other.example" } else { SERVER_NAME };
            let pki = Pki::create(&lab.folder())?;
            let (cert, key) = pki.pair("server");
            let second = ["-servername", name, "-servername_fatal", "-cert2", &cert, "-key2", &key];
            listen(lab, Place::Internet, &pki, &second)
        })
        .expect(|| by_server("unrecognized_name")),
        new(
            "tls-encrypted-alert",
            "over TLS 1.3 the client does not trust the CA, and its alert is encrypted",
            |run| {
                run.begin();
                let file = if run.broken() { "other.pem" } else { "ca.pem" };
                let ca = format!("--x509cafile={}", run.lab.folder().join(file).display());
                let (name, verify) =
                    (format!("--sni-hostname={SERVER_NAME}"), format!("--verify-hostname={SERVER_NAME}"));
                let (port, to) = (TLS.to_string(), STRIPE.v4.to_string());
                let args = ["--port", &port, &ca, &name, &verify, &to];
                let (ok, output) = run.lab.run_program(Place::Client, "gnutls-cli", &args)?;
                must(run, ok, &output)
            },
        )
        .needs(|| program("gnutls-cli"))
        .set_up(|lab, _| serve(lab, Place::Internet, &[]))
        .expect(|| Expect {
            confidence: &["likely"],
            says: &[("/summary", "refuses the server's certificate"), ("/detail/sni", SERVER_NAME)],
            ..by_client("encrypted", Family::V4)
        }),
        new("tls-mtls-12", "over TLS 1.2 the server wants a client certificate and gets none", |run| {
            with_certificate(run, at(STRIPE, Family::V4), &["--tls-max", "1.2"])
        })
        .needs(|| program("curl"))
        .set_up(|lab, _| serve(lab, Place::Internet, &["-Verify", "1", "-verify_return_error"]))
        .expect(|| Expect { says: &[("/fix/text", "client certificate")], ..by_server("handshake_failure") }),
        new("tls-mtls-13", "the same over TLS 1.3: the server's alert is encrypted", |run| {
            with_certificate(run, at(STRIPE, Family::V4), &["--tlsv1.3"])
        })
        .needs(|| program("curl"))
        .set_up(|lab, _| serve(lab, Place::Internet, &["-Verify", "1", "-verify_return_error"]))
        .expect(|| Expect {
            confidence: &["likely"],
            says: &[("/fix/text", "mTLS"), ("/detail/sni", SERVER_NAME)],
            ..by_server("encrypted")
        }),
        new("tls-service", "a pod's TLS server behind a Service refuses the client's versions", |run| {
            let to = SocketAddr::new(SERVICE.parse()?, 443);
            handshake(run, to, &["-tls1_2"])
        })
        .set_up(|lab, health| {
            service(lab)?;
            serve(lab, Place::Server, broken_only(health, &["-tls1_3"]))
        })
        .expect(|| Expect {
            peer: (std::net::IpAddr::from([10, 96, 0, 20]), 443),
            kind: "service",
            broken: ("peer", "refused"),
            source: None,
            shown_on_server: true,
            ..by_server("protocol_version")
        }),
        new("noise-tls", "20 handshakes of each version that end with close_notify", |run| {
            run.begin();
            for version in ["-tls1_2", "-tls1_3"] {
                for _ in 0..20 {
                    succeed(run, at(STRIPE, Family::V4), &[version])?;
                }
            }
            Ok(())
        })
        .set_up(|lab, _| serve(lab, Place::Internet, &[])),
        new(
            "noise-tls-curl",
            "20 requests over TLS 1.3 and 1.2, with and without a client certificate",
            |run| {
                run.begin();
                for _ in 0..10 {
                    for args in [&["--tlsv1.3"] as &[&str], &["--tls-max", "1.2"]] {
                        let (ok, output) = ask(run, at(STRIPE, Family::V4), args, true)?;
                        anyhow::ensure!(ok, "{output}");
                    }
                }
                Ok(())
            },
        )
        .needs(|| program("curl"))
        .set_up(|lab, _| serve(lab, Place::Internet, &["-Verify", "1", "-verify_return_error"])),
    ]
}

fn at(ips: Dual, family: Family) -> SocketAddr {
    SocketAddr::new(ips.of(family), TLS)
}

fn broken_only<'a>(health: Health, args: &'a [&'a str]) -> &'a [&'a str] {
    if health == Health::Broken { args } else { &[] }
}

/// A TLS server that answers HTTP.
pub(super) fn serve(lab: &mut Lab, place: Place, args: &[&str]) -> Result<()> {
    let pki = Pki::create(&lab.folder())?;
    listen(lab, place, &pki, args)
}

fn listen(lab: &mut Lab, place: Place, pki: &Pki, args: &[&str]) -> Result<()> {
    let (cert, key) = pki.pair("server");
    let (ca, port) = (pki.ca(), TLS.to_string());
    let all = ["s_server", "-accept", &port, "-cert", &cert, "-key", &key, "-CAfile", &ca, "-www"];
    lab.start_program(place, "openssl", &[&all, args].concat(), "ACCEPT")
}

/// A handshake; whether it succeeded, and what the client said.
fn shake(run: &Run, to: SocketAddr, args: &[&str], ca: &str) -> Result<(bool, String)> {
    let to = to.to_string();
    let all =
        ["s_client", "-connect", &to, "-servername", SERVER_NAME, "-verify_return_error", "-CAfile", ca];
    run.lab.run_program(Place::Client, "openssl", &[&all, args].concat())
}

/// A handshake that must fail with the fault and succeed without.
pub(super) fn handshake(run: &mut Run, to: SocketAddr, args: &[&str]) -> Result<()> {
    run.begin();
    let ca = run.lab.folder().join("ca.pem").display().to_string();
    let (ok, output) = shake(run, to, args, &ca)?;
    must(run, ok, &output)
}

fn succeed(run: &Run, to: SocketAddr, args: &[&str]) -> Result<()> {
    let ca = run.lab.folder().join("ca.pem").display().to_string();
    let (ok, output) = shake(run, to, args, &ca)?;
    anyhow::ensure!(ok, "{output}");
    Ok(())
}

fn untrusting(run: &mut Run, family: Family, args: &[&str]) -> Result<()> {
    run.begin();
    let file = if run.broken() { "other.pem" } else { "ca.pem" };
    let ca = run.lab.folder().join(file).display().to_string();
    let (ok, output) = shake(run, at(STRIPE, family), args, &ca)?;
    must(run, ok, &output)
}

/// A request that comes without a client certificate where the fault is.
fn with_certificate(run: &mut Run, to: SocketAddr, args: &[&str]) -> Result<()> {
    run.begin();
    let (ok, output) = ask(run, to, args, !run.broken())?;
    must(run, ok, &output)
}

/// A request over TLS, with a client certificate or without.
fn ask(run: &Run, to: SocketAddr, args: &[&str], certificate: bool) -> Result<(bool, String)> {
    let folder = run.lab.folder();
    let file = |name: &str| folder.join(name).display().to_string();
    let resolve = format!("{SERVER_NAME}:{}:{}", to.port(), to.ip());
    let url = format!("https://{SERVER_NAME}:{}/", to.port());
    let (ca, cert, key) = (file("ca.pem"), file("client.pem"), file("client.key"));
    let mut all =
        vec!["-sS", "--max-time", "10", "--noproxy", "*", "--resolve", &resolve, "--cacert", &ca, &url];
    if certificate {
        all.extend(["--cert", &cert, "--key", &key]);
    }
    all.extend(args);
    run.lab.run_program(Place::Client, "curl", &all)
}

fn must(run: &Run, ok: bool, output: &str) -> Result<()> {
    if ok == run.broken() {
        bail!("the handshake {} all the same: {output}", if ok { "succeeded" } else { "failed" });
    }
    Ok(())
}

/// A Service that leads to the server pod.
fn service(lab: &Lab) -> Result<()> {
    lab.node.nft(&format!(
        "table ip shop {{
           chain services {{ type nat hook prerouting priority dstnat; policy accept;
             ip daddr {SERVICE} tcp dport 443 dnat to {}:{TLS}
           }}
         }}",
        SERVER.v4
    ))?;
    let service = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "shop", "namespace": "default"},
        "spec": {"clusterIP": SERVICE, "clusterIPs": [SERVICE], "ipFamilies": ["IPv4"], "selector": {"app": "api-server"},
                 "ports": [{"name": "https", "port": 443, "targetPort": TLS, "protocol": "TCP"}]}});
    let endpoints = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "shop-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "shop"}},
        "endpoints": [{"addresses": [SERVER.v4], "nodeName": crate::plan::NODE_NAME,
                       "conditions": {"ready": true, "serving": true, "terminating": false},
                       "targetRef": {"kind": "Pod", "namespace": "default", "name": "api-server"}}],
        "ports": [{"name": "https", "port": TLS, "protocol": "TCP"}]});
    lab.cluster
        .write("shop.json", &json!({"apiVersion": "v1", "kind": "List", "items": [service, endpoints]}))
}

fn verdict(family: Family) -> Expect {
    Expect {
        stage: "upstream",
        broken: ("upstream", "refused"),
        source: Some(NODE.of(family)),
        says: &[("/summary", SERVER_NAME), ("/detail/sni", SERVER_NAME)],
        ..Expect::of("tls-failure", (STRIPE.of(family), TLS))
    }
}

fn by_server(alert: &'static str) -> Expect {
    Expect { detail: detail(alert, "server"), ..verdict(Family::V4) }
}

fn by_client(alert: &'static str, family: Family) -> Expect {
    Expect { detail: detail(alert, "client"), stage: "pod", broken: ("pod", "refused"), ..verdict(family) }
}

/// `alert` and `sent_by`. Expectations are static, and there are only a few.
fn detail(alert: &'static str, by: &'static str) -> &'static [(&'static str, &'static str)] {
    Box::leak(Box::new([("alert", alert), ("sent_by", by)]))
}
