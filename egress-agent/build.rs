//! Embeds the BPF object, if `cargo xtask build-ebpf` has made it: building the agent needs no BPF toolchain.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    let object = object(&out);
    println!("cargo::rerun-if-env-changed=EGRESS_EBPF_OBJECT");
    // A path that does not exist (yet) makes cargo run this again each time: cheap, and it appears unannounced.
    println!("cargo::rerun-if-changed={}", object.display());

    let embedded = out.join("egress-ebpf.o");
    let source = if object.is_file() {
        fs::copy(&object, &embedded)?;
        // The loader reads the object's tables in place.
        "Some(aya::include_bytes_aligned!(concat!(env!(\"OUT_DIR\"), \"/egress-ebpf.o\")))"
    } else {
        "None"
    };
    fs::write(out.join("object.rs"), format!("{source}\n"))
}

/// Where `cargo xtask build-ebpf` puts the object: in the target directory, which is four levels above
/// `OUT_DIR` (`target/<profile>/build/<package>/out`), or five with `--target`.
fn object(out: &Path) -> PathBuf {
    if let Some(path) = env::var_os("EGRESS_EBPF_OBJECT") {
        return path.into();
    }
    let name = Path::new("bpf").join("egress-ebpf");
    let candidates = out.ancestors().skip(4).take(2).map(|target| target.join(&name));
    let mut first = None;
    for candidate in candidates {
        if candidate.is_file() {
            return candidate;
        }
        first.get_or_insert(candidate);
    }
    first.unwrap_or(name)
}
