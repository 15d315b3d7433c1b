//! `forebay backup` and `forebay restore`: everything a server holds as one file, and back.
//!
//! A running server is asked for the copy, because only one process can have the store open. A store is restored while no
//! server has it: one that runs would go on with what it knows.

use std::error::Error;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use model::{Problem, ResourceId};
use server::STORE_FILE;
use server::catalogue::{self, OpenError};
use server::store::{Contents, Embedded, Store, backup};

use super::{Asked, Server, Unanswered, args};
use crate::command::{count, print};

pub(super) async fn run(args: args::Backup) -> Asked {
    let bytes = match &args.store {
        Some(folder) => copy(folder)?,
        None => Server::of(args.server, args::Home::default())?.client.backup().await?.into_bytes(),
    };
    // What cannot be restored is no backup, so it is read before it takes the place of another.
    let contents = backup::read(&mut &*bytes).map_err(boxed)?;
    if args.file.as_os_str() == "-" {
        return Ok(print(&String::from_utf8_lossy(&bytes))?);
    }
    replace(&args.file, &bytes)
        .map_err(|cause| format!("could not write {}: {cause}", args.file.display()))?;
    let file = args.file.display();
    Ok(print(&format!("{} at revision {} in {file}\n", resources(&contents), contents.revision))?)
}

/// What there is to say when it is done.
pub(super) fn restore(args: &args::Restore) -> Result<String, Box<dyn Error>> {
    let unreadable = |cause| format!("could not read {}: {cause}", args.file.display());
    let mut reader: Box<dyn BufRead> = match args.file.as_os_str() == "-" {
        true => Box::new(io::stdin().lock()),
        false => Box::new(BufReader::new(File::open(&args.file).map_err(unreadable)?)),
    };
    let contents = backup::read(&mut *reader)?;
    // A server would not start on what is not valid.
    catalogue::examine(&contents).map_err(|error| match error {
        OpenError::Invalid(problems) => format!("the backup cannot be served:\n{}", lines(&problems)).into(),
        OpenError::Store(error) => Box::<dyn Error>::from(error),
    })?;
    let folder = args.store.display();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&args.store)
        .map_err(|cause| format!("could not make the folder {folder}: {cause}"))?;
    let store = Embedded::open(&args.store.join(STORE_FILE))?;
    backup::restore(&store, &contents, args.force)?;
    Ok(format!("{} of revision {} in {folder}: start the server\n", resources(&contents), contents.revision))
}

fn copy(folder: &Path) -> Result<Vec<u8>, Unanswered> {
    let file = folder.join(STORE_FILE);
    if !file.exists() {
        // Opening would make one.
        let folder = folder.display();
        return Err(
            format!("there is no store in {folder}: name the folder that `[server] store` names").into()
        );
    }
    let contents = Embedded::open(&file).and_then(|store| store.load()).map_err(boxed)?;
    let mut bytes = Vec::new();
    backup::write(&contents, &mut bytes).map_err(boxed)?;
    Ok(bytes)
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("  {problem}\n")).collect()
}

/// The old file or the new one, whatever happens. Only its owner can read it: it holds what only those may see who have a credential.
fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".part");
    let beside = PathBuf::from(beside);
    let written = (|| {
        let mut part =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        part.write_all(bytes)?;
        part.sync_all()?;
        fs::rename(&beside, file)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

/// What a store keeps beside resources is nobody's business.
fn resources(contents: &Contents) -> String {
    let resources = contents.records.iter().filter(|record| ResourceId::parse(&record.key).is_some());
    count(resources.count(), "resource")
}

fn boxed(error: impl Error + 'static) -> Unanswered {
    Unanswered::Failed(error.into())
}

#[cfg(test)]
mod tests {
    use server::store::Stored;

    use super::*;

    #[test]
    fn what_no_server_could_serve_is_not_restored() {
        let folder = tempfile::tempdir().unwrap();
        fill(
            &folder.path().join("old"),
            &["/subscriptions/s/resourcegroups/g/providers/microsoft.network/x/y"],
        );
        let file = folder.path().join("copy");
        replace(&file, &copy(&folder.path().join("old")).ok().unwrap()).unwrap();
        let args = args::Restore { file, store: folder.path().join("new"), force: true };
        assert!(restore(&args).is_err());
        assert!(!args.store.exists());
    }

    #[test]
    fn a_store_that_a_server_has_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        fill(folder.path(), &[]);
        let file = folder.path().join("copy");
        replace(&file, &copy(folder.path()).ok().unwrap()).unwrap();
        let _held = Embedded::open(&folder.path().join(STORE_FILE)).unwrap();
        let args = args::Restore { file, store: folder.path().to_owned(), force: true };
        let error = restore(&args).unwrap_err().to_string();
        assert!(error.contains("is open in another process: stop that one first"), "{error}");
    }

    #[test]
    fn a_copy_that_is_not_whole_takes_nobodys_place() {
        let folder = tempfile::tempdir().unwrap();
        fill(&folder.path().join("old"), &["a", "b"]);
        let bytes = copy(&folder.path().join("old")).ok().unwrap();
        let file = folder.path().join("copy");
        fs::write(&file, &bytes[..bytes.len() - 20]).unwrap();
        let args = args::Restore { file, store: folder.path().join("new"), force: true };
        assert!(restore(&args).unwrap_err().to_string().contains("take another copy"));
        assert!(!args.store.exists());
        assert!(copy(&args.store).is_err());
    }

    fn fill(folder: &Path, keys: &[&str]) {
        fs::create_dir_all(folder).unwrap();
        let records = keys.iter().map(|key| Stored { key: (*key).into(), value: "{}".into() });
        let store = Embedded::open(&folder.join(STORE_FILE)).unwrap();
        store.commit(0, &records.collect::<Vec<_>>(), &[]).unwrap();
    }
}
