//! A node of a large cluster.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_full_node_in_a_cluster_of_ten_thousand_policies_is_followed_change_by_change() {
    let server = cluster().await;
    for number in 0..250 {
        server.apply(pod(&format!("p{number}"), &format!("10.0.1.{}", number % 250 + 6), NODE)).unwrap();
    }
    for number in 0..10_000 {
        server.apply(policy(&format!("n{number}"), &format!("p{}", number % 250), "10.0.0.0/8")).unwrap();
    }
    let began = std::time::Instant::now();
    let mut followed = follow(&server, "").await;
    followed.until_synced().await;
    println!("ready after {:?}", began.elapsed());
    let count = |known: &Known| known.index.counts().iter().map(|(_, count)| count).sum::<usize>();
    assert_eq!(followed.look(count), 251 + 10_001 + 1 + 1 + 1 + 1);

    // Each change is the policy of the next pod: it comes, says something else, and goes.
    let began = std::time::Instant::now();
    for number in 0..100 {
        let (name, app) = (format!("change{number}"), format!("p{number}"));
        let selecting = |known: &Known| {
            let pod = known.index.pod("shop", &app).unwrap();
            let selecting = known.index.network_policies_selecting(pod);
            selecting.iter().find(|policy| policy.name == name).map(|policy| format!("{:?}", policy.egress))
        };
        for cidr in ["203.0.113.0/24", "198.51.100.0/24"] {
            server.apply(policy(&name, &app, cidr)).unwrap();
            followed
                .until("the policy", |known| selecting(known).is_some_and(|rules| rules.contains(cidr)))
                .await;
        }
        assert!(server.delete("networking.k8s.io/v1", "networkpolicies", "shop", &name));
        followed.until("the policy's end", |known| selecting(known).is_none()).await;
    }
    println!("300 changes followed one by one in {:?}", began.elapsed());
    assert_eq!(server.count("list", "*"), 6, "{:?}", server.counts());
}
