//! A Rust that can build `core` for the BPF target, and the linker; or exactly what is missing, and the line that installs it.

use crate::workspace::output;
use anyhow::{Result, bail};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the objects are built with.
#[derive(Debug)]
pub struct Toolchain {
    rust: Rust,
    linker: PathBuf,
    /// What they say of themselves, for the record.
    versions: [String; 2],
}

/// The two kinds of Rust that have the sources of `core` and take unstable options.
#[derive(Debug)]
enum Rust {
    /// Debian's own packages: a stable compiler with matching sources.
    Debian,
    /// A nightly of rustup, with the component `rust-src`.
    Nightly,
}

const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const INSTALL_DEBIAN: &str = "apt-get install --no-install-recommends rustc-web cargo-web rust-web-src llvm-22-dev libzstd-dev zlib1g-dev";
const INSTALL_NIGHTLY: &str = "rustup toolchain install nightly --component rust-src";
const INSTALL_LINKER: &str =
    "LLVM_PREFIX=/usr/lib/llvm-22 cargo install bpf-linker@0.13.0 --no-default-features --features llvm-22";

impl Toolchain {
    pub fn find() -> Result<Self> {
        let mut missing = Vec::new();
        let rust = [Rust::Debian, Rust::Nightly].into_iter().find(Rust::is_complete);
        if rust.is_none() {
            missing.push(format!(
                "a Rust with the sources of `core` is missing\n  on Debian:   {INSTALL_DEBIAN}\n  with rustup: {INSTALL_NIGHTLY}"
            ));
        }
        let linker = linker();
        if linker.is_none() {
            missing.push(format!("bpf-linker is missing (it needs LLVM 22)\n  install it: {INSTALL_LINKER}"));
        }
        let (Some(rust), Some(linker)) = (rust, linker) else {
            bail!("the BPF objects cannot be built here\n{}", missing.join("\n"));
        };
        let rustc = output(rust.rustc().arg("--version"))?.trim().to_owned();
        let links = output(Command::new(&linker).arg("--version"))?.trim().to_owned();
        Ok(Self { rust, linker, versions: [rustc, links] })
    }

    /// A cargo that builds with this Rust and with nothing of the Rust that runs this task.
    pub fn cargo(&self) -> Command {
        let mut cargo = match self.rust {
            Rust::Debian => {
                let mut cargo = Command::new(DEBIAN_CARGO);
                cargo.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1").env_remove("RUSTUP_TOOLCHAIN");
                cargo
            }
            Rust::Nightly => {
                let mut cargo = Command::new("rustup");
                cargo.args(["run", "nightly", "cargo"]).env_remove("RUSTC");
                cargo
            }
        };
        for name in ["CARGO", "RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_TARGET_DIR"] {
            cargo.env_remove(name);
        }
        cargo
    }

    pub fn linker(&self) -> &Path {
        &self.linker
    }

    /// The folders of Rust's own sources, under every name the compiler may write down.
    pub fn sources(&self) -> Vec<PathBuf> {
        self.rust.sources().map(|folder| names(&folder)).unwrap_or_default()
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [rustc, linker] = &self.versions;
        write!(f, "{rustc}, {linker}")
    }
}

impl Rust {
    fn rustc(&self) -> Command {
        match self {
            Self::Debian => Command::new(DEBIAN_RUSTC),
            Self::Nightly => {
                let mut rustc = Command::new("rustup");
                rustc.args(["run", "nightly", "rustc"]);
                rustc
            }
        }
    }

    fn is_complete(&self) -> bool {
        let has_cargo = match self {
            Self::Debian => Path::new(DEBIAN_CARGO).is_file(),
            Self::Nightly => true,
        };
        has_cargo && self.sources().is_some_and(|sources| sources.join("library/core/src/lib.rs").is_file())
    }

    fn sources(&self) -> Option<PathBuf> {
        let sysroot = output(self.rustc().args(["--print", "sysroot"])).ok()?;
        Some(Path::new(sysroot.trim()).join("lib/rustlib/src/rust"))
    }
}

/// The linker on the path, or where `cargo install` puts it.
fn linker() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(cargo_home().map(|home| home.join("bin")));
    folders.map(|folder| folder.join("bpf-linker")).find(|file| file.is_file())
}

/// Where cargo keeps what it has downloaded and installed.
pub fn cargo_home() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from);
    set("CARGO_HOME").or_else(|| set("HOME").map(|home| home.join(".cargo")))
}

/// A folder under the name it was given and under its real one.
pub fn names(folder: &Path) -> Vec<PathBuf> {
    let real = folder.canonicalize().ok().filter(|real| real != folder);
    std::iter::once(folder.to_path_buf()).chain(real).collect()
}
