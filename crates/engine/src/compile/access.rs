//! Whom rules admit (ACL-1): ordered security rules become lists of intervals that do not overlap, so that one search decides.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use model::{Desired, ListedRule, Rule, SecurityList};
use plane::row::{ACCESS_PLACES, AccessRow, Address, ListRow, MAX_LISTS, MAX_SECURITY_RULES};

use super::{Full, identity, number};
use crate::tables::Tables;

/// From where on which security rule decides what: its number, and whether it allows.
type Interval = (Address, u32, bool);

/// The lists that were made last, and of what. Health changes them not, so most changes find them as they are.
#[derive(Debug, Default)]
pub(super) struct LastLists(Option<(Vec<SecurityList>, BTreeSet<Wanted>, Lists)>);

impl LastLists {
    /// The same as [`Lists::of`].
    pub(super) fn of(&mut self, desired: &Desired, rules: &[&Rule], before: &Tables) -> Result<Lists, Full> {
        let wanted = wanted(rules);
        if let Some((of, was_wanted, lists)) = &self.0
            && *was_wanted == wanted
            && of == desired.lists()
            && lists.are_in(before)
        {
            return Ok(lists.clone());
        }
        let lists = Lists::of(desired, &wanted, before)?;
        self.0 = Some((desired.lists().to_vec(), wanted, lists.clone()));
        Ok(lists)
    }
}

/// A list of those that are desired, for IPv4 or for IPv6.
type Wanted = (usize, bool);

/// The lists in the tables, and which of them each of the wanted ones is, by address family.
#[derive(Clone, Debug)]
pub(super) struct Lists {
    pub(super) rows: BTreeMap<u32, ListRow>,
    pub(super) entries: BTreeMap<u32, AccessRow>,
    pub(super) security: BTreeMap<u32, u64>,
    numbers: BTreeMap<Wanted, u32>,
}

impl Lists {
    /// A list that is in the tables stays as it is, where it is; others get a place that nothing has.
    fn of(desired: &Desired, wanted: &BTreeSet<Wanted>, before: &Tables) -> Result<Self, Full> {
        let security = security(desired, wanted, before)?;
        let numbers: BTreeMap<u64, u32> =
            security.iter().map(|(number, identity)| (*identity, *number)).collect();
        let there: BTreeMap<Vec<Interval>, u32> =
            before.lists.keys().map(|list| (content(before, list), *list)).collect();
        let mut lists =
            Self { rows: BTreeMap::new(), entries: BTreeMap::new(), security, numbers: BTreeMap::new() };
        let mut known: BTreeMap<Vec<Interval>, u32> = BTreeMap::new();
        let mut free_numbers = (1..MAX_LISTS).filter(|list| !before.lists.contains_key(list));
        let mut gaps = Gaps::of(before);
        for (index, v4) in wanted.iter().copied() {
            let Some(list) = desired.lists().get(index) else { continue };
            let intervals = intervals(list, v4, &numbers);
            let number = match (known.get(&intervals), there.get(&intervals)) {
                (Some(number), _) => *number,
                (None, Some(number)) => {
                    if let Some(row) = before.lists.get(number) {
                        lists.add(*number, row.first(), &intervals);
                    }
                    *number
                }
                (None, None) => {
                    let number = free_numbers.next().ok_or(FULL_LISTS)?;
                    let first = gaps.take(intervals.len() as u32).ok_or(FULL_ENTRIES)?;
                    lists.add(number, first, &intervals);
                    number
                }
            };
            known.insert(intervals, number);
            lists.numbers.insert((index, v4), number);
        }
        // One that others leave nothing to decide is not counted.
        let deciding: BTreeSet<u32> = lists.entries.values().map(|entry| entry.rule()).collect();
        lists.security.retain(|number, _| deciding.contains(number));
        Ok(lists)
    }

    fn are_in(&self, tables: &Tables) -> bool {
        (&self.rows, &self.entries, &self.security) == (&tables.lists, &tables.access, &tables.security)
    }

    fn add(&mut self, list: u32, first: u32, intervals: &[Interval]) {
        self.rows.insert(list, ListRow::new(first, intervals.len() as u32));
        for (at, (from, rule, allow)) in (first..).zip(intervals) {
            self.entries.insert(at, AccessRow::new(list, *from, *rule, *allow));
        }
    }

    /// The list that a rule asks; 0 where it admits everybody.
    pub(super) fn of_rule(&self, rule: &Rule) -> u32 {
        let list = rule.list().and_then(|index| self.numbers.get(&(index, rule.frontend().is_ipv4())));
        list.copied().unwrap_or_default()
    }
}

const FULL_LISTS: Full = Full {
    table: "lists",
    limit: MAX_LISTS - 1,
    of: "different lists of security rules",
    mend: "let frontends share security groups, or spread them over more balancers",
};
const FULL_ENTRIES: Full = Full {
    table: "access",
    limit: ACCESS_PLACES,
    of: "ranges of source addresses, those of lists that are being replaced included",
    mend: "name larger prefixes, or spread the frontends over more balancers",
};
const FULL_SECURITY: Full = Full {
    table: "security",
    limit: MAX_SECURITY_RULES - 1,
    of: "security rules of frontends",
    mend: "spread the frontends over more balancers",
};

/// The lists that rules ask, each for the family of the rule's frontend.
fn wanted(rules: &[&Rule]) -> BTreeSet<Wanted> {
    rules.iter().filter_map(|rule| Some((rule.list()?, rule.frontend().is_ipv4()))).collect()
}

/// The identity of every security rule that may decide, by its number. Rules keep their numbers, which are those of their counters.
fn security(
    desired: &Desired,
    wanted: &BTreeSet<Wanted>,
    before: &Tables,
) -> Result<BTreeMap<u32, u64>, Full> {
    let lists: BTreeSet<usize> = wanted.iter().map(|(list, _)| *list).collect();
    let lists = lists.into_iter().filter_map(|list| desired.lists().get(list));
    let identities: BTreeSet<u64> =
        lists.flat_map(|list| list.rules()).map(|rule| identity(rule.name())).collect();
    let known = before.security.iter().map(|(number, identity)| (*identity, *number)).collect();
    let numbers = number(identities.into_iter(), &known, MAX_SECURITY_RULES).ok_or(FULL_SECURITY)?;
    Ok(numbers.into_iter().map(|(identity, number)| (number, identity)).collect())
}

fn content(tables: &Tables, list: &u32) -> Vec<Interval> {
    tables.entries(*list).map(|entry| (entry.from(), entry.rule(), entry.allows())).collect()
}

/// What a list says of every address of a family, as intervals. Of each group the first rule decides that has the address; the address
/// must be allowed by all of them.
fn intervals(list: &SecurityList, v4: bool, numbers: &BTreeMap<u64, u32>) -> Vec<Interval> {
    let mut edges: Vec<(Address, bool, (usize, usize))> = Vec::new();
    for (group, rules) in list.groups().enumerate() {
        for (order, rule) in rules.iter().enumerate() {
            for (first, last) in rule.sources(v4) {
                edges.push((first.into(), true, (group, order)));
                edges.extend(next(last).map(|next| (Address::from(next), false, (group, order))));
            }
        }
    }
    edges.sort_unstable();
    let groups: Vec<&[ListedRule]> = list.groups().collect();
    let mut open: BTreeMap<(usize, usize), u32> = BTreeMap::new();
    let mut intervals: Vec<Interval> = Vec::new();
    for at in edges.chunk_by(|one, other| one.0 == other.0) {
        for (_, begins, rule) in at {
            let count = open.entry(*rule).or_default();
            // A rule may name one address by several prefixes.
            *count = if *begins { *count + 1 } else { count.saturating_sub(1) };
        }
        open.retain(|_, count| *count > 0);
        let first_of = |group: usize| {
            let ((_, order), _) = open.range((group, 0)..(group + 1, 0)).next()?;
            groups.get(group)?.get(*order)
        };
        let mut deciding = (0..groups.len()).filter_map(first_of);
        // The group that denies decides; where none does, the last.
        let decides = deciding.clone().find(|rule| !rule.allows()).or_else(|| deciding.next_back());
        let (Some(rule), Some((from, ..))) = (decides, at.first()) else { continue };
        let number = numbers.get(&identity(rule.name())).copied().unwrap_or_default();
        if intervals.last().is_none_or(|(_, last, allow)| (*last, *allow) != (number, rule.allows())) {
            intervals.push((*from, number, rule.allows()));
        }
    }
    intervals
}

/// The address after this one.
fn next(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => v4.to_bits().checked_add(1).map(|bits| IpAddr::V4(bits.into())),
        IpAddr::V6(v6) => v6.to_bits().checked_add(1).map(|bits| IpAddr::V6(bits.into())),
    }
}

/// Places for entries that no list has, neither one that stays nor one that is still in force.
struct Gaps(Vec<(u32, u32)>);

impl Gaps {
    fn of(before: &Tables) -> Self {
        let mut taken: Vec<(u32, u32)> =
            before.lists.values().map(|row| (row.first(), row.first().saturating_add(row.count()))).collect();
        taken.sort_unstable();
        taken.push((ACCESS_PLACES, ACCESS_PLACES));
        let mut gaps = Vec::new();
        let mut end = 0;
        for (first, last) in taken {
            if first > end {
                gaps.push((end, first));
            }
            end = end.max(last);
        }
        Self(gaps)
    }

    fn take(&mut self, count: u32) -> Option<u32> {
        let (first, _) = self.0.iter_mut().find(|(first, end)| end - *first >= count)?;
        let place = *first;
        *first += count;
        Some(place)
    }
}

#[cfg(test)]
mod tests;
