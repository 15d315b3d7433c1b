//! One hash over everything that makes the BPF objects: our sources, the crates from the registry, and the flags.

use super::build::FLAGS;
use crate::workspace::Workspace;
use anyhow::Result;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// The package whose programs are built.
const PACKAGE: &str = "forebay-xdp";

pub fn hash(workspace: &Workspace) -> Result<String> {
    let mut files = workspace.files_under("crates/plane/src")?;
    files.insert("crates/plane/Cargo.toml".to_owned());
    files.extend(workspace.files_under("crates/xdp")?);
    let mut lines = String::new();
    for file in files {
        lines += &format!("{}  {file}\n", hex(&workspace.read(&file)?));
    }
    for foreign in foreign(&workspace.read_text("Cargo.lock")?, PACKAGE) {
        lines += &format!("{foreign}\n");
    }
    lines += &FLAGS.join("\n");
    Ok(hex(lines.as_bytes()))
}

pub fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The packages from elsewhere that one member is made of, directly or not, as `name version checksum`.
fn foreign(lock: &str, member: &str) -> BTreeSet<String> {
    let locked = Locked::read_all(lock);
    let mut seen = BTreeSet::new();
    let mut waiting = vec![member.to_owned()];
    let mut foreign = BTreeSet::new();
    while let Some(wanted) = waiting.pop() {
        // A dependency is locked as `name`, or as `name version` where several versions are.
        let mut words = wanted.split(' ');
        let (name, version) = (words.next().unwrap_or_default(), words.next());
        for package in locked.get(name).into_iter().flatten() {
            if version.is_some_and(|version| version != package.version)
                || !seen.insert((name.to_owned(), &package.version))
            {
                continue;
            }
            if let Some(checksum) = &package.checksum {
                foreign.insert(format!("{name} {} {checksum}", package.version));
            }
            waiting.extend(package.dependencies.iter().cloned());
        }
    }
    foreign
}

/// One package of Cargo.lock.
#[derive(Debug, Default)]
struct Locked {
    version: String,
    checksum: Option<String>,
    dependencies: Vec<String>,
}

impl Locked {
    /// Cargo writes the file itself and always in the same form, one fact a line.
    fn read_all(lock: &str) -> BTreeMap<String, Vec<Self>> {
        let mut packages: BTreeMap<String, Vec<Self>> = BTreeMap::new();
        for block in lock.split("[[package]]").skip(1) {
            let (mut name, mut package) = (String::new(), Self::default());
            for line in block.lines().map(str::trim) {
                if let Some(value) = fact(line, "name") {
                    name = value;
                } else if let Some(value) = fact(line, "version") {
                    package.version = value;
                } else if let Some(value) = fact(line, "checksum") {
                    package.checksum = Some(value);
                } else if let Some(dependency) =
                    line.strip_prefix('"').and_then(|rest| rest.strip_suffix("\","))
                {
                    package.dependencies.push(dependency.to_owned());
                }
            }
            packages.entry(name).or_default().push(package);
        }
        packages
    }
}

fn fact(line: &str, key: &str) -> Option<String> {
    let value = line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"')?;
    Some(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"
[[package]]
name = "aya-ebpf"
version = "0.2.1"
source = "somewhere"
checksum = "aa"
dependencies = [
 "syn 2.0.0",
]

[[package]]
name = "forebay-xdp"
version = "0.1.0"
dependencies = [
 "aya-ebpf",
]

[[package]]
name = "serde"
version = "1.0.0"
checksum = "bb"

[[package]]
name = "syn"
version = "1.0.0"
checksum = "cc"

[[package]]
name = "syn"
version = "2.0.0"
checksum = "dd"
"#;

    #[test]
    fn only_what_the_programs_are_made_of_counts() {
        let foreign: Vec<_> = foreign(LOCK, PACKAGE).into_iter().collect();
        assert_eq!(foreign, ["aya-ebpf 0.2.1 aa", "syn 2.0.0 dd"]);
    }
}
