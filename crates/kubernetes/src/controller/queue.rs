//! Which Services are reconciled next, and when. One that fails waits longer each time, and keeps nobody else waiting.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::failure::Failure;
use crate::service::Key;
use crate::sync::retry_after;

/// A Service that was seen: two of one name are told apart by their UIDs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Job {
    pub key: Key,
    pub uid: String,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    /// Its endpoints have changed, which matters where it has pools of its own.
    Endpoints,
    /// Nodes have changed.
    Update,
    /// Everything of it is to be looked at.
    Ensure,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    due: Instant,
    /// What came while it was due, or while it waits after a failure.
    work: Work,
    failures: u32,
}

/// Services that are due, or will be.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: BTreeMap<Job, Entry>,
    /// Failures in a row of those that are being reconciled, or wait for nothing.
    failures: BTreeMap<Job, u32>,
}

impl Queue {
    /// Somebody changed it: it is looked at now, however often it has failed.
    pub fn changed(&mut self, job: Job, now: Instant) {
        self.failures.remove(&job);
        self.waiting.insert(job, Entry { due: now, work: Work::Ensure, failures: 0 });
    }

    /// Something around it changed: it is looked at then, or sooner if it is due sooner. One that failed goes on waiting.
    pub fn nudge(&mut self, job: Job, work: Work, due: Instant) {
        let failures = self.failures.get(&job).copied().unwrap_or_default();
        let entry = self.waiting.entry(job).or_insert(Entry { due, work, failures });
        entry.work = entry.work.max(work);
        if entry.failures == 0 {
            entry.due = entry.due.min(due);
        }
    }

    /// Those that are due, so many at most, in the order in which they came due.
    pub fn take(&mut self, now: Instant, most: usize) -> Vec<(Job, Work)> {
        let mut due: Vec<(Instant, Job)> = (self.waiting.iter())
            .filter(|(_, entry)| entry.due <= now)
            .map(|(job, entry)| (entry.due, job.clone()))
            .collect();
        due.sort();
        due.truncate(most);
        due.into_iter().filter_map(|(_, job)| self.take_out(job)).collect()
    }

    fn take_out(&mut self, job: Job) -> Option<(Job, Work)> {
        let entry = self.waiting.remove(&job)?;
        if entry.failures > 0 {
            self.failures.insert(job.clone(), entry.failures);
        }
        Some((job, entry.work))
    }

    /// When the next one is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.waiting.values().map(|entry| entry.due).min()
    }

    /// What has failed is tried then, though its time has not come: what was in its way may have gone.
    pub fn hasten(&mut self, due: Instant) {
        for entry in self.waiting.values_mut().filter(|entry| entry.failures > 0) {
            entry.due = entry.due.min(due);
        }
    }

    pub fn succeeded(&mut self, job: &Job) {
        self.failures.remove(job);
        if let Some(entry) = self.waiting.get_mut(job) {
            entry.failures = 0;
        }
    }

    /// It is looked at again after a while, as a whole. Says after which.
    pub fn failed(&mut self, job: Job, failure: &Failure, now: Instant) -> Duration {
        let failures = self.failures.remove(&job).unwrap_or_default() + 1;
        let pause = retry_after(failure, failures);
        self.waiting.insert(job, Entry { due: now + pause, work: Work::Ensure, failures });
        pause
    }

    /// Nobody asks for it any more.
    pub fn forget(&mut self, job: &Job) {
        self.waiting.remove(job);
        self.failures.remove(job);
    }

    /// How many wait, and how many of them because they failed.
    pub fn depths(&self) -> (usize, usize) {
        let failed = self.waiting.values().filter(|entry| entry.failures > 0).count();
        (self.waiting.len(), failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Class;

    #[test]
    fn who_is_due_first_comes_first() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.nudge(job("b"), Work::Update, now);
        queue.nudge(job("a"), Work::Update, now + SECOND);
        assert_eq!(queue.take(now + 2 * SECOND, 1), [(job("b"), Work::Update)]);
        assert_eq!(queue.take(now, 1), [], "not due yet");
        assert_eq!(queue.next_due(), Some(now + SECOND));
        assert_eq!(queue.take(now + SECOND, 1), [(job("a"), Work::Update)]);
    }

    #[test]
    fn those_that_are_due_at_the_same_time_come_together() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for (name, due) in [("d", 0), ("c", 1), ("b", 2), ("a", 3), ("later", 9)] {
            queue.nudge(job(name), Work::Update, now + due * SECOND);
        }
        let names = |taken: Vec<(Job, Work)>| taken.into_iter().map(|(job, _)| job.uid).collect::<Vec<_>>();
        assert_eq!(
            names(queue.take(now + 3 * SECOND, 3)),
            ["d", "c", "b"],
            "in their order, and no more than may"
        );
        assert_eq!(names(queue.take(now + 3 * SECOND, 3)), ["a"], "nobody waits for those that are not due");
    }

    #[test]
    fn what_is_asked_twice_is_done_once_and_as_a_whole() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.nudge(job("a"), Work::Ensure, now + SECOND);
        queue.nudge(job("a"), Work::Update, now);
        assert_eq!(queue.take(now, 9), [(job("a"), Work::Ensure)]);
        assert_eq!(queue.take(now + SECOND, 9), []);
    }

    #[test]
    fn failures_wait_longer_each_time_and_a_change_ends_that() {
        // K8S-4
        let (mut queue, mut now) = (Queue::default(), Instant::now());
        queue.changed(job("bad"), now);
        for seconds in [5, 10, 20, 40, 80, 160, 300, 300] {
            assert_eq!(queue.take(now, 9).len(), 1);
            assert_eq!(queue.failed(job("bad"), &soon(), now).as_secs(), seconds);
            queue.nudge(job("bad"), Work::Update, now);
            queue.nudge(job("good"), Work::Update, now);
            assert_eq!(queue.take(now, 9), [(job("good"), Work::Update)], "nobody waits for the bad one");
            assert_eq!(queue.depths(), (1, 1));
            now += Duration::from_secs(seconds);
        }
        queue.changed(job("bad"), now);
        assert_eq!(queue.take(now, 9), [(job("bad"), Work::Ensure)]);
        assert_eq!(queue.failed(job("bad"), &soon(), now).as_secs(), 5);
        queue.take(now + 5 * SECOND, 9);
        queue.succeeded(&job("bad"));
        queue.nudge(job("bad"), Work::Update, now);
        assert_eq!(queue.take(now, 9), [(job("bad"), Work::Update)]);
    }

    #[test]
    fn failures_are_tried_sooner_when_there_is_reason_to_hope() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for _ in 0..8 {
            queue.failed(job("bad"), &soon(), now);
            queue.take(now + 400 * SECOND, 9);
        }
        queue.failed(job("bad"), &soon(), now);
        queue.hasten(now + SECOND);
        assert_eq!(queue.take(now, 9), []);
        assert_eq!(queue.take(now + SECOND, 9).len(), 1);
        assert_eq!(
            queue.failed(job("bad"), &soon(), now).as_secs(),
            300,
            "that it has failed is not forgotten"
        );
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn job(name: &str) -> Job {
        Job { key: Key::read(name), uid: name.to_owned() }
    }

    fn soon() -> Failure {
        Failure::new(Class::Refused, "no")
    }
}
