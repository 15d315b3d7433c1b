//! The memory of flows: buckets of eight entries, one cache line each; an entry is one word.
//!
//! | bits | what |
//! |---|---|
//! | 0–14 | the tick until which the flow is remembered, modulo 2^15 |
//! | 15 | confirmed: more than one packet was seen |
//! | 16–30 | the member's number |
//! | 31 | pinned: remembered because of a change, not because all flows of its rule are |
//! | 32 | tracked: more is known of it in the row of the same place ([`Tracked`](crate::Tracked)) |
//! | 33–63 | tag: bits of the flow's identity that did not choose the bucket |
//!
//! An entry that ran out may be replaced by any flow, a tracked one only where there is no other; one that is not confirmed only by
//! another flow's first packet when the bucket
//! is full; a confirmed one by nobody (FLOW-6).

use crate::Tick;
use crate::outline::{NOWHERE, VACANT};
use crate::row::{BUCKET_WAYS, MAX_IDLE_TICKS};
use crate::world::{Word, World};

const TIME: u64 = 0x7fff;
const CONFIRMED: u64 = 1 << 15;
const PINNED: u64 = 1 << 31;
const TRACKED: u64 = 1 << 32;
/// Where the tag begins.
const TAG: u32 = 33;

/// A remembered flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered(u64);

impl Remembered {
    /// From an entry's word; `None` where there is none, or it has run out at `now`.
    #[inline(always)]
    pub fn of(word: u64, now: Tick) -> Option<Self> {
        if word != 0 && Self(word).remaining(now) <= MAX_IDLE_TICKS as u64 { Some(Self(word)) } else { None }
    }

    /// Ticks for which it is still remembered; more than the longest idle time where it has run out.
    #[inline(always)]
    pub fn remaining(self, now: Tick) -> u64 {
        (self.0 & TIME).wrapping_sub(now.0 as u64) & TIME
    }

    /// The member's number.
    #[inline(always)]
    pub fn member(self) -> u32 {
        (self.0 >> 16) as u32 & 0x7fff
    }

    /// Whether more than one packet was seen.
    #[inline(always)]
    pub fn is_confirmed(self) -> bool {
        self.0 & CONFIRMED != 0
    }

    /// Whether more is known of the flow of this word, which may have run out.
    #[inline(always)]
    pub fn is_tracked(word: u64) -> bool {
        word & TRACKED != 0
    }

    /// From a word, whether or not it has run out.
    #[inline(always)]
    pub fn whenever(word: u64) -> Self {
        Self(word)
    }

    /// Whether this word is an entry of the flow with this identity.
    #[inline(always)]
    pub(crate) fn is_of(word: u64, identity: u64) -> bool {
        word >> TAG == identity >> TAG
    }

    /// The same flow, remembered because of a change or not.
    #[inline(always)]
    pub(crate) fn pinned(self, pinned: bool) -> Self {
        Self(self.0 & !PINNED | if pinned { PINNED } else { 0 })
    }

    /// Whether it is remembered because of a change.
    #[inline(always)]
    pub fn is_pinned(self) -> bool {
        self.0 & PINNED != 0
    }
}

/// Why a flow is remembered, and how surely it is one.
#[derive(Clone, Copy)]
pub(crate) struct Why {
    /// Because of a change; else because all flows of its rule are.
    pub(crate) pinned: bool,
    /// It was under way before this packet.
    pub(crate) confirmed: bool,
    /// More is known of it, in the row of the same place.
    pub(crate) tracked: bool,
}

/// What the memory says of a flow.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    identity: u64,
    /// The way of the flow's own entry, or the one that a new entry would take; [`BUCKET_WAYS`] where the bucket is full.
    way: usize,
    /// The flow's entry, where there is one.
    pub remembered: Option<Remembered>,
}

/// Looks for the flow with this identity.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub fn find<W: World>(world: &W, identity: u64, now: Tick) -> Found {
    let way = world.way(identity, now.0);
    if way >= VACANT {
        let way = if way == NOWHERE { BUCKET_WAYS } else { (way & 7) as usize };
        return Found { identity, way, remembered: None };
    }
    let way = (way & 7) as usize;
    let word = match world.bucket(bucket_place(world, identity)) {
        Some(bucket) => bucket[way].get(),
        None => 0,
    };
    // Another processor may have given the entry away in between.
    let remembered = if Remembered::is_of(word, identity) { Remembered::of(word, now) } else { None };
    Found { identity, way, remembered }
}

#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn bucket_place<W: World>(world: &W, identity: u64) -> u32 {
    (identity as u32) & ((1u64 << (world.config().flow_bits() & 31)) - 1) as u32
}

impl Found {
    /// The place of the flow's entry among all entries, or of the one that it would take.
    #[cfg_attr(target_arch = "bpf", inline(always))]
    pub(crate) fn place<W: World>(&self, world: &W) -> u32 {
        bucket_place(world, self.identity) * BUCKET_WAYS as u32 + (self.way & (BUCKET_WAYS - 1)) as u32
    }

    /// Whether the flow is not remembered, and cannot be.
    #[inline(always)]
    pub(crate) fn is_full(&self) -> bool {
        self.way >= BUCKET_WAYS
    }

    /// Remembers the flow for another idle time. Within a tick the entry is not written again.
    #[cfg_attr(target_arch = "bpf", inline(always))]
    pub(crate) fn refresh<W: World>(&self, world: &W, old: Remembered, confirm: bool, idle: u16, now: Tick) {
        let confirmed = if confirm { CONFIRMED } else { 0 };
        let word = old.0 & !TIME | confirmed | until(now, idle);
        if word != old.0 {
            self.write(world, word);
        }
    }

    /// Remembers the flow's member, where there is room.
    #[cfg_attr(target_arch = "bpf", inline(always))]
    pub(crate) fn remember<W: World>(&self, world: &W, member: u32, why: Why, idle: u16, now: Tick) {
        let pinned = if why.pinned { PINNED } else { 0 };
        let confirmed = if why.confirmed { CONFIRMED } else { 0 };
        let tracked = if why.tracked { TRACKED } else { 0 };
        let tag = self.identity >> TAG << TAG;
        self.write(world, tag | tracked | pinned | (member as u64) << 16 | confirmed | until(now, idle));
    }

    #[cfg_attr(target_arch = "bpf", inline(always))]
    fn write<W: World>(&self, world: &W, word: u64) {
        if let Some(bucket) = world.bucket(bucket_place(world, self.identity))
            && let Some(entry) = bucket.get(self.way)
        {
            entry.set(word);
        }
    }
}

#[inline(always)]
fn until(now: Tick, idle: u16) -> u64 {
    (now.0 as u64 + idle as u64) & TIME
}
