//! Where the repository is, which files belong to it, and what cargo knows of its packages.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The repository that the current folder is in.
#[derive(Debug)]
pub struct Workspace {
    pub root: PathBuf,
}

impl Workspace {
    pub fn find() -> Result<Self> {
        let manifest = output(cargo().args(["locate-project", "--workspace", "--message-format", "plain"]))?;
        let root = Path::new(manifest.trim())
            .parent()
            .context("cargo named a workspace manifest without a folder")?;
        Ok(Self { root: root.to_path_buf() })
    }

    /// What `cargo metadata` says about the members, without their dependencies.
    pub fn packages(&self) -> Result<Vec<Value>> {
        let text = output(cargo().current_dir(&self.root).args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ]))?;
        let metadata: Value =
            serde_json::from_str(&text).context("could not read what `cargo metadata` printed")?;
        Ok(metadata["packages"].as_array().cloned().unwrap_or_default())
    }

    /// Every file of the repository, relative to its root and sorted: what git tracks or would add, or, outside of git, what is there.
    pub fn files(&self) -> Result<BTreeSet<String>> {
        let listed = output(Command::new("git").current_dir(&self.root).args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]));
        match listed {
            // A file that was removed but not yet committed is still listed.
            Ok(text) => Ok(text
                .split('\0')
                .filter(|file| !file.is_empty() && self.root.join(file).is_file())
                .map(str::to_owned)
                .collect()),
            Err(_) => self.files_under(""),
        }
    }

    /// Every file below a folder of the repository, relative to the root and sorted, without what builds leave behind.
    pub fn files_under(&self, folder: &str) -> Result<BTreeSet<String>> {
        let mut files = BTreeSet::new();
        let mut folders = vec![self.root.join(folder)];
        while let Some(folder) = folders.pop() {
            let entries = folder
                .read_dir()
                .with_context(|| format!("could not list the folder {}", folder.display()))?;
            for entry in entries {
                let entry =
                    entry.with_context(|| format!("could not list the folder {}", folder.display()))?;
                let path = entry.path();
                if path.is_dir() && !path.is_symlink() {
                    if entry.file_name() != "target" && entry.file_name() != ".git" {
                        folders.push(path);
                    }
                } else if let Some(file) = path.strip_prefix(&self.root).ok().and_then(Path::to_str) {
                    files.insert(file.to_owned());
                }
            }
        }
        Ok(files)
    }

    /// The bytes of one file of the repository.
    pub fn read(&self, file: &str) -> Result<Vec<u8>> {
        std::fs::read(self.root.join(file)).with_context(|| format!("could not read {file}"))
    }

    /// The text of one file of the repository.
    pub fn read_text(&self, file: &str) -> Result<String> {
        std::fs::read_to_string(self.root.join(file)).with_context(|| format!("could not read {file}"))
    }
}

/// The cargo that runs this task.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// What a command prints, if it succeeds; what it complained about otherwise.
pub fn output(command: &mut Command) -> Result<String> {
    let said =
        command.stdin(Stdio::null()).output().with_context(|| format!("could not run {}", name(command)))?;
    if !said.status.success() {
        bail!("{} failed: {}", name(command), String::from_utf8_lossy(&said.stderr).trim());
    }
    String::from_utf8(said.stdout)
        .with_context(|| format!("{} printed something that is not text", name(command)))
}

fn name(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    format!("`{}`", words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" "))
}
