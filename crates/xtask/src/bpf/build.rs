//! Runs cargo for the BPF target, so that the bytes depend on the sources and the tool chain and on nothing else.

use super::strip::strip;
use super::toolchain::{Toolchain, cargo_home, names};
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What every build of the programs is told. Part of the hash of the sources.
pub const FLAGS: &[&str] = &[
    "--cfg=bpf_target_arch=\"x86_64\"",
    "-Cdebuginfo=2",
    "-Clink-arg=--btf",
    "-Ctarget-cpu=v3",
    "-Ctarget-feature=+allows-misaligned-mem-access",
];
const TARGET: &str = "bpfel-unknown-none";
const PACKAGE: &str = "forebay-xdp";
/// The profile, which the workspace's own leaves to programs of the host.
const PROFILE: &[(&str, &str)] = &[
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3"),
    ("CARGO_PROFILE_RELEASE_LTO", "fat"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "2"),
    ("CARGO_PROFILE_RELEASE_INCREMENTAL", "false"),
];

/// One finished object.
#[derive(Debug)]
pub struct Object {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// The programs of crates/xdp, and the features without which they are not built.
#[derive(Debug, Default)]
pub struct Programs {
    pub names: Vec<String>,
    features: Vec<String>,
}

impl Programs {
    /// The files that the programs become.
    pub fn objects(&self) -> impl Iterator<Item = String> + '_ {
        self.names.iter().map(|name| object_name(name))
    }
}

pub fn programs(workspace: &Workspace) -> Result<Programs> {
    Ok(workspace
        .packages()?
        .iter()
        .find(|package| package["name"] == PACKAGE)
        .map(programs_of)
        .unwrap_or_default())
}

/// Builds the programs of the repository in `root`.
pub fn objects(
    root: &Path,
    target: &Path,
    toolchain: &Toolchain,
    programs: &Programs,
) -> Result<Vec<Object>> {
    // The folder of a registry's crates has a name of its own, and can only be renamed in the objects once it is there.
    run(toolchain.cargo().current_dir(root).args(["fetch", "--locked", "--quiet"]))?;
    let mut build = toolchain.cargo();
    build.current_dir(root).args(["build", "--release", "--locked", "--quiet", "-Z", "build-std=core"]);
    build.args(["--target", TARGET, "--package", PACKAGE]).arg("--target-dir").arg(target);
    for name in &programs.names {
        build.args(["--bin", name]);
    }
    if !programs.features.is_empty() {
        build.args(["--features", &programs.features.join(",")]);
    }
    build.envs(PROFILE.iter().copied()).env("CARGO_ENCODED_RUSTFLAGS", flags(root, toolchain)?);
    run(&mut build)?;
    programs.names.iter().map(|name| object(&target.join(TARGET).join("release"), name)).collect()
}

/// Beside what ordinary builds leave, and never in their way.
pub fn target(workspace: &Workspace) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    workspace.root.join(target).join("bpf")
}

fn programs_of(package: &Value) -> Programs {
    let mut programs = Programs::default();
    for target in package["targets"].as_array().into_iter().flatten() {
        if target["kind"][0] == "bin" {
            programs.names.extend(target["name"].as_str().map(str::to_owned));
            let features = target["required-features"].as_array().into_iter().flatten();
            programs.features.extend(features.filter_map(Value::as_str).map(str::to_owned));
        }
    }
    programs.names.sort();
    programs.features.sort();
    programs.features.dedup();
    programs
}

fn object(folder: &Path, program: &str) -> Result<Object> {
    let file = folder.join(program);
    let bytes = std::fs::read(&file).with_context(|| format!("could not read {}", file.display()))?;
    let bytes = strip(&bytes).with_context(|| format!("the object of the program {program}"))?;
    Ok(Object { name: object_name(program), bytes })
}

fn object_name(program: &str) -> String {
    format!("{program}.bpf.o")
}

/// The flags, separated as cargo wants them, with every folder of this machine renamed. Where two names fit, the last one counts.
fn flags(root: &Path, toolchain: &Toolchain) -> Result<OsString> {
    let mut linker = OsString::from("-Clinker=");
    linker.push(toolchain.linker());
    let mut flags: Vec<OsString> = FLAGS.iter().map(OsString::from).collect();
    flags.push(linker);
    let mut rename = |folder: &Path, to: &str| {
        for name in names(folder) {
            let mut flag = OsString::from("--remap-path-prefix=");
            flag.push(name);
            flag.push(format!("={to}"));
            flags.push(flag);
        }
    };
    if let Some(home) = cargo_home() {
        rename(&home, "/cargo");
        for registry in home.join("registry/src").read_dir().into_iter().flatten().flatten() {
            rename(&registry.path(), "/registry");
        }
    }
    toolchain.sources().iter().for_each(|folder| rename(folder, "/rust"));
    // Cargo runs the linker in the root, so it finds our lines there, and the verifier can quote them.
    rename(root, ".");
    if flags.iter().any(|flag| flag.to_string_lossy().contains('\x1f')) {
        bail!("a folder's name has the character 0x1f in it, which cargo cannot pass on");
    }
    Ok(flags.join(&OsString::from("\x1f")))
}

fn run(command: &mut std::process::Command) -> Result<()> {
    let status =
        command.status().with_context(|| format!("could not run {}", command.get_program().display()))?;
    match status.success() {
        true => Ok(()),
        false => bail!("the BPF build failed: {status}"),
    }
}
