//! What holds for the whole balancer: its settings, its links, the addresses that matter to it.

use super::{Address, LIVE, Mac};

/// A tick has `2^MOMENT_BITS` moments, where it has as many jiffies.
pub const MOMENT_BITS: u8 = 3;

/// What holds for the whole balancer. Each word stands for itself, but the own IPv6 address takes two: while the first of them is
/// zero there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct ConfigRow(pub [u64; 4]);

impl ConfigRow {
    /// `flow_bits` and `masquerade_bits`: sizes of the memories as powers of two; `tick_shift`: a tick is `2^tick_shift`
    /// jiffies; `gateway`: some rule's answers come back through this host.
    pub const fn new(
        flow_bits: u8,
        masquerade_bits: u8,
        tick_shift: u8,
        gateway: bool,
        v4: Option<Address>,
        v6: Option<Address>,
    ) -> Self {
        let sizes = flow_bits as u64
            | (masquerade_bits as u64) << 8
            | (tick_shift as u64) << 16
            | (gateway as u64) << 24;
        let low = match v4 {
            Some(address) => address.low,
            None => 0,
        };
        match v6 {
            Some(address) => Self([sizes, low, address.high, address.low]),
            None => Self([sizes, low, 0, 0]),
        }
    }

    /// Buckets of remembered flows: `2^flow_bits`.
    #[inline(always)]
    pub const fn flow_bits(self) -> u8 {
        self.0[0] as u8
    }

    /// Masqueraded flows: `2^masquerade_bits`.
    #[inline(always)]
    pub const fn masquerade_bits(self) -> u8 {
        (self.0[0] >> 8) as u8
    }

    /// A tick is `2^tick_shift` jiffies.
    #[inline(always)]
    pub const fn tick_shift(self) -> u8 {
        (self.0[0] >> 16) as u8
    }

    /// A moment is `2^moment_shift` jiffies: an eighth of a tick, where a tick has as many jiffies.
    #[inline(always)]
    pub const fn moment_shift(self) -> u8 {
        self.tick_shift().saturating_sub(MOMENT_BITS)
    }

    /// Whether answers of some rule come back through this host.
    #[inline(always)]
    pub const fn gateway(self) -> bool {
        self.0[0] >> 24 & 1 != 0
    }

    /// Bits that [`Self::new`] never sets. The verifier does not know that.
    #[inline(always)]
    pub(crate) const fn unset(self) -> u64 {
        self.0[0] >> 32
    }

    /// The balancer's own address of this family.
    #[inline(always)]
    pub const fn own(self, v4: bool) -> Option<Address> {
        if v4 {
            if self.0[1] != 0 { Some(Address { high: 0, low: self.0[1] }) } else { None }
        } else if self.0[2] != 0 {
            Some(Address { high: self.0[2], low: self.0[3] })
        } else {
            None
        }
    }
}

const _: () = assert!(ConfigRow::new(u8::MAX, u8::MAX, u8::MAX, true, None, None).unset() == 0);

/// A link that the balancer is attached to. Published by word 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct LinkRow(pub [u64; 2]);

impl LinkRow {
    /// The interface with this index and link-layer address. `mtu`: bytes of the largest packet that it carries; 0 where nobody knows.
    pub const fn new(index: u32, mac: Mac, mtu: u16) -> Self {
        Self([mac.bits() | (mtu as u64) << 48, index as u64])
    }

    /// The interface's index; 0 in an empty row.
    #[inline(always)]
    pub const fn index(self) -> u32 {
        self.0[1] as u32
    }

    /// Its link-layer address.
    #[inline(always)]
    pub const fn mac(self) -> Mac {
        Mac::from_bits(self.0[0])
    }

    /// Bytes of the largest packet that it carries; 0 where nobody knows.
    #[inline(always)]
    pub const fn mtu(self) -> u16 {
        (self.0[0] >> 48) as u16
    }
}

/// What an address is to the balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A frontend's.
    Frontend,
    /// The balancer's own.
    Own,
    /// A member's.
    Member,
    /// A member's station ([`Address::of_station`]), where it tells whose an answer is (FIP-3).
    Station,
}

/// An address that matters to the balancer, and its number. Published by word 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct AddressRow(pub [u64; 3]);

const ECHO: u64 = 1 << 16;

impl AddressRow {
    /// `number` below `MAX_ADDRESSES`, and not 0.
    pub const fn new(address: Address, number: u32, role: Role) -> Self {
        let role = match role {
            Role::Frontend => 1,
            Role::Own => 2,
            Role::Member => 3,
            Role::Station => 4,
        };
        Self([(number as u64) << 32 | role << 8 | LIVE, address.high, address.low])
    }

    /// The same address, which answers echo requests or leaves them unanswered (ICMP-2).
    pub const fn echoing(self, echo: bool) -> Self {
        let [word, high, low] = self.0;
        Self([if echo { word | ECHO } else { word & !ECHO }, high, low])
    }

    /// Whether echo requests are answered.
    #[inline(always)]
    pub const fn echoes(self) -> bool {
        self.0[0] & ECHO != 0
    }

    /// The address; meaningless in an empty row.
    #[inline(always)]
    pub const fn address(self) -> Address {
        Address { high: self.0[1], low: self.0[2] }
    }

    /// The address's number: half of the key of rules and of the way back.
    #[inline(always)]
    pub const fn number(self) -> u32 {
        (self.0[0] >> 32) as u32
    }

    /// What the address is; `None` in an empty row.
    #[inline(always)]
    pub const fn role(self) -> Option<Role> {
        match (self.0[0] >> 8) as u8 {
            1 => Some(Role::Frontend),
            2 => Some(Role::Own),
            3 => Some(Role::Member),
            4 => Some(Role::Station),
            _ => None,
        }
    }
}
