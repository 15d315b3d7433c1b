//! Whom a rule admits: lists of source addresses, and what they say of each.

use super::{Address, LIVE};

/// Where a list's entries are in the table of entries. One word, which changes at once; zero where there is no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct ListRow(pub [u64; 1]);

impl ListRow {
    /// `count` entries, from the place `first` on; at least one.
    pub const fn new(first: u32, count: u32) -> Self {
        Self([(count as u64) << 32 | first as u64])
    }

    /// The place of the first entry.
    #[inline(always)]
    pub const fn first(self) -> u32 {
        self.0[0] as u32
    }

    /// How many there are.
    #[inline(always)]
    pub const fn count(self) -> u32 {
        (self.0[0] >> 32) as u32
    }
}

/// What a list says of sources from one address on, up to where its next entry begins. Published by word 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct AccessRow(pub [u64; 3]);

const ALLOW: u64 = 1 << 2;

impl AccessRow {
    /// `list` is the number of its list, `rule` below `MAX_SECURITY_RULES` that of the security rule that decides.
    pub const fn new(list: u32, from: Address, rule: u32, allow: bool) -> Self {
        let what = (list as u64) << 32 | (rule as u64 & 0xffff) << 16 | if allow { ALLOW } else { 0 } | LIVE;
        Self([what, from.high, from.low])
    }

    /// The list that the entry belongs to; 0 in an empty row.
    #[inline(always)]
    pub const fn list(self) -> u32 {
        (self.0[0] >> 32) as u32
    }

    /// The first of its addresses.
    #[inline(always)]
    pub const fn from(self) -> Address {
        Address { high: self.0[1], low: self.0[2] }
    }

    /// The security rule that decides: its row of counters.
    #[inline(always)]
    pub const fn rule(self) -> u32 {
        (self.0[0] >> 16) as u32 & 0xffff
    }

    /// Whether packets from there may pass.
    #[inline(always)]
    pub const fn allows(self) -> bool {
        self.0[0] & ALLOW != 0
    }
}
