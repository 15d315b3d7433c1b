//! Who may call (ACL-1): decided by the packet's source, before a member is chosen.

use crate::outline::{ADMITTED, BETWEEN, DENIED};
use crate::row::{ACCESS_PLACES, Address, LIST_STEPS, RuleRow};
use crate::verdict::Drop;
use crate::world::World;

/// Whether a packet of `bytes` from this address may pass a rule.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn admit<W: World>(world: &W, rule: &RuleRow, source: Address, bytes: u32) -> Result<(), Drop> {
    let list = rule.list();
    if list == 0 {
        return Ok(());
    }
    match world.access_by(list, source.high, source.low, bytes) {
        ADMITTED => Ok(()),
        DENIED => Err(Drop::Denied),
        _ => Err(Drop::Changing),
    }
}

/// What a list says of this address; the packet is counted by the security rule that decides.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn ask<W: World>(world: &W, list: u32, source: Address, bytes: u32) -> u32 {
    let Some(place) = place(world, list, source) else { return BETWEEN };
    let Some(entry) = world.access(place) else { return BETWEEN };
    // Lists never change while a rule names them; whoever comes late with an old name finds another list's entry.
    if entry.list() != list {
        return BETWEEN;
    }
    world.count_security(entry.rule(), bytes);
    if entry.allows() { ADMITTED } else { DENIED }
}

/// The security rule by which a list denies packets from this address, or 0. Nothing is counted.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn denier<W: World>(world: &W, list: u32, source: Address) -> u32 {
    let Some(place) = place(world, list, source) else { return 0 };
    match world.access(place) {
        Some(entry) if entry.list() == list && !entry.allows() => entry.rule(),
        _ => 0,
    }
}

/// The place of the last entry of a list that begins at this address or before it.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn place<W: World>(world: &W, list: u32, source: Address) -> Option<u32> {
    let row = world.list(list)?;
    let (mut first, mut count) = (row.first(), row.count());
    let mut step = 0;
    while step < LIST_STEPS {
        let half = count / 2;
        if half == 0 {
            break;
        }
        let middle = first.wrapping_add(half);
        let entry = world.access(middle & (ACCESS_PLACES - 1))?;
        let later = before(source, entry.from());
        first = first.wrapping_add(half & !later);
        count = half & later | (count - half) & !later;
        step += 1;
    }
    if count == 1 { Some(first & (ACCESS_PLACES - 1)) } else { None }
}

/// All ones where one address comes before another, else zero. No branch decides: the verifier then follows one way only, where it
/// would follow two from every step of a search.
#[inline(always)]
const fn before(one: Address, other: Address) -> u32 {
    let high = less(one.high, other.high);
    let same = !(high | less(other.high, one.high)) & 1;
    ((high | same & less(one.low, other.low)) as u32 & 1).wrapping_neg()
}

/// The lowest bit says whether `one` is less than `other`: the borrow of their difference.
#[inline(always)]
const fn less(one: u64, other: u64) -> u64 {
    (!one & other | (!one | other) & one.wrapping_sub(other)) >> 63
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_their_order() {
        let numbers = [0, 1, 2, u64::MAX / 2, u64::MAX / 2 + 1, u64::MAX - 1, u64::MAX];
        let all: [Address; 49] =
            core::array::from_fn(|at| Address { high: numbers[at / 7], low: numbers[at % 7] });
        for one in all {
            for other in all {
                let is_before = (one.high, one.low) < (other.high, other.low);
                assert_eq!(before(one, other), if is_before { u32::MAX } else { 0 });
            }
        }
    }
}
