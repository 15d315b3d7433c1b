//! Who owns which slot of a ring: equal shares (DIST-5), little that moves (DIST-6), and the same answer everywhere (DIST-7).
//!
//! The members of the pool, up or down, share the ring by Maglev's method: each has its own order of all slots and takes in turn the
//! first one that is free. Then the slots of members that are down are given to those that are up: each to the one that ranks
//! highest for this slot among those whose share is not full. So when a member goes down or comes back only its own slots move, and a
//! member that joins or leaves the pool moves little beside its share.
//!
//! Ranks and orders come from the members' addresses alone, never from numbers or from what was before.

use std::collections::BTreeMap;
use std::net::IpAddr;

use plane::row::{Address, RING_SLOTS};

/// The owner of every slot, as an index into `members`; `None` where nobody is up. `members` are distinct.
pub fn fill(members: &[(IpAddr, bool)]) -> Vec<Option<u16>> {
    let mut owners = maglev(members);
    if members.iter().all(|(_, up)| *up) {
        return owners;
    }
    let up: Vec<u16> = (0..members.len() as u16).filter(|member| members[usize::from(*member)].1).collect();
    if up.is_empty() {
        return vec![None; RING_SLOTS as usize];
    }
    adopt(members, &up, &mut owners);
    owners
}

/// Maglev: every member takes, in turn, the first free slot of its own order.
fn maglev(members: &[(IpAddr, bool)]) -> Vec<Option<u16>> {
    let slots = RING_SLOTS as usize;
    let mut owners = vec![None; slots];
    if members.is_empty() {
        return owners;
    }
    // The turn goes by identity, so that the order in which members are listed does not matter.
    let mut turn: Vec<(u64, u16)> =
        members.iter().enumerate().map(|(at, (address, _))| (identity(*address), at as u16)).collect();
    turn.sort_unstable_by_key(|(identity, at)| (*identity, members[usize::from(*at)].0));
    // An odd step visits every slot of a ring whose size is a power of two.
    let mut orders: Vec<(u32, u32)> =
        turn.iter().map(|(identity, _)| (*identity as u32, (*identity >> 32) as u32 | 1)).collect();
    let mut taken = 0;
    loop {
        for ((_, member), (next, step)) in turn.iter().zip(&mut orders) {
            loop {
                let slot = (*next & (RING_SLOTS - 1)) as usize;
                *next = next.wrapping_add(*step);
                if owners[slot].is_none() {
                    owners[slot] = Some(*member);
                    break;
                }
            }
            taken += 1;
            if taken == slots {
                return owners;
            }
        }
    }
}

/// Gives the slots of members that are down to members that are up.
fn adopt(members: &[(IpAddr, bool)], up: &[u16], owners: &mut [Option<u16>]) {
    let share = owners.len().div_ceil(up.len());
    let mut owned: BTreeMap<u16, usize> = up.iter().map(|member| (*member, 0)).collect();
    for owner in owners.iter().flatten() {
        if let Some(count) = owned.get_mut(owner) {
            *count += 1;
        }
    }
    let identities: Vec<u64> = members.iter().map(|(address, _)| identity(*address)).collect();
    for (slot, owner) in owners.iter_mut().enumerate() {
        if owner.is_some_and(|owner| members[usize::from(owner)].1) {
            continue;
        }
        let heir = up
            .iter()
            .filter(|member| owned.get(member).is_some_and(|count| *count < share))
            .max_by_key(|member| spread(identities[usize::from(**member)] ^ slot as u64));
        if let Some(heir) = heir {
            *owner = Some(*heir);
            *owned.entry(*heir).or_default() += 1;
        }
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
