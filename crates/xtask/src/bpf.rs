//! The BPF objects: built from crates/xdp, committed beside the crate that loads them, with a hash of the sources that made them.
//! So an ordinary build needs stable Rust only, and an object that does not belong to its sources is found.

mod build;
mod copy;
mod record;
mod sources;
mod strip;
mod toolchain;

use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use build::Object;
use record::Record;
use toolchain::Toolchain;

/// Where the objects live.
pub const FOLDER: &str = "crates/kernel/bpf";
/// The hash of the sources and of the objects they made.
pub const RECORD: &str = "crates/kernel/bpf/sources.sha256";
/// What mends every disagreement.
pub const MEND: &str = "run `cargo xtask bpf` and commit crates/kernel/bpf";

/// Builds the objects and writes them with their record.
pub fn build(workspace: &Workspace) -> Result<()> {
    let programs = build::programs(workspace)?;
    if programs.names.is_empty() {
        bail!("crates/xdp has no programs: they are its [[bin]] targets");
    }
    let toolchain = Toolchain::find()?;
    let objects = build::objects(&workspace.root, &build::target(workspace), &toolchain, &programs)?;
    std::fs::create_dir_all(workspace.root.join(FOLDER))
        .with_context(|| format!("could not make {FOLDER}"))?;
    for Object { name, bytes } in &objects {
        let file = format!("{FOLDER}/{name}");
        std::fs::write(workspace.root.join(&file), bytes)
            .with_context(|| format!("could not write {file}"))?;
        println!("{file}: {} bytes", bytes.len());
    }
    let record = Record::of(sources::hash(workspace)?, &objects, &toolchain);
    std::fs::write(workspace.root.join(RECORD), record.to_string())
        .with_context(|| format!("could not write {RECORD}"))
}

/// Fails unless the committed objects are what their sources give, in whatever folder they are built.
pub fn check(workspace: &Workspace) -> Result<()> {
    let stale = stale(workspace)?;
    if !stale.is_empty() {
        bail!("{}\nto mend it, {MEND}", stale.join("\n"));
    }
    let programs = build::programs(workspace)?;
    if programs.names.is_empty() {
        return Ok(());
    }
    let toolchain = Toolchain::find()?;
    let elsewhere = copy::elsewhere(workspace)?;
    let root = elsewhere.path().join("forebay");
    let objects = build::objects(&root, &elsewhere.path().join("target"), &toolchain, &programs)?;
    let mut wrong = Vec::new();
    for Object { name, bytes } in &objects {
        let file = format!("{FOLDER}/{name}");
        if workspace.read(&file)? != *bytes {
            wrong.push(format!("{file} is not what its sources give in another folder"));
        }
    }
    if !wrong.is_empty() {
        let record = Record::parse(&workspace.read_text(RECORD)?);
        let here = toolchain.to_string();
        if record.toolchain != here {
            wrong.push(format!("it was built by {}, and this machine has {here}", record.toolchain));
        }
        bail!("{}\nto mend it, {MEND}", wrong.join("\n"));
    }
    println!("{} objects are what their sources give, in any folder", objects.len());
    Ok(())
}

/// What in the record disagrees with the sources and objects that are there. Needs no BPF tool chain.
pub fn stale(workspace: &Workspace) -> Result<Vec<String>> {
    let programs = build::programs(workspace)?;
    if !workspace.root.join(RECORD).is_file() {
        return Ok(match programs.names.is_empty() {
            true => Vec::new(),
            false => vec!["the BPF objects were never built".to_owned()],
        });
    }
    let record = Record::parse(&workspace.read_text(RECORD)?);
    let mut stale = Vec::new();
    if record.sources != sources::hash(workspace)? {
        stale.push("the sources of the BPF objects have changed since the objects were built".to_owned());
    }
    for name in programs.objects() {
        let there = workspace.root.join(FOLDER).join(&name).is_file();
        match (there, record.objects.get(&name)) {
            (true, Some(recorded))
                if *recorded == sources::hex(&workspace.read(&format!("{FOLDER}/{name}"))?) => {}
            (true, _) => stale.push(format!("{FOLDER}/{name} is not the object that was recorded")),
            (false, _) => stale.push(format!("{FOLDER}/{name} is missing")),
        }
    }
    Ok(stale)
}
