//! The data path in ordinary memory: the same pipeline on the same rows.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use plane::row::{
    AccessRow, AddressRow, BUCKET_WAYS, ConfigRow, DOWN_WORDS, ENTRY_WORDS, LinkRow, ListRow, MemberRow,
    PIECE_BUCKETS, ReturnRow, RuleRow, Slot, TRACK_WORDS,
};
use plane::stage::{PARCEL_WORDS, TOLD_WORDS};
use plane::{Bucket, Entry, Remembered, Tick, Track, Verdict, Word, World, process};

use crate::changes::Change;
use crate::surroundings::Sizes;
use crate::tables::Tables;

/// A word of a memory.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Shared(AtomicU64);

impl Word for Shared {
    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, word: u64) {
        self.0.store(word, Ordering::Relaxed);
    }

    fn claim(&self, old: u64, new: u64) -> bool {
        self.0.compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// A frame, through the pipeline in this world. What is sent instead of it may be shorter.
pub(crate) fn pass<W: World>(frame: &mut Vec<u8>, world: &W, now: Tick) -> Verdict {
    let mut left = frame.as_mut_slice();
    let verdict = process(&mut left, world, now);
    let length = left.len();
    frame.truncate(length);
    verdict
}

/// What the data path remembers of flows.
#[derive(Debug, Default)]
pub struct Memory {
    flows: Vec<[Shared; BUCKET_WAYS]>,
    tracks: Vec<[Shared; TRACK_WORDS]>,
    pieces: Vec<[Shared; BUCKET_WAYS]>,
    outward: Vec<[Shared; ENTRY_WORDS]>,
    inward: Vec<[Shared; ENTRY_WORDS]>,
}

impl Memory {
    /// Nothing remembered, and room for as much as `sizes` says.
    pub fn new(sizes: Sizes) -> Self {
        Self::of(
            vec![[0; BUCKET_WAYS]; 1 << sizes.flow_bits],
            vec![[0; TRACK_WORDS]; BUCKET_WAYS << sizes.flow_bits],
            vec![[0; BUCKET_WAYS]; PIECE_BUCKETS as usize],
            vec![[0; ENTRY_WORDS]; 1 << sizes.masquerade_bits],
            vec![[0; ENTRY_WORDS]; 1 << sizes.masquerade_bits],
        )
    }

    /// What another data path remembers: its buckets of flows, what is known of those that are kept in mind, its buckets of packets in
    /// pieces, and both sides of masqueraded flows.
    pub fn of(
        flows: Vec<[u64; BUCKET_WAYS]>,
        tracks: Vec<[u64; TRACK_WORDS]>,
        pieces: Vec<[u64; BUCKET_WAYS]>,
        outward: Vec<[u64; ENTRY_WORDS]>,
        inward: Vec<[u64; ENTRY_WORDS]>,
    ) -> Self {
        let share = |words: [u64; 8]| words.map(|word| Shared(AtomicU64::new(word)));
        Self {
            flows: flows.into_iter().map(share).collect(),
            tracks: tracks.into_iter().map(share).collect(),
            pieces: pieces.into_iter().map(share).collect(),
            outward: outward.into_iter().map(share).collect(),
            inward: inward.into_iter().map(share).collect(),
        }
    }

    /// The words of all buckets of flows.
    pub fn flow_words(&self) -> impl Iterator<Item = u64> + '_ {
        self.flows.iter().flatten().map(Word::get)
    }

    /// What is known of flows that are kept in mind, in the places of their words.
    pub fn track_words(&self) -> impl Iterator<Item = [u64; TRACK_WORDS]> + '_ {
        self.tracks.iter().map(|row| row.each_ref().map(Word::get))
    }

    /// The words of all buckets of packets in pieces.
    pub fn piece_words(&self) -> impl Iterator<Item = [u64; BUCKET_WAYS]> + '_ {
        self.pieces.iter().map(|bucket| bucket.each_ref().map(Word::get))
    }

    /// The words of all masqueraded flows, by the client's side.
    pub fn outward_words(&self) -> impl Iterator<Item = [u64; ENTRY_WORDS]> + '_ {
        self.outward.iter().map(|entry| entry.each_ref().map(Word::get))
    }

    /// The words of all masqueraded flows, by the member's side.
    pub fn inward_words(&self) -> impl Iterator<Item = [u64; ENTRY_WORDS]> + '_ {
        self.inward.iter().map(|entry| entry.each_ref().map(Word::get))
    }

    #[cfg(test)]
    pub(crate) fn forget_at(&self, at: usize) {
        self.flows[at / BUCKET_WAYS][at % BUCKET_WAYS].set(0);
    }

    fn sweep(&self, now: Tick) {
        for entry in self.flows.iter().flatten() {
            let word = entry.get();
            if word != 0 && Remembered::of(word, now).is_none() {
                entry.claim(word, 0);
            }
        }
    }

    fn forget(&self, member: u32) {
        for entry in self.flows.iter().flatten() {
            if (entry.get() >> 16) as u32 & 0x7fff == member {
                entry.set(0);
            }
        }
        for entry in &self.outward {
            if (entry[6].get() >> 48) as u32 == member && entry[0].get() != 0 {
                if let Some(inward) = self.inward.get(entry[7].get() as u32 as usize) {
                    inward[0].set(0);
                }
                entry[0].set(0);
            }
        }
    }
}

/// What was counted under a rule or for a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets.
    pub packets: u64,
    /// Bytes, Ethernet headers included.
    pub bytes: u64,
    /// Flows that began.
    pub flows: u64,
}

impl Counts {
    fn add(&mut self, bytes: u32, start: bool) {
        self.packets += 1;
        self.bytes += u64::from(bytes);
        self.flows += u64::from(start);
    }
}

/// A data path that runs on tables in ordinary memory.
#[derive(Debug, Default)]
pub struct Replica {
    tables: Tables,
    memory: Memory,
    ingress: Cell<u32>,
    moment: Cell<u32>,
    parcel: Cell<[u64; PARCEL_WORDS]>,
    told: [Shared; TOLD_WORDS],
    rules: RefCell<BTreeMap<u32, Counts>>,
    members: RefCell<BTreeMap<u32, Counts>>,
    unmatched: RefCell<BTreeMap<u32, u64>>,
    security: RefCell<BTreeMap<u32, (u64, u64)>>,
}

impl Replica {
    /// A data path with these tables and memory.
    pub fn new(tables: Tables, memory: Memory) -> Self {
        Self { tables, memory, ..Self::default() }
    }

    /// The tables it runs on.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// What it remembers.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Takes one step towards other tables.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Forget { member } => self.memory.forget(*member),
            Change::Sweep { now } => self.memory.sweep(Tick(*now)),
            Change::Word { .. } | Change::Ring { .. } => {}
        }
        self.tables.apply(change);
    }

    /// Drops rows that are not published, as a dump does.
    pub fn tidy(&mut self) {
        self.tables = std::mem::take(&mut self.tables).tidied();
    }

    /// What becomes of a frame that comes in by the link with this interface index. It may be shorter afterwards.
    pub fn run(&self, frame: &mut Vec<u8>, link: u32, now: Tick) -> Verdict {
        let config = self.tables.config;
        let moment = now.0.wrapping_shl((config.tick_shift() - config.moment_shift()).into());
        self.run_at(frame, link, now, moment)
    }

    /// The same at a certain moment of a tick.
    pub fn run_at(&self, frame: &mut Vec<u8>, link: u32, now: Tick, moment: u32) -> Verdict {
        self.ingress.set(link);
        self.moment.set(moment);
        pass(frame, self, now)
    }

    /// What was counted by rule number.
    pub fn rule_counts(&self) -> BTreeMap<u32, Counts> {
        self.rules.borrow().clone()
    }

    /// What was counted by member number.
    pub fn member_counts(&self) -> BTreeMap<u32, Counts> {
        self.members.borrow().clone()
    }

    /// Packets and bytes, by the number of the security rule that decided.
    pub fn security_counts(&self) -> BTreeMap<u32, (u64, u64)> {
        self.security.borrow().clone()
    }

    /// Packets that reached no rule, by the number of their frontend's address.
    pub fn unmatched_counts(&self) -> BTreeMap<u32, u64> {
        self.unmatched.borrow().clone()
    }
}

impl World for Replica {
    type Word = Shared;

    fn ingress(&self) -> u32 {
        self.ingress.get()
    }

    fn moment(&self) -> u32 {
        self.moment.get()
    }

    fn keep(&self, parcel: [u64; PARCEL_WORDS]) {
        self.parcel.set(parcel);
    }

    fn kept(&self) -> [u64; PARCEL_WORDS] {
        self.parcel.get()
    }

    fn told(&self) -> Option<&[Shared; TOLD_WORDS]> {
        Some(&self.told)
    }

    fn config(&self) -> ConfigRow {
        self.tables.config
    }

    fn link(&self, place: u32) -> Option<LinkRow> {
        Some(self.tables.links.get(&place).copied().unwrap_or_default())
    }

    fn address(&self, place: u32) -> Option<AddressRow> {
        Some(self.tables.addresses.get(&place).copied().unwrap_or_default())
    }

    fn rule(&self, place: u32) -> Option<RuleRow> {
        Some(self.tables.rules.get(&place).copied().unwrap_or_default())
    }

    fn way_back(&self, place: u32) -> Option<ReturnRow> {
        Some(self.tables.returns.get(&place).copied().unwrap_or_default())
    }

    fn slot(&self, ring: u32, slot: u32) -> Option<Slot> {
        Some(self.tables.slot(ring, slot))
    }

    fn down(&self, ring: u32, word: u32) -> Option<u64> {
        Some(self.tables.down.get(&(ring * DOWN_WORDS + word)).copied().unwrap_or_default())
    }

    fn member(&self, number: u32) -> Option<MemberRow> {
        Some(self.tables.members.get(&number).copied().unwrap_or_default())
    }

    fn list(&self, number: u32) -> Option<ListRow> {
        Some(self.tables.lists.get(&number).copied().unwrap_or_default())
    }

    fn access(&self, place: u32) -> Option<AccessRow> {
        Some(self.tables.access.get(&place).copied().unwrap_or_default())
    }

    fn bucket(&self, place: u32) -> Option<&Bucket<Self>> {
        self.memory.flows.get(place as usize)
    }

    fn track(&self, place: u32) -> Option<&Track<Self>> {
        self.memory.tracks.get(place as usize)
    }

    fn pieces(&self, place: u32) -> Option<&Bucket<Self>> {
        self.memory.pieces.get(place as usize)
    }

    fn outward(&self, place: u32) -> Option<&Entry<Self>> {
        self.memory.outward.get(place as usize)
    }

    fn inward(&self, place: u32) -> Option<&Entry<Self>> {
        self.memory.inward.get(place as usize)
    }

    fn count_rule(&self, number: u32, bytes: u32, start: bool) {
        self.rules.borrow_mut().entry(number).or_default().add(bytes, start);
    }

    fn count_member(&self, number: u32, bytes: u32, start: bool) {
        self.members.borrow_mut().entry(number).or_default().add(bytes, start);
    }

    fn count_security(&self, rule: u32, bytes: u32) {
        let counts = &mut *self.security.borrow_mut();
        let (packets, all) = counts.entry(rule).or_default();
        (*packets, *all) = (*packets + 1, *all + u64::from(bytes));
    }

    fn count_unmatched(&self, number: u32) {
        *self.unmatched.borrow_mut().entry(number).or_default() += 1;
    }
}

#[cfg(test)]
mod tests;
