//! The eBPF toolchain: a Rust compiler that can build `core` for the BPF target, and a linker that makes BPF
//! objects. Found, or installed with a word on what and why.
//!
//! 1. A rustup nightly with `rust-src`: the usual way.
//! 2. Debian's `rustc-web` with `rust-web-src`, allowed to use unstable features.
//! 3. Neither: `rust-src` is added to a nightly there is, or a nightly is installed; where rustup cannot, apt.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::setup;

/// The linker, and the version that works with the LLVMs below.
const LINKER: &str = "bpf-linker";
const LINKER_VERSION: &str = "0.13.0";
/// Major versions of LLVM that this linker can be built with. It reads what an LLVM up to its own has written.
const LLVM: std::ops::RangeInclusive<u32> = 21..=23;
/// The nightly that is installed where there is none: its LLVM is one of those.
const NIGHTLY: &str = "nightly-2026-05-19";
/// Debian's packages of the compiler, cargo and the library's sources.
const DEBIAN: &[&str] = &["rustc-web", "cargo-web", "rust-web-src"];

/// A compiler with the sources of `core`.
#[derive(Debug)]
struct Compiler {
    kind: Kind,
    version: String,
    /// Major version of its LLVM.
    llvm: u32,
}

#[derive(Debug)]
enum Kind {
    /// A toolchain of rustup, by name.
    Rustup(String),
    /// The system's.
    System { cargo: PathBuf, rustc: PathBuf },
}

/// What builds the programs.
#[derive(Debug)]
pub(crate) struct Toolchain {
    compiler: Compiler,
    linker: PathBuf,
}

impl Toolchain {
    /// Finds the toolchain, or installs what is missing.
    pub(crate) fn ensure() -> Result<Self> {
        let compiler = match Compiler::find() {
            Some(compiler) => compiler,
            None => Compiler::install()?,
        };
        println!("eBPF compiler: {} (LLVM {})", compiler.version, compiler.llvm);
        let linker = match find_linker() {
            Some(linker) => linker,
            None => install_linker(compiler.llvm)?,
        };
        println!("eBPF linker: {}", linker.display());
        Ok(Self { compiler, linker })
    }

    /// `cargo` of this toolchain, free of what the cargo that runs us has set.
    pub(crate) fn cargo(&self) -> Result<Command> {
        let mut command = self.compiler.kind.program("cargo");
        for name in [
            "CARGO",
            "CARGO_BUILD_TARGET",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_TARGET_DIR",
            "RUSTC",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTFLAGS",
            "RUSTUP_TOOLCHAIN",
        ] {
            command.env_remove(name);
        }
        if let Kind::System { rustc, .. } = &self.compiler.kind {
            // A release compiler refuses the flags that build `core`, unless told that we know.
            command.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
        }
        let folder = self.linker.parent().context("the linker is in no folder")?;
        command.env("PATH", prepend(folder)?);
        Ok(command)
    }
}

impl Kind {
    fn program(&self, name: &str) -> Command {
        match self {
            Self::Rustup(toolchain) => {
                let mut command = Command::new("rustup");
                command.args(["run", toolchain, name]);
                command
            }
            Self::System { cargo, rustc } => Command::new(if name == "cargo" { cargo } else { rustc }),
        }
    }
}

impl Compiler {
    fn find() -> Option<Self> {
        let nightlies = nightlies().into_iter().map(Kind::Rustup);
        let system = Kind::System { cargo: "/usr/bin/cargo".into(), rustc: "/usr/bin/rustc".into() };
        nightlies.chain([system]).find_map(Self::examine)
    }

    /// The compiler, if it has what it takes; says why not.
    fn examine(kind: Kind) -> Option<Self> {
        if let Kind::System { cargo, rustc } = &kind
            && !(cargo.is_file() && rustc.is_file())
        {
            return None;
        }
        let ask = |args: &[&str]| output(kind.program("rustc").args(args).env_remove("RUSTUP_TOOLCHAIN"));
        let verbose = ask(&["-vV"])?;
        let version = verbose.lines().next()?.to_owned();
        let llvm: u32 = verbose
            .lines()
            .find_map(|line| line.strip_prefix("LLVM version: "))
            .and_then(|version| version.split('.').next()?.parse().ok())?;
        let sysroot = ask(&["--print", "sysroot"])?;
        if !Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/Cargo.toml").is_file() {
            println!("not used: {version}: it has no sources of `core` (rust-src)");
            return None;
        }
        if llvm > *LLVM.end() {
            println!("not used: {version}: {LINKER} {LINKER_VERSION} cannot read what LLVM {llvm} writes");
            return None;
        }
        Some(Self { kind, version, llvm })
    }

    fn install() -> Result<Self> {
        println!("missing: a Rust compiler with the sources of `core`, which is built for the BPF target");
        if setup::find("rustup").is_some() {
            for nightly in nightlies() {
                println!("installing rust-src into {nightly}");
                let _ = setup::run(rustup().args(["component", "add", "rust-src", "--toolchain", &nightly]));
            }
            if let Some(compiler) = Self::find() {
                return Ok(compiler);
            }
            println!("installing {NIGHTLY} with rust-src");
            let _ = setup::run(rustup().args([
                "toolchain",
                "install",
                NIGHTLY,
                "--profile",
                "minimal",
                "--component",
                "rust-src",
                "--no-self-update",
            ]));
            if let Some(compiler) = Self::find() {
                return Ok(compiler);
            }
        }
        println!("rustup has none for us: taking Debian's");
        setup::install(DEBIAN)?;
        Self::find().with_context(|| format!("{} are installed and still do not fit", DEBIAN.join(", ")))
    }
}

fn rustup() -> Command {
    let mut command = Command::new("rustup");
    command.env_remove("RUSTUP_TOOLCHAIN");
    command
}

/// Nightly toolchains of rustup, the plain one first.
fn nightlies() -> Vec<String> {
    if setup::find("rustup").is_none() {
        return Vec::new();
    }
    let list = output(rustup().args(["toolchain", "list"])).unwrap_or_default();
    let mut names: Vec<String> = list
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| name.starts_with("nightly"))
        .map(str::to_owned)
        .collect();
    names.sort_by_key(|name| name.split('-').count());
    names
}

/// The linker of the version we want, on `PATH` or where cargo installs.
fn find_linker() -> Option<PathBuf> {
    let candidates = [cargo_home().map(|home| home.join("bin").join(LINKER)), setup::find(LINKER)];
    candidates.into_iter().flatten().find(|path| {
        let Some(found) = output(Command::new(path).arg("--version")) else {
            return false;
        };
        let fits = found.split_whitespace().last() == Some(LINKER_VERSION);
        if !fits {
            println!("not used: {}: {}, not {LINKER_VERSION}", path.display(), found.trim());
        }
        fits
    })
}

fn install_linker(llvm: u32) -> Result<PathBuf> {
    println!("missing: {LINKER} {LINKER_VERSION}: links BPF objects and writes their BTF");
    let (version, prefix) = llvm_library(llvm)?;
    println!("installing {LINKER} {LINKER_VERSION} with LLVM {version} by cargo (about a minute)");
    let mut cargo = setup::cargo(&[
        "install",
        LINKER,
        "--version",
        LINKER_VERSION,
        "--force",
        "--no-default-features",
        "--features",
        &format!("llvm-{version}"),
    ])?;
    // Not into the target directory of the project, and not with its flags.
    cargo.env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS").env("LLVM_PREFIX", prefix);
    setup::run(&mut cargo)?;
    find_linker().with_context(|| format!("{LINKER} is installed and not found: is CARGO_HOME/bin it?"))
}

/// An LLVM library that the linker can be built with, and that reads what the compiler's writes.
fn llvm_library(compiler: u32) -> Result<(u32, PathBuf)> {
    let fitting = || LLVM.filter(|version| *version >= compiler);
    let installed = |version: u32| {
        let prefix = PathBuf::from(format!("/usr/lib/llvm-{version}"));
        let is_there =
            prefix.join("include/llvm-c/Core.h").is_file() && prefix.join("bin/llvm-config").is_file();
        is_there.then_some((version, prefix))
    };
    if let Some(found) = fitting().find_map(installed) {
        return Ok(found);
    }
    println!("missing: the LLVM library that {LINKER} is built with");
    let offered = |version: &u32| {
        let package = format!("llvm-{version}-dev");
        let policy = output(Command::new("apt-cache").args(["policy", &package])).unwrap_or_default();
        policy.lines().any(|line| line.trim().starts_with("Candidate:") && !line.ends_with("(none)"))
    };
    let Some(version) = fitting().find(offered) else {
        bail!(
            "apt offers no llvm-{compiler}-dev: add apt.llvm.org, or install {LINKER} {LINKER_VERSION} by hand \
             (https://github.com/aya-rs/bpf-linker)"
        );
    };
    let packages =
        [format!("llvm-{version}-dev"), format!("libpolly-{version}-dev"), "libzstd-dev".to_owned()];
    let mut names: Vec<&str> = packages.iter().map(String::as_str).collect();
    if setup::find("c++").is_none() {
        names.push("g++");
    }
    setup::install(&names)?;
    installed(version)
        .with_context(|| format!("{} is installed and not in /usr/lib/llvm-{version}", packages[0]))
}

fn cargo_home() -> Option<PathBuf> {
    std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")))
}

fn prepend(folder: &Path) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_path_buf()).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).context("PATH")
}

/// What a command prints, if it succeeds.
fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
