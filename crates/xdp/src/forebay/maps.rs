//! The kernel's maps as the pipeline's world.
//!
//! The tables can be mapped into memory by the control plane, which writes them word by word; they are read word by word here.

use core::arch::asm;
use core::cell::UnsafeCell;
use core::ptr;

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    helpers::bpf_jiffies64,
    macros::map,
    maps::{Array, PerCpuArray, ProgramArray, RingBuf},
};
use plane::row::{
    ACCESS_PLACES, ADDRESS_PLACES, AccessRow, AddressRow, BUCKET_WAYS, ConfigRow, DOWN_WORDS, ENTRY_WORDS,
    LINK_PLACES, LinkRow, ListRow, MAX_ADDRESSES, MAX_LISTS, MAX_MEMBERS, MAX_RULES, MAX_SECURITY_RULES,
    MAX_WATCHES, MemberRow, PIECE_BUCKETS, RETURN_PLACES, RING_SLOTS, RING_WORDS, RULE_PLACES, ReturnRow,
    RuleRow, Slot, TRACK_WORDS, WATCH_WORDS, WatchRow,
};
use plane::stage::{PARCEL_WORDS, Stage, TOLD_WORDS};
use plane::{Bucket, Drop, Entry, REASONS, RESET_CAUSES, Reason, Track, Word, World, outline};

/// What the memories have room for until the control plane says otherwise.
const DEFAULT_ROOM: u32 = 1 << 10;

#[map]
static CONFIG: Array<[u64; 4]> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static LINKS: Array<[u64; 2]> = Array::with_max_entries(LINK_PLACES, BPF_F_MMAPABLE);
#[map]
static ADDRESSES: Array<[u64; 3]> = Array::with_max_entries(ADDRESS_PLACES, BPF_F_MMAPABLE);
#[map]
static RULES: Array<[u64; 4]> = Array::with_max_entries(RULE_PLACES, BPF_F_MMAPABLE);
#[map]
static RETURNS: Array<[u64; 4]> = Array::with_max_entries(RETURN_PLACES, BPF_F_MMAPABLE);
#[map]
static SLOTS: Array<u64> = Array::with_max_entries(RING_WORDS, BPF_F_MMAPABLE);
#[map]
static DOWN: Array<u64> = Array::with_max_entries(DOWN_WORDS, BPF_F_MMAPABLE);
#[map]
static MEMBERS: Array<[u64; 8]> = Array::with_max_entries(MAX_MEMBERS, BPF_F_MMAPABLE);
#[map]
static LISTS: Array<[u64; 1]> = Array::with_max_entries(MAX_LISTS, BPF_F_MMAPABLE);
#[map]
static ACCESS: Array<[u64; 3]> = Array::with_max_entries(ACCESS_PLACES, BPF_F_MMAPABLE);
/// Identities of security rules, by the numbers that entries of lists have for them: the control plane's.
#[map]
static SECURITY: Array<u64> = Array::with_max_entries(MAX_SECURITY_RULES, BPF_F_MMAPABLE);
#[map]
static FLOWS: Array<[u64; BUCKET_WAYS]> = Array::with_max_entries(DEFAULT_ROOM, BPF_F_MMAPABLE);
/// What is known of connections that are kept in mind, each in the place of its entry in `FLOWS`.
#[map]
static TRACKS: Array<[u64; TRACK_WORDS]> =
    Array::with_max_entries(DEFAULT_ROOM * BUCKET_WAYS as u32, BPF_F_MMAPABLE);
/// Resets that were sent, by their cause: the control plane's.
#[map]
static RESETS: Array<u64> = Array::with_max_entries(RESET_CAUSES, BPF_F_MMAPABLE);
#[map]
static PIECES: Array<[u64; BUCKET_WAYS]> = Array::with_max_entries(PIECE_BUCKETS, BPF_F_MMAPABLE);
#[map]
static OUTWARD: Array<[u64; ENTRY_WORDS]> = Array::with_max_entries(DEFAULT_ROOM, BPF_F_MMAPABLE);
#[map]
static INWARD: Array<[u64; ENTRY_WORDS]> = Array::with_max_entries(DEFAULT_ROOM, BPF_F_MMAPABLE);

/// The programs of the stages, by their numbers; behind them the one that tells what they drop.
#[map]
pub static STAGES: ProgramArray = ProgramArray::with_max_entries(Stage::ALL.len() as u32 + 1, 0);
/// What one stage tells the next, on one processor.
#[map]
static PARCEL: PerCpuArray<[u64; PARCEL_WORDS]> = PerCpuArray::with_max_entries(1, 0);
/// Of packets that are too big, on one processor: how many senders were told and when, and how large the one at hand may be.
#[map]
static TOLD: PerCpuArray<[u64; TOLD_WORDS]> = PerCpuArray::with_max_entries(1, 0);

/// Packets, bytes, flows started, nothing.
#[map]
static RULE_COUNTS: PerCpuArray<[u64; 4]> = PerCpuArray::with_max_entries(MAX_RULES, 0);
#[map]
static MEMBER_COUNTS: PerCpuArray<[u64; 4]> = PerCpuArray::with_max_entries(MAX_MEMBERS, 0);
#[map]
static UNMATCHED_COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(MAX_ADDRESSES, 0);
/// Packets, bytes.
#[map]
static SECURITY_COUNTS: PerCpuArray<[u64; 2]> = PerCpuArray::with_max_entries(MAX_SECURITY_RULES, 0);
/// Packets, bytes.
#[map]
static REASON_COUNTS: PerCpuArray<[u64; 2]> = PerCpuArray::with_max_entries(REASONS, 0);

/// Those who watch what is dropped, in one value: whether there is anybody is one question.
#[map]
static WATCHES: Array<[u64; WATCH_WORDS * MAX_WATCHES]> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// What they are told.
#[map]
pub static REPORTS_0: RingBuf = RingBuf::with_byte_size(REPORT_BYTES, 0);
#[map]
pub static REPORTS_1: RingBuf = RingBuf::with_byte_size(REPORT_BYTES, 0);
#[map]
pub static REPORTS_2: RingBuf = RingBuf::with_byte_size(REPORT_BYTES, 0);
#[map]
pub static REPORTS_3: RingBuf = RingBuf::with_byte_size(REPORT_BYTES, 0);
/// Packets of which they were told, and of which they were not, because there was no room or they did not want so many.
#[map]
static WATCH_COUNTS: PerCpuArray<[u64; 2]> = PerCpuArray::with_max_entries(MAX_WATCHES as u32, 0);
/// The stage that dropped the frame on one processor, and why.
#[map]
static DROPPED: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Room for reports: for a third of a second of as many as anybody may want. Pages of 64 KiB fit into it as well.
const REPORT_BYTES: u32 = 1 << 18;

/// A word of a map's value.
#[repr(transparent)]
pub struct MapWord(UnsafeCell<u64>);

impl Word for MapWord {
    #[inline(always)]
    fn get(&self) -> u64 {
        // SAFETY: the place is valid, aligned and read in one instruction.
        unsafe { ptr::read_volatile(self.0.get()) }
    }

    #[inline(always)]
    fn set(&self, word: u64) {
        // SAFETY: the place is valid, aligned and written in one instruction.
        unsafe { ptr::write_volatile(self.0.get(), word) }
    }

    #[inline(always)]
    fn claim(&self, old: u64, new: u64) -> bool {
        let found: u64;
        // SAFETY: the place is valid and aligned; the instruction compares it with r0, replaces it where they are equal, and leaves
        // in r0 what was there.
        unsafe {
            asm!(
                "r0 = cmpxchg_64({word} + 0, r0, {new})",
                word = in(reg) self.0.get(),
                new = in(reg) new,
                inlateout("r0") old => found,
            );
        }
        found == old
    }
}

/// The maps, and the link that the frame came in by.
pub struct Maps {
    /// Interface index.
    pub ingress: u32,
}

impl Maps {
    /// Counts a verdict.
    #[inline(always)]
    pub fn count_reason(&self, reason: Reason, bytes: u32) {
        if let Some(counts) = REASON_COUNTS.get_ptr_mut(reason.0 as u32) {
            add(counts.cast(), 0, 1);
            add(counts.cast(), 1, bytes as u64);
        }
    }
}

impl Maps {
    /// Whether somebody watches what is dropped, or was killed while watching.
    #[inline(always)]
    pub fn is_watched(&self) -> bool {
        let Some(rows) = WATCHES.get_ptr(0) else { return false };
        let first: *const u64 = rows.cast();
        let mut some = 0;
        let mut place = 0;
        while place < MAX_WATCHES {
            // SAFETY: the map gave the pointer, and each row lies within its value.
            some |= unsafe { ptr::read_volatile(first.add(place * WATCH_WORDS)) };
            place += 1;
        }
        some != 0
    }

    /// Keeps why a frame is dropped for the program that reports it.
    #[inline(always)]
    pub fn keep_dropped(&self, stage: Stage, why: Drop) {
        if let Some(place) = DROPPED.get_ptr_mut(0) {
            // SAFETY: the map gave the pointer, and no other processor has this copy.
            unsafe { *place = (stage as u64) << 8 | why as u64 };
        }
    }

    /// The stage that dropped the frame, and why.
    #[inline(always)]
    pub fn kept_dropped(&self) -> (u32, Reason) {
        // SAFETY: the map gave the pointer, and no other processor has this copy.
        let word = DROPPED.get_ptr(0).map_or(0, |place| unsafe { *place });
        ((word >> 8) as u32, Reason(word as u8))
    }

    /// Counts a report of one who watches.
    #[inline(always)]
    pub fn count_watch(&self, place: usize, is_told: bool) {
        if let Some(counts) = WATCH_COUNTS.get_ptr_mut(place as u32) {
            add(counts.cast(), 0, is_told as u64);
            add(counts.cast(), 1, !is_told as u64);
        }
    }
}

/// What the one who watches in this place wants.
#[inline(always)]
pub fn watch_row(place: usize) -> Option<WatchRow> {
    let words: *const u64 = WATCHES.get_ptr(0)?.cast();
    let mut row = [0; WATCH_WORDS];
    let mut word = 0;
    while word < WATCH_WORDS {
        // SAFETY: the map gave the pointer, and the row lies within its value.
        row[word] = unsafe { ptr::read_volatile(words.add(place * WATCH_WORDS + word)) };
        word += 1;
    }
    Some(WatchRow(row))
}

/// A word of the same row.
#[inline(always)]
pub fn watch_word(place: usize, word: usize) -> Option<&'static MapWord> {
    let words: *const MapWord = WATCHES.get_ptr(0)?.cast();
    // SAFETY: the map gave the pointer, the row lies within its value, which lives as long as the program.
    Some(unsafe { &*words.add(place * WATCH_WORDS + word) })
}

impl World for Maps {
    type Word = MapWord;

    #[inline(always)]
    fn ingress(&self) -> u32 {
        self.ingress
    }

    #[inline(always)]
    fn moment(&self) -> u32 {
        // SAFETY: a helper without arguments.
        let jiffies = unsafe { bpf_jiffies64() };
        (jiffies >> (self.config().moment_shift() & 31)) as u32
    }

    #[inline(always)]
    fn keep(&self, parcel: [u64; PARCEL_WORDS]) {
        if let Some(place) = PARCEL.get_ptr_mut(0) {
            // SAFETY: the map gave the pointer, and no other processor has this copy.
            unsafe { *place = parcel };
        }
    }

    #[inline(always)]
    fn kept(&self) -> [u64; PARCEL_WORDS] {
        match PARCEL.get_ptr(0) {
            // SAFETY: the map gave the pointer, and no other processor has this copy.
            Some(place) => unsafe { *place },
            None => [0; PARCEL_WORDS],
        }
    }

    #[inline(always)]
    fn told(&self) -> Option<&[MapWord; TOLD_WORDS]> {
        let words: *const [MapWord; TOLD_WORDS] = TOLD.get_ptr(0)?.cast();
        // SAFETY: the map gave the pointer, and the value lives as long as the program.
        Some(unsafe { &*words })
    }

    #[inline(always)]
    fn config(&self) -> ConfigRow {
        ConfigRow(row(&CONFIG, 0).unwrap_or_default())
    }

    #[inline(always)]
    fn link(&self, place: u32) -> Option<LinkRow> {
        row(&LINKS, place).map(LinkRow)
    }

    #[inline(always)]
    fn address(&self, place: u32) -> Option<AddressRow> {
        row(&ADDRESSES, place).map(AddressRow)
    }

    #[inline(always)]
    fn rule(&self, place: u32) -> Option<RuleRow> {
        row(&RULES, place).map(RuleRow)
    }

    #[inline(always)]
    fn way_back(&self, place: u32) -> Option<ReturnRow> {
        row(&RETURNS, place).map(ReturnRow)
    }

    #[inline(always)]
    fn slot(&self, ring: u32, slot: u32) -> Option<Slot> {
        let pair = SLOTS.get_ptr(ring * RING_WORDS + (slot & (RING_SLOTS - 1)) / 2)?;
        // SAFETY: the map gave the pointer, and its values live as long as the program; words change at once.
        Some(Slot::of_pair(unsafe { ptr::read_volatile(pair) }, slot))
    }

    #[inline(always)]
    fn down(&self, ring: u32, word: u32) -> Option<u64> {
        let word = DOWN.get_ptr(ring * DOWN_WORDS + word)?;
        // SAFETY: the map gave the pointer, and its values live as long as the program; words change at once.
        Some(unsafe { ptr::read_volatile(word) })
    }

    #[inline(always)]
    fn member(&self, number: u32) -> Option<MemberRow> {
        row(&MEMBERS, number).map(MemberRow)
    }

    #[inline(always)]
    fn list(&self, number: u32) -> Option<ListRow> {
        row(&LISTS, number).map(ListRow)
    }

    #[inline(always)]
    fn access(&self, place: u32) -> Option<AccessRow> {
        row(&ACCESS, place).map(AccessRow)
    }

    #[inline(always)]
    fn bucket(&self, place: u32) -> Option<&Bucket<Self>> {
        let bucket: *const Bucket<Self> = FLOWS.get_ptr(place)?.cast();
        // SAFETY: the map gave the pointer, its values live as long as the program, and are `MapWord`s.
        Some(unsafe { &*bucket })
    }

    #[inline(always)]
    fn pieces(&self, place: u32) -> Option<&Bucket<Self>> {
        let bucket: *const Bucket<Self> = PIECES.get_ptr(place)?.cast();
        // SAFETY: the map gave the pointer, its values live as long as the program, and are `MapWord`s.
        Some(unsafe { &*bucket })
    }

    #[inline(always)]
    fn track(&self, place: u32) -> Option<&Track<Self>> {
        let row: *const Track<Self> = TRACKS.get_ptr(place)?.cast();
        // SAFETY: the map gave the pointer, its values live as long as the program, and are `MapWord`s.
        Some(unsafe { &*row })
    }

    #[inline(always)]
    fn outward(&self, place: u32) -> Option<&Entry<Self>> {
        let entry: *const Entry<Self> = OUTWARD.get_ptr(place)?.cast();
        // SAFETY: the map gave the pointer, its values live as long as the program, and are `MapWord`s.
        Some(unsafe { &*entry })
    }

    #[inline(always)]
    fn inward(&self, place: u32) -> Option<&Entry<Self>> {
        let entry: *const Entry<Self> = INWARD.get_ptr(place)?.cast();
        // SAFETY: the map gave the pointer, its values live as long as the program, and are `MapWord`s.
        Some(unsafe { &*entry })
    }

    #[inline(always)]
    fn count_rule(&self, number: u32, bytes: u32, start: bool) {
        if let Some(counts) = RULE_COUNTS.get_ptr_mut(number) {
            count(counts.cast(), bytes, start);
        }
    }

    #[inline(always)]
    fn count_member(&self, number: u32, bytes: u32, start: bool) {
        if let Some(counts) = MEMBER_COUNTS.get_ptr_mut(number) {
            count(counts.cast(), bytes, start);
        }
    }

    #[inline(always)]
    fn count_security(&self, rule: u32, bytes: u32) {
        if let Some(counts) = SECURITY_COUNTS.get_ptr_mut(rule) {
            add(counts.cast(), 0, 1);
            add(counts.cast(), 1, bytes as u64);
        }
    }

    #[inline(always)]
    fn access_by(&self, list: u32, high: u64, low: u64, bytes: u32) -> u32 {
        forebay_access_by(list, high, low, bytes)
    }

    #[inline(always)]
    fn way(&self, identity: u64, now: u32) -> u32 {
        forebay_way(identity, now)
    }

    #[inline(always)]
    fn outward_way(&self, tag: u64, now: u32) -> u32 {
        forebay_outward_way(tag, now)
    }

    #[inline(always)]
    fn crc(&self, difference: u32, length: u32) -> u32 {
        forebay_crc(difference, length)
    }

    #[inline(always)]
    fn piece_way(&self, identity: u64, now: u32) -> u32 {
        forebay_piece_way(identity, now)
    }

    #[inline(always)]
    fn take_port(&self, key: u64, seed: u32, now: u32) -> u64 {
        forebay_take_port(key, seed, now)
    }

    #[inline(always)]
    fn keep_in_mind(&self, plan: u64, numbers: u64, rest: u64, station: u64, time: u64) -> u64 {
        forebay_keep_in_mind(plan, numbers, rest, station, time)
    }

    #[inline(always)]
    fn count_unmatched(&self, number: u32) {
        if let Some(counts) = UNMATCHED_COUNTS.get_ptr_mut(number) {
            add(counts, 0, 1);
        }
    }
}

#[inline(always)]
fn count(counts: *mut u64, bytes: u32, start: bool) {
    add(counts, 0, 1);
    add(counts, 1, bytes as u64);
    add(counts, 2, start as u64);
}

/// Adds to a word of a counter of this processor.
#[inline(always)]
fn add(counts: *mut u64, word: usize, amount: u64) {
    // SAFETY: the map gave the pointer, `word` lies within its value, and no other processor has this copy.
    unsafe { *counts.add(word) += amount };
}

/// A row, word by word: each is read once, whole.
#[inline(always)]
fn row<const N: usize>(map: &Array<[u64; N]>, place: u32) -> Option<[u64; N]> {
    let words: *const u64 = map.get_ptr(place)?.cast();
    let mut row = [0; N];
    let mut word = 0;
    while word < N {
        // SAFETY: the map gave the pointer, and `word` lies within its value.
        row[word] = unsafe { ptr::read_volatile(words.add(word)) };
        word += 1;
    }
    Some(row)
}

// Functions with a name for the linker are checked by the verifier on their own, once, for all arguments.

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn forebay_way(identity: u64, now: u32) -> u32 {
    outline::way(&Maps { ingress: 0 }, identity, now)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn forebay_outward_way(tag: u64, now: u32) -> u32 {
    outline::outward_way(&Maps { ingress: 0 }, tag, now)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn forebay_crc(difference: u32, length: u32) -> u32 {
    outline::crc(difference, length)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn forebay_piece_way(identity: u64, now: u32) -> u32 {
    outline::piece_way(&Maps { ingress: 0 }, identity, now)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn forebay_access_by(list: u32, high: u64, low: u64, bytes: u32) -> u32 {
    outline::access_by(&Maps { ingress: 0 }, list, high, low, bytes)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn forebay_take_port(key: u64, seed: u32, now: u32) -> u64 {
    outline::take_port(&Maps { ingress: 0 }, key, seed, now)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn forebay_keep_in_mind(plan: u64, numbers: u64, rest: u64, station: u64, time: u64) -> u64 {
    outline::keep_in_mind(&Maps { ingress: 0 }, plan, numbers, rest, station, time)
}
