//! `cargo xtask image`: a container image with nothing in it but the agent, as an OCI archive. No daemon, no shell, no base.
//!
//! The agent is linked statically, C library included: names are resolved by the resolver inside it, from
//! `/etc/hosts` and `/etc/resolv.conf`. The same sources give the same archive, byte for byte.

mod oci;
mod tar;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{build_ebpf, setup};
use oci::Image;

/// Where the image's size is told to people.
const README: &str = "README.md";

/// Which image.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Architectures; all that this machine can build for by default.
    #[arg(long = "arch", value_enum)]
    arches: Vec<Arch>,
    /// Where to write the archive [default: target/image/egress-agent.tar].
    #[arg(long)]
    output: Option<PathBuf>,
}

/// An architecture as OCI calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Arch {
    Amd64,
    Arm64,
}

impl Arch {
    const fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    const fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// The C compiler that links for it, where it is not this machine's own.
    const fn linker(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-linux-gnu-gcc",
            Self::Arm64 => "aarch64-linux-gnu-gcc",
        }
    }

    fn is_here(self) -> bool {
        self.target().starts_with(std::env::consts::ARCH)
    }

    /// What is missing to build for it.
    fn lack(self) -> Result<Option<String>> {
        let output = Command::new("rustc")
            .args(["--print", "target-libdir", "--target", self.target()])
            .output()
            .context("starting rustc")?;
        let library = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        if !library.is_dir() {
            return Ok(Some(format!("Rust's library for it (rustup target add {})", self.target())));
        }
        if !self.is_here() && setup::find(self.linker()).is_none() {
            return Ok(Some(format!("the C compiler {}", self.linker())));
        }
        Ok(None)
    }
}

/// Builds it and says what came out.
pub(crate) fn run(args: &Args) -> Result<()> {
    let folder = build_ebpf::target()?.join("image");
    fs::create_dir_all(&folder)?;
    build_ebpf::run()?;
    let wanted = if args.arches.is_empty() { vec![Arch::Amd64, Arch::Arm64] } else { args.arches.clone() };
    let mut images = Vec::new();
    for arch in wanted {
        match arch.lack()? {
            None => images.push(Image { arch: arch.name(), agent: agent(arch)? }),
            Some(missing) if args.arches.is_empty() && !arch.is_here() => {
                println!("not for {}: {missing} is missing", arch.name());
            }
            Some(missing) => bail!("cannot build for {}: {missing} is missing", arch.name()),
        }
    }
    let output = args.output.clone().unwrap_or_else(|| folder.join("egress-agent.tar"));
    let archive = pack(&images, &output)?;
    if let Some(image) = archive.images.iter().find(|image| image.arch == "amd64") {
        compare_with_readme(image.compressed)?;
    }
    Ok(())
}

/// Packs agents and says what came out.
fn pack(images: &[Image], output: &Path) -> Result<oci::Packed> {
    let archive = oci::archive(images, epoch()?)?;
    fs::write(output, &archive.bytes).with_context(|| format!("writing {}", output.display()))?;
    for image in &archive.images {
        println!(
            "{}: {} compressed, {} unpacked, {}",
            image.arch,
            mebibytes(image.compressed),
            mebibytes(image.unpacked),
            image.digest
        );
    }
    println!("wrote {} ({}): {}", output.display(), mebibytes(archive.bytes.len()), archive.digest);
    Ok(archive)
}

/// The image of this machine's architecture for tests: not optimised, and of the same libraries as the tests. Only the
/// program itself is told to be static, which is when the C library is chosen; compiling all of it anew for that would
/// take longer than the tests of the image.
pub(crate) fn for_test(output: &Path) -> Result<()> {
    let arch = [Arch::Amd64, Arch::Arm64].into_iter().find(|arch| arch.is_here());
    let arch = arch.with_context(|| format!("there is no image for {}", std::env::consts::ARCH))?;
    println!("linking the agent statically");
    let program = ["rustc", "--quiet", "--package", "egress-agent", "--example", "sandboxed", "--locked"];
    setup::run(setup::cargo(&program)?.args(["--", "-Ctarget-feature=+crt-static"]))?;
    let agent = stripped(&setup::binaries()?.join("examples/sandboxed"))?;
    let agent = fs::read(&agent).with_context(|| format!("reading {}", agent.display()))?;
    pack(&[Image { arch: arch.name(), agent }], output)?;
    Ok(())
}

/// Builds the agent, static and without paths of this machine inside.
fn agent(arch: Arch) -> Result<Vec<u8>> {
    println!("building the agent for {}, linked statically", arch.name());
    let home =
        std::env::var("CARGO_HOME").or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")));
    let mut flags = vec![
        "-Ctarget-feature=+crt-static".to_owned(),
        format!("--remap-path-prefix={}=/src", setup::workspace()?.display()),
    ];
    flags.extend(home.ok().map(|home| format!("--remap-path-prefix={home}=/cargo")));
    let flags: Vec<_> = flags.iter().map(|flag| format!("{flag:?}")).collect();
    let target = arch.target();
    let mut config = format!("target.{target}.rustflags=[{}]", flags.join(","));
    let mut cargo =
        setup::cargo(&["build", "--package", "egress-agent", "--bin", "egress-agent", "--locked"])?;
    cargo.args(["--target", target, "--config", &config]);
    if !arch.is_here() {
        config = format!("target.{target}.linker={:?}", arch.linker());
        cargo.args(["--config", &config]);
    }
    setup::run(cargo.arg("--release"))?;
    let agent = build_ebpf::target()?.join(target).join("release/egress-agent");
    fs::read(&agent).with_context(|| format!("reading {}", agent.display()))
}

/// Without symbols, which a debug build has plenty of.
fn stripped(binary: &Path) -> Result<PathBuf> {
    let small = binary.with_extension("stripped");
    setup::run(Command::new("strip").arg("-o").arg(&small).arg(binary))?;
    Ok(small)
}

/// Seconds since 1970 of everything in the image: `SOURCE_DATE_EPOCH`, else the last commit.
fn epoch() -> Result<u64> {
    if let Ok(given) = std::env::var("SOURCE_DATE_EPOCH") {
        return given.parse().with_context(|| format!("SOURCE_DATE_EPOCH is {given:?}"));
    }
    let output =
        Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(setup::workspace()?).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().context("no SOURCE_DATE_EPOCH, and no commit either")
}

fn mebibytes(bytes: usize) -> String {
    let tenths = bytes * 10 / (1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

/// The README tells the size; says so when it is more than a tenth off.
fn compare_with_readme(compressed: usize) -> Result<()> {
    let text = fs::read_to_string(setup::workspace()?.join(README))?;
    let told: f64 = text
        .split("The image is ")
        .nth(1)
        .and_then(|rest| rest.split_once(" MiB")?.0.parse().ok())
        .with_context(|| format!("{README} does not say \"The image is N MiB\""))?;
    let found: f64 = mebibytes(compressed).trim_end_matches(" MiB").parse()?;
    if (told - found).abs() > found / 10.0 {
        println!("{README} says that the image is {told} MiB, which is no longer true: {found} MiB");
    }
    Ok(())
}
