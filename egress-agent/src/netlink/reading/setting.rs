//! Sysctls, below `/proc/sys`: those of `net` are the calling thread's namespace's.

use std::path::PathBuf;

use egress_core::node::Answer;

/// Reads a sysctl by its dotted name.
pub(super) fn read(name: &str) -> Option<Answer> {
    let value = std::fs::read_to_string(path(name)?).ok()?;
    Some(Answer::Setting { value: value.split_whitespace().collect::<Vec<_>>().join(" ") })
}

/// The file of a sysctl; a slash in its name stands for a dot in a device's.
fn path(name: &str) -> Option<PathBuf> {
    let mut path = PathBuf::from("/proc/sys");
    for part in name.split('.') {
        let part = part.replace('/', ".");
        if part.is_empty() || part == "." || part == ".." {
            return None;
        }
        path.push(part);
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_with_a_dot_keeps_it_and_nothing_leads_out() {
        let found = path("net.ipv4.conf.eth0/100.rp_filter").unwrap();
        assert_eq!(found.to_str(), Some("/proc/sys/net/ipv4/conf/eth0.100/rp_filter"));
        for bad in ["net..x", "net.//.x", "net./.x"] {
            assert_eq!(path(bad), None, "{bad}");
        }
    }
}
