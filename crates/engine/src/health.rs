//! Who is well: what probes hear about members becomes a state, and a state stays until enough results in a row speak against it.
//!
//! ```text
//!                    good                      bad
//!             ┌──────────────── Unknown ────────────────┐           the first result counts at once
//!             ▼                                         ▼
//!             Up ── bad, `threshold` times in a row ─▶ Down
//!             ▲                                         │
//!             └── good, `threshold` × caution times ────┘
//! ```
//!
//! *Caution* is 1, except for a member that flaps: one that was taken down [`FLAPS`] times within [`CALM`] needs twice as many good
//! results in a row to come up again, and with each further time down twice as many again, up to [`MAX_CAUTION`] times the threshold.
//! Once it has not been taken down for [`CALM`], caution is 1 again. Going down is never delayed, and the first result of a member
//! that nothing was known of is no flap.
//!
//! A result that says nothing about the member ([`Reason::is_ours`]: no sockets, no own address) is shown and changes nothing.

mod hint;
mod outcome;
mod ward;

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

pub use hint::Hint;
pub use outcome::{Outcome, Reason, Stage, Target};
pub use ward::{Round, Ward};

/// How many times down within [`CALM`] make a member one that flaps.
pub const FLAPS: usize = 3;
/// A member that was not taken down for this long is calm: 10 minutes.
pub const CALM: Duration = Duration::from_secs(600);
/// The most by which a member that flaps has its threshold multiplied.
pub const MAX_CAUTION: u32 = 8;
/// How many turns are remembered of each member.
pub const REMEMBERED: usize = 16;

/// What is thought of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Nothing was heard yet. It takes no new flows.
    Unknown,
    /// It answers well.
    Up,
    /// It does not.
    Down,
}

impl fmt::Display for State {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}

/// A change of state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// When, since the caller's origin.
    pub at: Duration,
    /// What the state was.
    pub from: State,
    /// What it is since.
    pub to: State,
    /// The result that decided.
    pub outcome: Outcome,
}

/// One member as one probe sees it. Times are since an origin of the caller's, the same for all calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulse {
    state: State,
    since: Duration,
    last: Option<(Outcome, Duration)>,
    streak: Streak,
    flaps: Flaps,
    history: VecDeque<Turn>,
}

impl Pulse {
    /// A member of which nothing is known.
    #[must_use]
    pub fn new(now: Duration) -> Self {
        Self::assumed(State::Unknown, now)
    }

    /// A member whose state was taken over, after a restart. The next results count by the threshold as usual.
    #[must_use]
    pub fn assumed(state: State, now: Duration) -> Self {
        Self {
            state,
            since: now,
            last: None,
            streak: Streak::default(),
            flaps: Flaps::default(),
            history: VecDeque::new(),
        }
    }

    /// Takes a result in; gives the turn if it decided one (PROBE-3). A `threshold` of 0 counts as 1.
    pub fn hear(&mut self, outcome: Outcome, now: Duration, threshold: u32) -> Option<Turn> {
        let says = outcome.says();
        self.last = Some((outcome.clone(), now));
        let to = says?;
        self.streak = self.streak.and(to);
        let decides = to != self.state && self.streak.length >= self.needed(to, threshold.max(1), now);
        decides.then(|| self.turn(to, outcome, now))
    }

    /// How many equal results in a row lead to this state.
    fn needed(&self, to: State, threshold: u32, now: Duration) -> u32 {
        match (self.state, to) {
            (State::Unknown, _) => 1,
            (State::Down, State::Up) => threshold.saturating_mul(self.caution(now)),
            (State::Up | State::Down, _) => threshold,
        }
    }

    fn turn(&mut self, to: State, outcome: Outcome, now: Duration) -> Turn {
        let turn = Turn { at: now, from: self.state, to, outcome };
        if (turn.from, to) == (State::Up, State::Down) {
            self.flaps.fall(now);
        }
        self.state = to;
        self.since = now;
        self.history.truncate(REMEMBERED - 1);
        self.history.push_front(turn.clone());
        turn
    }

    /// Something else is asked from now on: what is thought of the member stays, what was heard counts no more.
    fn start_anew(&mut self) {
        self.last = None;
        self.streak = Streak::default();
    }

    /// What is thought of it.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Since when.
    #[must_use]
    pub const fn since(&self) -> Duration {
        self.since
    }

    /// The newest result, and when it came.
    #[must_use]
    pub fn last(&self) -> Option<(&Outcome, Duration)> {
        self.last.as_ref().map(|(outcome, at)| (outcome, *at))
    }

    /// What speaks against new flows to a member that is still up: its newest attempt was told that there is no way to it.
    #[must_use]
    pub fn hint(&self) -> Option<Hint> {
        match (self.state, &self.last) {
            (State::Up, Some((Outcome::Bad(Reason::Unreachable(target)), _))) => {
                Some(Hint::Unreachable(*target))
            }
            _ => None,
        }
    }

    /// How many of the newest results were equal: all good or all bad.
    #[must_use]
    pub const fn streak(&self) -> u32 {
        self.streak.length
    }

    /// By how much the threshold is multiplied before it is taken up: 1, or 2, 4, 8 while it flaps.
    #[must_use]
    pub fn caution(&self, now: Duration) -> u32 {
        self.flaps.caution(now)
    }

    /// The turns it took, newest first: at most [`REMEMBERED`].
    pub fn history(&self) -> impl ExactSizeIterator<Item = &Turn> {
        self.history.iter()
    }
}

/// Equal results in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Streak {
    /// What they speak for.
    says: State,
    length: u32,
}

impl Default for Streak {
    fn default() -> Self {
        Self { says: State::Unknown, length: 0 }
    }
}

impl Streak {
    fn and(self, says: State) -> Self {
        let before = if says == self.says { self.length } else { 0 };
        Self { says, length: before.saturating_add(1) }
    }
}

/// When it was taken down lately, oldest first, and how cautious that makes. One that never was takes no memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Flaps {
    falls: Vec<Duration>,
    /// How many falls there were from the one on that made it flap, in this restless time.
    beyond: u32,
}

impl Flaps {
    fn fall(&mut self, now: Duration) {
        if self.is_calm(now) {
            *self = Self::default();
        }
        if self.falls.len() == FLAPS {
            self.falls.remove(0);
        }
        self.falls.push(now);
        let many = self.falls.len() == FLAPS && now.saturating_sub(self.falls[0]) < CALM;
        if many || self.beyond > 0 {
            self.beyond += 1;
        }
    }

    fn is_calm(&self, now: Duration) -> bool {
        self.falls.last().is_none_or(|last| now.saturating_sub(*last) >= CALM)
    }

    fn caution(&self, now: Duration) -> u32 {
        if self.is_calm(now) {
            1
        } else {
            1u32.checked_shl(self.beyond).map_or(MAX_CAUTION, |by| by.min(MAX_CAUTION))
        }
    }
}

#[cfg(test)]
mod tests;
