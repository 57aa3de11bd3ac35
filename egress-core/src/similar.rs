//! What somebody may have meant by a name that there is not.

/// How many are told.
const MOST: usize = 3;

/// Of these names those that look like `wanted`: it with something behind (a workload's name, whose pods have longer ones),
/// or with a letter or two typed differently. At most three, the nearest first.
pub fn similar<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let allowed = (wanted.chars().count() / 4).clamp(1, 3);
    let near = |name: &'a str| {
        let behind = name.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('-'));
        let distance = if behind { 0 } else { distance(wanted, name) };
        (distance <= allowed).then_some((distance, name))
    };
    let mut found: Vec<(usize, &str)> = names.filter_map(near).collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter().take(MOST).map(|(_, name)| name).collect()
}

/// Letters to change, to leave out or to put in, and neighbours to swap, until one text is the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut least = (rows[i][j] + usize::from(x != y)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_alike_is_meant_and_nothing_else() {
        let names = ["api-client", "api-server", "coredns-5d78-abcde", "coredns-5d78-fghij", "web"];
        for (wanted, expected) in [
            ("api-clinet", &["api-client"][..]),
            ("api-cliet", &["api-client"]),
            ("coredns", &["coredns-5d78-abcde", "coredns-5d78-fghij"]),
            ("wbe", &["web"]),
            ("core", &[]),
            ("payments", &[]),
            ("", &[]),
        ] {
            assert_eq!(similar(wanted, names.into_iter()), expected, "{wanted}");
        }
    }
}
