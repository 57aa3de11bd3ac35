//! The settings file of `run`: the flags' names as keys. Flags win.

use std::fmt::Display;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;

use super::args::RunArgs;
use super::exit::Failure;

/// What the file may say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct File {
    cluster_state: Vec<PathBuf>,
    node_name: Option<String>,
    netns: Option<PathBuf>,
    uplink: Vec<String>,
    trace_netfilter: bool,
    grpc_listen: Vec<String>,
    metrics_listen: Option<String>,
    metrics_pod_label: Option<bool>,
}

/// The arguments with what the file adds to them.
pub(super) fn complete(mut args: RunArgs) -> Result<RunArgs, Failure> {
    let Some(path) = args.config.clone() else { return Ok(args) };
    let failed = |why: &dyn Display| Failure::Failed(format!("--config {}: {why}", path.display()));
    let text = fs::read_to_string(&path).map_err(|error| failed(&error))?;
    add(&mut args, &text).map_err(|why| failed(&why))?;
    Ok(args)
}

/// Adds what the text of a settings file says; what is wrong with it is told in one line.
pub(crate) fn add(args: &mut RunArgs, text: &str) -> Result<(), String> {
    // An empty file says nothing, which is no error.
    let file: File = serde_saphyr::from_str::<Option<File>>(text)
        .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())?
        .unwrap_or_default();
    let sources = &mut args.sources;
    or_list(&mut sources.cluster_state, file.cluster_state);
    sources.node_name = sources.node_name.take().or(file.node_name);
    sources.netns = sources.netns.take().or(file.netns);
    or_list(&mut sources.uplink, file.uplink);
    sources.trace_netfilter |= file.trace_netfilter;
    let listen = file.grpc_listen.iter().map(|text| read("grpc-listen", text)).collect::<Result<_, _>>()?;
    or_list(&mut args.grpc_listen, listen);
    let metrics = file.metrics_listen.map(|text| read("metrics-listen", &text)).transpose()?;
    args.metrics_listen = args.metrics_listen.take().or(metrics);
    args.metrics_pod_label = args.metrics_pod_label.or(file.metrics_pod_label);
    Ok(())
}

fn or_list<T>(flags: &mut Vec<T>, file: Vec<T>) {
    if flags.is_empty() {
        *flags = file;
    }
}

fn read<T: FromStr<Err: Display>>(key: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{key}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete_from(content: &str, args: RunArgs) -> Result<RunArgs, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        complete(RunArgs { config: Some(file.path().to_owned()), ..args }).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = "cluster-state: [a, b]\nnode-name: from-file\ngrpc-listen: ['unix:/x']\nmetrics-listen: ':1'\nmetrics-pod-label: false\n";
        let args = complete_from(file, RunArgs::default()).unwrap();
        assert_eq!(args.sources.cluster_state, [PathBuf::from("a"), PathBuf::from("b")]);
        assert_eq!(args.sources.node_name.as_deref(), Some("from-file"));
        assert_eq!(args.grpc_addresses()[0].to_string(), "unix:/x");
        assert!(!args.metrics_pod_label());
        let mut flags = RunArgs { metrics_pod_label: Some(true), ..RunArgs::default() };
        flags.sources.node_name = Some("flag".into());
        let args = complete_from(file, flags).unwrap();
        assert_eq!(args.sources.node_name.as_deref(), Some("flag"));
        assert!(args.metrics_pod_label());
        assert!(complete_from("", RunArgs::default()).unwrap().metrics_pod_label());
    }

    #[test]
    fn a_wrong_file_is_one_line_that_names_the_thing() {
        for (content, part) in [
            ("uplnk: eth0", "uplnk"),
            ("grpc-listen: ['nonsense']", "grpc-listen: \"nonsense\" is not an address"),
            ("a: [", ""),
        ] {
            let error = complete_from(content, RunArgs::default()).unwrap_err();
            assert!(error.starts_with("--config /") && error.contains(part), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
