//! The soak, which is a test of the program as it is released, for longer than a test may take.

use crate::workspace::{Workspace, cargo};
use anyhow::{Context, Result, bail};

pub fn run(workspace: &Workspace, minutes: u64, seed: u64) -> Result<()> {
    let mut soak = cargo();
    soak.current_dir(&workspace.root);
    soak.args(["test", "--release", "-p", "forebay", "--test", "soak", "--"]);
    soak.args(["--minutes", &minutes.to_string(), "--seed", &seed.to_string()]);
    // A soak that could not run has not passed.
    soak.env("FOREBAY_TESTS_MUST_RUN", "1");
    let status = soak.status().context("could not run the soak")?;
    if !status.success() {
        bail!("the soak failed: {status}");
    }
    Ok(())
}
