//! Members and their numbers; rings, whose slots they have, and who is down beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use model::{Desired, Member, PoolIndex, ProbeIndex, Rule};
use plane::Tick;
use plane::row::{Address, DOWN_WORDS, Key, MAX_MEMBERS, Plan, RuleRow, View};

use super::leaving::Leaving;
use super::{Full, Share, identity, key_of, number};
use crate::standing::Health;
use crate::surroundings::Surroundings;
use crate::tables::{Ring, Tables, are_equal};

/// A probe by name, as it stands in the tables: never 0, which is none.
fn probe_identity(name: &str) -> u32 {
    let whole = identity(name);
    ((whole ^ whole >> 32) as u32).max(1)
}

/// A member of a pool with its number.
pub(super) struct Numbered {
    pub(super) pool: u64,
    pub(super) address: IpAddr,
    pub(super) number: u32,
    /// Where it has left the pool.
    pub(super) leaves_at: Option<Tick>,
}

pub(super) struct Members {
    pub(super) all: Vec<Numbered>,
    numbers: BTreeMap<(u64, IpAddr), u32>,
    /// Those that have left, by their pool and family.
    gone: BTreeMap<(u64, bool), Vec<u32>>,
}

impl Members {
    pub(super) fn number(desired: &Desired, leaving: &Leaving, before: &Tables) -> Result<Self, Full> {
        const FULL: Full = Full {
            table: "members",
            limit: MAX_MEMBERS - 1,
            of: "members of pools",
            mend: "spread the pools over more balancers",
        };
        let wanted = || {
            let stay = desired.pools().iter().flat_map(|pool| {
                let name = identity(pool.name());
                pool.members().iter().map(move |member| (name, member.address(), None))
            });
            stay.chain(leaving.all().map(|gone| (gone.pool, gone.address, Some(gone.until))))
        };
        let known: BTreeMap<(u64, IpAddr), u32> = before
            .members
            .iter()
            .map(|(number, row)| ((row.pool(), row.address().into()), *number))
            .collect();
        let keys = wanted().map(|(pool, address, _)| (pool, address));
        let numbers = number(keys, &known, MAX_MEMBERS).ok_or(FULL)?;
        let all: Vec<Numbered> = wanted()
            .filter_map(|(pool, address, leaves_at)| {
                Some(Numbered { pool, address, number: *numbers.get(&(pool, address))?, leaves_at })
            })
            .collect();
        let mut gone: BTreeMap<(u64, bool), Vec<u32>> = BTreeMap::new();
        for member in all.iter().filter(|member| member.leaves_at.is_some()) {
            gone.entry((member.pool, member.address.is_ipv4())).or_default().push(member.number);
        }
        Ok(Self { all, numbers, gone })
    }
}

/// Rules that lead to the members of one family of one pool, of which one probe finds out who is up: they share a ring.
pub(super) type Group = (PoolIndex, bool, Option<ProbeIndex>);

pub(super) fn group_of(rule: &Rule) -> Group {
    (rule.pool(), rule.frontend().is_ipv4(), rule.probe())
}

pub(crate) fn view_of(desired: &Desired, rule: &Rule) -> View {
    View {
        pool: identity(desired.pool(rule.pool()).name()),
        probe: desired.probe_of(rule).map_or(0, |probe| probe_identity(probe.name())),
    }
}

pub(super) struct Rings<'a> {
    /// The numbers of members, by pool and address.
    members: &'a BTreeMap<(u64, IpAddr), u32>,
    /// The numbers of members that have left, by pool and family.
    gone: &'a BTreeMap<(u64, bool), Vec<u32>>,
    /// The ring and the shares of each group that has members.
    groups: BTreeMap<Group, (u32, Vec<Share>)>,
    /// The rules of each group.
    rules: BTreeMap<Group, Vec<&'a Rule>>,
}

impl<'a> Rings<'a> {
    pub(super) fn number(
        desired: &'a Desired,
        members: &'a Members,
        health: &Health,
        surroundings: &Surroundings,
        before: &Tables,
    ) -> Result<Self, Full> {
        let mut rules: BTreeMap<Group, Vec<&Rule>> = BTreeMap::new();
        // Where there is one member only, there is nobody to choose.
        for rule in desired.rules().iter().filter(|rule| !desired.is_direct(rule)) {
            rules.entry(group_of(rule)).or_default().push(rule);
        }
        let shares_of = |(group, rules): (&Group, &Vec<&Rule>)| {
            let rule = rules.first()?;
            let shares = shares(desired, rule, members, health);
            // FLOW-3: also those who have left may have flows.
            let is_gone = || members.gone.contains_key(&(identity(desired.pool(group.0).name()), group.1));
            (!shares.is_empty() || is_gone()).then_some((*group, (view_of(desired, rule), shares)))
        };
        let shares: BTreeMap<Group, (View, Vec<Share>)> = rules.iter().filter_map(shares_of).collect();
        let known = rings_before(before);
        let wanted = shares.iter().map(|((_, v4, _), (view, _))| (*view, *v4));
        let rings =
            number(wanted, &known, surroundings.sizes.rings).ok_or_else(|| full_rings(surroundings))?;
        let groups = shares
            .into_iter()
            .filter_map(|(group, (view, shares))| Some((group, (*rings.get(&(view, group.1))?, shares))));
        Ok(Self { members: &members.numbers, gone: &members.gone, groups: groups.collect(), rules })
    }

    pub(super) fn ring_of(&self, rule: &Rule) -> u32 {
        self.groups.get(&group_of(rule)).map_or(0, |(ring, _)| *ring)
    }

    /// Whether somebody takes new flows of a rule.
    pub(super) fn has_somebody(&self, rule: &Rule) -> bool {
        self.groups.get(&group_of(rule)).is_some_and(|(_, shares)| shares.iter().any(|(_, (.., up))| *up))
    }

    /// The number of the one member that a rule leads to; 0 where it is not there yet.
    pub(super) fn sole_member_of(&self, desired: &Desired, rule: &Rule) -> u32 {
        let pool = identity(desired.pool(rule.pool()).name());
        let member = rule.only().or_else(|| Some(desired.members_of(rule).next()?.address()));
        member.and_then(|member| self.members.get(&(pool, member))).copied().unwrap_or_default()
    }

    /// ICMP-2: whether a frontend that may answer has somebody who serves.
    pub(super) fn echoes(&self, desired: &Desired, frontend: IpAddr) -> bool {
        let at = desired.frontends().binary_search_by_key(&frontend, |it| it.address());
        let serves = |rule: &Rule| match desired.is_direct(rule) {
            true => self.sole_member_of(desired, rule) != 0,
            false => self.has_somebody(rule),
        };
        at.is_ok_and(|at| desired.frontends().get(at).is_some_and(|it| it.echo()))
            && desired.rules_at(frontend).iter().any(serves)
    }

    /// The members that have left a group's pool, and keep their connections.
    pub(super) fn leaving(&self, desired: &Desired, group: Group) -> impl Iterator<Item = u32> + '_ {
        let pool = identity(desired.pool(group.0).name());
        self.gone.get(&(pool, group.1)).into_iter().flatten().copied()
    }

    pub(super) fn by_ring(&self) -> BTreeMap<u32, (&Group, &[Share])> {
        self.groups.iter().map(|(group, (ring, shares))| (*ring, (group, shares.as_slice()))).collect()
    }

    /// The ring that a rule of a group had before it came into the group: its flows are under way there.
    pub(super) fn ancestor<'b>(
        &self,
        group: Group,
        desired: &Desired,
        numbers: &BTreeMap<Address, u32>,
        before: &'b Tables,
    ) -> Option<&'b Ring> {
        let rules = self.rules.get(&group)?;
        let keys: BTreeSet<Key> = rules.iter().filter_map(|rule| key_of(rule, numbers)).collect();
        let pool = identity(desired.pool(group.0).name());
        let same =
            |row: &&RuleRow| row.view().pool == pool && row.key().is_some_and(|key| keys.contains(&key));
        before.rings.get(&before.rules.values().find(same)?.ring())
    }

    /// Where a ring changes together with the plan of a rule that uses it, a packet must not meet the one without the other: the group
    /// gets a new ring, and the plan's one word switches to it.
    pub(super) fn copy_changing(
        &mut self,
        plans: &BTreeMap<Key, (Plan, View)>,
        slots: &mut BTreeMap<u32, Ring>,
        surroundings: &Surroundings,
        before: &Tables,
    ) -> Result<(), Full> {
        let changing: BTreeSet<u32> = before
            .rules
            .values()
            .filter(|row| {
                row.key().and_then(|key| plans.get(&key)).is_some_and(|(plan, _)| *plan != row.plan())
            })
            .map(|row| row.ring())
            .filter(|ring| {
                slots
                    .get(ring)
                    .is_some_and(|new| before.rings.get(ring).is_some_and(|old| !are_equal(old, new)))
            })
            .collect();
        let used = before.rings_in_use();
        let mut free = (1..surroundings.sizes.rings).filter(|ring| !used.contains(ring));
        let mut free: Vec<u32> = {
            let taken: BTreeSet<u32> = slots.keys().copied().collect();
            free.by_ref().filter(|ring| !taken.contains(ring)).collect()
        };
        free.reverse();
        for ring in changing {
            let copy = free.pop().ok_or_else(|| full_rings(surroundings))?;
            if let Some(words) = slots.remove(&ring) {
                slots.insert(copy, words);
            }
            for (of_group, _) in self.groups.values_mut().filter(|(of_group, _)| *of_group == ring) {
                *of_group = copy;
            }
        }
        Ok(())
    }

    /// Who is down beside these rings, by word.
    pub(super) fn down(&self, rings: &BTreeSet<u32>) -> BTreeMap<u32, u64> {
        let mut words: BTreeMap<u32, u64> = BTreeMap::new();
        for (ring, shares) in self.groups.values().filter(|(ring, _)| rings.contains(ring)) {
            for (number, ..) in shares.iter().filter(|(_, (.., up))| !up) {
                *words.entry(ring * DOWN_WORDS + number / 64).or_default() |= 1 << (number % 64);
            }
        }
        words
    }
}

/// The members that a rule leads to, in the order of their addresses.
fn shares(desired: &Desired, rule: &Rule, members: &Members, health: &Health) -> Vec<Share> {
    let pool = identity(desired.pool(rule.pool()).name());
    let share = |(member, up): (&Member, bool)| {
        let number = *members.numbers.get(&(pool, member.address()))?;
        Some((number, (member.address(), member.weight(), up)))
    };
    health.of_rule(desired, rule).into_iter().filter_map(share).collect()
}

/// The rings in force, by whose slots they have.
fn rings_before(before: &Tables) -> BTreeMap<(View, bool), u32> {
    let numbers = before.numbers();
    let one = |row: &RuleRow| {
        let ring = row.ring();
        let frontend = numbers.get(&row.key()?.number())?;
        (ring != 0).then_some(((row.view(), frontend.is_v4()), ring))
    };
    let mut known: BTreeMap<(View, bool), u32> = before.rules.values().filter_map(one).collect();
    // Somebody stopped while rules moved to a copy, or the frontend is not there yet: such a ring is not free.
    let of_rules: BTreeSet<u32> = known.values().copied().collect();
    let spare = before.rings_in_use().into_iter().filter(|ring| !of_rules.contains(ring));
    known.extend(spare.map(|ring| ((View { pool: ring.into(), probe: 0 }, false), ring)));
    known
}

fn full_rings(surroundings: &Surroundings) -> Full {
    Full {
        table: "rings",
        limit: surroundings.sizes.rings - 1,
        of: "rings (pools, address families and probes, and one more for each that is changing)",
        mend: "raise `pools` under [limits], detach, and start again",
    }
}
