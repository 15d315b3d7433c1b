//! What the pipeline may ask of the world, and nothing else.

use crate::row::{
    AccessRow, AddressRow, BUCKET_WAYS, ConfigRow, ENTRY_WORDS, LinkRow, ListRow, MemberRow, ReturnRow,
    RuleRow, Slot, TRACK_WORDS,
};
use crate::stage::{PARCEL_WORDS, TOLD_WORDS};

/// A word that other processors read and write at the same time.
///
/// In the kernel this is a word of a map (the BPF target has no atomic operations in Rust), elsewhere an `AtomicU64`.
pub trait Word {
    /// The word, read at once.
    fn get(&self) -> u64;
    /// Another word in its place, written at once.
    fn set(&self, word: u64);
    /// Replaces `old` by `new` in one step; false where another processor was faster.
    fn claim(&self, old: u64, new: u64) -> bool;
}

/// A bucket of remembered flows: one cache line.
pub type Bucket<W> = [<W as World>::Word; BUCKET_WAYS];
/// An entry for a masqueraded flow: one cache line.
pub type Entry<W> = [<W as World>::Word; ENTRY_WORDS];
/// What is known of a connection that is kept in mind: one cache line.
pub type Track<W> = [<W as World>::Word; TRACK_WORDS];

/// The tables, the memories, the counters and the link a frame came in by.
///
/// Places past the end of a table read as `None`. In the kernel the answers come from maps, elsewhere from `engine::Tables`.
pub trait World: Sized {
    /// The words of the memories.
    type Word: Word;

    /// Interface index of the link the frame came in by.
    fn ingress(&self) -> u32;
    /// The time in moments, of which a tick has up to `2^MOMENT_BITS`. It wraps.
    fn moment(&self) -> u32;
    /// Keeps what one stage tells the next about the frame.
    fn keep(&self, parcel: [u64; PARCEL_WORDS]);
    /// What the stage before kept.
    fn kept(&self) -> [u64; PARCEL_WORDS];
    /// What holds for the whole balancer.
    fn config(&self) -> ConfigRow;
    /// A place for links.
    fn link(&self, place: u32) -> Option<LinkRow>;
    /// A place for addresses.
    fn address(&self, place: u32) -> Option<AddressRow>;
    /// A place for rules.
    fn rule(&self, place: u32) -> Option<RuleRow>;
    /// A place for rules of the way back.
    fn way_back(&self, place: u32) -> Option<ReturnRow>;
    /// A slot of a ring.
    fn slot(&self, ring: u32, slot: u32) -> Option<Slot>;
    /// A word of those that say which members are down: bit `n` of word `w` of a ring is member `64 w + n`.
    fn down(&self, ring: u32, word: u32) -> Option<u64>;
    /// A member by its number.
    fn member(&self, number: u32) -> Option<MemberRow>;
    /// A list of whom rules admit, by its number.
    fn list(&self, number: u32) -> Option<ListRow>;
    /// A place for entries of lists.
    fn access(&self, place: u32) -> Option<AccessRow>;
    /// A bucket of remembered flows.
    fn bucket(&self, place: u32) -> Option<&Bucket<Self>>;
    /// What is known of the connection whose entry in the memory of flows has this place among all entries.
    fn track(&self, place: u32) -> Option<&Track<Self>>;
    /// A masqueraded flow, in its place by the client's side.
    fn outward(&self, place: u32) -> Option<&Entry<Self>>;
    /// A masqueraded flow, in its place by the member's side.
    fn inward(&self, place: u32) -> Option<&Entry<Self>>;
    /// A bucket of fragmented packets.
    fn pieces(&self, place: u32) -> Option<&Bucket<Self>>;
    /// Of packets that are too big: how many senders were told and when, and how large the one at hand may be. The processors may each
    /// have their own.
    fn told(&self) -> Option<&[Self::Word; TOLD_WORDS]>;
    /// Counts a packet of `bytes` under a rule; `start` where it begins a flow.
    fn count_rule(&self, number: u32, bytes: u32, start: bool);
    /// Counts a packet of `bytes` to a member; `start` where it begins a flow.
    fn count_member(&self, number: u32, bytes: u32, start: bool);
    /// Counts a packet to the frontend address with this number that reached no rule.
    fn count_unmatched(&self, number: u32);

    /// Counts a packet of `bytes` by the security rule that decided.
    fn count_security(&self, rule: u32, bytes: u32);

    /// [`outline::way`](crate::outline::way), which a world may run out of line.
    #[inline(always)]
    fn way(&self, identity: u64, now: u32) -> u32 {
        crate::outline::way(self, identity, now)
    }

    /// [`outline::outward_way`](crate::outline::outward_way), which a world may run out of line.
    #[inline(always)]
    fn outward_way(&self, tag: u64, now: u32) -> u32 {
        crate::outline::outward_way(self, tag, now)
    }

    /// [`outline::crc`](crate::outline::crc), which a world may run out of line.
    #[inline(always)]
    fn crc(&self, difference: u32, length: u32) -> u32 {
        crate::outline::crc(difference, length)
    }

    /// [`outline::piece_way`](crate::outline::piece_way), which a world may run out of line.
    #[inline(always)]
    fn piece_way(&self, identity: u64, now: u32) -> u32 {
        crate::outline::piece_way(self, identity, now)
    }

    /// [`outline::access_by`](crate::outline::access_by), which a world may run out of line.
    #[inline(always)]
    fn access_by(&self, list: u32, high: u64, low: u64, bytes: u32) -> u32 {
        crate::outline::access_by(self, list, high, low, bytes)
    }

    /// [`outline::keep_in_mind`](crate::outline::keep_in_mind), which a world may run out of line.
    #[inline(always)]
    fn keep_in_mind(&self, plan: u64, numbers: u64, rest: u64, station: u64, time: u64) -> u64 {
        crate::outline::keep_in_mind(self, plan, numbers, rest, station, time)
    }

    /// [`outline::take_port`](crate::outline::take_port), which a world may run out of line.
    #[inline(always)]
    fn take_port(&self, key: u64, seed: u32, now: u32) -> u64 {
        crate::outline::take_port(self, key, seed, now)
    }
}
