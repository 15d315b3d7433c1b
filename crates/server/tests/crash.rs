//! A process that writes is killed again and again, at any moment. What it was told is durable is there, and whole (API-3).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use forebay_server::catalogue::{Catalogue, Edit, Limits, Snapshot};
use forebay_server::store::Embedded;
use model::{Document, Kind, ResourceId};
use serde_json::json;

const ROUNDS: u64 = 60;
/// What the process that is killed finds the store by.
const STORE: &str = "FOREBAY_TEST_STORE";
/// Balancers that are written together. There is a different number of them after each write.
const MOST: u64 = 7;

// API-3
#[test]
fn a_killed_process_loses_nothing_that_it_was_told_is_durable() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.redb");
    let (mut told, mut rounds_with_writes) = (0, 0);
    for round in 0..ROUNDS {
        let mut child = start(&store);
        let patience = Duration::from_micros(scatter(round) % 60_000);
        let (answers, steps) = listen(&mut child);
        // Some are killed while they open the store, some as soon as they could write, and most after some writes, however long those take.
        for _ in 0..round % 5 {
            steps.recv_timeout(Duration::from_secs(60)).unwrap();
        }
        thread::sleep(patience);
        child.kill().unwrap();
        child.wait().unwrap();
        let answers = answers.join().unwrap();
        rounds_with_writes += u64::from(!answers.is_empty());
        told = answers.last().copied().unwrap_or(told);
        let found = whole(&open(&store));
        // The last answer may not have got through.
        assert!(
            found == told || found == told + 1,
            "round {round}: {found} is there, and {told} was answered"
        );
        told = found;
    }
    assert!(rounds_with_writes > ROUNDS / 2, "only {rounds_with_writes} of {ROUNDS} rounds wrote anything");
    assert!(told > ROUNDS, "only {told} writes");
}

// API-3
#[test]
fn a_process_killed_at_its_first_start_leaves_a_store_or_none() {
    for round in 0..40 {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store.redb");
        let mut child = start(&store);
        let (answers, _steps) = listen(&mut child);
        thread::sleep(Duration::from_micros(scatter(round) % 40_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let told = answers.join().unwrap().last().copied().unwrap_or_default();
        let found = whole(&open(&store));
        assert!(
            found == told || found == told + 1,
            "round {round}: {found} is there, and {told} was answered"
        );
        let left: Vec<_> = folder.path().read_dir().unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(left, ["store.redb"]);
    }
}

/// The process that is killed: writes on and on, and says when each write is answered.
#[test]
#[ignore = "another process runs it, and kills it"]
fn the_process_that_is_killed() {
    let Some(store) = env::var_os(STORE) else { return };
    let runtime = runtime();
    let catalogue = open(Path::new(&store));
    let mut number = whole(&catalogue);
    println!("\nready");
    loop {
        number += 1;
        let written = runtime.block_on(catalogue.write(move |now| Ok(edit(now, number)))).unwrap();
        assert_eq!(written.snapshot.revision, number);
        println!("durable {number}");
        std::io::stdout().flush().unwrap();
    }
}

/// All balancers get a number; some come and some go.
fn edit(now: &Snapshot, number: u64) -> Edit {
    let count = 1 + number % MOST;
    let mut edit = Edit::default();
    for name in 0..count {
        edit.puts.append(&mut Edit::put(id(name), document(name, number)).puts);
    }
    edit.deletes = (count..MOST).map(id).filter(|id| now.get(id).is_some()).collect();
    edit
}

/// The number that everything has: each write is there as a whole.
fn whole(catalogue: &Catalogue) -> u64 {
    let snapshot = catalogue.snapshot();
    let number = snapshot.revision;
    let wanted = if number == 0 { 0 } else { 1 + number % MOST };
    assert_eq!(snapshot.records.len() as u64, wanted);
    for name in 0..wanted {
        let record = snapshot.get(&id(name)).unwrap();
        assert_eq!(*record.document, document(name, number));
        assert!(record.etag(&[]).starts_with("W/\""));
    }
    number
}

fn document(name: u64, number: u64) -> Document {
    let id = id(name);
    // Now and then more than fits a page of the store.
    let ballast = "x".repeat(usize::try_from(scatter(number) % 9_000).unwrap());
    let value = json!({ "id": id.to_string(), "name": id.name(), "type": id.kind().type_name(),
        "tags": { "number": number.to_string(), "ballast": ballast }, "properties": {} });
    Document::read(&value, "a test's document").unwrap()
}

fn id(name: u64) -> ResourceId {
    ResourceId::new("s", "g", Kind::LoadBalancer, &format!("b{name}")).unwrap()
}

fn open(store: &Path) -> Catalogue {
    let store = Arc::new(Embedded::open(store).unwrap());
    runtime().block_on(Catalogue::open(store, Limits::default())).unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// This test as a process of its own, which runs that one test.
fn start(store: &Path) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "the_process_that_is_killed", "--nocapture"]).env(STORE, store);
    command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap()
}

/// The numbers that a process says are durable, when it has ended; and before that, that it is ready, and that it has written again.
fn listen(child: &mut Child) -> (thread::JoinHandle<Vec<u64>>, std::sync::mpsc::Receiver<()>) {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (tell, steps) = std::sync::mpsc::channel();
    let answers = thread::spawn(move || {
        let mut answers = Vec::new();
        for line in lines.map_while(Result::ok) {
            // The last line may be cut off; then it is no answer.
            let number = line.strip_prefix("durable ").and_then(|number| number.parse::<u64>().ok());
            if line == "ready" || number.is_some() {
                tell.send(()).ok();
            }
            answers.extend(number);
        }
        answers
    });
    (answers, steps)
}

/// Numbers all over the place.
fn scatter(number: u64) -> u64 {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 20
}
