//! Documents that a program of ours prints, so that they cannot lie: `docs/tables.md` and the description of the interfaces.

use crate::workspace::{Workspace, cargo, output};
use anyhow::{Context, Result, bail};

/// A document, and the example that prints it.
#[derive(Debug)]
pub struct Printed {
    pub document: &'static str,
    /// The crate, as the house calls it, and its example.
    printer: (&'static str, &'static str),
    /// What it is made from.
    pub source: &'static str,
    pub mend: &'static str,
}

/// Every map, row layout and limit.
pub const TABLES: Printed = Printed {
    document: "docs/tables.md",
    printer: ("engine", "tables"),
    source: "the rows",
    mend: "run `cargo xtask tables`",
};
/// The interfaces, as OpenAPI.
pub const OPENAPI: Printed = Printed {
    document: "openapi/forebay.json",
    printer: ("server", "openapi"),
    source: "the documents and the routes",
    mend: "run `cargo xtask openapi`",
};
pub const ALL: [Printed; 2] = [TABLES, OPENAPI];

impl Printed {
    pub fn write(&self, workspace: &Workspace) -> Result<()> {
        let Some(text) = self.print(workspace)? else {
            bail!("{} does not exist, so there is nothing to print {} with", self.path(), self.document);
        };
        let path = workspace.root.join(self.document);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("could not make {}", folder.display()))?;
        }
        std::fs::write(path, text).with_context(|| format!("could not write {}", self.document))
    }

    /// The text that the document should have, or nothing while no program prints it.
    pub fn print(&self, workspace: &Workspace) -> Result<Option<String>> {
        if !workspace.root.join(self.path()).is_file() {
            return Ok(None);
        }
        let (package, example) = self.printer;
        let mut run = cargo();
        run.current_dir(&workspace.root);
        run.args(["run", "-q", "-p", &format!("forebay-{package}"), "--example", example]);
        output(&mut run).map(Some)
    }

    fn path(&self) -> String {
        let (package, example) = self.printer;
        format!("crates/{package}/examples/{example}.rs")
    }
}
