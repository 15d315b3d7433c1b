//! A flow, and the numbers that are computed from it.
//!
//! Multiplications and shifts only: they cost a nanosecond each where a helper call costs thirty.

use crate::row::{ADDRESS_PLACES, Address, Distribution, Key};

/// Who speaks to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Transport protocol.
    pub protocol: u8,
}

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
const SLOT_SEED: u64 = 0x2545_f491_4f6c_dd1d;
const FLOW_SEED: u64 = 0xd6e8_feb8_6659_fd93;
const PLACE_SEED: u64 = 0xa076_1d64_78bd_642f;

/// One round: every bit of `word` reaches every bit of the result.
#[inline(always)]
pub(crate) const fn mix(hash: u64, word: u64) -> u64 {
    let product = (hash ^ word).wrapping_mul(ODD);
    (product ^ product >> 32).wrapping_mul(ODD)
}

impl Flow {
    #[inline(always)]
    fn addresses(&self, seed: u64) -> u64 {
        if self.destination.is_v4() {
            mix(seed, (self.source.low << 32) | self.destination.low & 0xffff_ffff)
        } else {
            let source = mix(mix(seed, self.source.high), self.source.low);
            mix(mix(source, self.destination.high), self.destination.low)
        }
    }

    #[inline(always)]
    const fn sides(&self) -> u64 {
        (self.source_port as u64) << 32 | (self.destination_port as u64) << 16 | self.protocol as u64
    }

    /// The flow of the answers.
    #[inline(always)]
    pub(crate) const fn reversed(&self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            protocol: self.protocol,
        }
    }

    /// Both ports: the source's in the upper half.
    #[inline(always)]
    pub(crate) const fn ports(&self) -> u32 {
        (self.source_port as u32) << 16 | self.destination_port as u32
    }

    /// DIST-1: the slot of a ring that the flow falls into.
    ///
    /// The source port enters last, as a step of the golden section: a client that opens connections from one port after another
    /// is spread more evenly than chance would do it.
    #[inline(always)]
    pub fn slot(&self, distribution: Distribution) -> u32 {
        let addresses = self.addresses(SLOT_SEED);
        match distribution {
            Distribution::SourceIp => (addresses >> 48) as u32,
            Distribution::SourceIpProtocol => (mix(addresses, self.protocol as u64) >> 48) as u32,
            Distribution::FiveTuple => {
                let rest = (self.destination_port as u64) << 16 | self.protocol as u64;
                let hash = (mix(addresses, rest) >> 32) as u32;
                hash.wrapping_add((self.source_port as u32).wrapping_mul(0x9e37_79b1)) >> 16
            }
        }
    }

    /// The number by which the flow is remembered: all its fields, and independent of [`Self::slot`].
    #[inline(always)]
    pub fn identity(&self) -> u64 {
        let hash = mix(mix(self.addresses(FLOW_SEED), self.sides()), FLOW_SEED);
        hash ^ hash >> 32
    }
}

/// The two places where an address may be kept.
#[inline(always)]
pub const fn address_places(address: Address) -> [u32; 2] {
    two(mix(mix(PLACE_SEED, address.high), address.low), ADDRESS_PLACES - 1)
}

/// The two places where a key may be kept in a table of `mask + 1` places.
#[inline(always)]
pub const fn key_places(key: Key, mask: u32) -> [u32; 2] {
    two(mix(PLACE_SEED, key.bits()), mask)
}

#[inline(always)]
const fn two(hash: u64, mask: u32) -> [u32; 2] {
    let hash = hash ^ hash >> 29;
    let first = hash as u32 & mask;
    let second = (hash >> 32) as u32 & mask;
    if first == second { [first, second ^ 1] } else { [first, second] }
}

/// The place where a masqueraded flow is kept by its member's side.
#[inline(always)]
pub(crate) const fn inward_place(key: u64, bits: u8) -> u32 {
    let hash = mix(PLACE_SEED, key);
    ((hash ^ hash >> 32) as u32) & ((1u64 << (bits & 31)) - 1) as u32
}
