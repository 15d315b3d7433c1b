//! The way from the tables in force to those that are wanted.
//!
//! A change is one word, which changes at once, or a ring that nothing names yet. They are ordered so that every prefix is safe: stop
//! after any of them, and no packet goes anywhere that neither the old nor the new tables would send it. At worst it goes nowhere
//! while its row is being rewritten.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plane::row::{
    AccessRow, AddressRow, BUSY, ConfigRow, DOWN_WORDS, LinkRow, ListRow, MemberRow, RING_WORDS, ReturnRow,
    Role, RuleRow,
};

use crate::tables::{Ring, Tables, are_equal};

/// A table's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// What holds for the whole balancer.
    Config,
    /// Links.
    Links,
    /// Addresses.
    Addresses,
    /// Rules.
    Rules,
    /// Rules of the way back.
    Returns,
    /// Slots of all rings.
    Slots,
    /// Who is down, beside each ring.
    Down,
    /// Members.
    Members,
    /// Lists of whom rules admit.
    Lists,
    /// Entries of lists.
    Access,
    /// Identities of security rules.
    Security,
}

impl Name {
    /// Words in a row.
    pub fn width(self) -> usize {
        match self {
            Self::Config | Self::Rules | Self::Returns => 4,
            Self::Links => 2,
            Self::Addresses | Self::Access => 3,
            Self::Slots | Self::Down | Self::Lists | Self::Security => 1,
            Self::Members => 8,
        }
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A word of a row.
    Word {
        /// The table.
        table: Name,
        /// The row's place.
        place: u32,
        /// Which of its words.
        word: u32,
        /// What it becomes.
        value: u64,
    },
    /// A ring that no rule names yet, as a whole.
    Ring {
        /// Its number.
        ring: u32,
        /// Its slots.
        words: Ring,
        /// Who is down beside it, by word; the others are 0.
        down: BTreeMap<u32, u64>,
    },
    /// Every remembered flow of a member that is gone: its number may be given away after this.
    Forget {
        /// The member's number.
        member: u32,
    },
    /// Every remembered flow that has run out. An entry's time wraps after some hours, so this is to be done every hour.
    Sweep {
        /// The data path's time.
        now: u32,
    },
}

/// Steps in their order.
pub type Changes = Vec<Change>;

impl Tables {
    /// The way from these tables to `after`.
    pub fn changes_to(&self, after: &Self) -> Changes {
        let before = self;
        let mut changes = Changes::new();
        let out = &mut changes;
        let rules_wanted: BTreeSet<_> = after.rules.values().map(|row| row.key()).collect();
        let has_rule = |row: &RuleRow| rules_wanted.contains(&row.key());
        let addresses_wanted: BTreeSet<_> =
            after.addresses.values().map(|row| (row.address(), row.role())).collect();
        let has_address = |row: &AddressRow| addresses_wanted.contains(&(row.address(), row.role()));
        let is_frontend = |row: &AddressRow| row.role() == Some(Role::Frontend);

        rewrite(out, &LINKS, &only(&before.links, &after.links), &after.links);
        let early = early_config(before.config, after.config);
        config(out, before.config, early);
        clear(out, &RULES, before.rules.iter().filter(|(_, row)| !has_rule(row)));
        clear(
            out,
            &ADDRESSES,
            before.addresses.iter().filter(|(_, row)| is_frontend(row) && !has_address(row)),
        );
        // Before anything names them: a restart believes what is named.
        for (ring, words) in &after.rings {
            if !before.rings.contains_key(ring) {
                out.push(Change::Ring { ring: *ring, words: words.clone(), down: after.down_beside(*ring) });
            }
        }
        for (number, identity) in &after.security {
            if before.security.get(number) != Some(identity) {
                out.push(Change::Word { table: Name::Security, place: *number, word: 0, value: *identity });
            }
        }
        rewrite(out, &ACCESS, &only(&before.access, &after.access), &after.access);
        rewrite(out, &LISTS, &only(&before.lists, &after.lists), &after.lists);
        let members_kept: BTreeMap<u32, MemberRow> = before
            .members
            .iter()
            .filter(|(number, _)| after.members.contains_key(number))
            .map(copy)
            .collect();
        rewrite(out, &MEMBERS, &members_kept, &after.members);

        let was_there: BTreeSet<_> = before.address_rows().keys().copied().collect();
        let addresses_first: BTreeMap<u32, AddressRow> = after
            .addresses
            .iter()
            .filter(|(_, row)| !is_frontend(row) || was_there.contains(&row.address()))
            .map(copy)
            .collect();
        // Frontends that are gone were cleared above.
        let addresses_now: BTreeMap<u32, AddressRow> = before
            .addresses
            .iter()
            .filter(|(_, row)| !is_frontend(row) || has_address(row))
            .map(copy)
            .collect();
        let addresses_now = place(out, &ADDRESSES, addresses_now, &addresses_first, |row| row.address());
        let returns_now = place(out, &RETURNS, before.returns.clone(), &after.returns, |row| row.key());

        // Answers to a new own address are known as such before anything is sent from it.
        let late = ConfigRow([early.0[0], after.config.0[1], after.config.0[2], after.config.0[3]]);
        config(out, early, late);
        for (ring, words) in &after.rings {
            if let Some(old) = before.rings.get(ring) {
                ring_changes(out, *ring, old, words);
            }
        }
        let rules_now: BTreeMap<u32, RuleRow> =
            before.rules.iter().filter(|(_, row)| has_rule(row)).map(copy).collect();
        let rules_now = place(out, &RULES, rules_now, &after.rules, |row| row.key());
        // After the slots, so that no flow moves to where only a slot of before leads.
        down_changes(out, before, after);
        // A rule is in two places where somebody stopped while it moved.
        clear(out, &RULES, rules_now.iter().filter(|(at, _)| !after.rules.contains_key(at)));
        let addresses_now = place(out, &ADDRESSES, addresses_now, &after.addresses, |row| row.address());

        clear(out, &RETURNS, returns_now.iter().filter(|(at, _)| !after.returns.contains_key(at)));
        clear(out, &ADDRESSES, addresses_now.iter().filter(|(at, _)| !after.addresses.contains_key(at)));
        remove_members(out, before.members.iter().filter(|(number, _)| !after.members.contains_key(number)));
        config(out, late, after.config);
        clear(out, &LISTS, before.lists.iter().filter(|(at, _)| !after.lists.contains_key(at)));
        clear(out, &ACCESS, before.access.iter().filter(|(at, _)| !after.access.contains_key(at)));
        for number in before.security.keys().filter(|number| !after.security.contains_key(number)) {
            out.push(Change::Word { table: Name::Security, place: *number, word: 0, value: 0 });
        }
        clear(out, &LINKS, before.links.iter().filter(|(at, _)| !after.links.contains_key(at)));
        changes
    }

    /// Takes one step. (The kernel's tables take the same steps.)
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Word { table, place, word, value } => match table {
                Name::Config => self.config.0[*word as usize & 3] = *value,
                Name::Links => set(&mut self.links, *place, *word, *value, |row| &mut row.0),
                Name::Addresses => set(&mut self.addresses, *place, *word, *value, |row| &mut row.0),
                Name::Rules => set(&mut self.rules, *place, *word, *value, |row| &mut row.0),
                Name::Returns => set(&mut self.returns, *place, *word, *value, |row| &mut row.0),
                Name::Members => set(&mut self.members, *place, *word, *value, |row| &mut row.0),
                Name::Lists => set(&mut self.lists, *place, *word, *value, |row| &mut row.0),
                Name::Access => set(&mut self.access, *place, *word, *value, |row| &mut row.0),
                Name::Down => drop(self.down.insert(*place, *value)),
                Name::Security => drop(self.security.insert(*place, *value)),
                Name::Slots => {
                    let empty = || vec![0; RING_WORDS as usize].into();
                    let ring = self.rings.entry(place / RING_WORDS).or_insert_with(empty);
                    if let Some(word) = Arc::make_mut(ring).get_mut((place % RING_WORDS) as usize) {
                        *word = *value;
                    }
                }
            },
            Change::Ring { ring, words, down } => {
                self.rings.insert(*ring, words.clone());
                let first = ring * DOWN_WORDS;
                self.down.retain(|place, _| place / DOWN_WORDS != *ring);
                self.down.extend(down.iter().map(|(word, value)| (first + word, *value)));
            }
            Change::Forget { .. } | Change::Sweep { .. } => {}
        }
    }

    /// The same tables as a dump shows them: without rows that are not published, and without rings that nothing names.
    pub fn tidied(mut self) -> Self {
        self.links.retain(|_, row| row.index() != 0);
        self.addresses.retain(|_, row| row.role().is_some());
        self.rules.retain(|_, row| row.key().is_some());
        self.returns.retain(|_, row| row.key().is_some());
        self.members.retain(|_, row| row.is_live());
        let used = self.rings_in_use();
        self.rings.retain(|ring, _| used.contains(ring));
        self.down.retain(|place, word| *word != 0 && used.contains(&(place / DOWN_WORDS)));
        let used = self.lists_in_use();
        self.lists.retain(|list, row| row.count() != 0 && used.contains(list));
        let places: BTreeMap<u32, u32> =
            self.lists.values().map(|row| (row.first(), row.first().saturating_add(row.count()))).collect();
        let is_named = |place: &u32| places.range(..=place).next_back().is_some_and(|(_, end)| place < end);
        self.access.retain(|place, _| is_named(place));
        let deciding: BTreeSet<u32> = self.access.values().map(|entry| entry.rule()).collect();
        self.security.retain(|number, _| deciding.contains(number));
        self
    }
}

fn set<R: Default, const N: usize>(
    rows: &mut BTreeMap<u32, R>,
    place: u32,
    word: u32,
    value: u64,
    words: impl Fn(&mut R) -> &mut [u64; N],
) {
    if let Some(slot) = words(rows.entry(place).or_default()).get_mut(word as usize) {
        *slot = value;
    }
}

/// What is common to the rows of one table.
struct Kind<R> {
    table: Name,
    /// The word that publishes a row.
    publish: usize,
    /// The publishing word of a row that is being rewritten.
    closed: fn(u64) -> u64,
    words: fn(&R) -> &[u64],
}

const LINKS: Kind<LinkRow> = Kind { table: Name::Links, publish: 1, closed: |_| 0, words: |row| &row.0 };
const ADDRESSES: Kind<AddressRow> =
    Kind { table: Name::Addresses, publish: 0, closed: |_| 0, words: |row| &row.0 };
const RULES: Kind<RuleRow> =
    Kind { table: Name::Rules, publish: 0, closed: |word| word | BUSY, words: |row| &row.0 };
const RETURNS: Kind<ReturnRow> =
    Kind { table: Name::Returns, publish: 0, closed: |word| word | BUSY, words: |row| &row.0 };
const LISTS: Kind<ListRow> = Kind { table: Name::Lists, publish: 0, closed: |_| 0, words: |row| &row.0 };
const ACCESS: Kind<AccessRow> = Kind { table: Name::Access, publish: 0, closed: |_| 0, words: |row| &row.0 };
const MEMBERS: Kind<MemberRow> =
    Kind { table: Name::Members, publish: 0, closed: MemberRow::closed, words: |row| &row.0 };

fn copy<R: Copy>((at, row): (&u32, &R)) -> (u32, R) {
    (*at, *row)
}

fn only<R: Copy>(rows: &BTreeMap<u32, R>, of: &BTreeMap<u32, R>) -> BTreeMap<u32, R> {
    rows.iter().filter(|(at, _)| of.contains_key(at)).map(copy).collect()
}

/// The way back is looked at from before the first to after the last rule that needs it.
fn early_config(before: ConfigRow, after: ConfigRow) -> ConfigRow {
    let mut early = before;
    early.0[0] = after.0[0] | before.0[0] & (1 << 24);
    early
}

fn config(out: &mut Changes, before: ConfigRow, after: ConfigRow) {
    let mut push =
        |word: u32, value: u64| out.push(Change::Word { table: Name::Config, place: 0, word, value });
    let [sizes, v4, high, low] = after.0;
    for (word, value) in [(0, sizes), (1, v4)] {
        if before.0[word] != value {
            push(word as u32, value);
        }
    }
    // Half an own IPv6 address is nobody's: there is none while the second half changes.
    if before.0[3] != low {
        if before.0[2] != 0 {
            push(2, 0);
        }
        push(3, low);
        if high != 0 {
            push(2, high);
        }
    } else if before.0[2] != high {
        push(2, high);
    }
}

/// Members that are gone: they stay in a dump until what is remembered of them is forgotten, so that a restart does not give their
/// numbers away before (FLOW-3).
fn remove_members<'a>(out: &mut Changes, gone: impl Iterator<Item = (&'a u32, &'a MemberRow)> + Clone) {
    let publish = |place: u32, value: u64| Change::Word { table: Name::Members, place, word: 0, value };
    out.extend(gone.clone().map(|(number, row)| publish(*number, MemberRow::closed(row.0[0]))));
    out.extend(gone.clone().map(|(number, _)| Change::Forget { member: *number }));
    out.extend(gone.map(|(number, _)| publish(*number, 0)));
}

fn clear<'a, R: 'a>(out: &mut Changes, kind: &Kind<R>, rows: impl Iterator<Item = (&'a u32, &'a R)>) {
    for (place, _) in rows {
        out.push(Change::Word { table: kind.table, place: *place, word: kind.publish as u32, value: 0 });
    }
}

/// Rows that stay where they are, and new ones in places that are empty.
fn rewrite<R: Copy>(out: &mut Changes, kind: &Kind<R>, before: &BTreeMap<u32, R>, after: &BTreeMap<u32, R>) {
    for (place, row) in after {
        match before.get(place) {
            Some(old) => replace(out, kind, *place, old, row),
            None => insert(out, kind, *place, row),
        }
    }
}

fn insert<R>(out: &mut Changes, kind: &Kind<R>, place: u32, row: &R) {
    let words = (kind.words)(row);
    for (word, value) in words.iter().enumerate().filter(|(word, _)| *word != kind.publish) {
        out.push(Change::Word { table: kind.table, place, word: word as u32, value: *value });
    }
    let published = words.get(kind.publish).copied().unwrap_or_default();
    out.push(Change::Word { table: kind.table, place, word: kind.publish as u32, value: published });
}

/// A row that is live: one word changes at once; for more, the row is closed meanwhile.
fn replace<R>(out: &mut Changes, kind: &Kind<R>, place: u32, old: &R, new: &R) {
    let (old, new) = ((kind.words)(old), (kind.words)(new));
    let differ: Vec<usize> = (0..new.len()).filter(|word| old.get(*word) != new.get(*word)).collect();
    let mut push = |word: usize, value: u64| {
        out.push(Change::Word { table: kind.table, place, word: word as u32, value });
    };
    let value = |word: usize| new.get(word).copied().unwrap_or_default();
    if let [word] = differ.as_slice() {
        return push(*word, value(*word));
    }
    if differ.is_empty() {
        return;
    }
    push(kind.publish, (kind.closed)(old.get(kind.publish).copied().unwrap_or_default()));
    for word in differ.iter().filter(|word| **word != kind.publish) {
        push(*word, value(*word));
    }
    push(kind.publish, value(kind.publish));
}

/// Rows of a table with two places for each key. A row that moves is in its new place before its old one is taken; rows of `before`
/// that are in the way of nothing stay, to be cleared later. Gives the rows that are there in the end.
fn place<R: Copy + PartialEq, K: Ord>(
    out: &mut Changes,
    kind: &Kind<R>,
    before: BTreeMap<u32, R>,
    after: &BTreeMap<u32, R>,
    key: impl Fn(&R) -> K,
) -> BTreeMap<u32, R> {
    let mut now = before;
    let goal: BTreeMap<K, u32> = after.iter().map(|(at, row)| (key(row), *at)).collect();
    let mut source: BTreeMap<K, u32> = now.iter().map(|(at, row)| (key(row), *at)).collect();
    let mut waiting: BTreeSet<u32> =
        after.iter().filter(|(at, row)| now.get(at) != Some(row)).map(|(at, _)| *at).collect();
    // A place is free once the row in it has moved to where it belongs.
    let is_free = |now: &BTreeMap<u32, R>, waiting: &BTreeSet<u32>, at: u32| {
        now.get(&at).is_none_or(|old| match goal.get(&key(old)) {
            Some(to) => *to == at || !waiting.contains(to),
            None => true,
        })
    };
    while !waiting.is_empty() {
        let ready: Vec<u32> = waiting.iter().copied().filter(|at| is_free(&now, &waiting, *at)).collect();
        // Two rows that change places with each other would wait forever; one of them is then absent for a moment.
        let ready = if ready.is_empty() { waiting.first().copied().into_iter().collect() } else { ready };
        for at in ready {
            waiting.remove(&at);
            let Some(row) = after.get(&at).copied() else { continue };
            match now.get(&at) {
                Some(old) if key(old) == key(&row) => replace(out, kind, at, old, &row),
                Some(_) => {
                    out.push(Change::Word {
                        table: kind.table,
                        place: at,
                        word: kind.publish as u32,
                        value: 0,
                    });
                    insert(out, kind, at, &row);
                }
                None => insert(out, kind, at, &row),
            }
            now.insert(at, row);
            // The place it came from, unless another row is to have it.
            if let Some(from) = source.insert(key(&row), at)
                && from != at
                && !waiting.contains(&from)
                && now.get(&from).is_some_and(|old| key(old) == key(&row))
            {
                out.push(Change::Word {
                    table: kind.table,
                    place: from,
                    word: kind.publish as u32,
                    value: 0,
                });
                now.remove(&from);
            }
        }
    }
    now
}

/// Who is down beside rings that stay.
fn down_changes(out: &mut Changes, before: &Tables, after: &Tables) {
    let stays = |place: &u32| {
        let ring = place / DOWN_WORDS;
        before.rings.contains_key(&ring) && after.rings.contains_key(&ring)
    };
    let places: BTreeSet<u32> = before.down.keys().chain(after.down.keys()).copied().filter(stays).collect();
    for place in places {
        let value = after.down.get(&place).copied().unwrap_or_default();
        if before.down.get(&place).copied().unwrap_or_default() != value {
            out.push(Change::Word { table: Name::Down, place, word: 0, value });
        }
    }
}

fn ring_changes(out: &mut Changes, ring: u32, old: &Ring, new: &Ring) {
    if are_equal(old, new) {
        return;
    }
    for (at, (old, new)) in old.iter().zip(new.iter()).enumerate() {
        if old != new {
            let place = ring * RING_WORDS + at as u32;
            out.push(Change::Word { table: Name::Slots, place, word: 0, value: *new });
        }
    }
}

#[cfg(test)]
mod tests;
