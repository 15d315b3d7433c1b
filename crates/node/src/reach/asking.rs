//! Whom the kernel is to ask for its link-layer address, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::netlink::Station;

/// When who is asked. Who answers is asked again from time to time, so that the kernel keeps verifying it; who does not,
/// more often.
#[derive(Debug, Default)]
pub(super) struct Asking {
    turns: BTreeMap<Station, Turn>,
}

#[derive(Clone, Copy, Debug)]
enum Turn {
    Answers { at: Instant },
    Silent { at: Instant, pause: Duration },
}

/// How often a station that answers is asked again.
const VERIFY: Duration = Duration::from_secs(15);
/// How soon a station that does not answer is asked again; then twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Asking {
    /// These stations, and no others, are to be asked from now on; with each, whether it answers.
    pub(super) fn want(&mut self, stations: &BTreeMap<Station, bool>, now: Instant) {
        self.turns.retain(|station, _| stations.contains_key(station));
        for (station, answers) in stations {
            let turn = match (self.turns.get(station), answers) {
                (Some(turn @ Turn::Answers { .. }), true) | (Some(turn @ Turn::Silent { .. }), false) => {
                    *turn
                }
                (Some(Turn::Silent { .. }), true) => Turn::Answers { at: now + VERIFY },
                // What the kernel knew already may be old, so it is verified at once.
                (None, true) => Turn::Answers { at: now },
                (Some(Turn::Answers { .. }) | None, false) => Turn::Silent { at: now, pause: FIRST_PAUSE },
            };
            self.turns.insert(*station, turn);
        }
    }

    /// The link has come up: whoever is on it may answer now.
    pub(super) fn ask_again(&mut self, link: u32, now: Instant) {
        for (_, turn) in self.turns.iter_mut().filter(|(station, _)| station.link == link) {
            *turn = match turn {
                Turn::Answers { .. } => Turn::Answers { at: now },
                Turn::Silent { .. } => Turn::Silent { at: now, pause: FIRST_PAUSE },
            };
        }
    }

    /// At most so many stations whose turn it is. They count as asked.
    pub(super) fn due(&mut self, now: Instant, most: usize) -> Vec<Station> {
        let due = self.turns.iter_mut().filter(|(_, turn)| turn.at() <= now).take(most);
        due.map(|(station, turn)| {
            *turn = turn.after(now);
            *station
        })
        .collect()
    }

    /// When the next turn is.
    pub(super) fn next(&self) -> Option<Instant> {
        self.turns.values().map(|turn| turn.at()).min()
    }
}

impl Turn {
    const fn at(self) -> Instant {
        match self {
            Self::Answers { at } | Self::Silent { at, .. } => at,
        }
    }

    fn after(self, now: Instant) -> Self {
        match self {
            Self::Answers { .. } => Self::Answers { at: now + VERIFY },
            Self::Silent { pause, .. } => {
                Self::Silent { at: now + pause, pause: (pause * 2).min(LONGEST_PAUSE) }
            }
        }
    }
}

#[cfg(test)]
mod tests;
