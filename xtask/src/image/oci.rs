//! The OCI image format (image-spec 1.0): a layer, a configuration and a manifest for each architecture, an index above
//! them, all named by their digests, in one tar archive that `skopeo`, `podman`, `ctr` and `crane` read.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Result;
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::tar::{Archive, Kind};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// What the image is called where it is imported.
const NAME: &str = concat!("egress-agent:", env!("CARGO_PKG_VERSION"));
/// Where volumes are mounted: there before the root becomes read-only.
const FOLDERS: &[&str] =
    &["etc/", "etc/egress-agent/", "run/", "run/egress-agent/", "var/", "var/lib/", "var/lib/egress-agent/"];

/// The C library asks files first, as everywhere, and then DNS; without this it would begin with DNS.
const NSSWITCH: &[u8] = b"hosts: files dns\n";

/// What is packed.
pub(super) struct Image {
    /// As OCI calls it.
    pub(super) arch: &'static str,
    /// The agent's binary.
    pub(super) agent: Vec<u8>,
}

/// What came out.
pub(super) struct Packed {
    pub(super) bytes: Vec<u8>,
    /// Of the index.
    pub(super) digest: String,
    pub(super) images: Vec<Size>,
}

/// An image of the archive.
pub(super) struct Size {
    pub(super) arch: &'static str,
    /// Of the manifest.
    pub(super) digest: String,
    /// What a node downloads.
    pub(super) compressed: usize,
    /// What it keeps.
    pub(super) unpacked: usize,
}

/// Content by digest, sorted.
#[derive(Default)]
struct Blobs(BTreeMap<String, Vec<u8>>);

impl Blobs {
    /// Keeps a blob; its descriptor.
    fn add(&mut self, kind: &str, bytes: Vec<u8>) -> Value {
        let digest = digest(&bytes);
        let descriptor =
            json!({"mediaType": kind, "digest": format!("sha256:{digest}"), "size": bytes.len()});
        self.0.insert(digest, bytes);
        descriptor
    }
}

/// Packs images into an archive; everything in it is of `time`, seconds since 1970.
pub(super) fn archive(images: &[Image], time: u64) -> Result<Packed> {
    let mut blobs = Blobs::default();
    let (mut manifests, mut sizes) = (Vec::new(), Vec::new());
    for image in images {
        let layer = layer(&image.agent, time)?;
        let diff = digest(&layer);
        let compressed = gzip(&layer)?;
        let unpacked = layer.len();
        let size = compressed.len();
        let layer = blobs.add(LAYER, compressed);
        let config = blobs.add(CONFIG, bytes(&config(image.arch, &diff, time)));
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer],
                              "annotations": annotations(time)});
        let mut manifest = blobs.add(MANIFEST, bytes(&manifest));
        let digest = manifest["digest"].as_str().unwrap_or_default().to_owned();
        manifest["platform"] = json!({"os": "linux", "architecture": image.arch});
        manifest["annotations"] = json!({"org.opencontainers.image.ref.name": NAME});
        manifests.push(manifest);
        sizes.push(Size { arch: image.arch, digest, compressed: size, unpacked });
    }
    let index = bytes(&json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}));
    let mut archive = Archive::new(time);
    archive.add("blobs/", Kind::Folder, &[])?;
    archive.add("blobs/sha256/", Kind::Folder, &[])?;
    for (digest, blob) in &blobs.0 {
        archive.add(&format!("blobs/sha256/{digest}"), Kind::File, blob)?;
    }
    archive.add("index.json", Kind::File, &index)?;
    archive.add("oci-layout", Kind::File, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    Ok(Packed { digest: format!("sha256:{}", digest(&index)), bytes: archive.finish(), images: sizes })
}

/// The only layer: the agent, and the folders that volumes go to.
fn layer(agent: &[u8], time: u64) -> Result<Vec<u8>> {
    let mut layer = Archive::new(time);
    layer.add("egress-agent", Kind::Program, agent)?;
    for folder in FOLDERS {
        layer.add(folder, Kind::Folder, &[])?;
    }
    layer.add("etc/nsswitch.conf", Kind::File, NSSWITCH)?;
    Ok(layer.finish())
}

fn config(arch: &str, diff: &str, time: u64) -> Value {
    json!({
        "architecture": arch, "os": "linux", "created": rfc3339(time),
        "config": {"Entrypoint": ["/egress-agent"], "Cmd": ["--help"], "User": "0:0", "WorkingDir": "/",
                   "Labels": annotations(time)},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{diff}")]},
        "history": [{"created": rfc3339(time), "created_by": "cargo xtask image"}],
    })
}

fn annotations(time: u64) -> Value {
    json!({
        "org.opencontainers.image.title": "egress-agent",
        "org.opencontainers.image.description": "Node agent that says why a pod cannot reach an endpoint",
        "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
        "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
        "org.opencontainers.image.created": rfc3339(time),
    })
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn gzip(data: &[u8]) -> Result<Vec<u8>> {
    // No name and no time of its own in the header.
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    encoder.write_all(data)?;
    Ok(encoder.finish()?)
}

fn digest(data: &[u8]) -> String {
    Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Seconds since 1970 as a date (the civil calendar, days counted from 1 March).
fn rfc3339(time: u64) -> String {
    let (days, second) = (time / 86_400 + 719_468, time % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_content_makes_the_same_archive() -> Result<()> {
        let images = || [Image { arch: "amd64", agent: b"agent".repeat(1000) }];
        let (one, two) = (archive(&images(), 1_700_000_000)?, archive(&images(), 1_700_000_000)?);
        assert!(one.bytes == two.bytes && one.digest == two.digest);
        assert_ne!(archive(&images(), 1_700_000_001)?.digest, one.digest);
        Ok(())
    }

    #[test]
    fn dates_are_of_the_civil_calendar() {
        for (time, date) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(time), date);
        }
    }
}
