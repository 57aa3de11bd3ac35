//! The server, seen by the client that the agent uses.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use egress_apiserver::{Access, ApiServer, Disturbance, Fault, Rules, Target};
use futures_util::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{Event, Namespace, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::runtime::watcher;
use kube::{Client, Config, Error};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn client(server: &ApiServer, token: &str) -> Client {
    let config = kube::config::Kubeconfig::from_yaml(&server.kubeconfig(token)).unwrap();
    let build = async {
        Config::from_custom_kubeconfig(config, &kube::config::KubeConfigOptions::default()).await.unwrap()
    };
    let config = futures_util::FutureExt::now_or_never(build).expect("nothing to wait for");
    Client::try_from(config).unwrap()
}

fn pod(name: &str, node: &str) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop", "name": name}, "spec": {"nodeName": node}})
}

fn code(error: &Error) -> (u16, String) {
    match error {
        Error::Api(status) => (status.code, status.message.clone()),
        other => panic!("{other}"),
    }
}

/// The next events, as `ADDED a`.
async fn told(
    events: &mut (impl futures_util::Stream<Item = kube::Result<WatchEvent<Pod>>> + Unpin),
    count: usize,
) -> Vec<String> {
    let name = |pod: &Pod| pod.metadata.name.clone().unwrap_or_default();
    let mut told = Vec::new();
    while told.len() < count {
        told.push(match events.next().await.expect("the watch ended").unwrap() {
            WatchEvent::Added(pod) => format!("added {}", name(&pod)),
            WatchEvent::Modified(pod) => format!("modified {}", name(&pod)),
            WatchEvent::Deleted(pod) => format!("deleted {}", name(&pod)),
            WatchEvent::Bookmark(_) => "bookmark".to_owned(),
            WatchEvent::Error(status) => format!("error {}", status.code),
        });
    }
    told
}

#[tokio::test]
async fn lists_come_in_pages_and_watches_follow_from_their_version() {
    let server = ApiServer::start().await.unwrap();
    for index in 0..25 {
        server.apply(pod(&format!("p{index:02}"), if index % 2 == 0 { "one" } else { "two" })).unwrap();
    }
    let pods: Api<Pod> = Api::all(client(&server, ""));
    let page = ListParams::default().fields("spec.nodeName=one").limit(10);
    let first = pods.list(&page).await.unwrap();
    let second =
        pods.list(&page.clone().continue_token(first.metadata.continue_.as_ref().unwrap())).await.unwrap();
    assert_eq!((first.items.len(), second.items.len(), second.metadata.continue_), (10, 3, None));

    let version = second.metadata.resource_version.unwrap();
    let watch = WatchParams::default().fields("spec.nodeName=one");
    let mut events = pods.watch(&watch, &version).await.unwrap().boxed();
    server.apply(pod("new", "one")).unwrap();
    server.apply(pod("new", "two")).unwrap();
    server.apply(pod("elsewhere", "two")).unwrap();
    assert!(server.delete("v1", "pods", "shop", "p00"));
    assert_eq!(told(&mut events, 3).await, ["added new", "deleted new", "deleted p00"]);
    server.disturb("pods", Disturbance::Bookmark);
    server.disturb("pods", Disturbance::Gone);
    assert_eq!(told(&mut events, 2).await, ["bookmark", "error 410"]);
    assert_eq!((server.count("list", "pods"), server.count("watch", "pods")), (2, 1));
}

#[tokio::test]
async fn an_old_version_is_gone_and_a_cut_connection_can_be_resumed() {
    let server = ApiServer::start().await.unwrap();
    let first = server.apply(pod("a", "one")).unwrap();
    let pods: Api<Pod> = Api::all(client(&server, ""));
    let mut events = pods.watch(&WatchParams::default(), &first.to_string()).await.unwrap().boxed();
    server.disturb("pods", Disturbance::Cut);
    // The client takes a cut as the end of the watch.
    assert!(!matches!(events.next().await, Some(Ok(_))));
    server.apply(pod("b", "one")).unwrap();
    let mut events = pods.watch(&WatchParams::default(), &first.to_string()).await.unwrap().boxed();
    assert_eq!(told(&mut events, 1).await, ["added b"]);
    server.compact();
    let error = pods.watch(&WatchParams::default(), &first.to_string()).await.err().unwrap();
    assert_eq!(code(&error), (410, format!("too old resource version: {first} ({})", server.version())));
}

#[tokio::test]
async fn a_streaming_list_of_the_client_library_is_served() {
    let server = ApiServer::start().await.unwrap();
    server.apply(pod("a", "one")).unwrap();
    let pods: Api<Pod> = Api::all(client(&server, ""));
    let events: Vec<_> =
        watcher(pods, watcher::Config::default().streaming_lists()).take(3).try_collect().await.unwrap();
    let words: Vec<_> = events.iter().map(ToString::to_string).collect();
    assert_eq!(words, ["Init", "InitApply(a)", "InitDone"]);
}

#[tokio::test]
async fn faults_and_rights_are_told_as_the_api_server_words_them() {
    let server = ApiServer::builder().tls().start().await.unwrap();
    let role = "kind: ClusterRole\nmetadata: {name: agent}\nrules: [{apiGroups: [''], resources: [pods], verbs: [list]}]";
    let rules = Rules::of_cluster_role("agent", role).unwrap();
    server.set_access(Access::default().user("secret", "system:serviceaccount:a:b", rules));
    let stranger: Api<Pod> = Api::all(client(&server, "wrong"));
    assert_eq!(
        code(&stranger.list(&ListParams::default()).await.unwrap_err()),
        (401, "Unauthorized".to_owned())
    );
    let pods: Api<Pod> = Api::all(client(&server, "secret"));
    pods.list(&ListParams::default()).await.unwrap();
    let policies: Api<NetworkPolicy> = Api::all(client(&server, "secret"));
    let expected = "networkpolicies.networking.k8s.io is forbidden: User \"system:serviceaccount:a:b\" cannot list resource \"networkpolicies\" in API group \"networking.k8s.io\" at the cluster scope";
    assert_eq!(code(&policies.list(&ListParams::default()).await.unwrap_err()), (403, expected.to_owned()));
    assert_eq!(server.refusals(), ["Unauthorized", expected]);

    server.fault(Fault::status("list", "pods", 500, "etcdserver: request timed out").times(1));
    server.fault(Fault::late("list", "pods", Duration::from_millis(1)).times(1));
    server.fault(Fault::cut("list", "pods").times(1));
    assert_eq!(code(&pods.list(&ListParams::default()).await.unwrap_err()).0, 500);
    pods.list(&ListParams::default()).await.unwrap();
    assert!(matches!(pods.list(&ListParams::default()).await, Err(Error::HyperError(_) | Error::Service(_))));
    pods.list(&ListParams::default()).await.unwrap();

    server.begin_outage();
    assert!(pods.list(&ListParams::default()).await.is_err());
    server.end_outage();
    pods.list(&ListParams::default()).await.unwrap();
}

#[tokio::test]
async fn events_are_created_and_counted_up() {
    let server = ApiServer::start().await.unwrap();
    let events: Api<Event> = Api::namespaced(client(&server, ""), "shop");
    let event: Event = serde_json::from_value(json!({
        "metadata": {"generateName": "a."}, "involvedObject": {"kind": "Pod", "name": "a"}, "reason": "EgressPolicyDrop", "count": 1,
    }))
    .unwrap();
    let name = events.create(&PostParams::default(), &event).await.unwrap().metadata.name.unwrap();
    let patch = Patch::Merge(json!({"count": 2}));
    events.patch(&name, &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(server.get("v1", "events", "shop", &name).unwrap()["count"], 2);
    let of_pod = ListParams::default().fields("involvedObject.name=a,involvedObject.kind=Pod");
    assert_eq!(events.list(&of_pod).await.unwrap().items.len(), 1);
    let twice = events.create(&PostParams::default(), &events.get(&name).await.unwrap()).await.unwrap_err();
    assert_eq!(code(&twice).0, 409);
}

#[tokio::test]
async fn a_custom_kind_is_there_when_its_definition_is() {
    let server = ApiServer::start().await.unwrap();
    let asked = |path: &'static str| {
        let client = client(&server, "");
        async move {
            let request = hyper::Request::get(path).body(Vec::new()).unwrap();
            client.request::<serde_json::Value>(request).await
        }
    };
    let path = "/apis/cilium.io/v2/ciliumnetworkpolicies";
    assert_eq!(code(&asked(path).await.unwrap_err()).0, 404);
    let definition = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: ciliumnetworkpolicies.cilium.io}\nspec: {group: cilium.io, scope: Namespaced, names: {plural: ciliumnetworkpolicies, kind: CiliumNetworkPolicy}, versions: [{name: v2, served: true}]}\n";
    server.apply_yaml(definition).unwrap();
    server.apply_yaml("{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: a}}").unwrap();
    assert_eq!(asked(path).await.unwrap()["items"][0]["kind"], "CiliumNetworkPolicy");
    assert_eq!(asked("/apis/cilium.io/v2").await.unwrap()["resources"][0]["name"], "ciliumnetworkpolicies");
    let names = client(&server, "").list_api_groups().await.unwrap().groups;
    assert!(names.iter().any(|group| group.name == "cilium.io"));
    assert!(server.delete(
        "apiextensions.k8s.io/v1",
        "customresourcedefinitions",
        "",
        "ciliumnetworkpolicies.cilium.io"
    ));
    assert_eq!(code(&asked(path).await.unwrap_err()).0, 404);
    let namespaces: Api<Namespace> = Api::all(client(&server, ""));
    assert_eq!(namespaces.list(&ListParams::default()).await.unwrap().items.len(), 0);
}

#[tokio::test]
async fn ports_of_pods_are_forwarded() {
    let server = ApiServer::start().await.unwrap();
    server.apply(pod("agent", "one")).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    server.forward("shop", "agent", 50051, Target::Tcp(listener.local_addr().unwrap()));
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut text = [0; 4];
        stream.read_exact(&mut text).await.unwrap();
        stream.write_all(&text.map(|byte| byte.to_ascii_uppercase())).await.unwrap();
    });
    let pods: Api<Pod> = Api::namespaced(client(&server, ""), "shop");
    let mut forward = pods.portforward("agent", &[50051, 9750]).await.unwrap();
    let mut stream = forward.take_stream(50051).unwrap();
    stream.write_all(b"ping").await.unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"PING");
    let refused = forward.take_error(9750).unwrap().await.unwrap();
    assert_eq!(refused, "error forwarding port 9750 to pod: dial tcp4 127.0.0.1:9750: connection refused");
    assert_eq!(server.count("get", "pods/portforward"), 1);
    assert_eq!(code(&pods.portforward("nobody", &[1]).await.err().unwrap()).0, 404);
}
