//! A small reader of BTF, the kernel's description of its own types: where a field is, how large, which
//! parameters a function has, which values an enumeration. Split BTF of modules included.
//!
//! Layout: `Documentation/bpf/btf.rst` of the kernel. Every index is checked: the file is input.

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::sync::Arc;

use super::error::ProbeError;

const MAGIC: u16 = 0xeb9f;
/// Types behind types that are followed at most (typedefs, qualifiers, nesting).
const DEPTH: u32 = 32;

/// `BTF_KIND_*`
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const PTR: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNC: u32 = 12;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const FLOAT: u32 = 16;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

/// The types of the kernel, or of one module on top of them.
pub(super) struct Btf {
    data: Vec<u8>,
    /// Byte offset in `data` of each type.
    types: Vec<u32>,
    /// The first type of each kind that has a name, by that name's hash.
    named: HashMap<(u32, u64), u32>,
    hash: RandomState,
    strings: std::ops::Range<usize>,
    base: Option<Arc<Btf>>,
    /// Number of the first type in `types`.
    first_type: u32,
    /// Offset of the first string.
    first_string: u32,
}

/// A type.
#[derive(Clone, Copy)]
struct Type {
    name: u32,
    kind: u32,
    /// Number of members, parameters, values.
    count: u32,
    /// Members may be bit fields.
    flag: bool,
    /// Size, or the type referred to.
    value: u32,
    /// Offset of what follows.
    rest: usize,
}

/// A field: where, and how large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// Offset in bytes.
    pub(super) offset: u32,
    /// Size in bytes.
    pub(super) size: u32,
}

impl Btf {
    /// Reads a file, on top of `base` if it is a module's.
    pub(super) fn read(path: &Path, base: Option<Arc<Self>>) -> Result<Self, ProbeError> {
        let data = fs::read(path).map_err(|source| ProbeError::NoBtf { path: path.to_path_buf(), source })?;
        Self::parse(data, base).map_err(|what| ProbeError::BadBtf { path: path.to_path_buf(), what })
    }

    /// Takes the bytes of BTF in the byte order of this machine.
    pub(super) fn parse(data: Vec<u8>, base: Option<Arc<Self>>) -> Result<Self, &'static str> {
        if u16_at(&data, 0) != Some(MAGIC) {
            return Err("no BTF magic, or another byte order");
        }
        let word = |at| u32_at(&data, at).ok_or("cut off in the header").map(|word| word as usize);
        let header = word(4)?;
        let section = |offset: usize, length: usize| -> Option<std::ops::Range<usize>> {
            let start = header.checked_add(offset)?;
            let end = start.checked_add(length)?;
            (end <= data.len()).then_some(start..end)
        };
        let type_section = section(word(8)?, word(12)?).ok_or("types outside the file")?;
        let strings = section(word(16)?, word(20)?).ok_or("strings outside the file")?;
        let (first_type, first_string) = match &base {
            Some(base) => (base.end_type(), base.end_string()),
            None => (1, 0),
        };
        let (types, named, hash) = (Vec::new(), HashMap::new(), RandomState::new());
        let mut btf = Self { data, types, named, hash, strings, base, first_type, first_string };
        let mut at = type_section.start;
        while at < type_section.end {
            let found = btf.type_at(at).ok_or("cut off in a type")?;
            let length = found.trailing().ok_or("a type of unknown kind")?;
            if let Some(name) = btf.name(found.name).filter(|name| !name.is_empty()) {
                let (key, id) = ((found.kind, btf.hash.hash_one(name)), btf.end_type());
                btf.named.entry(key).or_insert(id);
            }
            btf.types.push(u32::try_from(at).map_err(|_| "too large")?);
            at = found.rest + length;
        }
        Ok(btf)
    }

    fn end_type(&self) -> u32 {
        self.first_type + u32::try_from(self.types.len()).unwrap_or(u32::MAX - self.first_type)
    }

    fn end_string(&self) -> u32 {
        self.first_string + u32::try_from(self.strings.len()).unwrap_or(u32::MAX - self.first_string)
    }

    fn type_at(&self, at: usize) -> Option<Type> {
        let info = u32_at(&self.data, at + 4)?;
        Some(Type {
            name: u32_at(&self.data, at)?,
            kind: info >> 24 & 0x1f,
            count: info & 0xffff,
            flag: info >> 31 != 0,
            value: u32_at(&self.data, at + 8)?,
            rest: at + 12,
        })
    }

    /// The type with this number and the file that holds it.
    fn get(&self, id: u32) -> Option<(&Self, Type)> {
        if id < self.first_type {
            return self.base.as_deref()?.get(id);
        }
        let at = *self.types.get((id - self.first_type) as usize)?;
        Some((self, self.type_at(at as usize)?))
    }

    fn name(&self, offset: u32) -> Option<&[u8]> {
        if offset < self.first_string {
            return self.base.as_deref()?.name(offset);
        }
        let at = self.strings.start.checked_add((offset - self.first_string) as usize)?;
        let bytes = self.data.get(at..self.strings.end)?;
        CStr::from_bytes_until_nul(bytes).ok().map(CStr::to_bytes)
    }

    fn text(&self, offset: u32) -> Option<&str> {
        std::str::from_utf8(self.name(offset)?).ok()
    }

    /// The first type of one of these kinds with this name, in this file or the one below. A name whose hash another
    /// one had first is absent, which is safe.
    fn find(&self, name: &str, kinds: &[u32]) -> Option<u32> {
        let hash = self.hash.hash_one(name.as_bytes());
        let ids = kinds.iter().filter_map(|kind| self.named.get(&(*kind, hash)).copied());
        let is_it =
            |id: &u32| self.get(*id).and_then(|(_, found)| self.name(found.name)) == Some(name.as_bytes());
        let own = ids.filter(is_it).min();
        own.or_else(|| self.base.as_deref()?.find(name, kinds))
    }

    /// Follows typedefs and qualifiers.
    fn plain(&self, mut id: u32) -> Option<u32> {
        for _ in 0..DEPTH {
            let (_, found) = self.get(id)?;
            match found.kind {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = found.value;
                }
                _ => return Some(id),
            }
        }
        None
    }

    fn size(&self, id: u32, depth: u32) -> Option<u32> {
        let (file, found) = self.get(self.plain(id)?)?;
        match found.kind {
            kind::INT | kind::STRUCT | kind::UNION | kind::ENUM | kind::ENUM64 | kind::FLOAT => {
                Some(found.value)
            }
            kind::PTR => Some(8),
            kind::ARRAY if depth > 0 => {
                let element = self.size(u32_at(&file.data, found.rest)?, depth - 1)?;
                element.checked_mul(u32_at(&file.data, found.rest + 8)?)
            }
            _ => None,
        }
    }

    /// Size of a structure, in bytes.
    pub(super) fn size_of(&self, structure: &str) -> Option<u32> {
        self.size(self.find(structure, &[kind::STRUCT, kind::UNION])?, DEPTH)
    }

    /// Where a field is. `path` goes through structures by value, written as in C, and through anonymous members
    /// by itself. `None` also for bit fields.
    pub(super) fn field(&self, structure: &str, path: &str) -> Option<Field> {
        let mut id = self.find(structure, &[kind::STRUCT])?;
        let mut bits = 0;
        for part in path.split('.') {
            let (offset, member) = self.member(self.plain(id)?, part, DEPTH)?;
            bits += offset;
            id = member;
        }
        (bits % 8 == 0).then_some(Field { offset: bits / 8, size: self.size(id, DEPTH)? })
    }

    /// A member's offset in bits and its type.
    fn member(&self, structure: u32, name: &str, depth: u32) -> Option<(u32, u32)> {
        let (file, found) = self.get(structure)?;
        if depth == 0 || !matches!(found.kind, kind::STRUCT | kind::UNION) {
            return None;
        }
        for index in 0..found.count as usize {
            let at = found.rest + index * 12;
            let (id, raw) = (u32_at(&file.data, at + 4)?, u32_at(&file.data, at + 8)?);
            // With the flag the high byte is the width of a bit field.
            let (offset, width) = if found.flag { (raw & 0x00ff_ffff, raw >> 24) } else { (raw, 0) };
            let own = file.name(u32_at(&file.data, at)?)?;
            if own == name.as_bytes() {
                return (width == 0).then_some((offset, id));
            }
            if own.is_empty()
                && let Some((inner, member)) = self.member(self.plain(id)?, name, depth - 1)
            {
                return Some((offset + inner, member));
            }
        }
        None
    }

    /// Where a bit field of a structure begins that begins with a byte and fits in it; its width in bits is checked.
    pub(super) fn bits(&self, structure: &str, name: &str, width: u32) -> Option<u32> {
        let (file, found) = self.get(self.find(structure, &[kind::STRUCT])?)?;
        let raw = (0..found.count as usize).find_map(|index| {
            let at = found.rest + index * 12;
            let own = file.name(u32_at(&file.data, at)?)?;
            (own == name.as_bytes()).then(|| u32_at(&file.data, at + 8)).flatten()
        })?;
        let (offset, bits) = (raw & 0x00ff_ffff, raw >> 24);
        (found.flag && offset % 8 == 0 && bits == width && width <= 8).then_some(offset / 8)
    }

    /// Number of a function.
    pub(super) fn function(&self, name: &str) -> Option<u32> {
        self.find(name, &[kind::FUNC])
    }

    /// Names of a function's parameters.
    pub(super) fn parameters(&self, function: &str) -> Option<Vec<String>> {
        let (_, found) = self.get(self.find(function, &[kind::FUNC])?)?;
        self.prototype(found.value)
    }

    fn prototype(&self, id: u32) -> Option<Vec<String>> {
        let (file, found) = self.get(id)?;
        if found.kind != kind::FUNC_PROTO {
            return None;
        }
        (0..found.count as usize)
            .map(|index| Some(file.text(u32_at(&file.data, found.rest + index * 8)?)?.to_owned()))
            .collect()
    }

    /// How many parameters a tracepoint has, by the typedef of its probe; `None`: there is no such tracepoint.
    pub(super) fn tracepoint_arity(&self, event: &str) -> Option<usize> {
        let (_, alias) = self.get(self.find(&format!("btf_trace_{event}"), &[kind::TYPEDEF])?)?;
        let (_, pointer) = self.get(alias.value)?;
        // The first parameter is the probe's own data.
        self.prototype(pointer.value).map(|parameters| parameters.len().saturating_sub(1))
    }

    /// Names and values of an enumeration, of 32 bits.
    pub(super) fn enumeration(&self, name: &str) -> Option<Vec<(String, u32)>> {
        let (file, found) = self.get(self.find(name, &[kind::ENUM, kind::ENUM64])?)?;
        let stride = if found.kind == kind::ENUM { 8 } else { 12 };
        (0..found.count as usize)
            .map(|index| {
                let at = found.rest + index * stride;
                Some((file.text(u32_at(&file.data, at)?)?.to_owned(), u32_at(&file.data, at + 4)?))
            })
            .collect()
    }
}

impl Type {
    /// Bytes that follow the three words that all types have.
    fn trailing(&self) -> Option<usize> {
        let count = self.count as usize;
        Some(match self.kind {
            kind::INT | kind::VAR | kind::DECL_TAG => 4,
            kind::ARRAY => 12,
            kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => count * 12,
            kind::ENUM | kind::FUNC_PROTO => count * 8,
            kind::PTR
            | 7
            | kind::TYPEDEF
            | kind::VOLATILE
            | kind::CONST
            | kind::RESTRICT
            | kind::FUNC
            | kind::FLOAT
            | kind::TYPE_TAG => 0,
            _ => return None,
        })
    }
}

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(data.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(data.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds BTF by hand.
    #[derive(Default)]
    struct Builder {
        types: Vec<u8>,
        strings: Vec<u8>,
        first_string: u32,
    }

    impl Builder {
        fn new() -> Self {
            Self { strings: vec![0], ..Self::default() }
        }

        fn name(&mut self, name: &str) -> u32 {
            if name.is_empty() {
                return 0;
            }
            let at = u32::try_from(self.strings.len()).unwrap() + self.first_string;
            self.strings.extend(name.as_bytes());
            self.strings.push(0);
            at
        }

        fn add(&mut self, name: &str, kind: u32, count: u32, flag: bool, value: u32, rest: &[u32]) {
            let name = self.name(name);
            for word in [name, kind << 24 | count | u32::from(flag) << 31, value] {
                self.types.extend(word.to_ne_bytes());
            }
            rest.iter().for_each(|word| self.types.extend(word.to_ne_bytes()));
        }

        fn build(self) -> Vec<u8> {
            let mut data = MAGIC.to_ne_bytes().to_vec();
            data.extend([1, 0]);
            let (types, strings) = (self.types.len(), self.strings.len());
            for word in [24, 0, types, types, strings] {
                data.extend(u32::try_from(word).unwrap().to_ne_bytes());
            }
            data.extend(self.types);
            data.extend(self.strings);
            data
        }
    }

    /// ```c
    /// typedef unsigned int u32;                                        // 1, 2
    /// struct inner { u32 first; union { u32 a; void *deep; }; };       // 3 (union), 4 (pointer), 5
    /// struct outer { u32 bits:4; struct inner inner; u32 array[3]; };  // 6 (array), 7
    /// void __bpf_trace_event(void *__data, struct outer *skb)          // 8, 9
    /// ```
    fn sample() -> Builder {
        let mut builder = Builder::new();
        builder.add("unsigned int", kind::INT, 0, false, 4, &[32]);
        builder.add("u32", kind::TYPEDEF, 0, false, 1, &[]);
        let (a, deep, first) = (builder.name("a"), builder.name("deep"), builder.name("first"));
        builder.add("", kind::UNION, 2, false, 8, &[a, 2, 0, deep, 4, 0]);
        builder.add("", kind::PTR, 0, false, 0, &[]);
        builder.add("inner", kind::STRUCT, 2, false, 16, &[first, 2, 0, 0, 3, 64]);
        builder.add("", kind::ARRAY, 0, false, 0, &[2, 1, 3]);
        let (bits, inner, array) = (builder.name("bits"), builder.name("inner"), builder.name("array"));
        builder.add("outer", kind::STRUCT, 3, true, 32, &[bits, 1, 4 << 24, inner, 5, 32, array, 6, 160]);
        let (data, skb) = (builder.name("__data"), builder.name("skb"));
        builder.add("", kind::FUNC_PROTO, 2, false, 0, &[data, 4, skb, 4]);
        builder.add("__bpf_trace_event", kind::FUNC, 0, false, 8, &[]);
        builder
    }

    #[test]
    fn fields_are_found_through_anonymous_members_and_typedefs() {
        let btf = Btf::parse(sample().build(), None).unwrap();
        assert_eq!(btf.field("inner", "first"), Some(Field { offset: 0, size: 4 }));
        assert_eq!(btf.field("inner", "deep"), Some(Field { offset: 8, size: 8 }));
        assert_eq!(btf.field("outer", "inner.a"), Some(Field { offset: 12, size: 4 }));
        assert_eq!(btf.field("outer", "array"), Some(Field { offset: 20, size: 12 }));
        assert_eq!(btf.size_of("outer"), Some(32));
    }

    #[test]
    fn bit_fields_and_strangers_are_absent() {
        let btf = Btf::parse(sample().build(), None).unwrap();
        assert_eq!(btf.field("outer", "bits"), None);
        assert_eq!(btf.bits("outer", "bits", 4), Some(0));
        assert_eq!(btf.bits("outer", "bits", 6), None);
        assert_eq!(btf.bits("outer", "array", 4), None);
        assert_eq!(btf.field("outer", "inner.nothing"), None);
        assert_eq!(btf.field("nobody", "x"), None);
    }

    #[test]
    fn a_module_stands_on_the_kernel() {
        let base = Arc::new(Btf::parse(sample().build(), None).unwrap());
        let mut module = Builder { first_string: base.end_string(), ..Builder::default() };
        let own = module.name("own");
        module.add("modular", kind::STRUCT, 1, false, 16, &[own, 5, 0]);
        let module = Btf::parse(module.build(), Some(base)).unwrap();
        assert_eq!(module.field("modular", "own.deep"), Some(Field { offset: 8, size: 8 }));
        assert_eq!(module.field("inner", "first"), Some(Field { offset: 0, size: 4 }));
    }

    #[test]
    fn parameters_have_names() {
        let btf = Btf::parse(sample().build(), None).unwrap();
        assert_eq!(btf.parameters("__bpf_trace_event").unwrap(), ["__data", "skb"]);
    }

    #[test]
    fn any_cut_is_an_error_or_an_absence() {
        let whole = sample().build();
        for length in 0..whole.len() {
            if let Ok(btf) = Btf::parse(whole[..length].to_vec(), None) {
                btf.field("outer", "inner.deep");
                btf.parameters("__bpf_trace_event");
            }
        }
    }
}
