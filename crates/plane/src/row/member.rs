//! Members, and how frames reach them.

use super::{Address, Mac};

/// A member of a pool, and how frames reach it. Published by word 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct MemberRow(pub [u64; 8]);

/// How frames reach a member: out of this link, to this station.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hop {
    /// Interface index of the link.
    pub link: u32,
    /// The link's own link-layer address.
    pub source: Mac,
    /// The member's link-layer address, or that of the router towards it.
    pub destination: Mac,
    /// Whether the member itself is on the link.
    pub adjacent: bool,
    /// Bytes of the largest packet that the link carries; 0 where nobody knows.
    pub mtu: u16,
}

const ADJACENT: u64 = 1 << 50;
const RESOLVED: u64 = 1 << 51;
const LEAVING: u64 = 1 << 32;
const MEMBER_LIVE: u64 = 1 << 48;
const MEMBER_BUSY: u64 = 1 << 49;

impl MemberRow {
    /// The member with this address, whose address has this number; `hop` is `None` until it is resolved. `pool` is the identity
    /// of its pool: the pipeline does not read it, the next start of the control plane does.
    pub const fn new(address: Address, number: u32, pool: u64, hop: Option<Hop>) -> Self {
        let (publish, source, link) = match hop {
            Some(hop) => (
                hop.destination.bits() | RESOLVED | if hop.adjacent { ADJACENT } else { 0 },
                hop.source.bits() | (hop.mtu as u64) << 48,
                hop.link,
            ),
            None => (0, 0, 0),
        };
        Self([
            publish | MEMBER_LIVE,
            address.high,
            address.low,
            source,
            (number as u64) << 32 | link as u64,
            pool,
            0,
            0,
        ])
    }

    /// The same member, which has left its pool and keeps its connections until the tick `until` (FLOW-3). One word tells, which the
    /// member in its pool has as zero.
    pub const fn leaving(self, until: u32) -> Self {
        let [publish, high, low, source, number, pool, _, spare] = self.0;
        Self([publish, high, low, source, number, pool, until as u64 | LEAVING, spare])
    }

    /// Whether it has left its pool.
    #[inline(always)]
    pub const fn is_leaving(self) -> bool {
        self.0[6] != 0
    }

    /// The tick until which it keeps its connections, where it has left its pool.
    pub const fn leaves_at(self) -> Option<u32> {
        if self.is_leaving() { Some(self.0[6] as u32) } else { None }
    }

    /// The word that closes a row with this publishing word while it is rewritten.
    pub const fn closed(word: u64) -> u64 {
        word | MEMBER_BUSY
    }

    /// Whether there is a member in the row.
    #[inline(always)]
    pub const fn is_live(self) -> bool {
        self.0[0] & MEMBER_LIVE != 0
    }

    /// Whether the row is being rewritten.
    #[inline(always)]
    pub const fn is_busy(self) -> bool {
        self.0[0] & MEMBER_BUSY != 0
    }

    /// Its own address.
    #[inline(always)]
    pub const fn address(self) -> Address {
        Address { high: self.0[1], low: self.0[2] }
    }

    /// The number of its own address.
    #[inline(always)]
    pub const fn number(self) -> u32 {
        (self.0[4] >> 32) as u32
    }

    /// The identity of the pool that it is a member of.
    pub const fn pool(self) -> u64 {
        self.0[5]
    }

    /// How frames reach it, where that is known.
    #[inline(always)]
    pub const fn hop(self) -> Option<Hop> {
        if self.0[0] & RESOLVED == 0 {
            return None;
        }
        Some(Hop {
            link: self.0[4] as u32,
            source: Mac::from_bits(self.0[3]),
            destination: Mac::from_bits(self.0[0]),
            adjacent: self.0[0] & ADJACENT != 0,
            mtu: (self.0[3] >> 48) as u16,
        })
    }
}
