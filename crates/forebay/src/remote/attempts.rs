//! Trying again because somebody else wrote between the comparison and the change.

use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::{Instant, sleep};

/// For how long it is tried.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest pause before the second attempt; it grows with each.
const PAUSE: Duration = Duration::from_millis(40);
/// And ends growing here.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How often it was tried, and until when it is.
pub(super) struct Attempts {
    until: Instant,
    number: u32,
}

impl Attempts {
    pub(super) fn new() -> Self {
        Self { until: Instant::now() + PATIENCE, number: 0 }
    }

    /// Waits a moment by chance, so that those who met once do not meet again, and says whether to try.
    pub(super) async fn next(&mut self) -> bool {
        if self.number > 0 {
            let mut chance = [u8::MAX];
            // Without chance everybody waits longest, and that is all.
            let _ = SystemRandom::new().fill(&mut chance);
            sleep(LONGEST_PAUSE.min(PAUSE * self.number) * u32::from(chance[0]) / u32::from(u8::MAX)).await;
        }
        self.number += 1;
        Instant::now() < self.until
    }
}
