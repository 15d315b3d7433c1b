//! Doing what was decided, and taking it back.
//!
//! Before a step is done, what undoes it is on the disk. So wherever it ends, `undo` brings the host back to where it was.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::persist::{path, without_block};
use crate::plan::Change;
use crate::step::Step;

/// The form of the journal that is written.
const VERSION: u32 = 1;

/// What has kept a step from being done. Those before it were done, and can be undone.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// A command has failed.
    #[error("`{command}` failed: {said}")]
    Command {
        /// What was run.
        command: String,
        /// What it said.
        said: String,
    },
    /// No shell could be started.
    #[error("could not run `sh`")]
    Shell(#[source] io::Error),
    /// What undoes it could not be kept, so it was not done.
    #[error("could not write {path}, so nothing more was done")]
    Journal {
        /// Where it is kept.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The journal is not one.
    #[error("{path} is not what this version has written: {cause}; undo with the version that did")]
    Unreadable {
        /// Where it is kept.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
}

/// Does changes in their order, and tells each step when it is done.
///
/// # Errors
/// With the first step that cannot be done.
pub fn apply(
    host: &Host,
    changes: &[Change],
    root: &Path,
    mut tell: impl FnMut(&Step),
) -> Result<(), ActError> {
    let mut host = host.clone();
    for Change { step, .. } in changes {
        write(&before(&host, step), root)?;
        run(step, root)?;
        host = next(&host, step);
        write(&host.journal, root)?;
        tell(step);
    }
    Ok(())
}

/// The host after a step that is a change of a plan, with its journal.
pub(crate) fn next(host: &Host, step: &Step) -> Host {
    let mut journal = before(host, step);
    // What an earlier step has brought, and this one takes back, needs no undoing any more.
    if host.journal.contains(step) {
        journal.retain(|it| it != step);
    }
    Host { journal, ..host.after(step) }
}

/// The journal with what undoes a step; of several steps about one thing, the first one's inverse restores it.
fn before(host: &Host, step: &Step) -> Vec<Step> {
    let is_known = host.journal.iter().any(|it| it.target() == step.target());
    let inverse = (!is_known).then(|| step.inverse(host));
    host.journal.iter().cloned().chain(inverse).collect()
}

/// Takes back everything that was done to a host, the last first, and tells each step when it is done.
///
/// # Errors
/// With the first step that cannot be taken back. Those behind it were, and are not tried again.
pub fn undo(host: &Host, root: &Path, mut tell: impl FnMut(&Step)) -> Result<(), ActError> {
    let mut host = host.clone();
    while let Some(step) = host.journal.last().cloned() {
        let step = without_others_lines(&host, step);
        if !host.has(&step) && can_be_done(&host, &step) {
            run(&step, root)?;
            host = host.after(&step);
            tell(&step);
        }
        host.journal.pop();
        write(&host.journal, root)?;
    }
    Ok(())
}

/// What a journal that was read says.
///
/// # Errors
/// When the file is there and is no journal.
pub(crate) fn read(root: &Path) -> Result<Vec<Step>, ActError> {
    let path = place(root);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(ActError::Unreadable { path, cause: cause.to_string() }),
    };
    match serde_json::from_str(&text) {
        Ok(Journal { version: VERSION, undo }) => Ok(undo),
        Ok(Journal { version, .. }) => {
            Err(ActError::Unreadable { path, cause: format!("it has version {version}") })
        }
        Err(cause) => Err(ActError::Unreadable { path, cause: cause.to_string() }),
    }
}

#[derive(Serialize, Deserialize)]
struct Journal {
    version: u32,
    undo: Vec<Step>,
}

/// Whole or not at all; an empty one is none.
fn write(steps: &[Step], root: &Path) -> Result<(), ActError> {
    let path = place(root);
    let failed = |cause| ActError::Journal { path: path.clone(), cause };
    if steps.is_empty() {
        return match fs::remove_file(&path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(failed(cause)),
            Ok(()) | Err(_) => Ok(()),
        };
    }
    let journal = Journal { version: VERSION, undo: steps.to_vec() };
    let text = serde_json::to_string_pretty(&journal).map_err(|cause| failed(cause.into()))?;
    let unfinished = path.with_extension("json.new");
    fs::create_dir_all(path.parent().unwrap_or(root)).map_err(failed)?;
    fs::write(&unfinished, text + "\n").map_err(failed)?;
    let file = fs::File::open(&unfinished).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    fs::rename(&unfinished, &path).map_err(failed)
}

fn place(root: &Path) -> PathBuf {
    root.join(path::JOURNAL.trim_start_matches('/'))
}

/// A file of somebody else's loses our lines, and keeps what was written into it since.
fn without_others_lines(host: &Host, step: Step) -> Step {
    match (&step, host.file(path::NFTABLES_CONF)) {
        (Step::Write { path, .. }, Some(now)) if path == path::NFTABLES_CONF => {
            Step::Write { path: path.clone(), text: without_block(now) }
        }
        (_, _) => step,
    }
}

/// What is gone cannot be brought back to where it was.
fn can_be_done(host: &Host, step: &Step) -> bool {
    match step {
        Step::Sysctl { key, .. } => host.sysctls.contains_key(key),
        Step::AddAddress { interface, .. } => host.interfaces.contains_key(interface),
        Step::UfwAllow { .. } | Step::UfwForget { .. } => host.ufw.is_some(),
        Step::RemoveAddress { .. }
        | Step::NftAccept { .. }
        | Step::NftForget { .. }
        | Step::Write { .. }
        | Step::Remove { .. }
        | Step::Enable
        | Step::Disable => true,
    }
}

fn run(step: &Step, root: &Path) -> Result<(), ActError> {
    let command = step.command(root);
    let output = Command::new("sh")
        .args(["-ec", &command])
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(ActError::Shell)?;
    if output.status.success() {
        return Ok(());
    }
    let said = if output.stderr.is_empty() { output.stdout } else { output.stderr };
    let said = String::from_utf8_lossy(&said).trim().replace('\n', "; ");
    let said = if said.is_empty() { output.status.to_string() } else { said };
    Err(ActError::Command { command, said })
}
