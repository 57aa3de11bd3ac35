//! The executable's own pages. The start reads the kernel's types, manifests and the command line; the code of that
//! would stay resident for good.

use std::fs;
use std::io;
use std::ops::Range;

/// Lets go of the executable's code. What still runs is mapped again from the page cache when it is used.
///
/// # Errors
/// The process's mappings cannot be read.
pub(super) fn let_go() -> io::Result<()> {
    let executable = fs::read_link("/proc/self/exe")?;
    let maps = fs::read_to_string("/proc/self/maps")?;
    for pages in code(&maps, &executable.to_string_lossy()) {
        // SAFETY: the pages are the file's, nobody may write to them, and whoever needs one reads it from the file again.
        unsafe {
            let start = std::ptr::with_exposed_provenance_mut(pages.start);
            libc::madvise(start, pages.len(), libc::MADV_DONTNEED);
        }
    }
    Ok(())
}

/// The mappings of this file that are code: never written to, unlike what the dynamic linker fills in.
fn code(maps: &str, executable: &str) -> Vec<Range<usize>> {
    maps.lines()
        .filter_map(|line| {
            let (pages, rest) = line.split_once(' ')?;
            if !rest.starts_with("r-xp ") || !rest.ends_with(&format!(" {executable}")) {
                return None;
            }
            let (start, end) = pages.split_once('-')?;
            let address = |text| usize::from_str_radix(text, 16).ok();
            Some(address(start)?..address(end)?)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_code_of_the_executable_is_let_go() {
        let maps = "55d0a000-55d0b000 r--p 00000000 fe:00 42                     /usr/bin/egress-agent\n\
                    55d0b000-55d0d000 r-xp 00001000 fe:00 42                     /usr/bin/egress-agent\n\
                    55d0d000-55d0e000 r--p 00003000 fe:00 42                     /usr/bin/egress-agent\n\
                    7f000000-7f001000 r-xp 00000000 fe:00 43                     /usr/lib/libc.so.6\n\
                    7ffd0000-7ffd1000 r-xp 00000000 00:00 0                      [vdso]\n";
        let found = code(maps, "/usr/bin/egress-agent");
        assert!(found.len() == 1 && found[0] == (0x55d0_b000..0x55d0_d000), "{found:x?}");
        assert!(code("nonsense\n\n-1-2 r-xp x", "x").is_empty());
    }

    #[test]
    fn it_runs_on_without() {
        let_go().unwrap();
        assert!("7".parse::<u8>().is_ok());
    }
}
