//! Many at once: no update is lost, and everybody sees only states that somebody wrote.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

const WRITERS: u64 = 64;
const WRITES: u64 = 8;

// API-3
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_update_of_64_writers_is_lost() {
    let bench = Bench::new().await;
    bench.write(all([put(empty_balancer("a", 0)), put(empty_balancer("b", 0))])).await.unwrap();
    let mut changes = bench.catalogue.watch(0).unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(look(bench.catalogue.clone(), Arc::clone(&is_over)));
    let writers: Vec<_> = (0..WRITERS).map(|_| tokio::spawn(count(bench.catalogue.clone()))).collect();
    for writer in writers {
        writer.await.unwrap();
    }
    is_over.store(true, Ordering::Relaxed);
    assert!(reader.await.unwrap() > 0);

    assert_eq!(number(&bench.record(&balancer_id("a"))), WRITERS * WRITES);
    assert_eq!(number(&bench.record(&balancer_id("b"))), WRITERS * WRITES);
    let last = bench.snapshot().revision;
    assert_eq!(last, 1 + WRITERS * WRITES);
    for revision in 1..=last {
        assert_eq!(changes.next().await.unwrap().revision, revision);
    }
    bench.is_durable().await;
}

// A write whose client does not wait for it is a write all the same, and the next one has its turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_goes_away_leaves_nothing_by_halves() {
    let bench = Bench::new().await;
    bench.write(all([put(empty_balancer("a", 0)), put(empty_balancer("b", 0))])).await.unwrap();
    for round in 0..200 {
        let impatient = tokio::spawn(count(bench.catalogue.clone()));
        tokio::time::sleep(Duration::from_micros(round * 7)).await;
        impatient.abort();
    }
    let snapshot = bench.write(all([put(empty_balancer("c", 1))])).await.unwrap().snapshot.clone();
    let both = ["a", "b"].map(|name| number(snapshot.get(&balancer_id(name)).unwrap()));
    assert_eq!(both, [snapshot.revision - 2; 2]);
    bench.is_durable().await;
}

#[tokio::test]
async fn a_write_that_panics_does_not_hold_up_the_next() {
    let bench = Bench::new().await;
    let refused = bench.catalogue.write(|_| panic!("as a test")).await.unwrap_err();
    assert!(matches!(refused, Refused::Store(_)), "{refused}");
    bench.put(empty_balancer("a", 1)).await.unwrap();
    assert_eq!(bench.snapshot().revision, 1);
}

/// Reads a number and writes the next one to two resources, as often as it takes.
async fn count(catalogue: Catalogue) {
    for _ in 0..WRITES {
        loop {
            let snapshot = catalogue.snapshot();
            let record = Arc::clone(snapshot.get(&balancer_id("a")).unwrap());
            let (seen, next) = (record.etag(&[]).to_owned(), number(&record) + 1);
            tokio::task::yield_now().await;
            let written = catalogue.write(move |now| {
                let condition = Condition { if_match: Some(seen), if_none_match: None };
                let record = now.get(&balancer_id("a")).unwrap();
                condition.of_put("a", Some(record.etag(&[])))?;
                Ok(all([put(empty_balancer("a", next)), put(empty_balancer("b", next))]))
            });
            match written.await {
                Ok(_) => break,
                Err(Refused::Precondition { .. }) => {}
                Err(refused) => panic!("{refused}"),
            }
        }
    }
}

/// Looks until it is over: revisions grow, and the two resources that are written together agree.
async fn look(catalogue: Catalogue, is_over: Arc<AtomicBool>) -> u64 {
    let (mut seen, mut last) = (0, 0);
    while !is_over.load(Ordering::Relaxed) {
        let snapshot = catalogue.snapshot();
        let [a, b] = ["a", "b"].map(|name| number(snapshot.get(&balancer_id(name)).unwrap()));
        assert_eq!((a, snapshot.revision), (b, a + 1));
        assert!(snapshot.revision >= last);
        (seen, last) = (seen + 1, snapshot.revision);
        tokio::task::yield_now().await;
    }
    seen
}
