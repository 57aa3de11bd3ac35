use clap::CommandFactory as _;

use super::*;

fn parse(line: &str) -> Result<Command, String> {
    let words = line.split(' ').map(|word| word.replace('_', " "));
    Cli::try_parse_from(std::iter::once("egress-agent".to_owned()).chain(words))
        .map(|cli| cli.command)
        .map_err(|error| {
            assert_eq!(error.exit_code(), 2, "{error}");
            error.to_string()
        })
}

#[test]
fn the_definition_is_sound_and_every_flag_is_explained() {
    let mut command = Cli::command();
    command.build();
    command.clone().debug_assert();
    for sub in command.get_subcommands() {
        assert!(sub.get_about().is_some(), "{}", sub.get_name());
        for argument in sub.get_arguments() {
            assert!(argument.get_help().is_some(), "{} {}", sub.get_name(), argument.get_id());
        }
    }
}

#[test]
fn a_query_with_everything() {
    let line = "query shop/api -n shop --since 15m --cause mtu --cause policy-drop --to [fd00::1]:53 -o wide \
                --server unix:/run/x.sock";
    let Command::Query(args) = parse(line).unwrap() else { panic!("not a query") };
    assert_eq!(args.target, Some(Target::Pod { namespace: Some("shop".into()), name: "api".into() }));
    assert_eq!(args.since, Some(Duration::from_secs(900)));
    assert_eq!(args.cause, [Cause::Mtu, Cause::PolicyDrop]);
    assert_eq!(args.to.unwrap().to_string(), "[fd00::1]:53");
    assert_eq!(args.output, Output::Wide);
    assert_eq!(args.server.server.unwrap().to_string(), "unix:/run/x.sock");
}

#[test]
fn run_takes_lists_and_has_defaults() {
    let line = "run --cluster-state a --cluster-state b --uplink eth0 --uplink wg0 --grpc-listen unix:/x \
                --grpc-listen [::1]:5 --metrics-listen 127.0.0.1:0 --metrics-pod-label=false --node-name n";
    let Command::Run(args) = parse(line).unwrap() else { panic!("not a run") };
    assert_eq!(args.sources.cluster_state.len(), 2);
    assert_eq!(args.sources.uplink, ["eth0", "wg0"]);
    assert_eq!(args.grpc_addresses().len(), 2);
    assert_eq!(args.metrics_address().to_string(), "127.0.0.1:0");
    assert!(!args.metrics_pod_label());
    let Command::Run(args) = parse("run").unwrap() else { panic!("not a run") };
    let addresses: Vec<_> = args.grpc_addresses().iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["unix:/run/egress-agent/agent.sock", "127.0.0.1:50051"]);
    assert_eq!(args.metrics_address().to_string(), ":9750");
    assert!(args.metrics_pod_label());
}

#[test]
fn a_wrong_value_is_named_with_what_would_be_right() {
    for (line, parts) in [
        ("query x --cause dns", &["'dns'", "--cause", "dns-failure", "policy-drop"][..]),
        ("query x -o xml", &["'xml'", "table", "wide", "json", "yaml"]),
        ("query x --since soon", &["\"soon\" is not a duration", "15m"]),
        ("query x --to a..b", &["\"a..b\" is not HOST"]),
        ("query x --server 50051", &["\"50051\" is not an address"]),
        ("query x --fix --follow", &["--fix", "--follow"]),
        ("query X", &["\"X\" is not POD"]),
        ("explain --from a --to b --port 0", &["0 is not in 1..=65535"]),
        ("explain --from a --to b --port 1 --protocol ICMP", &["'ICMP'", "TCP", "UDP", "SCTP"]),
        ("explain --from a --to b --port 1 --dns a", &["NAME=IP"]),
        ("explain --from a --to b --port 1 --dns a=b", &["\"b\" is not an IP address"]),
        ("explain --from a --to b --port 1 --cluster-state f --server x:1", &["--cluster-state", "--server"]),
        ("run --metrics-listen nine", &["\"nine\" is not an address"]),
        ("run --metrics-pod-label maybe", &["'maybe'", "true", "false"]),
        ("completions sh", &["'sh'", "bash", "zsh"]),
        ("qurey", &["qurey", "query"]),
    ] {
        let error = parse(line).unwrap_err();
        for part in parts {
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}

#[test]
fn all_namespaces_leaves_nothing_to_name() {
    let Command::Query(args) = parse("query -A --cause mtu").unwrap() else { panic!("not a query") };
    assert!(args.all_namespaces && args.target.is_none());
    assert!(parse("query -A web").unwrap_err().contains("cannot be used with"));
    assert!(parse("query -A -n shop").unwrap_err().contains("cannot be used with"));
}

#[test]
fn help_calls_the_program_as_whoever_reads_it_does() {
    let mut command = command("kubectl egress");
    let explain = command.find_subcommand_mut("explain").unwrap();
    let help = explain.render_help().to_string();
    assert!(help.contains("kubectl egress explain --from web") && !help.contains("PROGRAM"), "{help}");
    let widest = help.lines().skip_while(|line| !line.starts_with("Examples")).map(str::len).max();
    assert!(widest <= Some(80), "{help}");
}
