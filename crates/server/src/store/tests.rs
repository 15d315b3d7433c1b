//! Every store behaves like a map with a counter, whatever happens to its disk.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use redb::{Builder, StorageBackend};

use super::history::{MAX_BEHIND, MAX_CHANGES};
use super::*;

mod files;

/// What somebody does with a store.
#[derive(Clone, Debug)]
enum Step {
    Commit {
        puts: Vec<(u8, u16)>,
        deletes: Vec<u8>,
    },
    /// Somebody who does not know the newest revision.
    CommitLate {
        puts: Vec<(u8, u16)>,
    },
    Watch {
        back: u64,
    },
    Reopen,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn both_stores_are_a_map_with_a_counter(steps in prop::collection::vec(step(), 1..30)) {
        for kind in [Kind::Memory, Kind::Embedded] {
            play(&mut Bench::new(kind), &steps);
        }
    }

    // API-3
    #[test]
    fn a_disk_that_fails_or_loses_power_keeps_the_old_state_or_has_the_new_one(
        steps in prop::collection::vec(commit(), 1..12),
        failing in 0_usize..200,
        torn in any::<u64>(),
    ) {
        let disk = Disk::default();
        let store = disk.open().unwrap();
        let mut states = vec![store.load().unwrap()];
        disk.fail_after(failing);
        for step in &steps {
            let Step::Commit { puts, deletes } = step else { continue };
            let revision = states.last().unwrap().revision;
            let (puts, deletes) = texts(puts, deletes);
            let result = store.commit(revision, &puts, &deletes);
            let mut after = states.last().unwrap().clone();
            apply(&mut after, &puts, &deletes);
            states.push(after);
            if result.is_err() {
                break;
            }
            states.remove(0);
        }
        drop(store);
        disk.lose_power(torn);
        let found = disk.open().unwrap().load().unwrap();
        // The last one that was confirmed, or one that was being written.
        let possible = &states[states.len().saturating_sub(2)..];
        prop_assert!(possible.contains(&found), "{found:?} is none of {possible:?}");
    }

    #[test]
    fn a_backup_is_read_as_it_was_written(records in prop::collection::btree_map("[a-z/]{1,9}", 0_u16..999, 0..9), revision: u64) {
        let records = records.into_iter().map(|(key, value)| Stored { key, value: Arc::from(value.to_string()) });
        let contents = Contents { revision, records: records.collect() };
        prop_assert_eq!(backup::read(&mut &*backed_up(&contents)).unwrap(), contents);
    }

    // API-5: whatever the file is.
    #[test]
    fn a_backup_with_any_byte_changed_is_refused(at in any::<prop::sample::Index>(), to: u8) {
        let mut file = backed_up(&some_contents());
        let at = at.index(file.len());
        prop_assume!(file[at] != to);
        // White space between the fields of the last line, and its last newline, change nothing.
        file[at] = to;
        if let Ok(read) = backup::read(&mut &*file) {
            prop_assert_eq!(read, some_contents());
        }
    }
}

#[test]
fn a_broken_backup_names_its_line() {
    let whole = String::from_utf8(backed_up(&some_contents())).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    check("", "line 1 of the backup is missing");
    check("{}\n", "line 1 of the backup is not the first line of a backup");
    check(&whole.replace("\"form\":1", "\"form\":2"), "has form 2");
    check(&whole.replace("\"b\"", "\"a\""), "line 3 of the backup is out of order");
    check(&whole.replace("20", "21"), "line 4 of the backup has another digest");
    check(&whole.replace("20", "2x"), "line 3 of the backup is not JSON");
    check(&format!("{}\n{}\n", lines[0], lines[1]), "line 3 of the backup is missing");
    check(&whole[..whole.len() - 1], "line 4 of the backup is cut off");
    check(&format!("{whole}{}\n", lines[1]), "line 5 of the backup comes after the end");

    fn check(text: &str, wanted: &str) {
        let error = backup::read(&mut text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn a_backup_goes_into_any_store_but_not_over_another_unless_forced() {
    let backup = some_contents();
    for kind in [Kind::Memory, Kind::Embedded] {
        let bench = Bench::new(kind);
        backup::restore(bench.store(), &backup, false).unwrap();
        assert_eq!(bench.store().load().unwrap().records, backup.records);
        bench.store().commit(1, &[stored("c", 30)], &[]).unwrap();
        let error = backup::restore(bench.store(), &backup, false).unwrap_err().to_string();
        assert!(error.contains("has 3 records already"), "{error}");
        assert_eq!(bench.store().load().unwrap().records.len(), 3);
        backup::restore(bench.store(), &backup, true).unwrap();
        assert_eq!(bench.store().load().unwrap().records, backup.records);
    }
}

#[test]
fn a_commit_says_one_thing_about_each_key() {
    for kind in [Kind::Memory, Kind::Embedded] {
        let bench = Bench::new(kind);
        for (puts, deletes) in
            [(vec![stored("a", 1), stored("a", 2)], vec![]), (vec![stored("a", 1)], vec!["a".to_owned()])]
        {
            let error = bench.store().commit(0, &puts, &deletes).unwrap_err();
            assert!(matches!(error, StoreError::Twice { .. }), "{error}");
        }
        assert_eq!(bench.store().load().unwrap(), Contents::default());
    }
}

#[tokio::test]
async fn who_falls_behind_or_comes_too_late_loads_again() {
    let store = Memory::new();
    let mut slow = store.watch(0).unwrap();
    for revision in 0..=MAX_CHANGES as u64 {
        store.commit(revision, &[stored("a", revision as u16)], &[]).unwrap();
    }
    let mut seen = 0;
    while let Some(change) = slow.next().await {
        seen += 1;
        assert_eq!(change.revision, seen);
    }
    assert_eq!(seen, MAX_BEHIND as u64);
    assert!(matches!(store.watch(0), Err(StoreError::Compacted { from: 0 })));
    assert!(matches!(store.watch(20_000), Err(StoreError::Compacted { .. })));
    assert_eq!(store.watch(1).unwrap().next().await.unwrap().revision, 2);
}

#[test]
fn a_store_is_one_process_s_and_comes_back_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let store = Embedded::open(&path).unwrap();
    store.commit(0, &[stored("a", 1)], &[]).unwrap();
    assert!(matches!(Embedded::open(&path), Err(StoreError::Held { .. })));
    let before = store.load().unwrap();
    drop(store);
    assert_eq!(Embedded::open(&path).unwrap().load().unwrap(), before);
    let error = Embedded::open(&folder.path().join("no/such/folder")).unwrap_err().to_string();
    assert!(error.contains("its folder is there"), "{error}");
}

#[test]
fn a_store_that_failed_to_write_goes_on_when_its_disk_does() {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    store.commit(0, &[stored("a", 1)], &[]).unwrap();
    disk.fail_after(0);
    assert!(matches!(store.commit(1, &[stored("a", 2)], &[]), Err(StoreError::Write(_))));
    assert!(store.commit(1, &[stored("a", 3)], &[]).is_err());
    disk.mend();
    assert_eq!(store.load().unwrap().records, [stored("a", 1)]);
    assert_eq!(store.commit(1, &[stored("a", 4)], &[]).unwrap(), 2);
    assert_eq!(store.load().unwrap().records, [stored("a", 4)]);
}

fn play(bench: &mut Bench, steps: &[Step]) {
    let mut model = Contents::default();
    let mut past = vec![model.clone()];
    for step in steps {
        match step {
            Step::Commit { puts, deletes } => {
                let (puts, deletes) = texts(puts, deletes);
                let revision = bench.store().commit(model.revision, &puts, &deletes).unwrap();
                apply(&mut model, &puts, &deletes);
                assert_eq!(revision, model.revision);
                past.push(model.clone());
            }
            Step::CommitLate { puts } => {
                let (puts, _) = texts(puts, &[]);
                let result = bench.store().commit(model.revision + 7, &puts, &[]);
                assert!(matches!(result, Err(StoreError::Moved { found, .. }) if found == model.revision));
            }
            Step::Watch { back } => {
                let from = model.revision.saturating_sub(*back);
                let Ok(mut changes) = bench.store().watch(from) else { continue };
                let mut replayed = past.iter().rfind(|state| state.revision == from).unwrap().clone();
                while let Ok(change) = changes.0.try_recv() {
                    apply(&mut replayed, &change.puts, &change.deletes);
                    replayed.revision = change.revision;
                }
                assert_eq!(replayed, model);
            }
            Step::Reopen => bench.reopen(),
        }
        assert_eq!(bench.store().load().unwrap(), model);
    }
}

fn apply(contents: &mut Contents, puts: &[Stored], deletes: &[String]) {
    let mut records: BTreeMap<String, Arc<str>> =
        contents.records.drain(..).map(|record| (record.key, record.value)).collect();
    records.retain(|key, _| !deletes.contains(key));
    records.extend(puts.iter().map(|put| (put.key.clone(), Arc::clone(&put.value))));
    contents.records = records.into_iter().map(|(key, value)| Stored { key, value }).collect();
    contents.revision += u64::from(!(puts.is_empty() && deletes.is_empty()));
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => commit(),
        1 => prop::collection::vec((0..6_u8, any::<u16>()), 1..3).prop_map(|puts| Step::CommitLate { puts }),
        2 => (0..6_u64).prop_map(|back| Step::Watch { back }),
        1 => Just(Step::Reopen),
    ]
}

fn commit() -> impl Strategy<Value = Step> {
    let puts = prop::collection::btree_map(0..6_u8, any::<u16>(), 0..4);
    (puts, prop::collection::btree_set(0..6_u8, 0..3)).prop_map(|(puts, deletes)| Step::Commit {
        deletes: deletes.into_iter().filter(|key| !puts.contains_key(key)).collect(),
        puts: puts.into_iter().collect(),
    })
}

fn texts(puts: &[(u8, u16)], deletes: &[u8]) -> (Vec<Stored>, Vec<String>) {
    let name = |key: &u8| char::from(b'a' + key).to_string();
    let once: BTreeMap<_, _> = puts.iter().copied().collect();
    (once.iter().map(|(key, value)| stored(&name(key), *value)).collect(), deletes.iter().map(name).collect())
}

pub(crate) fn stored(key: &str, value: u16) -> Stored {
    Stored { key: key.to_owned(), value: Arc::from(value.to_string()) }
}

fn some_contents() -> Contents {
    Contents { revision: 7, records: vec![stored("a", 10), stored("b", 20)] }
}

fn backed_up(contents: &Contents) -> Vec<u8> {
    let mut file = Vec::new();
    backup::write(contents, &mut file).unwrap();
    file
}

#[derive(Clone, Copy)]
enum Kind {
    Memory,
    Embedded,
}

/// A store that can be closed and opened again; one in memory just stays.
struct Bench {
    disk: Disk,
    store: Option<Box<dyn Store>>,
}

impl Bench {
    fn new(kind: Kind) -> Self {
        let disk = Disk::default();
        let store: Box<dyn Store> = match kind {
            Kind::Memory => Box::new(Memory::new()),
            Kind::Embedded => Box::new(disk.open().unwrap()),
        };
        Self { disk, store: Some(store) }
    }

    fn store(&self) -> &dyn Store {
        &**self.store.as_ref().unwrap()
    }

    fn reopen(&mut self) {
        if self.disk.is_used() {
            self.store = None;
            self.store = Some(Box::new(self.disk.open().unwrap()));
        }
    }
}

/// A disk that fails from the n-th write on, and that forgets what was not synced when its power goes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    bytes: Arc<Mutex<Plates>>,
    writes_left: Arc<Mutex<Option<usize>>>,
    opened: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Plates {
    durable: Vec<u8>,
    /// Since the last sync: where, and what.
    written: Vec<(usize, Vec<u8>)>,
    seen: Vec<u8>,
}

impl Disk {
    pub(crate) fn open(&self) -> Result<Embedded, StoreError> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let disk = self.clone();
        let open = move || Builder::new().create_with_backend(disk.clone());
        Embedded::with(Path::new("disk"), Box::new(open))
    }

    fn is_used(&self) -> bool {
        self.opened.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn fail_after(&self, writes: usize) {
        *self.writes_left.lock().unwrap() = Some(writes);
    }

    pub(crate) fn mend(&self) {
        *self.writes_left.lock().unwrap() = None;
    }

    /// What was written since the last sync is kept in part: a bit of `torn` decides for each write.
    fn lose_power(&self, torn: u64) {
        let mut plates = self.bytes.lock().unwrap();
        let Plates { durable, written, .. } = &mut *plates;
        for (index, (at, bytes)) in written.drain(..).enumerate() {
            if torn >> (index % 64) & 1 == 1 {
                durable.resize(durable.len().max(at + bytes.len()), 0);
                durable[at..at + bytes.len()].copy_from_slice(&bytes);
            }
        }
        plates.seen = plates.durable.clone();
        self.mend();
    }

    fn spend(&self) -> io::Result<()> {
        match self.writes_left.lock().unwrap().as_mut() {
            None => Ok(()),
            Some(0) => Err(io::Error::other("the disk is broken")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().unwrap().seen.len() as u64)
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let offset = offset as usize;
        Ok(self.bytes.lock().unwrap().seen[offset..offset + len].to_vec())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.spend()?;
        let mut plates = self.bytes.lock().unwrap();
        plates.seen.resize(len as usize, 0);
        // Length is metadata, which file systems keep in a journal.
        plates.durable.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self, _eventual: bool) -> io::Result<()> {
        self.spend()?;
        let mut plates = self.bytes.lock().unwrap();
        plates.written.clear();
        plates.durable = plates.seen.clone();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.spend()?;
        let mut plates = self.bytes.lock().unwrap();
        let offset = offset as usize;
        plates.seen[offset..offset + data.len()].copy_from_slice(data);
        plates.written.push((offset, data.to_vec()));
        Ok(())
    }
}
