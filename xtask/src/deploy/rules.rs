//! The alert rules as an object of the Prometheus operator. The rules themselves are copied as text: one source.

use anyhow::{Context, Result};

const HEAD: &str = "\
# Written by `cargo xtask deploy` from alerts.yaml.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: egress-agent
spec:
";

/// The PrometheusRule with these groups.
pub(super) fn object(alerts: &str) -> Result<String> {
    let at = alerts.find("\ngroups:\n").context("alerts.yaml has no groups")? + 1;
    let mut text = HEAD.to_owned();
    for line in alerts[at..].lines() {
        if !line.is_empty() {
            text.push_str("  ");
            text.push_str(line);
        }
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_groups_are_those_of_the_rules() -> Result<()> {
        let alerts = "# Why\ngroups:\n  - name: a\n    rules:\n      - alert: B\n        expr: |\n          x\n\n          > 0\n";
        let object: serde_json::Value = serde_saphyr::from_str(&object(alerts)?)?;
        let rules: serde_json::Value = serde_saphyr::from_str(alerts)?;
        assert_eq!(object["spec"], rules);
        Ok(())
    }
}
