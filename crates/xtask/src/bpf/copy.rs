//! The repository once more in another folder, to show that the objects do not depend on where they were built.

use crate::workspace::Workspace;
use anyhow::{Context, Result};
use tempfile::TempDir;

/// A folder that goes away with the value; the repository is in its `forebay`.
pub fn elsewhere(workspace: &Workspace) -> Result<TempDir> {
    let folder = TempDir::with_prefix("forebay-bpf-").context("could not make a temporary folder")?;
    let root = folder.path().join("forebay");
    for file in workspace.files()? {
        let to = root.join(&file);
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent)
                .with_context(|| format!("could not make {}", parent.display()))?;
        }
        std::fs::copy(workspace.root.join(&file), &to).with_context(|| format!("could not copy {file}"))?;
    }
    Ok(folder)
}
