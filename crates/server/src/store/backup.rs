//! A copy of everything as one file that people can read and any store can take: a header, a record a line,
//! and a last line with the digest of all before it.

use std::io::{self, BufRead, Write};
use std::sync::Arc;

use ring::digest::{Context, SHA256};
use serde_json::{Value, json};

use super::{Contents, Revision, Store, StoreError, Stored};
use crate::hex;

const NAME: &str = "forebay backup";
const FORM: u64 = 1;
/// The longest line that is read: far more than the longest document that is taken over HTTP.
const MAX_LINE: u64 = 64 << 20;

/// Why a backup cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file cannot be written.
    #[error("could not write the backup")]
    Write(#[source] io::Error),
    /// The file cannot be read.
    #[error("could not read the backup")]
    Read(#[source] io::Error),
    /// A line is not what it should be.
    #[error("line {line} of the backup {wrong}: take another copy")]
    Line {
        /// Counted from one.
        line: usize,
        /// In words.
        wrong: String,
    },
    /// A newer version wrote it.
    #[error(
        "the backup has form {found}, and this version reads form {FORM}: restore it with the version that wrote it"
    )]
    Newer {
        /// The form it has.
        found: u64,
    },
}

/// Why a backup is not restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is something that would be lost.
    #[error(
        "the store has {records} records already, which would be replaced: say so with --force, or take an empty store"
    )]
    NotEmpty {
        /// How many.
        records: usize,
    },
}

/// Writes a copy.
///
/// # Errors
/// The file cannot be written.
pub fn write(contents: &Contents, file: &mut dyn Write) -> Result<(), BackupError> {
    let mut digest = Context::new(&SHA256);
    let mut line = |line: String| {
        digest.update(line.as_bytes());
        file.write_all(line.as_bytes()).map_err(BackupError::Write)
    };
    let header = json!({ "name": NAME, "form": FORM, "revision": contents.revision, "records": contents.records.len() });
    line(format!("{header}\n"))?;
    for Stored { key, value } in &contents.records {
        line(format!("{{\"key\":{},\"value\":{value}}}\n", json!(key)))?;
    }
    let end = json!({ "sha256": hex::encode(digest.finish().as_ref()) });
    writeln!(file, "{end}").and_then(|()| file.flush()).map_err(BackupError::Write)
}

/// Reads a copy, whole and unchanged as it was written.
///
/// # Errors
/// It cannot be read, is of a newer form, or a line of it is not what was written; the line is named.
pub fn read(file: &mut dyn BufRead) -> Result<Contents, BackupError> {
    let mut lines = Lines { file, digest: Context::new(&SHA256), number: 0 };
    let header = lines.next()?;
    if header["name"] != NAME {
        return Err(lines.wrong("is not the first line of a backup"));
    }
    match header["form"].as_u64() {
        Some(FORM) => {}
        Some(found) => return Err(BackupError::Newer { found }),
        None => return Err(lines.wrong("does not say which form the backup has")),
    }
    let (Some(revision), Some(count)) = (header["revision"].as_u64(), header["records"].as_u64()) else {
        return Err(lines.wrong("does not say its revision and how many records follow"));
    };
    let mut records: Vec<Stored> = Vec::new();
    for _ in 0..count {
        let record = lines.next()?;
        let (Some(key), Some(value)) = (record["key"].as_str(), record.get("value")) else {
            return Err(lines.wrong("is no record"));
        };
        if records.last().is_some_and(|last| last.key.as_str() >= key) {
            return Err(lines.wrong("is out of order"));
        }
        records.push(Stored { key: key.to_owned(), value: Arc::from(value.to_string()) });
    }
    let digest = hex::encode(lines.digest.clone().finish().as_ref());
    let end = lines.next()?;
    if end["sha256"] != digest {
        return Err(lines.wrong("has another digest than the lines before it"));
    }
    if lines.read()?.is_some() {
        return Err(lines.wrong("comes after the end"));
    }
    Ok(Contents { revision, records })
}

/// Makes a store hold what a backup holds, and nothing else.
///
/// # Errors
/// The store is not empty and `force` is not said, or it cannot be written. Then it is as it was.
pub fn restore(store: &dyn Store, backup: &Contents, force: bool) -> Result<Revision, RestoreError> {
    let present = store.load()?;
    if !present.records.is_empty() && !force {
        return Err(RestoreError::NotEmpty { records: present.records.len() });
    }
    let is_kept = |key: &str| backup.records.binary_search_by(|record| record.key.as_str().cmp(key)).is_ok();
    let gone: Vec<String> =
        present.records.into_iter().map(|record| record.key).filter(|key| !is_kept(key)).collect();
    Ok(store.commit(present.revision, &backup.records, &gone)?)
}

struct Lines<'a> {
    file: &'a mut dyn BufRead,
    /// Of the lines that are read.
    digest: Context,
    number: usize,
}

impl Lines<'_> {
    fn next(&mut self) -> Result<Value, BackupError> {
        match self.read()? {
            Some(text) => {
                serde_json::from_str(&text).map_err(|error| self.wrong(&format!("is not JSON ({error})")))
            }
            None => Err(self.wrong("is missing")),
        }
    }

    fn read(&mut self) -> Result<Option<String>, BackupError> {
        self.number += 1;
        let mut line = Vec::new();
        let mut limited = io::Read::take(&mut *self.file, MAX_LINE);
        limited.read_until(b'\n', &mut line).map_err(BackupError::Read)?;
        if line.is_empty() {
            return Ok(None);
        }
        if line.last() != Some(&b'\n') {
            return Err(self.wrong("is cut off"));
        }
        self.digest.update(&line);
        String::from_utf8(line).map(Some).map_err(|_| self.wrong("is not UTF-8"))
    }

    fn wrong(&self, wrong: &str) -> BackupError {
        BackupError::Line { line: self.number, wrong: wrong.to_owned() }
    }
}
