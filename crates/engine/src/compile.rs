//! Where intent meets observation: [`Compiler::compile`] makes the tables that are wanted, given those in force.
//!
//! The tables in force matter for two reasons. Numbers (of addresses, members, rings, rules) must not move under live flows and
//! counters. And who *had* a slot is history: it stays in the slot until the flows that need it are remembered. The choice of the
//! *current* member never depends on it (DIST-7). Compiling again what was compiled changes nothing.

mod access;
mod leaving;
mod rings;
mod way_back;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use model::{Desired, Distribution as Wanted, Pool, Protocol, ReturnPath, Rule, WhenDown};
use plane::row::{
    Address, AddressRow, ConfigRow, Distribution, Key, LINK_PLACES, LINK_TRIES, LinkRow, MAX_ADDRESSES,
    MAX_RULES, MemberRow, Path, Plan, RING_SLOTS, RULE_PLACES, Role, RuleRow, Slot, Strict, View, protocol,
};
use plane::{address_places, key_places};

use access::LastLists;
use leaving::Leaving;
pub(crate) use rings::view_of;
use rings::{Members, Rings};
use way_back::WayBack;

use crate::place::arrange;
use crate::slots::{Part, fill};
use crate::standing::Health;
use crate::surroundings::{Link, Surroundings};
use crate::tables::{Ring, Tables, ring_words};

/// A table has no room for what is wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("table `{table}` is full: it has room for {limit} {of}, and more are wanted; {mend}")]
pub struct Full {
    table: &'static str,
    limit: u32,
    of: &'static str,
    mend: &'static str,
}

/// A pool, a probe or a security rule by name, as it stands in the tables: the same for all versions (FNV-1a).
pub fn identity(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Makes tables. It remembers how rings were filled, which is what takes time; what it answers does not depend on that.
#[derive(Debug, Default)]
pub struct Compiler {
    filled: BTreeMap<Vec<Part>, Vec<Option<u16>>>,
    /// What each ring was made of, and what it became. Made of the same again, it becomes the same.
    made: BTreeMap<u32, Made>,
    lists: LastLists,
}

/// A member's part in a ring, with its number.
type Share = (u32, Part);

impl Compiler {
    /// The tables for `desired`, as far as `health` and `surroundings` allow, when those of `before` are in force.
    ///
    /// # Errors
    /// A table has no room. Nothing of `desired` is then to be applied.
    pub fn compile(
        &mut self,
        desired: &Desired,
        health: &Health,
        surroundings: &Surroundings,
        before: &Tables,
    ) -> Result<Tables, Full> {
        let mut tables = Tables { links: links(surroundings, before)?, ..Tables::default() };
        let leaving = Leaving::of(desired, surroundings, before);
        let rules: Vec<&Rule> = desired.rules().iter().chain(leaving.rules(desired)).collect();
        let way_back = WayBack::of(desired, &leaving, surroundings);
        let numbers = addresses(desired, &leaving, &way_back, surroundings, before, &mut tables)?;
        let members = Members::number(desired, &leaving, before)?;
        let mut rings = Rings::number(desired, &members, health, surroundings, before)?;
        let rule_numbers = rule_numbers(&rules, &numbers, before)?;
        let lists = self.lists.of(desired, &rules, before)?;
        let asked: BTreeMap<Key, u32> =
            keys(&rules, &numbers).map(|(key, rule)| (key, lists.of_rule(rule))).collect();
        let mut slots = self.slots(&rings, desired, &numbers, before);
        let plans = plans(desired, &rules, surroundings, &rings, &numbers, before);
        rings.copy_changing(&plans, &mut slots, surroundings, before)?;
        let plans = self::plans(desired, &rules, surroundings, &rings, &numbers, before);

        let named: BTreeSet<u32> =
            plans.values().filter(|(plan, _)| !plan.direct).map(|(plan, _)| u32::from(plan.ring)).collect();
        slots.retain(|ring, _| named.contains(ring));
        tables.rings = slots;
        tables.down = rings.down(&named);
        for member in &members.all {
            let number = numbers.get(&(member.address.into())).copied().unwrap_or_default();
            let hop = surroundings.hops.get(&member.address).copied();
            let row = MemberRow::new(member.address.into(), number, member.pool, hop);
            let row = member.leaves_at.map_or(row, |until| row.leaving(until.0));
            tables.members.insert(member.number, row);
        }
        for row in tables.addresses.values_mut().filter(|row| row.role() == Some(Role::Frontend)) {
            *row = row.echoing(rings.echoes(desired, row.address().into()));
        }
        let rule_places = arrange(&plans.keys().copied().collect(), &rule_places(before), |key| {
            key_places(key, RULE_PLACES - 1)
        })
        .ok_or(FULL_RULES)?;
        for (key, place) in rule_places {
            if let (Some((plan, view)), Some(number)) = (plans.get(&key), rule_numbers.get(&key)) {
                let list = asked.get(&key).copied().unwrap_or_default();
                tables.rules.insert(place, RuleRow::new(key, *plan, *number, *view).asking(list));
            }
        }
        (tables.lists, tables.access, tables.security) = (lists.rows, lists.entries, lists.security);
        tables.returns = way_back.rows(&numbers, &rule_numbers, before)?;
        tables.config = ConfigRow::new(
            surroundings.sizes.flow_bits,
            surroundings.sizes.masquerade_bits,
            surroundings.clock.shift,
            !tables.returns.is_empty(),
            surroundings.own_v4.map(|own| Address::from(IpAddr::from(own))),
            surroundings.own_v6.map(|own| Address::from(IpAddr::from(own))),
        );
        Ok(tables)
    }

    /// Every ring's slots: who takes new flows now, and who took them before.
    fn slots(
        &mut self,
        rings: &Rings<'_>,
        desired: &Desired,
        numbers: &BTreeMap<Address, u32>,
        before: &Tables,
    ) -> BTreeMap<u32, Ring> {
        let mut slots = BTreeMap::new();
        let by_ring = rings.by_ring();
        self.made.retain(|ring, _| by_ring.contains_key(ring));
        for (ring, (group, shares)) in &by_ring {
            let ring = *ring;
            let mut alive: BTreeSet<u32> = shares.iter().map(|(number, ..)| *number).collect();
            alive.extend(rings.leaving(desired, **group));
            let same = |made: &&Made| {
                made.shares == **shares
                    && made.alive == alive
                    && before.rings.get(&ring).is_some_and(|now| Arc::ptr_eq(now, &made.words))
            };
            if let Some(Made { words, .. }) = self.made.get(&ring).filter(same) {
                slots.insert(ring, Arc::clone(words));
                continue;
            }
            let key = filling(shares);
            let owners = self.filled.entry(key.clone()).or_insert_with(|| fill(&key));
            let was_there =
                before.rings.get(&ring).or_else(|| rings.ancestor(**group, desired, numbers, before));
            let each = owners.iter().zip(0..RING_SLOTS).map(|(owner, slot)| {
                let current =
                    owner.and_then(|owner| shares.get(usize::from(owner))).map_or(0, |(number, ..)| *number);
                let old = was_there.and_then(|words| words.get(slot as usize / 2));
                let old = old.map_or(Slot::steady(current), |pair| Slot::of_pair(*pair, slot));
                successor(old, current, &alive)
            });
            let words = ring_words(each);
            slots.insert(ring, Arc::clone(&words));
            self.made.insert(ring, Made { shares: shares.to_vec(), alive, words });
        }
        // Rings of pools that are gone need not be kept; a pool that flaps between two states needs two.
        let used: BTreeSet<Vec<Part>> = by_ring
            .values()
            .flat_map(|(_, shares)| {
                let now = filling(shares);
                [now.iter().map(|(address, weight, _)| (*address, *weight, true)).collect(), now]
            })
            .collect();
        self.filled.retain(|key, _| used.contains(key));
        slots
    }
}

/// A ring as it was made last.
#[derive(Debug)]
struct Made {
    shares: Vec<Share>,
    /// Who may have flows: those who share it, and those who leave.
    alive: BTreeSet<u32>,
    words: Ring,
}

/// What decides how a ring is filled.
fn filling(shares: &[Share]) -> Vec<Part> {
    shares.iter().map(|(_, part)| *part).collect()
}

/// The slot that follows `old` when `current` takes its new flows. `members`: those that are still in the pool, up or down.
fn successor(old: Slot, current: u32, members: &BTreeSet<u32>) -> Slot {
    let other = |member: &u32| *member != current && members.contains(member);
    if old.current() == current && (old.is_steady() || other(&old.former())) {
        return old;
    }
    if old.current() != current && other(&old.stable()) {
        return Slot::changing(current, old.stable());
    }
    if old.is_steady() {
        return Slot::steady(current);
    }
    // Nobody has flows under way that are not remembered. Some that are may be with any other member (DIST-2): of several changes in
    // a row, a slot knows the last one only.
    [old.current(), old.former()]
        .iter()
        .chain(members)
        .find(|member| other(member))
        .map_or(Slot::steady(current), |former| Slot::settled(current, *former))
}

const FULL_RULES: Full = Full {
    table: "rules",
    limit: MAX_RULES - 1,
    of: "load-balancing rules",
    mend: "spread the rules over more balancers",
};

/// Links keep their places: masqueraded flows know them by these.
fn links(surroundings: &Surroundings, before: &Tables) -> Result<BTreeMap<u32, LinkRow>, Full> {
    let kept = before.links.iter().filter_map(|(place, row)| {
        Some((*place, link_row(row.index(), *surroundings.links.get(&row.index())?)))
    });
    let mut links: BTreeMap<u32, LinkRow> = kept.collect();
    let known: BTreeSet<u32> = links.values().map(|row| row.index()).collect();
    for (index, link) in surroundings.links.iter().filter(|(index, _)| !known.contains(index)) {
        let place = (0..LINK_TRIES)
            .map(|tries| index.wrapping_add(tries) & (LINK_PLACES - 1))
            .find(|place| !links.contains_key(place))
            .ok_or(Full {
                table: "links",
                limit: LINK_PLACES,
                of: "links",
                mend: "attach to fewer interfaces",
            })?;
        links.insert(place, link_row(*index, *link));
    }
    Ok(links)
}

fn link_row(index: u32, link: Link) -> LinkRow {
    LinkRow::new(index, link.mac, link.mtu)
}

/// Gives every address that matters a row, and its number.
fn addresses(
    desired: &Desired,
    leaving: &Leaving,
    way_back: &WayBack<'_>,
    surroundings: &Surroundings,
    before: &Tables,
    tables: &mut Tables,
) -> Result<BTreeMap<Address, u32>, Full> {
    const FULL: Full = Full {
        table: "addresses",
        limit: MAX_ADDRESSES - 1,
        of: "addresses of frontends and members",
        mend: "spread them over more balancers",
    };
    let mut roles: BTreeMap<Address, Role> =
        leaving.all().map(|gone| (gone.address.into(), Role::Member)).collect();
    for pool in desired.pools() {
        roles.extend(pool.members().iter().map(|member| (member.address().into(), Role::Member)));
    }
    roles.extend(desired.frontends().iter().map(|frontend| (frontend.address().into(), Role::Frontend)));
    let own = [surroundings.own_v4.map(IpAddr::from), surroundings.own_v6.map(IpAddr::from)];
    roles.extend(own.into_iter().flatten().map(|own| (own.into(), Role::Own)));
    roles.extend(way_back.stations().map(|station| (station, Role::Station)));
    if roles.len() >= MAX_ADDRESSES as usize {
        return Err(FULL);
    }
    let known: BTreeMap<(Address, Role), u32> = before
        .addresses
        .values()
        .filter_map(|row| Some(((row.address(), row.role()?), row.number())))
        .collect();
    let numbers =
        number(roles.iter().map(|(address, role)| (*address, *role)), &known, MAX_ADDRESSES).ok_or(FULL)?;
    let places_before = before.addresses.iter().map(|(place, row)| (row.address(), *place)).collect();
    let places = arrange(&roles.keys().copied().collect(), &places_before, address_places).ok_or(FULL)?;
    let mut by_address = BTreeMap::new();
    for (address, role) in roles {
        if let (Some(number), Some(place)) = (numbers.get(&(address, role)), places.get(&address)) {
            tables.addresses.insert(*place, AddressRow::new(address, *number, role));
            by_address.insert(address, *number);
        }
    }
    Ok(by_address)
}

/// Numbers from 1 up: what had one keeps it, the rest get the lowest that nothing had.
fn number<K: Ord + Copy>(
    wanted: impl Iterator<Item = K>,
    before: &BTreeMap<K, u32>,
    limit: u32,
) -> Option<BTreeMap<K, u32>> {
    let taken: BTreeSet<u32> = before.values().copied().collect();
    let mut free = (1..limit).filter(|number| !taken.contains(number));
    let mut numbers = BTreeMap::new();
    for key in wanted {
        let number = match before.get(&key) {
            Some(number) => *number,
            None => free.next()?,
        };
        numbers.insert(key, number);
    }
    Some(numbers)
}

fn keys<'a>(
    rules: &'a [&Rule],
    numbers: &'a BTreeMap<Address, u32>,
) -> impl Iterator<Item = (Key, &'a Rule)> {
    rules.iter().filter_map(|rule| Some((key_of(rule, numbers)?, *rule)))
}

fn key_of(rule: &Rule, numbers: &BTreeMap<Address, u32>) -> Option<Key> {
    let number = numbers.get(&rule.frontend().into())?;
    Some(Key::new(*number, protocol_number(rule.protocol()), rule.frontend_port()))
}

fn rule_places(before: &Tables) -> BTreeMap<Key, u32> {
    before.rules.iter().filter_map(|(place, row)| Some((row.key()?, *place))).collect()
}

/// Every rule's row in the table of counters.
fn rule_numbers(
    rules: &[&Rule],
    numbers: &BTreeMap<Address, u32>,
    before: &Tables,
) -> Result<BTreeMap<Key, u32>, Full> {
    let known = before.rules.values().filter_map(|row| Some((row.key()?, row.number()))).collect();
    number(keys(rules, numbers).map(|(key, _)| key), &known, MAX_RULES).ok_or(FULL_RULES)
}

fn plans(
    desired: &Desired,
    rules: &[&Rule],
    surroundings: &Surroundings,
    rings: &Rings<'_>,
    numbers: &BTreeMap<Address, u32>,
    before: &Tables,
) -> BTreeMap<Key, (Plan, View)> {
    let before: BTreeMap<Key, Plan> =
        before.rules.values().filter_map(|row| Some((row.key()?, row.plan()))).collect();
    keys(rules, numbers)
        .map(|(key, rule)| {
            let pool = desired.pool(rule.pool());
            let path = path(rule, pool);
            let distribution = match rule.distribution() {
                Wanted::Default => Distribution::FiveTuple,
                Wanted::SourceIp => Distribution::SourceIp,
                Wanted::SourceIpProtocol => Distribution::SourceIpProtocol,
            };
            // HA-1: where all that a member sends looks like an answer, the memory tells which is one.
            let by_memory = rule.protocol() == Protocol::All && path == Path::Gateway;
            let remembers = rule.protocol() == Protocol::Udp || path == Path::Masquerade || by_memory;
            let ending = ending(desired, rule, before.get(&key));
            let (former, settled) = match before.get(&key) {
                Some(old) if !remembers && !old.remembers && !desired.is_direct(rule) && !old.direct => {
                    former(*old, distribution)
                }
                _ => (distribution, false),
            };
            let plan = Plan {
                backend_port: rule.backend_port(),
                // FLOW-2: without a ring, established connections end as well.
                ring: match rule.when_down() {
                    _ if desired.is_direct(rule) => rings.sole_member_of(desired, rule) as u16,
                    WhenDown::EndWithTheLast if !rings.has_somebody(rule) => 0,
                    WhenDown::EndWithTheLast | WhenDown::Continue | WhenDown::Reset => {
                        rings.ring_of(rule) as u16
                    }
                },
                distribution,
                former,
                settled,
                path,
                remembers,
                resets: rule.when_down() == WhenDown::Reset,
                hairpin: rule.hairpin(),
                direct: desired.is_direct(rule),
                tracks: ending.is_some(),
                announces: ending.is_some() && rule.after_idle().reset(),
                strict: ending.unwrap_or(Strict::No),
                idle: surroundings.clock.ticks(rule.idle().duration()),
            };
            (key, (plan, view_of(desired, rule)))
        })
        .collect()
}

/// Whether a rule keeps connections in mind, and then how strict it is about those that it does not (FLOW-3, FLOW-5).
fn ending(desired: &Desired, rule: &Rule, before: Option<&Plan>) -> Option<Strict> {
    let is_about = matches!(rule.protocol(), Protocol::Tcp | Protocol::All);
    let drains = !desired.pool(rule.pool()).drain().is_zero();
    let after = rule.after_idle();
    if !is_about || !(after.reset() || after.strict() || drains) {
        return None;
    }
    Some(match before {
        _ if !after.strict() => Strict::No,
        Some(old) if old.tracks && old.strict == Strict::Yes => Strict::Yes,
        // Connections that began before are not known yet.
        Some(_) | None => Strict::Soon,
    })
}

/// DIST-8: what chose the flows that are under way, when `distribution` chooses new ones from now on; and whether that is over.
fn former(old: Plan, distribution: Distribution) -> (Distribution, bool) {
    if old.distribution == distribution {
        return (old.former, old.settled);
    }
    let stable = if old.settled { old.distribution } else { old.former };
    // Back to what it was: flows that began meanwhile are remembered, the others are where they belong.
    if stable == distribution { (old.distribution, true) } else { (stable, false) }
}

fn path(rule: &Rule, pool: &Pool) -> Path {
    match (rule.floating(), pool.return_path()) {
        (true, ReturnPath::Gateway) if rule.backend_port() != rule.frontend_port() => Path::FloatingGateway,
        (true, ReturnPath::Gateway | ReturnPath::Masquerade) => Path::Floating,
        (false, ReturnPath::Gateway) => Path::Gateway,
        (false, ReturnPath::Masquerade) => Path::Masquerade,
    }
}

pub(crate) fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => protocol::TCP,
        Protocol::Udp => protocol::UDP,
        Protocol::Sctp => protocol::SCTP,
        Protocol::All => 0,
    }
}

#[cfg(test)]
mod tests;
