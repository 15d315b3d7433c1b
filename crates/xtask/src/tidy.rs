//! Is the repository in order? Everything that is wrong is said at once, with its place and its mend.

mod arrows;
mod code;
mod files;
mod generated;
mod purity;
mod semantics;
mod tree;

use crate::workspace::Workspace;
use anyhow::{Result, bail};
use std::fmt;
use tree::Tree;

/// Something that is not as the house wants it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub file: String,
    /// Counted from one.
    pub line: usize,
    pub wrong: String,
    pub mend: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}\n    mend: {}", self.file, self.line, self.wrong, self.mend)
    }
}

pub fn run(workspace: &Workspace) -> Result<()> {
    let tree = Tree::read(workspace)?;
    let promises = semantics::check(&tree);
    let mut findings = arrows::check(&tree, &workspace.packages()?);
    findings.extend(purity::check(&tree));
    findings.extend(files::check(&tree));
    findings.extend(generated::check(workspace, &tree)?);
    findings.extend(promises.findings);
    findings.sort();
    findings.dedup();
    for finding in &findings {
        println!("{finding}");
    }
    for long in files::long_with_reason(&tree) {
        println!("note: {long}");
    }
    println!(
        "promises: {} proved, {} in part, {} not yet",
        promises.proved, promises.in_part, promises.not_yet
    );
    match findings.len() {
        0 => Ok(()),
        1 => bail!("one thing is not tidy"),
        count => bail!("{count} things are not tidy"),
    }
}
