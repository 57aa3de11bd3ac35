//! The dashboard: each of its queries is asked as Grafana would ask it.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::prometheus::Prometheus;

/// What a query may take to show what has just happened.
const SHOWN_WITHIN: Duration = Duration::from_secs(40);

/// Runs every query; how many there are. Each must show something, in a lab that makes the faults.
pub(super) fn check(prometheus: &Prometheus) -> Result<usize> {
    let path = super::folder().join("dashboard.json");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let dashboard: Value = serde_json::from_str(&text)?;
    let panels = dashboard["panels"].as_array().context("the dashboard has no panels")?;
    let mut queries = 0;
    for panel in panels {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().context("a target without expr")?;
            let (found, _) = prometheus
                .await_query(&substituted(expression), true, SHOWN_WITHIN)
                .with_context(|| format!("panel {}", panel["title"]))?;
            let numbers = found.iter().filter_map(|series| series["value"][1].as_str());
            ensure!(numbers.clone().all(|n| n.parse::<f64>().is_ok()), "panel {}: {found:?}", panel["title"]);
            queries += 1;
        }
    }
    // Annotations too: it may be that none is there now.
    for annotation in dashboard["annotations"]["list"].as_array().into_iter().flatten() {
        if let Some(expression) = annotation["expr"].as_str() {
            prometheus.query(&substituted(expression))?;
            queries += 1;
        }
    }
    ensure!(queries > 0, "the dashboard asks nothing");
    Ok(queries)
}

/// An expression with Grafana's variables as they are when everything is chosen.
fn substituted(expression: &str) -> String {
    expression.replace("$__rate_interval", "30s").replace("$namespace", ".*").replace("$workload", ".*")
}
