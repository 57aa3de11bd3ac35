use serde_json::json;

use super::*;
use crate::testing;
use words::Word;

/// Every value of an enumeration reaches the wire and comes back, and the wire has no value beside them.
fn complete<W: Word + PartialEq + std::fmt::Debug>(all: &[W], wire_values: i32) {
    for value in all {
        assert_eq!(W::known(value.to_proto()).as_ref(), Some(value));
    }
    assert_eq!(all.len(), usize::try_from(wire_values - 1).unwrap());
    assert_eq!(W::known(0), None);
    assert_eq!(W::known(wire_values), None);
}

#[test]
fn every_word_has_its_number() {
    use egress_core::verdict::*;
    complete(Cause::ALL, 18);
    complete(State::ALL, 3);
    complete(Confidence::ALL, 4);
    complete(Stage::ALL, 5);
    complete(Affects::ALL, 6);
    complete(Direction::ALL, 3);
    complete(PeerKind::ALL, 6);
    complete(Hop::ALL, 6);
    complete(HopOutcome::ALL, 7);
    complete(Side::ALL, 3);
    complete(PolicyResult::ALL, 6);
}

#[test]
fn the_names_on_the_wire_are_the_words_of_the_contract() {
    for cause in Cause::ALL {
        let name = proto::Cause::try_from(cause.to_proto()).unwrap().as_str_name();
        assert_eq!(name, format!("CAUSE_{}", cause.as_str().to_uppercase().replace('-', "_")));
    }
}

#[test]
fn a_verdict_comes_back_whole() {
    for mut verdict in testing::verdicts() {
        verdict.detail.insert(
            "all".into(),
            json!({"int": 443, "negative": -7, "big": 9_007_199_254_740_992_u64, "float": 0.25, "null": null,
                   "yes": true, "list": [1, "two", [3.5]], "map": {"k": "v"}}),
        );
        let back = verdict_from_proto(verdict_to_proto(&verdict)).unwrap();
        assert_eq!(back, verdict);
        assert_eq!(
            serde_json::to_string_pretty(&back).unwrap(),
            serde_json::to_string_pretty(&verdict).unwrap()
        );
    }
}

#[test]
fn a_newer_agents_words_are_kept_and_not_refused() {
    let mut wire = verdict_to_proto(&testing::policy_drop());
    wire.cause = 99;
    wire.cause_word = "quantum-drop".into();
    wire.affects = 42;
    wire.path[1].outcome = 77;
    let verdict = verdict_from_proto(wire).unwrap();
    assert_eq!(verdict.cause, Cause::Unknown);
    assert_eq!(verdict.detail["cause"], "quantum-drop");
    assert_eq!(
        verdict.hints[verdict.hints.len() - 3..],
        [
            "the agent is newer than this client and sent cause \"quantum-drop\"; shown as \"unknown\"",
            "the agent is newer than this client and sent affects 42; shown as \"tcp\"",
            "the agent is newer than this client and sent path.outcome 77; shown as \"unseen\"",
        ]
    );
}

#[test]
fn what_cannot_be_an_answer_is_an_error_that_names_it() {
    let good = verdict_to_proto(&testing::policy_drop());
    let error = |change: &dyn Fn(&mut proto::Verdict)| {
        let mut wire = good.clone();
        change(&mut wire);
        verdict_from_proto(wire).unwrap_err()
    };
    assert_eq!(error(&|v| v.pod = None), ConvertError::Missing("pod"));
    assert_eq!(error(&|v| v.peer.as_mut().unwrap().ip = "x".into()), ConvertError::Address("x".into()));
    assert_eq!(error(&|v| v.peer.as_mut().unwrap().port = 65536), ConvertError::Port(65536));
    assert_eq!(error(&|v| v.last_seen = None), ConvertError::Missing("last_seen"));
}

#[test]
fn a_time_before_the_epoch_and_absurd_ones_do_not_panic() {
    for micros in [0, 1, -1, 1_700_000_000_000_042, -1_000_001, i64::MAX, i64::MIN / 2] {
        let at = Timestamp(micros);
        assert_eq!(time_from_proto(time_to_proto(at)), at);
    }
    time_from_proto(prost_types::Timestamp { seconds: i64::MAX, nanos: i32::MAX });
    time_from_proto(prost_types::Timestamp { seconds: i64::MIN, nanos: i32::MIN });
}

#[test]
fn a_status_comes_back_whole() {
    let status = testing::status();
    assert_eq!(status_from_proto(status_to_proto(&status)), status);
}

#[test]
fn an_explanation_comes_back_whole() {
    let explanation = testing::explanation();
    assert_eq!(explanation_from_proto(explanation_to_proto(&explanation)).unwrap(), explanation);
}

#[test]
fn the_descriptors_for_reflection_are_those_of_the_interface() {
    use prost::Message as _;
    let set = prost_types::FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET).unwrap();
    let ours = set.file.iter().find(|file| file.package() == "egress.v1").unwrap();
    let methods: Vec<_> =
        ours.service[0].method.iter().map(prost_types::MethodDescriptorProto::name).collect();
    assert_eq!(methods, ["Query", "Explain", "GetStatus"]);
}
