//! What the tables hold. A row is words; a word is the unit that changes at once; meaning is a method.
//!
//! The tables are shared with running programs, so a reader may see a row while it is being rewritten. Rows of several words
//! therefore have one word that publishes them (named below): it is zero while the row is empty, carries [`BUSY`] while the
//! others are being replaced, and is written last.

mod access;
mod address;
mod member;
mod rule;
mod slot;
mod watch;
mod whole;

pub use access::{AccessRow, ListRow};
pub use address::{Address, Mac};
pub use member::{Hop, MemberRow};
pub use rule::{Distribution, Key, MAX_IDLE_TICKS, Path, Plan, ReturnRow, RuleRow, Strict, View};
pub use slot::Slot;
pub use watch::{REPORT_WORDS, Report, WATCH_WORDS, WatchRow};
pub use whole::{AddressRow, ConfigRow, LinkRow, MOMENT_BITS, Role};

/// The row is being rewritten: believe nothing of it.
pub const BUSY: u64 = 2;
/// The row is there.
pub const LIVE: u64 = 1;

/// Slots of a ring: a power of two, so that the choice is a shift.
pub const RING_SLOTS: u32 = 1 << 16;
/// Words that hold a ring's slots, two a word.
pub const RING_WORDS: u32 = RING_SLOTS / 2;
/// Members of all pools together; 0 is nobody.
pub const MAX_MEMBERS: u32 = 1 << 15;
/// Words that say, beside each ring, which members are down: a bit for each.
pub const DOWN_WORDS: u32 = MAX_MEMBERS / 64;
/// Places for addresses: four for each address that may be in use.
pub const ADDRESS_PLACES: u32 = 1 << 16;
/// Frontend, member and own addresses together.
pub const MAX_ADDRESSES: u32 = ADDRESS_PLACES / 4;
/// Places for rules: four for each rule that may be in use.
pub const RULE_PLACES: u32 = 1 << 16;
/// Load-balancing rules of all balancers together.
pub const MAX_RULES: u32 = RULE_PLACES / 4;
/// Places for rules of the way back.
pub const RETURN_PLACES: u32 = 1 << 17;
/// Rules of the way back: one for each member and rule of a `gateway` pool.
pub const MAX_RETURNS: u32 = RETURN_PLACES / 4;
/// Places for links; a link is looked for in [`LINK_TRIES`] of them.
pub const LINK_PLACES: u32 = 64;
/// Places looked at for a link.
pub const LINK_TRIES: u32 = 4;
/// Lists of whom rules admit; 0 is none.
pub const MAX_LISTS: u32 = 1 << 12;
/// Places for the entries of all lists.
pub const ACCESS_PLACES: u32 = 1 << 17;
/// Steps of a search in the longest list.
pub const LIST_STEPS: u32 = ACCESS_PLACES.ilog2() + 1;
/// Security rules that are counted; 0 is none.
pub const MAX_SECURITY_RULES: u32 = 1 << 14;
/// Who may watch what is dropped, at the same time.
pub const MAX_WATCHES: usize = 4;
/// Reports a second that one who watches may want.
pub const MAX_REPORTS: u32 = 10_000;
/// Ways of a bucket of remembered flows.
pub const BUCKET_WAYS: usize = 8;
/// Words of an entry for a masqueraded flow.
pub const ENTRY_WORDS: usize = 8;
/// Words of what is known of a connection that is kept in mind.
pub const TRACK_WORDS: usize = 8;
/// Places in which a masqueraded flow may be kept, by its client's side.
pub const OUTWARD_WAYS: u32 = 4;
/// First of the own address's ports that masquerading uses. They lie below the ports that Linux gives to local sockets.
pub const MASQUERADE_FIRST_PORT: u16 = 1_024;
/// How many ports masquerading uses towards one member and port.
pub const MASQUERADE_PORTS: u16 = 31_744;

/// Buckets of fragmented packets whose first piece was seen.
pub const PIECE_BUCKETS: u32 = 1 << 12;
/// Fragmented packets of a bucket: two words each.
pub const PIECE_WAYS: u32 = 4;
/// How long the pieces of a packet are waited for, in ticks: as long as Linux waits.
pub const PIECE_TICKS: u16 = 30;
/// Extension headers that a packet may have between its IPv6 header and its transport header.
pub const MAX_EXTENSIONS: u32 = 8;
/// Where in its frame a packet's transport header begins at the latest.
pub const MAX_TRANSPORT: usize = 511;

/// Transport protocols that can be balanced.
pub mod protocol {
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// SCTP.
    pub const SCTP: u8 = 132;
}
