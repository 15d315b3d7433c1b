//! Where intent meets observation: [`Compiler::compile`] makes the tables that are wanted, given those in force.
//!
//! The tables in force matter for two reasons. Numbers (of addresses, members, rings, rules) must not move under live flows and
//! counters. And who *had* a slot is history: it stays in the slot until the flows that need it are remembered. The choice of the
//! *current* member never depends on it (DIST-7). Compiling again what was compiled changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use model::{
    Desired, Distribution as Wanted, Member, Pool, PoolIndex, ProbeIndex, Protocol, ReturnPath, Rule,
    WhenDown,
};
use plane::row::{
    Address, AddressRow, ConfigRow, DOWN_WORDS, Distribution, Key, LINK_PLACES, LINK_TRIES, LinkRow,
    MAX_ADDRESSES, MAX_MEMBERS, MAX_RETURNS, MAX_RULES, MemberRow, Path, Plan, RETURN_PLACES, RING_SLOTS,
    RULE_PLACES, ReturnRow, Role, RuleRow, Slot, View, protocol,
};
use plane::{address_places, key_places};

use crate::place::arrange;
use crate::slots::fill;
use crate::standing::Health;
use crate::surroundings::Surroundings;
use crate::tables::{Ring, Tables, are_equal, ring_words};

/// A table has no room for what is wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("table `{table}` is full: it has room for {limit} {of}, and more are wanted; {mend}")]
pub struct Full {
    table: &'static str,
    limit: u32,
    of: &'static str,
    mend: &'static str,
}

/// Makes tables. It remembers how rings were filled, which is what takes time; what it answers does not depend on that.
#[derive(Debug, Default)]
pub struct Compiler {
    filled: BTreeMap<Vec<(IpAddr, bool)>, Vec<Option<u16>>>,
    /// What each ring was made of, and what it became. Made of the same again, it becomes the same.
    made: BTreeMap<u32, (Vec<Share>, Ring)>,
}

/// A member's part in a ring: its number, its address, and whether it is up.
type Share = (u32, IpAddr, bool);

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
        let numbers = addresses(desired, surroundings, before, &mut tables)?;
        let members = Members::number(desired, before)?;
        let mut rings = Rings::number(desired, &members, health, surroundings, before)?;
        let rule_numbers = rule_numbers(desired, &numbers, before)?;
        let mut slots = self.slots(&rings, desired, &numbers, before);
        let plans = plans(desired, surroundings, &rings, &numbers, before);
        rings.copy_changing(&plans, &mut slots, surroundings, before)?;
        let plans = self::plans(desired, surroundings, &rings, &numbers, before);

        let named: BTreeSet<u32> = plans.values().map(|(plan, _)| u32::from(plan.ring)).collect();
        slots.retain(|ring, _| named.contains(ring));
        tables.rings = slots;
        tables.down = rings.down(&named);
        for member in &members.all {
            let number = numbers.get(&(member.address.into())).copied().unwrap_or_default();
            let hop = surroundings.hops.get(&member.address).copied();
            let row = MemberRow::new(member.address.into(), number, member.pool, hop);
            tables.members.insert(member.number, row);
        }
        let rule_places = arrange(&plans.keys().copied().collect(), &rule_places(before), |key| {
            key_places(key, RULE_PLACES - 1)
        })
        .ok_or(FULL_RULES)?;
        for (key, place) in rule_places {
            if let (Some((plan, view)), Some(number)) = (plans.get(&key), rule_numbers.get(&key)) {
                tables.rules.insert(place, RuleRow::new(key, *plan, *number, *view));
            }
        }
        tables.returns = returns(desired, &numbers, &rule_numbers, before)?;
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
            let same = |made: &&(Vec<Share>, Ring)| {
                made.0 == **shares && before.rings.get(&ring).is_some_and(|now| Arc::ptr_eq(now, &made.1))
            };
            if let Some((_, words)) = self.made.get(&ring).filter(same) {
                slots.insert(ring, Arc::clone(words));
                continue;
            }
            let key = filling(shares);
            let owners = self.filled.entry(key.clone()).or_insert_with(|| fill(&key));
            let alive: BTreeSet<u32> = shares.iter().map(|(number, ..)| *number).collect();
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
            self.made.insert(ring, (shares.to_vec(), words));
        }
        // Rings of pools that are gone need not be kept; a pool that flaps between two states needs two.
        let used: BTreeSet<Vec<(IpAddr, bool)>> = by_ring
            .values()
            .flat_map(|(_, shares)| {
                let now = filling(shares);
                [now.iter().map(|(address, _)| (*address, true)).collect(), now]
            })
            .collect();
        self.filled.retain(|key, _| used.contains(key));
        slots
    }
}

/// What decides how a ring is filled.
fn filling(shares: &[Share]) -> Vec<(IpAddr, bool)> {
    shares.iter().map(|(_, address, up)| (*address, *up)).collect()
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
        Some((*place, LinkRow::new(row.index(), *surroundings.links.get(&row.index())?)))
    });
    let mut links: BTreeMap<u32, LinkRow> = kept.collect();
    let known: BTreeSet<u32> = links.values().map(|row| row.index()).collect();
    for (index, mac) in surroundings.links.iter().filter(|(index, _)| !known.contains(index)) {
        let place = (0..LINK_TRIES)
            .map(|tries| index.wrapping_add(tries) & (LINK_PLACES - 1))
            .find(|place| !links.contains_key(place))
            .ok_or(Full {
                table: "links",
                limit: LINK_PLACES,
                of: "links",
                mend: "attach to fewer interfaces",
            })?;
        links.insert(place, LinkRow::new(*index, *mac));
    }
    Ok(links)
}

/// Gives every address that matters a row, and its number.
fn addresses(
    desired: &Desired,
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
    let mut roles: BTreeMap<Address, Role> = BTreeMap::new();
    for pool in desired.pools() {
        roles.extend(pool.members().iter().map(|member| (member.address().into(), Role::Member)));
    }
    roles.extend(desired.frontends().iter().map(|frontend| (frontend.address().into(), Role::Frontend)));
    let own = [surroundings.own_v4.map(IpAddr::from), surroundings.own_v6.map(IpAddr::from)];
    roles.extend(own.into_iter().flatten().map(|own| (own.into(), Role::Own)));
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

/// A pool by name, as it stands in the tables.
pub fn pool_identity(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A probe by name, as it stands in the tables: never 0, which is none.
pub fn probe_identity(name: &str) -> u32 {
    let whole = pool_identity(name);
    ((whole ^ whole >> 32) as u32).max(1)
}

/// A member of a pool with its number.
struct Numbered {
    pool: u64,
    address: IpAddr,
    number: u32,
}

struct Members {
    all: Vec<Numbered>,
    numbers: BTreeMap<(u64, IpAddr), u32>,
}

impl Members {
    fn number(desired: &Desired, before: &Tables) -> Result<Self, Full> {
        const FULL: Full = Full {
            table: "members",
            limit: MAX_MEMBERS - 1,
            of: "members of pools",
            mend: "spread the pools over more balancers",
        };
        let wanted = || {
            desired.pools().iter().flat_map(|pool| {
                let identity = pool_identity(pool.name());
                pool.members().iter().map(move |member| (identity, member.address()))
            })
        };
        let known: BTreeMap<(u64, IpAddr), u32> = before
            .members
            .iter()
            .map(|(number, row)| ((row.pool(), row.address().into()), *number))
            .collect();
        let numbers = number(wanted(), &known, MAX_MEMBERS).ok_or(FULL)?;
        let all = wanted()
            .filter_map(|(pool, address)| {
                Some(Numbered { pool, address, number: *numbers.get(&(pool, address))? })
            })
            .collect();
        Ok(Self { all, numbers })
    }
}

/// Rules that lead to the members of one family of one pool, of which one probe finds out who is up: they share a ring.
type Group = (PoolIndex, bool, Option<ProbeIndex>);

fn group_of(rule: &Rule) -> Group {
    (rule.pool(), rule.frontend().is_ipv4(), rule.probe())
}

fn view_of(desired: &Desired, rule: &Rule) -> View {
    View {
        pool: pool_identity(desired.pool(rule.pool()).name()),
        probe: desired.probe_of(rule).map_or(0, |probe| probe_identity(probe.name())),
    }
}

struct Rings<'a> {
    /// The ring and the shares of each group that has members.
    groups: BTreeMap<Group, (u32, Vec<Share>)>,
    /// A rule of each group.
    rules: BTreeMap<Group, Vec<&'a Rule>>,
}

impl<'a> Rings<'a> {
    fn number(
        desired: &'a Desired,
        members: &Members,
        health: &Health,
        surroundings: &Surroundings,
        before: &Tables,
    ) -> Result<Self, Full> {
        let mut rules: BTreeMap<Group, Vec<&Rule>> = BTreeMap::new();
        for rule in desired.rules() {
            rules.entry(group_of(rule)).or_default().push(rule);
        }
        let shares_of = |(group, rules): (&Group, &Vec<&Rule>)| {
            let rule = rules.first()?;
            let shares = shares(desired, rule, members, health);
            (!shares.is_empty()).then_some((*group, (view_of(desired, rule), shares)))
        };
        let shares: BTreeMap<Group, (View, Vec<Share>)> = rules.iter().filter_map(shares_of).collect();
        let known = rings_before(before);
        let wanted = shares.iter().map(|((_, v4, _), (view, _))| (*view, *v4));
        let rings =
            number(wanted, &known, surroundings.sizes.rings).ok_or_else(|| full_rings(surroundings))?;
        let groups = shares
            .into_iter()
            .filter_map(|(group, (view, shares))| Some((group, (*rings.get(&(view, group.1))?, shares))));
        Ok(Self { groups: groups.collect(), rules })
    }

    fn ring_of(&self, rule: &Rule) -> u32 {
        self.groups.get(&group_of(rule)).map_or(0, |(ring, _)| *ring)
    }

    /// Whether somebody takes new flows of a rule.
    fn has_somebody(&self, rule: &Rule) -> bool {
        self.groups.get(&group_of(rule)).is_some_and(|(_, shares)| shares.iter().any(|(.., up)| *up))
    }

    fn by_ring(&self) -> BTreeMap<u32, (&Group, &[Share])> {
        self.groups.iter().map(|(group, (ring, shares))| (*ring, (group, shares.as_slice()))).collect()
    }

    /// The ring that a rule of a group had before it came into the group: its flows are under way there.
    fn ancestor<'b>(
        &self,
        group: Group,
        desired: &Desired,
        numbers: &BTreeMap<Address, u32>,
        before: &'b Tables,
    ) -> Option<&'b Ring> {
        let rules = self.rules.get(&group)?;
        let keys: BTreeSet<Key> = rules.iter().filter_map(|rule| key_of(rule, numbers)).collect();
        let pool = pool_identity(desired.pool(group.0).name());
        let same =
            |row: &&RuleRow| row.view().pool == pool && row.key().is_some_and(|key| keys.contains(&key));
        before.rings.get(&before.rules.values().find(same)?.plan().ring.into())
    }

    /// Where a ring changes together with the plan of a rule that uses it, a packet must not meet the one without the other: the group
    /// gets a new ring, and the plan's one word switches to it.
    fn copy_changing(
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
            .map(|row| u32::from(row.plan().ring))
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
    fn down(&self, rings: &BTreeSet<u32>) -> BTreeMap<u32, u64> {
        let mut words: BTreeMap<u32, u64> = BTreeMap::new();
        for (ring, shares) in self.groups.values().filter(|(ring, _)| rings.contains(ring)) {
            for (number, ..) in shares.iter().filter(|(.., up)| !up) {
                *words.entry(ring * DOWN_WORDS + number / 64).or_default() |= 1 << (number % 64);
            }
        }
        words
    }
}

/// The members that a rule leads to, in the order of their addresses.
fn shares(desired: &Desired, rule: &Rule, members: &Members, health: &Health) -> Vec<Share> {
    let pool = desired.pool(rule.pool());
    let identity = pool_identity(pool.name());
    let family = |member: &&Member| member.address().is_ipv4() == rule.frontend().is_ipv4();
    let of_family: Vec<&Member> = pool.members().iter().filter(family).collect();
    let up = health.standing(&of_family, desired.probe_of(rule));
    let shares = of_family.iter().zip(up).filter_map(|(member, up)| {
        Some((*members.numbers.get(&(identity, member.address()))?, member.address(), up))
    });
    shares.collect()
}

/// The rings in force, by whose slots they have.
fn rings_before(before: &Tables) -> BTreeMap<(View, bool), u32> {
    let numbers = before.numbers();
    let one = |row: &RuleRow| {
        let ring = u32::from(row.plan().ring);
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
        of: "rings (pools and address families, and one more for each that is changing)",
        mend: "raise `pools` under [limits], detach, and start again",
    }
}

fn keys<'a>(
    desired: &'a Desired,
    numbers: &'a BTreeMap<Address, u32>,
) -> impl Iterator<Item = (Key, &'a Rule)> {
    desired.rules().iter().filter_map(|rule| Some((key_of(rule, numbers)?, rule)))
}

fn key_of(rule: &Rule, numbers: &BTreeMap<Address, u32>) -> Option<Key> {
    let number = numbers.get(&rule.frontend().into())?;
    Some(Key::new(*number, protocol_number(rule.protocol()), rule.frontend_port().get()))
}

fn rule_places(before: &Tables) -> BTreeMap<Key, u32> {
    before.rules.iter().filter_map(|(place, row)| Some((row.key()?, *place))).collect()
}

/// Every rule's row in the table of counters.
fn rule_numbers(
    desired: &Desired,
    numbers: &BTreeMap<Address, u32>,
    before: &Tables,
) -> Result<BTreeMap<Key, u32>, Full> {
    let known = before.rules.values().filter_map(|row| Some((row.key()?, row.number()))).collect();
    number(keys(desired, numbers).map(|(key, _)| key), &known, MAX_RULES).ok_or(FULL_RULES)
}

fn plans(
    desired: &Desired,
    surroundings: &Surroundings,
    rings: &Rings<'_>,
    numbers: &BTreeMap<Address, u32>,
    before: &Tables,
) -> BTreeMap<Key, (Plan, View)> {
    let before: BTreeMap<Key, Plan> =
        before.rules.values().filter_map(|row| Some((row.key()?, row.plan()))).collect();
    keys(desired, numbers)
        .map(|(key, rule)| {
            let pool = desired.pool(rule.pool());
            let path = path(rule, pool);
            let distribution = match rule.distribution() {
                Wanted::Default => Distribution::FiveTuple,
                Wanted::SourceIp => Distribution::SourceIp,
                Wanted::SourceIpProtocol => Distribution::SourceIpProtocol,
            };
            let remembers = rule.protocol() == Protocol::Udp || path == Path::Masquerade;
            let (former, settled) = match before.get(&key) {
                Some(old) if !remembers && !old.remembers => former(*old, distribution),
                _ => (distribution, false),
            };
            let plan = Plan {
                backend_port: rule.backend_port().get(),
                // FLOW-2: without a ring, established connections end as well.
                ring: match rule.when_down() {
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
                idle: surroundings.clock.ticks(rule.idle().duration()),
            };
            (key, (plan, view_of(desired, rule)))
        })
        .collect()
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

fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => protocol::TCP,
        Protocol::Udp => protocol::UDP,
    }
}

/// FIP-3: answers that come back through this host get the frontend's address and port again.
fn returns(
    desired: &Desired,
    numbers: &BTreeMap<Address, u32>,
    rules: &BTreeMap<Key, u32>,
    before: &Tables,
) -> Result<BTreeMap<u32, ReturnRow>, Full> {
    const FULL: Full = Full {
        table: "returns",
        limit: MAX_RETURNS - 1,
        of: "members of gateway pools, times their rules",
        mend: "spread the pools over more balancers",
    };
    let mut rows: BTreeMap<Key, ReturnRow> = BTreeMap::new();
    for (key, rule) in keys(desired, numbers) {
        let pool = desired.pool(rule.pool());
        let number = rules.get(&key).copied().unwrap_or_default();
        let mut add = |from: IpAddr| {
            if let Some(at) = numbers.get(&from.into()) {
                let key = Key::new(*at, key.protocol(), rule.backend_port().get());
                rows.insert(
                    key,
                    ReturnRow::new(key, rule.frontend().into(), rule.frontend_port().get(), number),
                );
            }
        };
        match path(rule, pool) {
            Path::Floating | Path::Masquerade => {}
            Path::FloatingGateway => add(rule.frontend()),
            Path::Gateway => pool
                .members()
                .iter()
                .map(|member| member.address())
                .filter(|address| address.is_ipv4() == rule.frontend().is_ipv4())
                .for_each(add),
        }
    }
    if rows.len() >= MAX_RETURNS as usize {
        return Err(FULL);
    }
    let places_before = before.returns.iter().filter_map(|(place, row)| Some((row.key()?, *place))).collect();
    let places =
        arrange(&rows.keys().copied().collect(), &places_before, |key| key_places(key, RETURN_PLACES - 1))
            .ok_or(FULL)?;
    Ok(places.into_iter().filter_map(|(key, place)| Some((place, *rows.get(&key)?))).collect())
}

#[cfg(test)]
mod tests;
