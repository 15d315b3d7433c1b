//! The record beside the objects: which sources and which tool chain made them. `sha256sum` reads its lines too.

use super::build::Object;
use super::sources::hex;
use super::toolchain::Toolchain;
use std::collections::BTreeMap;
use std::fmt;

/// What `sources.sha256` says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub toolchain: String,
    pub sources: String,
    pub objects: BTreeMap<String, String>,
}

const BUILT_BY: &str = "# built by ";
const SOURCES: &str = "sources";

impl Record {
    pub fn of(sources: String, objects: &[Object], toolchain: &Toolchain) -> Self {
        let objects = objects.iter().map(|object| (object.name.clone(), hex(&object.bytes))).collect();
        Self { toolchain: toolchain.to_string(), sources, objects }
    }

    /// A line that is not understood is left out, and then something will be found missing.
    pub fn parse(text: &str) -> Self {
        let mut record = Self::default();
        for line in text.lines() {
            if let Some(toolchain) = line.strip_prefix(BUILT_BY) {
                toolchain.clone_into(&mut record.toolchain);
            } else if let Some((hash, name)) = line.split_once("  ") {
                match name {
                    SOURCES => hash.clone_into(&mut record.sources),
                    _ => drop(record.objects.insert(name.to_owned(), hash.to_owned())),
                }
            }
        }
        record
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# What made the objects beside this file. Written by `cargo xtask bpf`.")?;
        writeln!(f, "{BUILT_BY}{}", self.toolchain)?;
        writeln!(f, "{}  {SOURCES}", self.sources)?;
        self.objects.iter().try_for_each(|(name, hash)| writeln!(f, "{hash}  {name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = Record {
            toolchain: "rustc 1.96.0, bpf-linker 0.13.0".to_owned(),
            sources: "ab".repeat(32),
            objects: BTreeMap::from([("forebay.bpf.o".to_owned(), "cd".repeat(32))]),
        };
        assert_eq!(Record::parse(&record.to_string()), record);
    }
}
