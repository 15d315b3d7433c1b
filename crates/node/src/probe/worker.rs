//! The prober's thread: begins what is due, and tells what came of it.
//!
//! A bad result of an attempt during which this thread stood still (the machine was suspended, the process was stopped) says nothing
//! about the member, however it came about: its time was over at once, or the member gave up on us. Nobody is taken down by it, and
//! the member is asked again soon.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use engine::health::{Outcome, Reason, State};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::select;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::sleep_until;
use tracing::{error, warn};

use super::attempt::{Means, attempt};
use super::schedule::{Due, LATE, Number, Schedule};
use super::stillness::Stillness;
use super::{Heard, MAX_SOCKETS, MAX_UNHEARD, Task};

/// Between two looks at what is due, and at what has ended: a task may begin and be told this much late, and many are in one go.
const BEAT: Duration = Duration::from_millis(5);
/// Who stood still for this long of an attempt, and for half the time that it had, did not really ask. A busy machine that now and then
/// stands still for a moment must not be blind for members that are gone.
const STOOD_STILL: Duration = Duration::from_millis(200);
/// Open files that the rest of the process needs.
const OTHER_FILES: usize = 1_024;
/// Trouble is told this often at most.
const TELL: Duration = Duration::from_secs(60);

pub(super) struct Worker {
    schedule: Schedule,
    means: Arc<Means>,
    attempts: JoinSet<(Number, Arc<Task>, Outcome, Instant)>,
    under_way: HashMap<Id, Begun>,
    stillness: Stillness,
    /// How many attempts may be under way.
    room: usize,
    /// When it is looked at what is due, at the earliest.
    rested: Instant,
    heard: Arc<Mutex<Vec<Heard>>>,
    bell: mpsc::Sender<()>,
    /// What has ended and was not told yet, and when it will be: whoever listens is not to be woken for each.
    untold: Vec<Heard>,
    tell: Option<Instant>,
    trouble: Trouble,
}

/// An attempt that is under way.
#[derive(Debug)]
struct Begun {
    number: Number,
    handle: AbortHandle,
    /// How long this thread had stood still before.
    still: Duration,
}

/// How an attempt ended.
type Ended = Result<(Id, (Number, Arc<Task>, Outcome, Instant)), JoinError>;

impl Worker {
    pub(super) fn new(means: Means, heard: Arc<Mutex<Vec<Heard>>>, bell: mpsc::Sender<()>) -> Self {
        let now = Instant::now();
        Self {
            schedule: Schedule::new(now),
            means: Arc::new(means),
            attempts: JoinSet::new(),
            under_way: HashMap::new(),
            stillness: Stillness::new(now),
            room: room(open_files()),
            rested: now,
            heard,
            bell,
            untold: Vec::new(),
            tell: None,
            trouble: Trouble::new(now),
        }
    }

    /// Works until nobody wants anything any more.
    pub(super) async fn run(mut self, mut wants: watch::Receiver<Arc<[Task]>>) {
        loop {
            let wake = self.wake();
            select! {
                changed = wants.changed() => match changed {
                    Ok(()) => {
                        let tasks = Arc::clone(&wants.borrow_and_update());
                        self.take_want(&tasks);
                    }
                    Err(_) => return,
                },
                Some(ended) = self.attempts.join_next_with_id() => self.take_ended(ended),
                () = until(wake) => {
                    let now = Instant::now();
                    self.tell(now);
                    self.begin(now);
                }
                // Nobody is in need of it while nothing is under way.
                () = until(Some(self.stillness.next())), if !self.under_way.is_empty() => self.stillness.look(Instant::now()),
            }
        }
    }

    /// When the next attempt can begin, or something is to be told.
    fn wake(&self) -> Option<Instant> {
        let due = self.schedule.next().filter(|_| self.under_way.len() < self.room);
        [due.map(|due| due.max(self.rested)), self.tell].into_iter().flatten().min()
    }

    /// Tells what has ended, if it is time.
    fn tell(&mut self, now: Instant) {
        if self.tell.is_some_and(|at| at <= now) {
            self.tell = None;
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            let room = MAX_UNHEARD.saturating_sub(heard.len());
            self.trouble.unheard += self.untold.len().saturating_sub(room) as u64;
            heard.extend(self.untold.drain(..).take(room));
            drop(heard);
            // Where it has been rung and nobody has looked yet, once is enough.
            let _rung = self.bell.try_send(());
        }
    }

    fn take_want(&mut self, tasks: &[Task]) {
        self.schedule.want(tasks, Instant::now());
        for Begun { number, handle, .. } in self.under_way.values() {
            if !self.schedule.knows(*number) {
                handle.abort();
            }
        }
    }

    fn begin(&mut self, now: Instant) {
        self.stillness.look(now);
        if now < self.rested {
            return;
        }
        let Due { tasks, late, left_out } = self.schedule.take_due(now, self.room - self.under_way.len());
        for (number, task) in tasks {
            let means = Arc::clone(&self.means);
            let handle = self.attempts.spawn(async move {
                let outcome = attempt(&task, &means).await;
                (number, task, outcome, Instant::now())
            });
            self.under_way.insert(handle.id(), Begun { number, handle, still: self.stillness.total() });
        }
        self.trouble.late += late;
        self.trouble.left_out += left_out;
        self.rested = now + BEAT;
        if let Some(words) = self.trouble.tell(now) {
            let tasks = self.schedule.len();
            warn!("{words}; {tasks} tasks, {} of {} sockets in use", self.under_way.len(), self.room);
        }
    }

    /// Takes in what has ended, all at once.
    fn take_ended(&mut self, first: Ended) {
        // Before the results: what has just woken up sees them at the same time as the gap.
        self.stillness.look(Instant::now());
        let mut next = Some(first);
        while let Some(ended) = next {
            self.take_one(ended);
            next = self.attempts.try_join_next_with_id();
        }
    }

    fn take_one(&mut self, ended: Ended) {
        match ended {
            Ok((id, (number, task, mut outcome, at))) => {
                let begun = self.under_way.remove(&id);
                if self.schedule.knows(number) {
                    let still = begun.map_or(Duration::ZERO, |begun| self.stillness.total() - begun.still);
                    if is_slept_through(&outcome, still, task.timeout) {
                        outcome = Outcome::Bad(Reason::StoodStill);
                        self.schedule.ask_again(number, Instant::now());
                    }
                    let heard = Heard { probe: Arc::clone(&task.probe), member: task.member, outcome, at };
                    self.untold.push(heard);
                    let now = Instant::now();
                    // With what begins next, so that there is one awakening for both.
                    self.tell.get_or_insert(if self.rested > now { self.rested } else { now + BEAT });
                }
            }
            Err(cause) => {
                self.under_way.remove(&cause.id());
                if cause.is_panic() {
                    error!("an attempt to reach a member ended by a mistake of ours: {cause}");
                }
            }
        }
    }
}

/// Whether a result says nothing because this thread stood still for so long of the attempt, which had this time.
fn is_slept_through(outcome: &Outcome, still: Duration, limit: Duration) -> bool {
    outcome.says() == Some(State::Down) && still >= STOOD_STILL.max(limit / 2)
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(wake) => sleep_until(wake.into()).await,
        None => pending().await,
    }
}

/// How many sockets there may be where the process may open so many files.
fn room(files: usize) -> usize {
    files.saturating_sub(OTHER_FILES).max(files / 2).clamp(1, MAX_SOCKETS)
}

/// How many files the process may open, after it was given all that it may have.
fn open_files() -> usize {
    let limits = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        }
        Ok(hard)
    });
    let files = limits.or_else(|cause| {
        warn!("the limit of open files cannot be raised: {cause}");
        getrlimit(Resource::RLIMIT_NOFILE).map(|(soft, _)| soft)
    });
    usize::try_from(files.unwrap_or(OTHER_FILES as u64)).unwrap_or(usize::MAX)
}

/// What did not go as it should since it was last told.
#[derive(Debug)]
struct Trouble {
    late: u64,
    left_out: u64,
    unheard: u64,
    told: Instant,
}

impl Trouble {
    fn new(now: Instant) -> Self {
        Self { late: 0, left_out: 0, unheard: 0, told: now }
    }

    /// What is to be told, if it is time.
    fn tell(&mut self, now: Instant) -> Option<String> {
        let Self { late, left_out, unheard, told } = *self;
        if late + left_out + unheard == 0 || now.saturating_duration_since(told) < TELL {
            return None;
        }
        *self = Self::new(now);
        Some(format!(
            "probes run late: {late} attempts began more than {} ms late, {left_out} were left out, {unheard} results were lost",
            LATE.as_millis()
        ))
    }
}

#[cfg(test)]
mod tests;
