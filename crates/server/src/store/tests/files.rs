//! Files that are no store, of another version, or damaged: a clear word, never a panic, and nothing is made worse.

use std::fs;
use std::path::PathBuf;

use redb::{Database, TableDefinition};

use super::*;

#[test]
fn a_file_that_is_no_store_is_not_opened_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    for content in [&b"# notes\n"[..], &[0; 4_096], b"redb", &[0xff; 70_000]] {
        fs::write(&path, content).unwrap();
        let error = Embedded::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Open { .. }), "{error:?}");
        assert!(error.to_string().contains("store.redb"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    assert!(Embedded::open(folder.path()).is_err());
}

// API-3
#[test]
fn who_was_killed_while_the_file_was_made_left_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let unfinished = folder.path().join("store.redb.0b5e.new");
    fs::write(&unfinished, b"half").unwrap();
    let other = folder.path().join("store.redb.notes");
    fs::write(&other, b"mine").unwrap();
    let store = Embedded::open(&path).unwrap();
    assert_eq!((unfinished.exists(), other.exists()), (false, true));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    store.commit(0, &[stored("a", 1)], &[]).unwrap();
}

#[test]
fn of_those_who_make_a_store_at_once_one_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || Embedded::open(&path))
        })
        .collect();
    let results: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let held = |result: &&Result<Embedded, StoreError>| matches!(result, Err(StoreError::Held { .. }));
    assert_eq!(
        (results.iter().filter(|result| result.is_ok()).count(), results.iter().filter(held).count()),
        (1, 7),
        "{results:?}"
    );
}

#[test]
fn somebody_elses_database_is_not_taken_for_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let theirs: TableDefinition<'_, &str, u64> = TableDefinition::new("theirs");
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(theirs).unwrap().insert("a", 1).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = Embedded::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error:?}");
    assert!(error.to_string().contains("is no store of ours"), "{error}");
}

#[test]
fn a_store_of_a_newer_version_is_left_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = a_store(folder.path());
    let meta: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(meta).unwrap().insert("form", 9).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = Embedded::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 9, known: 1 }), "{error:?}");
    assert!(error.to_string().contains("start the version that wrote it"), "{error}");
}

// What is found is what was written, or an error: not something else, and no end of the program.
#[test]
fn a_store_that_is_cut_off_or_damaged_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = a_store(folder.path());
    let whole = fs::read(&path).unwrap();
    let wanted = Embedded::open(&path).unwrap().load().unwrap();
    let mut refused = 0;
    let cut = (0..24).map(|part| whole[..whole.len() * part / 24].to_vec());
    let damaged = (0..200_usize).map(|part| {
        let mut bytes = whole.clone();
        // The headers, which are the first page, and then everywhere.
        let at = if part < 100 { part * 5 } else { whole.len() * (part - 100) / 100 };
        for byte in bytes.iter_mut().skip(at).take(3) {
            *byte ^= 0x5a;
        }
        bytes
    });
    for bytes in cut.skip(1).chain(damaged) {
        fs::write(&path, &bytes).unwrap();
        match Embedded::open(&path).and_then(|store| store.load()) {
            Ok(found) => assert!(found == wanted || found.revision < wanted.revision, "{found:?}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 20, "only {refused} were refused");
}

#[test]
fn a_backup_that_is_none_is_not_restored() {
    check(b"", "line 1 of the backup is missing");
    check(b"\n", "line 1 of the backup is not JSON");
    check(b"[1]\n", "line 1 of the backup is not the first line of a backup");
    check(b"{\"name\":\"forebay backup\"}\n", "does not say which form");
    check(b"{\"name\":\"forebay backup\",\"form\":1}\n", "does not say its revision");
    check(b"{\"name\":\"forebay backup\",\"form\":2}\n", "has form 2, and this version reads form 1");
    check(&[0x1f, 0x8b, 8, 0, b'\n'], "line 1 of the backup is not UTF-8");
    check(&[b'x'; 1_000], "line 1 of the backup is cut off");

    fn check(mut file: &[u8], wanted: &str) {
        let error = backup::read(&mut file).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn a_backup_that_is_cut_off_anywhere_is_refused() {
    let contents = Contents { revision: 3, records: vec![stored("a", 1), stored("b", 2), stored("c", 3)] };
    let whole = backed_up(&contents);
    for end in 0..whole.len() {
        let error = backup::read(&mut &whole[..end]).unwrap_err().to_string();
        assert!(error.ends_with("take another copy"), "{error}");
    }
    assert_eq!(backup::read(&mut &*whole).unwrap(), contents);
}

// API-3
#[test]
fn a_restore_that_fails_on_the_way_leaves_what_was_there() {
    for failing in 0..40 {
        let disk = Disk::default();
        let store = disk.open().unwrap();
        store.commit(0, &[stored("old", 1)], &[]).unwrap();
        let before = store.load().unwrap();
        disk.fail_after(failing);
        let result = backup::restore(&store, &some_contents(), true);
        disk.mend();
        let after = store.load().unwrap();
        match result {
            Ok(_) => assert_eq!(after.records, some_contents().records),
            Err(_) => assert!(after == before || after.records == some_contents().records),
        }
    }
}

fn a_store(folder: &Path) -> PathBuf {
    let path = folder.join("store.redb");
    let store = Embedded::open(&path).unwrap();
    for revision in 0..20 {
        let records: Vec<Stored> =
            (0..30).map(|number| stored(&format!("record {number}"), revision as u16)).collect();
        store.commit(revision, &records, &[]).unwrap();
    }
    path
}
