//! When a change is over.
//!
//! A slot that changed asks the memory until every flow that began before has been seen again or has been silent for the idle time of
//! its rule: then the change is *settled*, and flows that are not remembered belong to the current member. The memory is still asked,
//! for flows that live on elsewhere; once none is pinned to a member of the pool any more, the slot is steady again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use plane::row::{Key, Plan, RuleRow, Slot, Strict};
use plane::{Remembered, Tick};

use crate::surroundings::Clock;
use crate::tables::{Ring, Tables, is_steady, ring_words};

/// Since when each ring has been changing. It is forgotten at a restart, which only makes a change last longer.
#[derive(Clone, Debug, Default)]
pub struct Settling {
    since: BTreeMap<u32, (Duration, u64)>,
    /// Rings that were looked at and have no slot that changes. They need not be looked at again while they are the same.
    steady: BTreeMap<u32, Ring>,
    /// Since when each rule that is to be strict has kept connections in mind.
    tracking: BTreeMap<Key, Duration>,
}

impl Settling {
    /// Whether nothing is changing: what [`Tables::is_steady`] says, but each ring is looked at once only.
    pub fn is_over(&mut self, tables: &Tables) -> bool {
        self.look(tables);
        self.steady.len() == tables.rings.len()
            && tables.has_steady_rules()
            && !tables.rules.values().any(is_waiting)
    }

    /// Finds the rings that are steady.
    fn look(&mut self, tables: &Tables) {
        let is_known =
            |ring: &u32, known: &Ring| tables.rings.get(ring).is_some_and(|now| Arc::ptr_eq(now, known));
        self.steady.retain(|ring, known| is_known(ring, known));
        for (ring, words) in &tables.rings {
            if !self.steady.contains_key(ring) && is_steady(words) {
                self.steady.insert(*ring, Arc::clone(words));
            }
        }
    }

    /// The tables with what is over at `now` settled or steady. `pinned`: members to which a living flow is pinned.
    pub fn step(&mut self, tables: &Tables, pinned: &BTreeSet<u32>, clock: Clock, now: Duration) -> Tables {
        let mut after = tables.clone();
        self.be_strict(&mut after, clock, now);
        let used = tables.rings_in_use();
        self.since.retain(|ring, _| used.contains(ring));
        self.look(tables);
        let open = |row: &&RuleRow| row.plan().former != row.plan().distribution;
        let open: BTreeSet<u32> = tables.rules.values().filter(open).map(|row| row.ring()).collect();
        for ring in used {
            if self.steady.contains_key(&ring) && !open.contains(&ring) {
                self.since.remove(&ring);
                continue;
            }
            let state = State::of(tables, ring);
            let pools = pools_of(tables, ring);
            let held = tables
                .members
                .iter()
                .any(|(number, row)| pinned.contains(number) && pools.contains(&row.pool()));
            match state.phase {
                Phase::Steady => {
                    self.since.remove(&ring);
                }
                Phase::Changing => {
                    let (since, digest) = *self.since.entry(ring).or_insert((now, state.digest));
                    if digest != state.digest {
                        self.since.insert(ring, (now, state.digest));
                    } else if now.saturating_sub(since) > clock.tick * (u32::from(state.idle) + 1) {
                        // First the rules, then the slots: a packet must not meet a change of both half done.
                        if state.rules_open {
                            turn(&mut after, ring, |slot| slot, settled_rule);
                            self.since.insert(ring, (since, State::of(&after, ring).digest));
                        } else {
                            turn(&mut after, ring, settled_slot, |row| row);
                        }
                    }
                }
                Phase::Settled if held => {}
                Phase::Settled => turn(&mut after, ring, steady_slot, steady_rule),
            }
        }
        after
    }
}

/// Whether a rule will be strict about connections that are not kept in mind, as soon as those are that began before.
fn is_waiting(row: &RuleRow) -> bool {
    row.plan().strict == Strict::Soon
}

impl Settling {
    /// FLOW-5: whoever began before connections were kept in mind has been seen again by now, or was silent for the idle time.
    fn be_strict(&mut self, tables: &mut Tables, clock: Clock, now: Duration) {
        let waiting: BTreeSet<Key> =
            tables.rules.values().filter(|row| is_waiting(row)).filter_map(|row| row.key()).collect();
        self.tracking.retain(|key, _| waiting.contains(key));
        for row in tables.rules.values_mut().filter(|row| is_waiting(row)) {
            let Some(key) = row.key() else { continue };
            let since = *self.tracking.entry(key).or_insert(now);
            let plan = row.plan();
            if now.saturating_sub(since) > clock.tick * (u32::from(plan.idle) + 1) {
                *row = with(*row, Plan { strict: Strict::Yes, ..plan });
            }
        }
    }
}

/// The pools whose members a ring leads to: one.
fn pools_of(tables: &Tables, ring: u32) -> BTreeSet<u64> {
    let rules = tables.rules.values().filter(|row| row.ring() == ring);
    rules.map(|row| row.view().pool).collect()
}

/// Members to which a living flow is pinned, from the words of the memory.
pub fn pinned(words: impl Iterator<Item = u64>, now: Tick) -> BTreeSet<u32> {
    words
        .filter_map(|word| Remembered::of(word, now))
        .filter(|flow| flow.is_pinned())
        .map(|flow| flow.member())
        .collect()
}

enum Phase {
    Steady,
    Changing,
    Settled,
}

struct State {
    phase: Phase,
    /// The longest idle time of the rules that use the ring, in ticks.
    idle: u16,
    /// The distribution of a rule is changing.
    rules_open: bool,
    /// Of what is changing: another change starts the wait anew.
    digest: u64,
}

impl State {
    fn of(tables: &Tables, ring: u32) -> Self {
        let rules = || tables.rules.values().filter(|row| row.ring() == ring);
        let idle = rules().map(|row| row.plan().idle).max().unwrap_or(0);
        let (mut changing, mut settled, mut digest) = (false, false, 0xcbf2_9ce4_8422_2325u64);
        let mut note = |open: bool, word: u64| {
            changing |= open;
            settled |= !open;
            digest = (digest ^ word).wrapping_mul(0x0100_0000_01b3);
        };
        for (at, slot) in tables.slots(ring).enumerate().filter(|(_, slot)| !slot.is_steady()) {
            note(
                !slot.is_settled(),
                (at as u64) << 32 | u64::from(slot.current()) << 16 | u64::from(slot.former()),
            );
        }
        for plan in rules().map(|row| row.plan()).filter(|plan| plan.former != plan.distribution) {
            note(!plan.settled, plan.word());
        }
        let phase = if changing {
            Phase::Changing
        } else if settled {
            Phase::Settled
        } else {
            Phase::Steady
        };
        let rules_open =
            rules().map(|row| row.plan()).any(|plan| plan.former != plan.distribution && !plan.settled);
        Self { phase, idle, rules_open, digest }
    }
}

fn turn(tables: &mut Tables, ring: u32, slot: fn(Slot) -> Slot, rule: fn(RuleRow) -> RuleRow) {
    let words = ring_words(tables.slots(ring).map(slot));
    if tables.rings.contains_key(&ring) {
        tables.rings.insert(ring, words);
    }
    for row in tables.rules.values_mut().filter(|row| row.ring() == ring) {
        *row = rule(*row);
    }
}

fn settled_slot(slot: Slot) -> Slot {
    if slot.is_steady() { slot } else { Slot::settled(slot.current(), slot.former()) }
}

fn steady_slot(slot: Slot) -> Slot {
    Slot::steady(slot.current())
}

fn settled_rule(row: RuleRow) -> RuleRow {
    let mut plan = row.plan();
    plan.settled = plan.former != plan.distribution;
    with(row, plan)
}

fn steady_rule(row: RuleRow) -> RuleRow {
    let mut plan = row.plan();
    plan.former = plan.distribution;
    plan.settled = false;
    with(row, plan)
}

fn with(row: RuleRow, plan: Plan) -> RuleRow {
    row.with(plan)
}

#[cfg(test)]
mod tests;
