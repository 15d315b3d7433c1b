//! The loops of the pipeline: they touch no packet, take and give numbers only, and can therefore be checked by the verifier once
//! instead of once for each way that leads to them. A world decides where they run; what they do is decided here.

use crate::Tick;
use crate::flow::inward_place;
use crate::masquerade::{claim, expired, is_once, may_yield, read};
use crate::memory::{Remembered, bucket_place};
use crate::row::{
    Address, BUCKET_WAYS, BUSY, LIVE, MASQUERADE_FIRST_PORT, MASQUERADE_PORTS, MAX_IDLE_TICKS, OUTWARD_WAYS,
};
use crate::world::{Word, World};

/// In the answers of [`way`], [`outward_way`] and [`piece_way`]: the place holds another flow, or none, and may be taken.
pub const VACANT: u32 = 16;
/// In the answers of [`way`] and [`outward_way`]: there is no place.
pub const NOWHERE: u32 = 32;

/// An answer of [`access_by`]: the packet may pass.
pub const ADMITTED: u32 = 0;
/// An answer of [`access_by`]: it may not.
pub const DENIED: u32 = 1;
/// An answer of [`access_by`]: the list is not there any more, and another one not known yet.
pub const BETWEEN: u32 = 2;

/// Ports tried for a new masqueraded flow.
const PORT_TRIES: u32 = 8;
/// The step from one port tried to the next; odd, and so never back at the start.
const PORT_STEP: u32 = 7_919;

/// The way of its bucket in which the flow with this identity is remembered, or one with [`VACANT`] that a new entry may take, or
/// [`NOWHERE`].
#[cfg_attr(target_arch = "bpf", inline(always))]
pub fn way<W: World>(world: &W, identity: u64, now: u32) -> u32 {
    let now = Tick(now);
    let Some(bucket) = world.bucket(bucket_place(world, identity)) else { return NOWHERE };
    let mut victim = NOWHERE;
    let mut vacancy = 0;
    let mut index = 0;
    while index < BUCKET_WAYS {
        let word = bucket[index].get();
        let age = match Remembered::of(word, now) {
            Some(_) if Remembered::is_of(word, identity) => return index as u32,
            // The longer ago an unconfirmed flow was seen, the better a victim it is.
            Some(remembered) if !remembered.is_confirmed() => {
                1 + MAX_IDLE_TICKS as u64 - remembered.remaining(now)
            }
            Some(_) => 0,
            // Both ends may still wait for their reset: it is the flow's own place, or the last that another one gets.
            None if Remembered::is_tracked(word) => {
                if Remembered::is_of(word, identity) {
                    return VACANT | index as u32;
                }
                u64::MAX - 1
            }
            None => u64::MAX,
        };
        if age > vacancy {
            victim = VACANT | index as u32;
            vacancy = age;
        }
        index += 1;
    }
    victim
}

/// The way in which the masqueraded flow with this tag is kept by its client's side, or one with [`VACANT`], or [`NOWHERE`].
#[cfg_attr(target_arch = "bpf", inline(always))]
pub fn outward_way<W: World>(world: &W, tag: u64, now: u32) -> u32 {
    let first = crate::masquerade::first_place(world, tag);
    let (mut found, mut spare) = (NOWHERE, NOWHERE);
    let mut way = 0;
    while way < OUTWARD_WAYS {
        if let Some(entry) = world.outward(first | way) {
            let state = read::<W>(entry, 0);
            if state & LIVE != 0 && is_once::<W>(entry) {
                spare = VACANT | way;
            }
            let free = state == 0 || state & LIVE != 0 && expired(read::<W>(entry, 6) as u32, Tick(now));
            if state == tag | LIVE {
                // FLOW-5: one that ran out begins anew, in its own place.
                return if free { VACANT | way } else { way };
            }
            if free {
                found = VACANT | way;
            }
        }
        way += 1;
    }
    if found == NOWHERE { spare } else { found }
}

/// What a difference in the first four bytes of an SCTP packet of `length` bytes makes of its checksum.
#[inline(always)]
pub fn crc(difference: u32, length: u32) -> u32 {
    crate::checksum::crc_difference(difference, length)
}

/// The way of its bucket in which the fragmented packet with this identity is kept, or with [`VACANT`] the one that it may take.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub fn piece_way<W: World>(world: &W, identity: u64, now: u32) -> u32 {
    crate::pieces::way(world, identity, now)
}

/// Whether a list admits a packet of `bytes` from this address: [`ADMITTED`], [`DENIED`] or [`BETWEEN`]. It is counted by the security
/// rule that decides.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub fn access_by<W: World>(world: &W, list: u32, high: u64, low: u64, bytes: u32) -> u32 {
    crate::access::ask(world, list, Address { high, low }, bytes)
}

/// What is known of a connection is brought up to date by a packet of it, which the parcel tells of; gives its member. `numbers`: the
/// packet's first sequence number, and what it acknowledges; `rest`: the sequence number after its last, and its flags; `time`: the
/// index of the link that it came in by, and the tick.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub fn keep_in_mind<W: World>(world: &W, plan: u64, numbers: u64, rest: u64, station: u64, time: u64) -> u64 {
    crate::track::in_mind(world, plan, numbers, rest, station, ((time >> 32) as u32, Tick(time as u32)))
}

/// Takes a free port of the own address towards a member, or one that may yield where none is free: `key` is the member's side without
/// the port. Gives the place of the inward entry (upper half) and the port, or 0; the entry is left [`BUSY`].
#[cfg_attr(target_arch = "bpf", inline(always))]
pub fn take_port<W: World>(world: &W, key: u64, seed: u32, now: u32) -> u64 {
    let bits = world.config().masquerade_bits();
    let mut spare = 0;
    let mut tries = 0;
    while tries < PORT_TRIES {
        let step = seed.wrapping_add(tries * PORT_STEP) % MASQUERADE_PORTS as u32;
        let port = MASQUERADE_FIRST_PORT as u64 + step as u64;
        let key = key | port << 8;
        let place = inward_place(key, bits);
        if let Some(entry) = world.inward(place) {
            let state = read::<W>(entry, 0);
            let free = state == 0 || state & LIVE != 0 && expired(read::<W>(entry, 5) as u32, Tick(now));
            if free && claim::<W>(entry, state, key | BUSY) {
                return (place as u64) << 32 | port;
            }
            if state & LIVE != 0 && may_yield(world, entry, place) {
                spare = port;
            }
        }
        tries += 1;
    }
    let key = key | spare << 8;
    let place = inward_place(key, bits);
    match world.inward(place) {
        Some(entry) if spare != 0 => {
            let state = read::<W>(entry, 0);
            let taken = state & BUSY == 0 && claim::<W>(entry, state, key | BUSY);
            if taken { (place as u64) << 32 | spare } else { 0 }
        }
        _ => 0,
    }
}
