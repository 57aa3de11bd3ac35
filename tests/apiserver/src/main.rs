//! `egress-apiserver`: an API server with the objects of some manifests, to try a client against.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;
use egress_apiserver::ApiServer;

/// A Kubernetes API server for trying things out: it serves the objects of manifests and takes changes to them
/// (`kubectl --kubeconfig FILE apply --validate=false -f …`). Nothing is checked, nothing runs.
#[derive(Debug, Parser)]
struct Args {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:8001")]
    listen: SocketAddr,
    /// Speaks TLS.
    #[arg(long)]
    tls: bool,
    /// Writes a kubeconfig for it to this file.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Manifests: YAML or JSON files, or folders of them.
    files: Vec<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let builder = ApiServer::builder().listen(args.listen);
    let builder = if args.tls { builder.tls() } else { builder };
    let server = builder.start().await.with_context(|| format!("cannot listen on {}", args.listen))?;
    let mut count = 0;
    for path in &args.files {
        count += load(&server, path)?;
    }
    if let Some(path) = &args.kubeconfig {
        std::fs::write(path, server.kubeconfig(""))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("{count} objects at {}", server.url());
    tokio::signal::ctrl_c().await?;
    Ok(())
}

fn load(server: &ApiServer, path: &Path) -> Result<usize> {
    if path.is_dir() {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(path)? {
            files.push(entry?.path());
        }
        files.sort();
        let wanted = |path: &PathBuf| {
            path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|e| extension == *e))
        };
        return files.iter().filter(|path| wanted(path)).map(|path| load(server, path)).sum();
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    server.apply_yaml(&text).with_context(|| path.display().to_string())
}
