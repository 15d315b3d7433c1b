//! How long a thread stood still that should not. There is no clock here: `now` is a parameter.

use std::time::{Duration, Instant};

/// How often it is looked, while it matters.
const LOOK: Duration = Duration::from_millis(50);

/// Counts the time in which nobody looked, though it was time to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stillness {
    looked: Instant,
    total: Duration,
}

impl Stillness {
    pub(super) const fn new(now: Instant) -> Self {
        Self { looked: now, total: Duration::ZERO }
    }

    /// When it is to be looked next.
    pub(super) fn next(&self) -> Instant {
        self.looked + LOOK
    }

    /// The thread runs.
    pub(super) fn look(&mut self, now: Instant) {
        self.total += now.saturating_duration_since(self.next());
        self.looked = now;
    }

    /// All time in which it stood still, or had nothing to look for, until it was looked last.
    pub(super) const fn total(&self) -> Duration {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn what_is_longer_than_from_one_look_to_the_next_is_stillness() {
        let start = Instant::now();
        let mut stillness = Stillness::new(start);
        for number in 1..=100 {
            stillness.look(start + LOOK * number);
        }
        assert_eq!(stillness.total(), Duration::ZERO);
        let paused = start + LOOK * 100 + Duration::from_secs(3);
        stillness.look(paused);
        stillness.look(paused + MILLI);
        assert_eq!(stillness.total(), Duration::from_secs(3) - LOOK);
        assert_eq!(stillness.next(), paused + MILLI + LOOK);
    }
}
