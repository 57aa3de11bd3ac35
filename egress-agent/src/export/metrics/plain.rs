//! The same metrics in Prometheus' older text format (0.0.4), for scrapers that do not read OpenMetrics.
//!
//! The formats differ in what the descriptions call a family: `x_total` for a counter, and no `info` at all. The
//! samples are the same.

use std::collections::HashMap;

/// Content type of the older format.
pub(crate) const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Rewrites an OpenMetrics exposition.
pub(crate) fn plain(openmetrics: &str) -> String {
    let kinds: HashMap<&str, &str> =
        openmetrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let mut out = String::with_capacity(openmetrics.len());
    for line in openmetrics.lines() {
        let Some((keyword, name, rest)) = description(line) else {
            // The end is told by the end; a unit is part of the name anyway.
            if !line.starts_with('#') {
                out.push_str(line);
                out.push('\n');
            }
            continue;
        };
        let (suffix, kind) = match kinds.get(name) {
            Some(&"counter") => ("_total", "counter"),
            Some(&"info") => ("_info", "gauge"),
            Some(&kind) => ("", kind),
            None => ("", "untyped"),
        };
        let rest = if keyword == "TYPE" { kind } else { rest };
        out.push_str(&format!("# {keyword} {name}{suffix} {rest}\n"));
    }
    out
}

/// `# HELP name text` or `# TYPE name kind` in its parts.
fn description(line: &str) -> Option<(&str, &str, &str)> {
    let (keyword, rest) = line.strip_prefix("# ")?.split_once(' ')?;
    let (name, rest) = rest.split_once(' ')?;
    matches!(keyword, "HELP" | "TYPE").then_some((keyword, name, rest))
}

/// Whether a client that sends this `Accept` reads the older format only. One that says nothing gets OpenMetrics.
pub(crate) fn wanted(accept: Option<&str>) -> bool {
    accept.is_some_and(|accept| {
        accept.contains("text/plain") && !accept.contains("application/openmetrics-text")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_name_the_samples() {
        let text = "# HELP a Help of a\n# TYPE a counter\na_total{x=\"# HELP\"} 1\n# HELP b_seconds Of b\n\
                    # TYPE b_seconds histogram\n# UNIT b_seconds seconds\nb_seconds_count 0\n# HELP c Of c\n\
                    # TYPE c info\nc_info{v=\"1\"} 1\n# EOF\n";
        assert_eq!(
            plain(text),
            "# HELP a_total Help of a\n# TYPE a_total counter\na_total{x=\"# HELP\"} 1\n# HELP b_seconds Of b\n\
             # TYPE b_seconds histogram\nb_seconds_count 0\n# HELP c_info Of c\n# TYPE c_info gauge\n\
             c_info{v=\"1\"} 1\n"
        );
    }

    #[test]
    fn openmetrics_unless_only_the_older_format_is_read() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, plain) in [
            (None, false),
            (Some("*/*"), false),
            (Some(prometheus), false),
            (Some("text/plain;version=0.0.4"), true),
        ] {
            assert_eq!(wanted(accept), plain, "{accept:?}");
        }
    }
}
