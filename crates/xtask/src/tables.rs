//! `docs/tables.md`: every map, row layout and limit, printed by an example of `engine`, so that the document cannot lie.

use crate::workspace::{Workspace, cargo, output};
use anyhow::{Context, Result, bail};

/// The document that is generated.
pub const DOCUMENT: &str = "docs/tables.md";
/// The program that prints it.
const PRINTER: &str = "crates/engine/examples/tables.rs";

pub fn write(workspace: &Workspace) -> Result<()> {
    let Some(text) = print(workspace)? else {
        bail!("{PRINTER} does not exist, so there is nothing to print {DOCUMENT} with");
    };
    std::fs::write(workspace.root.join(DOCUMENT), text).with_context(|| format!("could not write {DOCUMENT}"))
}

/// The text that the document should have, or nothing while no program prints it.
pub fn print(workspace: &Workspace) -> Result<Option<String>> {
    if !workspace.root.join(PRINTER).is_file() {
        return Ok(None);
    }
    let mut run = cargo();
    run.current_dir(&workspace.root).args(["run", "-q", "-p", "forebay-engine", "--example", "tables"]);
    output(&mut run).map(Some)
}
