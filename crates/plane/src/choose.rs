//! Which member takes a packet.

use crate::Tick;
use crate::flow::Flow;
use crate::memory::{self, Why};
use crate::pipeline::reachable;
use crate::row::{DOWN_WORDS, Distribution, Plan, Slot, protocol};
use crate::verdict::Drop;
use crate::world::World;

/// The member, and whether a flow begins with this packet.
///
/// In steady state the slot decides and nothing is remembered. Where the slot or the rule's distribution changed, a remembered flow
/// stays with its member (DIST-2, DIST-8), one that starts goes to the current member, and one that is under way but not remembered
/// belongs to the member of before.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn choose<W: World>(
    world: &W,
    flow: &Flow,
    start: bool,
    plan: Plan,
    now: Tick,
) -> Result<(u32, bool), Drop> {
    if plan.direct {
        return Ok((plan.ring as u32, start));
    }
    // Datagrams do not show where a flow begins, also under a rule for all protocols.
    let remembers = plan.remembers || flow.protocol == protocol::UDP;
    let slot = find_slot(world, flow, plan, plan.distribution)?;
    if slot.is_steady() && plan.distribution == plan.former && !remembers {
        return somebody(slot.current(), start);
    }
    let memory = memory::find(world, flow.identity(), now);
    if let Some(remembered) = memory.remembered {
        match reachable(world, remembered.member()) {
            // FLOW-1: a session without connection leaves a member that is down, and so does a connection that starts again.
            Ok(_) if (start || remembers || plan.resets) && is_down(world, plan, remembered.member()) => {}
            // FLOW-3
            Ok(member) if (start || remembers) && member.is_leaving() => {}
            Ok(_) => {
                memory.refresh(world, remembered, !start, plan.idle, now);
                return Ok((remembered.member(), false));
            }
            // The member is still there in a moment: its flows must not be given to another one meanwhile.
            Err(Drop::Changing) => return Err(Drop::Changing),
            Err(_) => {}
        }
    }
    let settled = settled(slot, plan);
    // A connection that nobody can remember must start where its later packets will be led.
    let forgettable = !remembers && !settled && memory.is_full();
    if (start || remembers) && !forgettable {
        let chosen = somebody(slot.current(), true)?;
        // What a slot chose that is not changing is found again without memory, unless the memory holds something else, or the
        // flow's packets do not show where it starts.
        if remembers || !settled || memory.remembered.is_some() {
            let why = Why { pinned: start, confirmed: false, tracked: false };
            memory.remember(world, chosen.0, why, plan.idle, now);
        }
        return Ok(chosen);
    }
    if settled {
        return somebody(slot.current(), false);
    }
    let chosen = somebody(former(world, flow, plan, slot)?, start)?;
    memory.remember(world, chosen.0, Why { pinned: true, confirmed: true, tracked: false }, plan.idle, now);
    Ok(chosen)
}

/// The member that a slot which is changing had before.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn former<W: World>(world: &W, flow: &Flow, plan: Plan, slot: Slot) -> Result<u32, Drop> {
    let by = if plan.settled { plan.distribution } else { plan.former };
    let former = find_slot(world, flow, plan, by)?.stable();
    // CLUS-1: who takes new flows does not know this one, and resets it.
    Ok(if plan.resets && is_down(world, plan, former) { slot.current() } else { former })
}

/// Who takes a connection that begins; `full`: it cannot be remembered.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn slot_for_new<W: World>(world: &W, flow: &Flow, plan: Plan, full: bool) -> Result<u32, Drop> {
    let slot = find_slot(world, flow, plan, plan.distribution)?;
    let number = if full && !settled(slot, plan) { former(world, flow, plan, slot)? } else { slot.current() };
    Ok(somebody(number, true)?.0)
}

/// Who has a connection that is under way, and not remembered.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn from_slot<W: World>(world: &W, flow: &Flow, plan: Plan) -> Result<u32, Drop> {
    let slot = find_slot(world, flow, plan, plan.distribution)?;
    let number = if settled(slot, plan) { slot.current() } else { former(world, flow, plan, slot)? };
    Ok(somebody(number, false)?.0)
}

/// Whether a connection is with another member than its slot leads to: it needs the memory also where its rule does not.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn is_elsewhere<W: World>(world: &W, flow: &Flow, plan: Plan, member: u32) -> bool {
    if plan.direct {
        return false;
    }
    match find_slot(world, flow, plan, plan.distribution) {
        Ok(slot) => slot.current() != member,
        Err(_) => false,
    }
}

/// The member that has a flow, without remembering anything: for packets that are about the flow, and not of it.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn known<W: World>(world: &W, flow: &Flow, plan: Plan, now: Tick) -> Result<u32, Drop> {
    if plan.direct && !plan.tracks {
        return Ok(plan.ring as u32);
    }
    let remembered = memory::find(world, flow.identity(), now).remembered;
    if plan.direct {
        return Ok(match remembered {
            Some(known) if is_leaving(world, known.member()) => known.member(),
            Some(_) | None => plan.ring as u32,
        });
    }
    if let Some(remembered) = remembered {
        return Ok(remembered.member());
    }
    let slot = find_slot(world, flow, plan, plan.distribution)?;
    if settled(slot, plan) {
        return Ok(slot.current());
    }
    let by = if plan.settled { plan.distribution } else { plan.former };
    Ok(find_slot(world, flow, plan, by)?.stable())
}

/// Whether a member is found down, for rules of this plan. New flows are kept away from it by the slots.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn is_down<W: World>(world: &W, plan: Plan, member: u32) -> bool {
    // Nobody asks after the one member of a rule that has no other.
    if plan.direct {
        return false;
    }
    match world.down(plan.ring as u32, (member / 64) & (DOWN_WORDS - 1)) {
        Some(word) => word >> (member & 63) & 1 != 0,
        None => false,
    }
}

/// The one member of a rule that has no other. Where it has left, it takes nothing new.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn sole<W: World>(world: &W, plan: Plan, start: bool) -> Result<u32, Drop> {
    let number = plan.ring as u32;
    if start && is_leaving(world, number) { Err(Drop::NoMember) } else { Ok(number) }
}

/// Whether a member has left its pool, and keeps its connections for a while (FLOW-3).
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn is_leaving<W: World>(world: &W, number: u32) -> bool {
    match reachable(world, number) {
        Ok(member) => member.is_leaving(),
        Err(_) => false,
    }
}

/// Whether nothing is changing for the flows of this slot under this plan.
#[inline(always)]
fn settled(slot: Slot, plan: Plan) -> bool {
    (slot.is_settled() || slot.is_steady()) && (plan.settled || plan.distribution == plan.former)
}

#[cfg_attr(target_arch = "bpf", inline(always))]
fn find_slot<W: World>(world: &W, flow: &Flow, plan: Plan, by: Distribution) -> Result<Slot, Drop> {
    world.slot(plan.ring as u32, flow.slot(by)).ok_or(Drop::NoMember)
}

#[inline(always)]
fn somebody(member: u32, start: bool) -> Result<(u32, bool), Drop> {
    if member == 0 { Err(Drop::NoMember) } else { Ok((member, start)) }
}
