//! The store of one machine: a file of redb's.

use std::fmt;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{Database, DatabaseError, ReadableTable, TableDefinition, TableHandle};
use uuid::Uuid;

use super::history::History;
use super::{Cause, Change, Changes, Contents, Revision, Store, StoreError, Stored, once_each};

const RECORDS: TableDefinition<'_, &str, &str> = TableDefinition::new("records");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// When anything was last written.
const REVISION: &str = "revision";
/// How the tables are meant.
const FORM: &str = "form";
const KNOWN_FORM: u64 = 1;

/// How a file ends that is being made.
const UNFINISHED: &str = "new";

type Open = Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>;

/// Records in a file. Only one process can have it open.
pub struct Embedded {
    path: PathBuf,
    open: Open,
    /// `None` after an input or output error: redb then refuses everything until the file is opened again.
    database: Mutex<Option<Database>>,
    history: History,
}

impl Embedded {
    /// Opens a file, or makes it.
    ///
    /// # Errors
    /// It cannot be opened, another process has it, or a newer version wrote it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if !path.exists()
            && let Err(cause) = make(path)
            && !path.exists()
        {
            return Err(StoreError::Open { path: path.to_owned(), cause });
        }
        let file = path.to_owned();
        let store = Self::with(path, Box::new(move || Database::open(&file)))?;
        forget_unfinished(path);
        Ok(store)
    }

    pub(super) fn with(path: &Path, open: Open) -> Result<Self, StoreError> {
        let store =
            Self { path: path.to_owned(), open, database: Mutex::new(None), history: History::since(0) };
        let revision = store.on(revision)?;
        store.history.restart(revision);
        Ok(store)
    }

    /// Does something with the database, opening it if need be. After an error it is opened anew the next time.
    fn on<T>(&self, act: impl FnOnce(&Database) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut place = self.lock();
        let database = match place.take() {
            Some(database) => database,
            None => self.sound(|| self.reopen())?,
        };
        // `act` owns the database, so that a damaged one is gone, however it ends.
        let (database, result) = self.sound(move || {
            let result = act(&database);
            let is_whole = !matches!(result, Err(StoreError::Read(_) | StoreError::Write(_)));
            Ok((is_whole.then_some(database), result))
        })?;
        *place = database;
        result
    }

    /// redb panics on some files that are not as it wrote them. For whoever has such a file that is no reason to end.
    fn sound<T>(&self, act: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        panic::catch_unwind(AssertUnwindSafe(act))
            .unwrap_or_else(|_| Err(StoreError::Damaged { path: self.path.clone() }))
    }

    fn reopen(&self) -> Result<Database, StoreError> {
        let path = || self.path.clone();
        let database =
            (self.open)().map_err(|error| match matches!(error, DatabaseError::DatabaseAlreadyOpen) {
                true => StoreError::Held { path: path() },
                false => StoreError::Open { path: path(), cause: error.into() },
            })?;
        if !is_ours(&database)? {
            return Err(StoreError::Foreign { path: path() });
        }
        prepare(&database)?;
        self.history.restart(revision(&database)?);
        Ok(database)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Database>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Embedded").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Store for Embedded {
    fn load(&self) -> Result<Contents, StoreError> {
        self.on(contents)
    }

    fn commit(
        &self,
        expected: Revision,
        puts: &[Stored],
        deletes: &[String],
    ) -> Result<Revision, StoreError> {
        once_each(puts, deletes)?;
        self.on(|database| {
            let revision = write(database, expected, puts, deletes)?;
            if revision != expected {
                self.history.add(Change { revision, puts: puts.to_vec(), deletes: deletes.to_vec() });
            }
            Ok(revision)
        })
    }

    fn watch(&self, from: Revision) -> Result<Changes, StoreError> {
        self.history.watch(from)
    }
}

/// Makes a file. redb does it in several steps, so it is done beside, and the file is there when it is whole: who is killed
/// on the way leaves none. When somebody else was faster, theirs stays.
fn make(path: &Path) -> Result<(), Cause> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}.{UNFINISHED}", Uuid::new_v4()));
    let unfinished = PathBuf::from(unfinished);
    let database = Database::create(&unfinished)?;
    prepare(&database)?;
    drop(database);
    File::open(&unfinished)?.sync_all()?;
    let linked = fs::hard_link(&unfinished, path);
    fs::remove_file(&unfinished)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error.into()),
        Ok(()) | Err(_) => Ok(File::open(path.parent().unwrap_or(path))?.sync_all()?),
    }
}

/// Removes what those left who were killed while they made the file. Nobody else makes one any more.
fn forget_unfinished(path: &Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return;
    };
    let is_unfinished = |file: &str| {
        let rest = file.strip_prefix(name).and_then(|rest| rest.strip_suffix(UNFINISHED));
        rest.is_some_and(|rest| rest.len() > 1)
    };
    for file in fs::read_dir(folder).into_iter().flatten().flatten() {
        if file.file_name().to_str().is_some_and(is_unfinished) {
            let _ = fs::remove_file(file.path());
        }
    }
}

/// Whether it has our tables, or none at all.
fn is_ours(database: &Database) -> Result<bool, StoreError> {
    let transaction = database.begin_read().map_err(reading)?;
    let mut tables = transaction.list_tables().map_err(reading)?.peekable();
    Ok(tables.peek().is_none() || tables.any(|table| table.name() == META.name()))
}

/// Makes the tables of a new file, and sees that those of an old one are ours.
fn prepare(database: &Database) -> Result<(), StoreError> {
    let transaction = database.begin_write().map_err(writing)?;
    {
        transaction.open_table(RECORDS).map_err(writing)?;
        let mut meta = transaction.open_table(META).map_err(writing)?;
        let found = meta.get(FORM).map_err(writing)?.map(|form| form.value());
        match found {
            Some(KNOWN_FORM) => return Ok(()),
            Some(found) => return Err(StoreError::Newer { found, known: KNOWN_FORM }),
            None => {
                meta.insert(FORM, KNOWN_FORM).map_err(writing)?;
                meta.insert(REVISION, 0).map_err(writing)?;
            }
        }
    }
    transaction.commit().map_err(writing)
}

fn revision(database: &Database) -> Result<Revision, StoreError> {
    let transaction = database.begin_read().map_err(reading)?;
    let meta = transaction.open_table(META).map_err(reading)?;
    let revision = meta.get(REVISION).map_err(reading)?;
    Ok(revision.map_or(0, |revision| revision.value()))
}

fn contents(database: &Database) -> Result<Contents, StoreError> {
    let transaction = database.begin_read().map_err(reading)?;
    let meta = transaction.open_table(META).map_err(reading)?;
    let revision = meta.get(REVISION).map_err(reading)?.map_or(0, |revision| revision.value());
    let table = transaction.open_table(RECORDS).map_err(reading)?;
    let mut records = Vec::new();
    for row in table.iter().map_err(reading)? {
        let (key, value) = row.map_err(reading)?;
        records.push(Stored { key: key.value().to_owned(), value: Arc::from(value.value()) });
    }
    Ok(Contents { revision, records })
}

/// One transaction. It is durable when this returns, because that is how redb commits unless told otherwise.
fn write(
    database: &Database,
    expected: Revision,
    puts: &[Stored],
    deletes: &[String],
) -> Result<Revision, StoreError> {
    let transaction = database.begin_write().map_err(writing)?;
    let revision = expected + 1;
    {
        let mut meta = transaction.open_table(META).map_err(writing)?;
        let found = meta.get(REVISION).map_err(writing)?.map_or(0, |revision| revision.value());
        if found != expected {
            return Err(StoreError::Moved { expected, found });
        }
        if puts.is_empty() && deletes.is_empty() {
            return Ok(expected);
        }
        meta.insert(REVISION, revision).map_err(writing)?;
        let mut records = transaction.open_table(RECORDS).map_err(writing)?;
        for key in deletes {
            records.remove(key.as_str()).map_err(writing)?;
        }
        for put in puts {
            records.insert(put.key.as_str(), &*put.value).map_err(writing)?;
        }
    }
    transaction.commit().map_err(writing)?;
    Ok(revision)
}

fn reading(cause: impl Into<Cause>) -> StoreError {
    StoreError::Read(cause.into())
}

fn writing(cause: impl Into<Cause>) -> StoreError {
    StoreError::Write(cause.into())
}
