//! Kubernetes manifests: YAML, or JSON where the text begins like it. What is read goes into a pipeline.

use egress_agent::fuzzing;
use egress_core::cluster::ClusterChange;
use egress_core::input::Input;
use egress_core::pipeline::Pipeline;
use egress_core::time::Mono;

pub(crate) fn run(input: &[u8]) {
    let json = input.first() == Some(&b'{');
    match fuzzing::manifest(input.to_vec(), json) {
        Ok(objects) => {
            let mut pipeline = Pipeline::new("worker-1");
            for object in objects {
                let change = ClusterChange::Apply { object };
                assert!(pipeline.step(Input::Cluster { at: Mono(1), change }).is_empty());
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems {
                assert_eq!(problem.lines().count(), 1, "a problem of several lines: {problem:?}");
            }
        }
    }
}
