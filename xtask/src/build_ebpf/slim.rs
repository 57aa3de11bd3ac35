//! Takes the debug information out of the object: the loader needs BTF and symbols, and what is embedded in the agent
//! is resident in it.

use anyhow::{Context, Result, ensure};

/// Bytes of the ELF header, and of a section header (`Elf64_Ehdr`, `Elf64_Shdr`).
const HEADER: usize = 64;
const SECTION: usize = 64;
/// `SHT_NOBITS`: a section without bytes in the file.
const NOBITS: u64 = 8;

/// The object without the bytes of its `.debug_*` sections and of their relocations. The sections stay, empty, so that
/// no number of a section changes.
///
/// # Errors
/// It is no 64-bit little-endian ELF object.
pub(super) fn slim(object: &[u8]) -> Result<Vec<u8>> {
    ensure!(object.starts_with(b"\x7fELF\x02\x01"), "this is no 64-bit little-endian ELF object");
    let table = size(object, 0x28, 8)?;
    let count = size(object, 0x3c, 2)?;
    let names = section_bytes(object, table + SECTION * size(object, 0x3e, 2)?)?;
    let mut out = object.get(..HEADER).context("cut in the header")?.to_vec();
    let mut headers = Vec::new();
    for number in 0..count {
        let at = table + SECTION * number;
        let mut header = object.get(at..at + SECTION).context("a section header is cut")?.to_vec();
        let name = names.get(size(&header, 0, 4)?..).context("a section without a name")?;
        let bytes = section_bytes(object, at)?;
        let goes = name.starts_with(b".debug_") || name.starts_with(b".rel.debug_");
        let kept = if goes { &[] } else { bytes };
        let align = size(&header, 0x30, 8)?.max(1);
        out.resize(out.len().next_multiple_of(align), 0);
        if goes {
            header[0x20..0x28].fill(0);
        }
        header[0x18..0x20].copy_from_slice(&u64::try_from(out.len())?.to_le_bytes());
        out.extend_from_slice(kept);
        headers.extend(header);
    }
    out.resize(out.len().next_multiple_of(8), 0);
    let table = u64::try_from(out.len())?.to_le_bytes();
    out[0x28..0x30].copy_from_slice(&table);
    out.extend(headers);
    Ok(out)
}

/// What a section has in the file.
fn section_bytes(object: &[u8], header: usize) -> Result<&[u8]> {
    if number(object, header + 4, 4)? == NOBITS {
        return Ok(&[]);
    }
    let (start, length) = (size(object, header + 0x18, 8)?, size(object, header + 0x20, 8)?);
    let end = start.checked_add(length).context("a section of impossible length")?;
    object.get(start..end).context("a section is cut")
}

fn size(bytes: &[u8], at: usize, width: usize) -> Result<usize> {
    Ok(usize::try_from(number(bytes, at, width)?)?)
}

fn number(bytes: &[u8], at: usize, width: usize) -> Result<u64> {
    let field = bytes.get(at..at + width).context("the object is cut")?;
    Ok(field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An object of these sections.
    fn object(sections: &[(&str, &[u8])]) -> Vec<u8> {
        let mut names = vec![0];
        let mut bytes = b"\x7fELF\x02\x01".to_vec();
        bytes.resize(HEADER, 0);
        let mut headers = vec![0; SECTION];
        let mut add = |name: &str, kind: u8, content: &[u8], names: &mut Vec<u8>, out: &mut Vec<u8>| {
            let mut header = vec![0; SECTION];
            header[0..4].copy_from_slice(&u32::try_from(names.len()).unwrap().to_le_bytes());
            header[4] = kind;
            header[0x18..0x20].copy_from_slice(&(out.len() as u64).to_le_bytes());
            names.extend(name.bytes().chain([0]));
            let content = if name == ".strtab" { names.clone() } else { content.to_vec() };
            header[0x20..0x28].copy_from_slice(&(content.len() as u64).to_le_bytes());
            header[0x30] = 4;
            out.extend(content);
            headers.extend(header);
        };
        for (name, content) in sections {
            add(name, 1, content, &mut names, &mut bytes);
        }
        add(".strtab", 3, &[], &mut names, &mut bytes);
        let table = bytes.len() as u64;
        bytes[0x28..0x30].copy_from_slice(&table.to_le_bytes());
        bytes[0x3c] = u8::try_from(sections.len() + 2).unwrap();
        bytes[0x3e] = u8::try_from(sections.len() + 1).unwrap();
        bytes.extend(headers);
        bytes
    }

    #[test]
    fn only_debug_information_goes_and_every_section_keeps_its_number() {
        let given = object(&[
            ("code", b"12345"),
            (".debug_info", &[7; 1000]),
            (".BTF", b"btf"),
            (".rel.debug_info", &[8; 500]),
        ]);
        let slim = slim(&given).unwrap();
        assert!(slim.len() < given.len() - 1400, "{} of {}", slim.len(), given.len());
        let table = size(&slim, 0x28, 8).unwrap();
        let content = |number: usize| section_bytes(&slim, table + SECTION * number).unwrap();
        assert_eq!([content(1), content(2), content(3), content(4)], [b"12345".as_slice(), b"", b"btf", b""]);
        assert!(content(5).windows(4).any(|name| name == b".BTF"), "the names are there");
        assert_eq!(size(&slim, table + SECTION * 3 + 0x18, 8).unwrap() % 4, 0, "aligned");
    }

    #[test]
    fn what_is_cut_or_something_else_is_refused() {
        let given = object(&[("code", b"12345")]);
        assert!(slim(b"MZ").is_err());
        for length in 0..given.len() {
            assert!(slim(&given[..length]).is_err(), "{length}");
        }
    }
}
