//! Connections that are kept in mind, as the memories of the data path have them (FLOW-3, FLOW-5).

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use engine::reset::{Fate, Holder, may_be_over};
use plane::row::{BUCKET_WAYS, ENTRY_WORDS, LIVE, TRACK_WORDS, protocol};
use plane::{Flow, Remembered, Reset, Tick, Tracked, masquerade_places, masqueraded};

use crate::maps::Words;
use crate::{Kernel, KernelError};

/// A connection that was kept in mind, and is forgotten now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What was known of it.
    pub known: Tracked,
    /// The number of its member; 0 where only the memory of masqueraded flows knows it.
    pub member: u32,
}

/// Which connections are looked at, and how many may end.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    /// The data path's time.
    pub now: Tick,
    /// All of them, not those only whose time may be over: after a pause in which the time of entries may have wrapped.
    pub thorough: bool,
    /// How many connections end at most; another sweep finds the rest.
    pub most: usize,
}

impl Kernel {
    /// Forgets the connections that are over, and gives those whose ends are to hear of it. One that a packet comes for at this moment
    /// goes on.
    ///
    /// # Errors
    /// None in practice: the memories are mapped since the data path was opened.
    pub fn end(&self, sweep: Sweep, fate: impl Fn(u64, &Tracked) -> Fate) -> Result<Vec<Ended>, KernelError> {
        let mut ended = Vec::new();
        for (at, word) in self.flows.all().iter().enumerate() {
            let word = word.load(Ordering::Relaxed);
            let is_due =
                if sweep.thorough { Remembered::is_tracked(word) } else { may_be_over(word, sweep.now) };
            if !is_due {
                continue;
            }
            let Some(known) = Tracked::of(word, self.track(at)) else {
                // Nothing is known of it: it is what a data path of another version left.
                if Remembered::of(word, sweep.now).is_none() {
                    self.flows.claim(at, word, 0);
                }
                continue;
            };
            match fate(word, &known) {
                Fate::Stays => {}
                Fate::Forgotten => {
                    self.flows.claim(at, word, 0);
                }
                Fate::Reset => {
                    if self.flows.claim(at, word, 0) {
                        ended.push(Ended { known, member: Remembered::whenever(word).member() });
                    }
                    if ended.len() >= sweep.most {
                        break;
                    }
                }
            }
        }
        Ok(ended)
    }

    /// Forgets the open connections of these members that are kept in mind, and gives them.
    ///
    /// # Errors
    /// As [`Self::end`].
    pub fn end_of(&self, members: &BTreeSet<u32>) -> Result<Vec<(Tracked, Holder)>, KernelError> {
        let mut ended = Vec::new();
        for (at, word) in self.flows.all().iter().enumerate() {
            let word = word.load(Ordering::Relaxed);
            let member = Remembered::whenever(word).member();
            if Remembered::is_tracked(word) && members.contains(&member) {
                ended.extend(self.end_one(at, word).map(|known| (known, Holder { member, port: 0 })));
            }
        }
        // What is masqueraded has no member in the memory of flows.
        let now = self.now()?;
        let kept = self.outward_words().filter_map(|words| masqueraded(words, now));
        for kept in kept.filter(|kept| kept.flow.protocol == protocol::TCP && members.contains(&kept.member))
        {
            let holder = Holder { member: kept.member, port: kept.port };
            let places = self.places_of(&kept.flow);
            let known = places.filter_map(|at| {
                let word = self.flows.get(at);
                let known = Tracked::of(word, self.track(at))?;
                (known.flow == kept.flow).then(|| self.end_one(at, word)).flatten()
            });
            ended.extend(known.map(|known| (known, holder)));
        }
        Ok(ended)
    }

    fn end_one(&self, at: usize, word: u64) -> Option<Tracked> {
        let known = Tracked::of(word, self.track(at))?;
        let is_open = Remembered::whenever(word).is_confirmed() && !known.closed;
        (self.flows.claim(at, word, 0) && is_open).then_some(known)
    }

    /// Who has a masqueraded flow, also one whose time there has run out, as long as its port was not given to another one.
    ///
    /// # Errors
    /// None in practice: the memories are mapped since the data path was opened.
    pub fn holder(&self, flow: &Flow) -> Result<Option<Holder>, KernelError> {
        let entry = |words: &Words, place: usize| -> [u64; ENTRY_WORDS] {
            std::array::from_fn(|word| words.get(place * ENTRY_WORDS + word))
        };
        let held = masquerade_places(flow, self.dump_config()?).find_map(|place| {
            let words = entry(&self.outward, place as usize);
            // At the end of its time it was still there.
            let kept = masqueraded(words, Tick(words[6] as u32)).filter(|kept| kept.flow == *flow)?;
            let other = entry(&self.inward, words[7] as u32 as usize);
            let is_same = other[1..5] == words[1..5] && other[5] >> 32 == words[5] >> 32;
            (is_same && other[0] & LIVE != 0).then_some(Holder { member: kept.member, port: kept.port })
        });
        Ok(held)
    }

    /// Connections that are kept in mind, with their entries.
    pub fn tracked(&self) -> impl Iterator<Item = (u64, Tracked)> + '_ {
        (0..self.flows.len()).filter_map(|at| {
            let word = self.flows.get(at);
            if !Remembered::is_tracked(word) {
                return None;
            }
            Some((word, Tracked::of(word, self.track(at))?))
        })
    }

    /// Resets that were sent for this cause.
    pub fn resets(&self, cause: Reset) -> u64 {
        self.resets.get(cause as usize)
    }

    /// Counts a reset that was sent. Nobody else counts as long as this process serves.
    pub fn count_reset(&self, cause: Reset) {
        self.resets.set(cause as usize, self.resets.get(cause as usize).wrapping_add(1));
    }

    fn track(&self, at: usize) -> [u64; TRACK_WORDS] {
        std::array::from_fn(|word| self.tracks.get(at * TRACK_WORDS + word))
    }

    /// Where a flow's entry may be in the memory of flows.
    fn places_of(&self, flow: &Flow) -> impl Iterator<Item = usize> + use<> {
        let bucket = flow.identity() as usize & (self.flows.len() / BUCKET_WAYS - 1);
        bucket * BUCKET_WAYS..(bucket + 1) * BUCKET_WAYS
    }
}
