//! When each task is due. There is no clock here: `now` is a parameter.
//!
//! A task's attempts stand on a grid: its phase, which comes from its name alone, and every interval from there, so that many tasks are
//! spread over the interval. A new task is asked within a second, off its grid if need be; from then on it keeps to it. An attempt that
//! begins late does not move the next one, and one that would begin very late is left out, so that a pause of the machine is not followed
//! by a burst.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Task;

/// A new task is asked for the first time within this time.
const SOON: Duration = Duration::from_secs(1);
/// An attempt that begins later than this after it was due counts as late.
pub(super) const LATE: Duration = Duration::from_millis(100);
/// An attempt that would begin later than this, or than its interval, is left out.
pub(super) const TOO_LATE: Duration = Duration::from_secs(1);

/// A task's number, for as long as it is wanted unchanged.
pub(super) type Number = u64;

/// All tasks, and when each is due next.
#[derive(Debug)]
pub(super) struct Schedule {
    origin: Instant,
    last: Number,
    plans: HashMap<Number, Plan>,
    /// Each plan as it is due; one that was brought forward stands there a second time, and only the time that it has now counts.
    queue: BinaryHeap<Reverse<(Instant, Number)>>,
}

#[derive(Debug)]
struct Plan {
    task: Arc<Task>,
    grid: Grid,
    due: Instant,
}

/// What is to begin now.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) tasks: Vec<(Number, Arc<Task>)>,
    /// How many of them begin late.
    pub(super) late: u64,
    /// How many attempts would begin too late, and are left out.
    pub(super) left_out: u64,
}

impl Schedule {
    pub(super) fn new(origin: Instant) -> Self {
        Self { origin, last: 0, plans: HashMap::new(), queue: BinaryHeap::new() }
    }

    /// These tasks, and no others. One that is as before keeps its number and when it is due.
    pub(super) fn want(&mut self, tasks: &[Task], now: Instant) {
        let mut before: HashMap<(Arc<str>, IpAddr), (Number, Plan)> =
            self.plans.drain().map(|(number, plan)| (key(&plan.task), (number, plan))).collect();
        let wanted: HashMap<_, &Task> = tasks.iter().map(|task| (key(task), task)).collect();
        for (key, task) in wanted {
            let (number, plan) = before
                .remove(&key)
                .filter(|(_, plan)| *plan.task == *task)
                .unwrap_or_else(|| self.plan(task, now));
            self.plans.insert(number, plan);
        }
        self.queue = self.plans.iter().map(|(number, plan)| Reverse((plan.due, *number))).collect();
    }

    fn plan(&mut self, task: &Task, now: Instant) -> (Number, Plan) {
        self.last += 1;
        let share = share(task);
        let grid = Grid { from: self.origin + part(task.interval, share), interval: task.interval };
        let due = grid.after(now).min(now + part(task.interval.min(SOON), share));
        (self.last, Plan { task: Arc::new(task.clone()), grid, due })
    }

    /// A task whose attempt said nothing is asked again within a second, spread as new ones are, and not only when it is due.
    pub(super) fn ask_again(&mut self, number: Number, now: Instant) {
        let Some(plan) = self.plans.get_mut(&number) else { return };
        if plan.due > now + SOON {
            plan.due = now + part(SOON, share(&plan.task));
            self.queue.push(Reverse((plan.due, number)));
        }
    }

    /// Whether a task of this number is wanted still.
    pub(super) fn knows(&self, number: Number) -> bool {
        self.plans.contains_key(&number)
    }

    pub(super) fn len(&self) -> usize {
        self.plans.len()
    }

    /// When something is due next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.queue.peek().map(|Reverse((due, _))| *due)
    }

    /// Takes what is due, the longest due first, and not more than there is room for.
    pub(super) fn take_due(&mut self, now: Instant, room: usize) -> Due {
        let mut due = Due::default();
        while due.tasks.len() < room
            && let Some(Reverse((at, number))) = self.queue.peek().copied()
            && at <= now
        {
            self.queue.pop();
            let Some(plan) = self.plans.get_mut(&number).filter(|plan| plan.due == at) else { continue };
            plan.due = plan.grid.after(now);
            self.queue.push(Reverse((plan.due, number)));
            let waited = now - at;
            if waited > TOO_LATE.min(plan.task.interval) {
                due.left_out += 1;
            } else {
                due.late += u64::from(waited > LATE);
                due.tasks.push((number, Arc::clone(&plan.task)));
            }
        }
        due
    }
}

/// The times at which a task is due.
#[derive(Clone, Copy, Debug)]
struct Grid {
    from: Instant,
    interval: Duration,
}

impl Grid {
    /// The first of them after `now`.
    fn after(self, now: Instant) -> Instant {
        match now.checked_duration_since(self.from) {
            None => self.from,
            Some(passed) => now + (self.interval - remainder(passed, self.interval)),
        }
    }
}

fn remainder(time: Duration, by: Duration) -> Duration {
    let nanos = time.as_nanos() % by.as_nanos().max(1);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Where in its interval a task is, as parts of 2^32: always the same for the same probe and member (PROBE-2).
fn share(task: &Task) -> u32 {
    let mut hasher = DefaultHasher::new();
    key(task).hash(&mut hasher);
    (hasher.finish() >> 32) as u32
}

fn part(time: Duration, share: u32) -> Duration {
    let nanos = (time.as_nanos() * u128::from(share)) >> 32;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

fn key(task: &Task) -> (Arc<str>, IpAddr) {
    (Arc::clone(&task.probe), task.member)
}

#[cfg(test)]
mod tests;
