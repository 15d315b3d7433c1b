//! Where resources are kept: text by key, written together or not at all, durable before the answer (API-3).
//!
//! The trait fits etcd: a commit is one transaction that compares the revision at which anything was last
//! written, puts and deletes; a watch begins after a revision, and history that is gone means loading again.
//! What the text says is the business of the catalogue.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;

pub use backup::{BackupError, RestoreError};
pub use embedded::Embedded;
pub use memory::Memory;

pub mod backup;
mod embedded;
mod history;
mod memory;
#[cfg(test)]
pub(crate) mod tests;

/// When something was written: it grows with every commit. Zero is before the first one.
pub type Revision = u64;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What it goes by.
    pub key: String,
    /// What is kept: one JSON value.
    pub value: Arc<str>,
}

/// Everything there is, as of one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// When it was last written.
    pub revision: Revision,
    /// Sorted by key.
    pub records: Vec<Stored>,
}

/// What one commit wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The revision it made.
    pub revision: Revision,
    /// Records that are new or replaced.
    pub puts: Vec<Stored>,
    /// Keys of records that are gone.
    pub deletes: Vec<String>,
}

/// A store. Its functions may wait for a disk or a network, so they are called on threads that may.
pub trait Store: Send + Sync + fmt::Debug {
    /// Everything there is.
    ///
    /// # Errors
    /// It cannot be read.
    fn load(&self) -> Result<Contents, StoreError>;

    /// Writes all of it or nothing, and returns when it is durable. A key that is to be deleted need not be there.
    /// A commit of nothing makes no new revision.
    ///
    /// # Errors
    /// Somebody else wrote since `expected`, or the write failed. Then nothing of it counts; after
    /// [`StoreError::Write`] it may still be found durable at the next load.
    fn commit(&self, expected: Revision, puts: &[Stored], deletes: &[String])
    -> Result<Revision, StoreError>;

    /// Everything that is committed after `from`, what is past already first.
    ///
    /// # Errors
    /// Changes since then are no longer known: load, and watch from there.
    fn watch(&self, from: Revision) -> Result<Changes, StoreError>;
}

/// Changes in the order of their revisions.
#[derive(Debug)]
pub struct Changes(mpsc::Receiver<Arc<Change>>);

impl Changes {
    /// The next one. `None`: the watcher fell too far behind, or the store is closed; load again.
    pub async fn next(&mut self) -> Option<Arc<Change>> {
        self.0.recv().await
    }
}

/// What the system, or the library that keeps the file, said.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened or made.
    #[error("could not open the store {path}: see that its folder is there and may be written")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: Cause,
    },
    /// Another process has it.
    #[error("the store {path} is open in another process: stop that one first, or ask it over HTTP")]
    Held {
        /// The file.
        path: PathBuf,
    },
    /// A database of somebody else's.
    #[error("{path} is no store of ours: name another file or folder")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It is of a form that a newer version writes.
    #[error(
        "the store has form {found}, and this version reads form {known}: start the version that wrote it"
    )]
    Newer {
        /// The form it has.
        found: u64,
        /// The form that is read here.
        known: u64,
    },
    /// It is not as it was written, so that the library that keeps the file gave up.
    #[error("the store {path} is damaged: restore a backup into a new one")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("could not read the store: see to its disk, or restore a backup")]
    Read(#[source] Cause),
    /// A record is not what was written.
    #[error("the record `{key}` of the store cannot be read: restore a backup")]
    Record {
        /// Which one.
        key: String,
        /// Why not.
        #[source]
        cause: Cause,
    },
    /// It cannot be written.
    #[error("could not write to the store: see that its disk has room and may be written")]
    Write(#[source] Cause),
    /// Somebody else wrote.
    #[error("the store is at revision {found} and not at {expected}: somebody else wrote; try again")]
    Moved {
        /// The revision that was compared.
        expected: Revision,
        /// The revision it is at.
        found: Revision,
    },
    /// Changes that far back are gone.
    #[error("changes since revision {from} are no longer known: load everything and watch from there")]
    Compacted {
        /// From where it was asked.
        from: Revision,
    },
    /// One record twice in a commit.
    #[error("`{key}` is written twice at once: write it once")]
    Twice {
        /// Which one.
        key: String,
    },
}

/// A commit says one thing about each key, as etcd wants it.
fn once_each(puts: &[Stored], deletes: &[String]) -> Result<(), StoreError> {
    let mut seen = BTreeSet::new();
    let keys = puts.iter().map(|put| put.key.as_str()).chain(deletes.iter().map(String::as_str));
    for key in keys {
        if !seen.insert(key) {
            return Err(StoreError::Twice { key: key.to_owned() });
        }
    }
    Ok(())
}
