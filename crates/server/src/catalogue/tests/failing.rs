//! A store that fails leaves the old state, and the next write works (API-3).

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::store::tests::Disk;

// API-3
#[tokio::test]
async fn a_commit_that_fails_leaves_the_old_state_and_a_later_write_works() {
    for failing in 0..6 {
        let bench = Bench::on(Arc::new(Faulty::new(failing, Moment::Before))).await;
        for number in 0..8 {
            let before = bench.snapshot();
            let edit = all([put(empty_balancer("a", number)), put(empty_balancer("b", number))]);
            match bench.write(edit).await {
                Ok(written) => assert_eq!(written.snapshot.revision, before.revision + 1),
                Err(Refused::Store(StoreError::Write(_))) => {
                    assert_eq!(number, failing as u64);
                    same(&bench.snapshot(), &before);
                }
                Err(refused) => panic!("{refused}"),
            }
            bench.is_durable().await;
        }
        let last = bench.snapshot();
        assert_eq!(last.revision, 7);
        assert_eq!(["a", "b"].map(|name| super::number(last.get(&balancer_id(name)).unwrap())), [7, 7]);
    }
}

// API-3: it was durable, only nobody could say so any more.
#[tokio::test]
async fn a_write_that_is_found_durable_after_all_is_taken_up_whole() {
    for failing in 0..4 {
        let bench = Bench::on(Arc::new(Faulty::new(failing, Moment::After))).await;
        let write = |number| all([put(empty_balancer("a", number)), put(empty_balancer("b", number))]);
        let mut refusals = Vec::new();
        for number in 0..8 {
            if let Err(refused) = bench.write(write(number)).await {
                refusals.push(refused);
            }
        }
        // The one that failed, and the next one, which found somebody else's write.
        assert!(
            matches!(
                &refusals[..],
                [Refused::Store(StoreError::Write(_)), Refused::Store(StoreError::Moved { .. })]
            ),
            "{refusals:?}"
        );
        bench.is_durable().await;
        assert_eq!(bench.snapshot().revision, 7);
    }
}

// API-3: wherever in a write the disk fails.
#[tokio::test]
async fn a_disk_that_fails_anywhere_and_is_mended_keeps_everything_whole() {
    let mut refusals = 0;
    for failing in 0..120 {
        let disk = Disk::default();
        let bench = Bench::on(Arc::new(disk.open().unwrap())).await;
        bench.write(all([put(empty_balancer("a", 100)), put(empty_balancer("b", 100))])).await.unwrap();
        disk.fail_after(failing);
        let mut confirmed = 100;
        for number in 101..110 {
            let edit = all([put(empty_balancer("a", number)), put(empty_balancer("b", number))]);
            match bench.write(edit).await {
                Ok(_) => confirmed = number,
                Err(_) => refusals += 1,
            }
            let snapshot = bench.snapshot();
            let both = ["a", "b"].map(|name| super::number(snapshot.get(&balancer_id(name)).unwrap()));
            assert_eq!(both, [confirmed; 2]);
        }
        disk.mend();
        let again = bench.put(empty_balancer("c", 1)).await;
        if again.is_err() {
            bench.put(empty_balancer("c", 1)).await.unwrap();
        }
        let snapshot = bench.snapshot();
        let both = ["a", "b"].map(|name| super::number(snapshot.get(&balancer_id(name)).unwrap()));
        assert_eq!(both[0], both[1]);
        assert!(both[0] >= confirmed, "{both:?} is older than {confirmed}");
        bench.is_durable().await;
    }
    assert!(refusals > 100, "the disk failed {refusals} times only");
}

/// When a commit fails.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Before,
    After,
}

/// A store whose n-th commit fails.
#[derive(Debug)]
struct Faulty {
    inner: Memory,
    left: AtomicUsize,
    moment: Moment,
}

impl Faulty {
    fn new(failing: usize, moment: Moment) -> Self {
        Self { inner: Memory::new(), left: AtomicUsize::new(failing), moment }
    }
}

impl Store for Faulty {
    fn load(&self) -> Result<Contents, StoreError> {
        self.inner.load()
    }

    fn commit(
        &self,
        expected: Revision,
        puts: &[Stored],
        deletes: &[String],
    ) -> Result<Revision, StoreError> {
        let broken = || Err(StoreError::Write("the test's disk is broken".into()));
        let is_it = self.left.fetch_sub(1, Ordering::Relaxed) == 0;
        match self.moment {
            Moment::Before if is_it => broken(),
            Moment::After if is_it => self.inner.commit(expected, puts, deletes).and_then(|_| broken()),
            Moment::Before | Moment::After => self.inner.commit(expected, puts, deletes),
        }
    }

    fn watch(&self, from: Revision) -> Result<Changes, StoreError> {
        self.inner.watch(from)
    }
}
