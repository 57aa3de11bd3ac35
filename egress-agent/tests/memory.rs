//! What is kept of a cluster takes little memory, counted by the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicIsize, Ordering};

use egress_agent::k8s::files::FileSource;
use egress_core::identity::ClusterIndex;
use egress_core::time::Mono;

/// NetworkPolicies of the test.
const POLICIES: usize = 2000;
/// Bytes that one may take in the source and the index together; it was 801.
const LIMIT: isize = 900;

static IN_USE: AtomicIsize = AtomicIsize::new(0);

/// The system's allocator, counting.
struct Counting;

// SAFETY: hands everything over to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size().cast_signed(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size().cast_signed(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_policy_takes_little_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut text = r#"{"apiVersion":"v1","kind":"List","items":["#.to_owned();
    for number in 0..POLICIES {
        let comma = if number == 0 { "" } else { "," };
        write!(
            text,
            r#"{comma}{{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy",
               "metadata":{{"name":"p-{number}","namespace":"ns-{}"}},
               "spec":{{"podSelector":{{"matchLabels":{{"env":"prod","app":"app-{number}"}}}},
                 "policyTypes":["Egress"],
                 "egress":[{{"to":[{{"podSelector":{{"matchLabels":{{"app":"db"}}}}}},
                                   {{"ipBlock":{{"cidr":"10.0.0.0/8"}}}}],
                             "ports":[{{"protocol":"TCP","port":5432}}]}},
                           {{"ports":[{{"protocol":"UDP","port":53}}]}}]}}}}"#,
            number % 20
        )
        .expect("text");
    }
    text.push_str("]}");
    let file = folder.path().join("policies.json");
    std::fs::write(&file, &text).expect("written");
    drop(text);

    let before = IN_USE.load(Ordering::Relaxed);
    let source = FileSource::load(&[file]).expect("valid");
    let mut index = ClusterIndex::new("");
    for change in source.changes() {
        index.apply(change, Mono(0));
    }
    let each = (IN_USE.load(Ordering::Relaxed) - before) / POLICIES.cast_signed();
    println!("{each} bytes a policy");
    assert!(each <= LIMIT, "{each} bytes a policy");
    drop((source, index));
}
