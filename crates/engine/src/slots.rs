//! Who owns which slot of a ring: shares by weight (DIST-5, DIST-9), little that moves (DIST-6), and the same answer everywhere
//! (DIST-7).
//!
//! Every member has a quota: its part of all slots by its weight, rounded down or up. The members of the pool, up or down, share the
//! ring by Maglev's method: each has its own order of all slots and takes in turn the first one that is free, the heavier the more
//! often, until it has its quota. Then the slots of members that are down are given to those that are up: each to the one that ranks
//! highest for this slot among those that have less than their quota of the ring without the others. So when a member goes down or comes
//! back only its own slots move, and one that joins, leaves or changes its weight moves little beside its share.
//!
//! Ranks and orders come from the members' addresses and weights alone, never from numbers or from what was before.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;

use model::Weight;
use plane::row::{Address, RING_SLOTS};

/// A member of a pool: its address, its weight, and whether it is up.
pub type Part = (IpAddr, Weight, bool);

const SLOTS: usize = RING_SLOTS as usize;

/// The owner of every slot, as an index into `members`; `None` where nobody is up. `members` are distinct.
pub fn fill(members: &[Part]) -> Vec<Option<u16>> {
    let candidates: Vec<Candidate> = members.iter().map(Candidate::of).collect();
    if !candidates.iter().any(|candidate| candidate.up) {
        return vec![None; SLOTS];
    }
    let mut owners = maglev(&candidates);
    if candidates.iter().any(|candidate| !candidate.up) {
        adopt(&candidates, &mut owners);
    }
    owners
}

struct Candidate {
    /// Who it is, whatever the order in which members are listed.
    identity: (u64, IpAddr),
    weight: u64,
    up: bool,
}

impl Candidate {
    fn of((address, weight, up): &Part) -> Self {
        Self { identity: (identity(*address), *address), weight: weight.get().into(), up: *up }
    }
}

/// DIST-9: how many slots each of the `asked` has: its exact part by weight, rounded down or up. Rounded up are first those that own
/// more already, then those that lost most by rounding down.
fn quotas(candidates: &[Candidate], asked: impl Fn(&Candidate) -> bool, owned: &[usize]) -> Vec<usize> {
    let whole: u64 = candidates.iter().filter(|it| asked(it)).map(|it| it.weight).sum();
    let parts = |it: &Candidate| if asked(it) { u64::from(RING_SLOTS) * it.weight } else { 0 };
    let mut quotas: Vec<usize> = candidates.iter().map(|it| (parts(it) / whole) as usize).collect();
    let left = SLOTS - quotas.iter().sum::<usize>();
    let mut waiting: Vec<usize> = (0..candidates.len()).filter(|at| asked(&candidates[*at])).collect();
    waiting.sort_unstable_by_key(|at| {
        let it = &candidates[*at];
        (owned[*at] <= quotas[*at], Reverse(parts(it) % whole), it.identity)
    });
    for at in waiting.into_iter().take(left) {
        quotas[at] += 1;
    }
    quotas
}

/// Maglev: every member takes, in turn, the first free slot of its own order. One of twice the weight has its turn twice as often.
fn maglev(candidates: &[Candidate]) -> Vec<Option<u16>> {
    let quotas = quotas(candidates, |_| true, &vec![0; candidates.len()]);
    let mut players: Vec<Player> = candidates.iter().zip(quotas).zip(0..).map(Player::of).collect();
    players.sort_unstable_by_key(|player| player.identity);
    let mut owners = vec![None; SLOTS];
    if candidates.windows(2).all(|pair| pair[0].weight == pair[1].weight) {
        in_rounds(&mut players, &mut owners);
    } else {
        by_time(&mut players, &mut owners);
    }
    owners
}

/// The order of [`by_time`] for members of one weight, without looking for who is next: one after the other, until the first has its quota.
fn in_rounds(players: &mut [Player], owners: &mut [Option<u16>]) {
    loop {
        for player in &mut *players {
            if player.turn().is_none() {
                return;
            }
            player.take(owners);
        }
    }
}

fn by_time(players: &mut [Player], owners: &mut [Option<u16>]) {
    let first = players.iter_mut().enumerate().filter_map(|(at, player)| Some(Reverse((player.turn()?, at))));
    let mut turns: BinaryHeap<Reverse<(u64, usize)>> = first.collect();
    while let Some(Reverse((_, at))) = turns.pop() {
        let player = &mut players[at];
        player.take(owners);
        turns.extend(player.turn().map(|time| Reverse((time, at))));
    }
}

/// A member while slots are taken in turn.
struct Player {
    member: u16,
    identity: (u64, IpAddr),
    weight: u64,
    quota: usize,
    /// How many turns it had.
    turns: usize,
    next: u32,
}

impl Player {
    fn of(((candidate, quota), member): ((&Candidate, usize), u16)) -> Self {
        let Candidate { identity, weight, .. } = *candidate;
        Self { member, identity, weight, quota, turns: 0, next: identity.0 as u32 }
    }

    /// The time of its next turn, unless it has its quota. The unit is so small that times are equal or not as the fractions are, for
    /// all weights.
    fn turn(&mut self) -> Option<u64> {
        self.turns += 1;
        (self.turns <= self.quota).then(|| ((self.turns as u64) << 32) / self.weight)
    }

    fn take(&mut self, owners: &mut [Option<u16>]) {
        let mut slot = self.slot();
        while owners[slot].is_some() {
            slot = self.slot();
        }
        owners[slot] = Some(self.member);
    }

    /// The next slot of its order. An odd step visits every slot of a ring whose size is a power of two.
    fn slot(&mut self) -> usize {
        let slot = self.next & (RING_SLOTS - 1);
        self.next = self.next.wrapping_add((self.identity.0 >> 32) as u32 | 1);
        slot as usize
    }
}

/// Gives the slots of members that are down to members that are up.
fn adopt(candidates: &[Candidate], owners: &mut [Option<u16>]) {
    let mut owned = vec![0; candidates.len()];
    for owner in owners.iter().flatten() {
        owned[usize::from(*owner)] += 1;
    }
    let quotas = quotas(candidates, |it| it.up, &owned);
    // Of those that are up, rounding may take the last slot from one of another weight.
    for owner in owners.iter_mut().rev() {
        if let Some(at) = owner.map(usize::from).filter(|at| owned[*at] > quotas[*at]) {
            owned[at] -= 1;
            *owner = None;
        }
    }
    let mut with_room: Vec<usize> = (0..candidates.len()).filter(|at| owned[*at] < quotas[*at]).collect();
    for (slot, owner) in owners.iter_mut().enumerate().filter(|(_, owner)| owner.is_none()) {
        let distance = |at: &usize| candidates.get(*at).map(|it| it.distance(slot));
        let Some(heir) = with_room.iter().copied().min_by_key(distance) else { return };
        *owner = Some(heir as u16);
        owned[heir] += 1;
        if owned[heir] == quotas[heir] {
            with_room.retain(|at| *at != heir);
        }
    }
}

impl Candidate {
    /// How far it is from a slot, by rendezvous hashing: the nearest is found in proportion to its weight, where it has room.
    fn distance(&self, slot: usize) -> (u64, Reverse<u64>) {
        let hash = spread(self.identity.0 ^ slot as u64);
        // 64 less its logarithm to the base of 2, with 32 bits behind the point. A line between powers of two is near enough: how many
        // slots one gets is said by its quota.
        let zeros = hash.leading_zeros();
        let behind_the_point = hash.unbounded_shl(zeros + 1) >> 32;
        let logarithm = (u64::from(zeros + 1) << 32) - behind_the_point;
        ((logarithm << 16) / self.weight, Reverse(hash))
    }
}

fn identity(address: IpAddr) -> u64 {
    let address = Address::from(address);
    spread(spread(address.high ^ 0x5bd1_e995_9e37_79b9).wrapping_add(address.low))
}

/// A bijection that sends neighbours far apart.
fn spread(number: u64) -> u64 {
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

#[cfg(test)]
mod tests;
