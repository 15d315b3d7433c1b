//! Stations that may be gone: an attempt to reach a member behind them is without an answer. Each is verified at once, instead of when the
//! kernel would come to it, and is silent from soon afterwards until it answers. There is no clock here: `now` is a parameter.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::netlink::{Neighbours, Station};

/// How long a station may take for its answer.
const ANSWER: Duration = Duration::from_millis(500);
/// A station that has answered is not asked again for this long, however many attempts at members behind it have no answer.
const REST: Duration = Duration::from_secs(4);
/// How many may be asked at one time; the others wait. A whole segment that is gone is asked after at this rate by [`ANSWER`].
const AT_ONCE: usize = 256;

/// The stations in doubt.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    turns: BTreeMap<Station, Turn>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// To be asked as soon as there is room.
    Waits,
    /// Was asked, and has until then to answer.
    Asked { until: Instant },
    /// Did not answer. The kernel goes on asking for a while, and then takes it for lost.
    Silent,
    /// Has answered.
    Rests { until: Instant },
}

impl Doubts {
    /// Somebody behind this station does not answer.
    pub(super) fn raise(&mut self, station: Station, now: Instant) {
        let turn = self.turns.entry(station).or_insert(Turn::Waits);
        if matches!(turn, Turn::Rests { until } if *until <= now) {
            *turn = Turn::Waits;
        }
    }

    /// Those that are to be asked now. They count as asked.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Station> {
        let asked = self.turns.values().filter(|turn| matches!(turn, Turn::Asked { .. })).count();
        let waiting = self.turns.iter_mut().filter(|(_, turn)| **turn == Turn::Waits);
        let due = waiting.take(AT_ONCE.saturating_sub(asked));
        due.map(|(station, turn)| {
            *turn = Turn::Asked { until: now + ANSWER };
            *station
        })
        .collect()
    }

    /// When the time of one that was asked is over.
    pub(super) fn next(&self) -> Option<Instant> {
        let until = |turn: &Turn| if let Turn::Asked { until } = turn { Some(*until) } else { None };
        self.turns.values().filter_map(until).min()
    }

    /// The kernel has heard from these; says whether one of them was silent.
    pub(super) fn answered(&mut self, stations: &[Station], now: Instant) -> bool {
        let mut news = false;
        for station in stations {
            if let Some(turn @ (Turn::Asked { .. } | Turn::Silent)) = self.turns.get_mut(station) {
                news |= *turn == Turn::Silent;
                *turn = Turn::Rests { until: now + REST };
            }
        }
        news
    }

    /// What the kernel knows of all neighbours decides of those whose time is over. One that it has lost, or that nobody wants, is in doubt
    /// no more.
    pub(super) fn judge(&mut self, wanted: &BTreeSet<Station>, neighbours: &Neighbours, now: Instant) {
        self.turns.retain(|station, turn| {
            let Some(neighbour) = neighbours.get(station).filter(|it| it.mac.is_some()) else { return false };
            match turn {
                Turn::Asked { until } if *until <= now && neighbour.unconfirmed => *turn = Turn::Silent,
                Turn::Asked { .. } | Turn::Silent if !neighbour.unconfirmed => {
                    *turn = Turn::Rests { until: now + REST };
                }
                Turn::Waits | Turn::Asked { .. } | Turn::Silent | Turn::Rests { .. } => {}
            }
            wanted.contains(station) && !matches!(turn, Turn::Rests { until } if *until <= now)
        });
    }

    /// Whether it was asked and did not answer.
    pub(super) fn is_silent(&self, station: &Station) -> bool {
        self.turns.get(station) == Some(&Turn::Silent)
    }
}

#[cfg(test)]
mod tests;
