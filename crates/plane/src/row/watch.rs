//! Who watches what is dropped, and what is told of it.

use super::Address;
use crate::verdict::{Drop, Reason};

/// Words of a [`WatchRow`].
pub const WATCH_WORDS: usize = 8;
/// Words of a [`Report`].
pub const REPORT_WORDS: usize = 8;

/// What somebody who watches wants to be told. Published by word 0; the last word is counted by packets.
///
/// The watcher says until when it will be there, and says it again all the time: nobody is told anything who was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct WatchRow(pub [u64; WATCH_WORDS]);

impl WatchRow {
    /// Everything, at most so many reports a second.
    pub const fn everything(most: u32) -> Self {
        Self([(most as u64) << 32, u64::MAX, 0, 0, 0, 0, 0, 0])
    }

    /// Only what was dropped for these reasons.
    #[must_use]
    pub fn because(mut self, reasons: impl Iterator<Item = Drop>) -> Self {
        self.0[1] = reasons.fold(0, |bits, reason| bits | 1 << (reason as u8));
        self
    }

    /// Only what comes from this frontend or goes to it; port 0 is any.
    #[must_use]
    pub const fn of_frontend(mut self, frontend: Address, port: u16) -> Self {
        self.0[2] |= FRONTEND | (port as u64) << 16;
        self.0[3] = frontend.high;
        self.0[4] = frontend.low;
        self
    }

    /// Only what comes from addresses that begin with the same `bits` as this one, or goes to them. Of an IPv4 address in its mapped
    /// form the first 96 are always the same.
    #[must_use]
    pub const fn of_client(mut self, client: Address, bits: u8) -> Self {
        self.0[2] |= CLIENT | (bits as u64 & 0xff);
        self.0[5] = client.high;
        self.0[6] = client.low;
        self
    }

    /// The word that publishes the row, where its watcher is there until this second.
    pub const fn until(self, second: u32) -> u64 {
        self.0[0] & !0xffff_ffff | second as u64
    }

    /// At most so many reports a second.
    #[inline(always)]
    pub const fn most(self) -> u32 {
        (self.0[0] >> 32) as u32
    }

    /// Whether its watcher is there. Times wrap.
    #[inline(always)]
    pub const fn is_there(self, second: u32) -> bool {
        (self.0[0] as u32).wrapping_sub(second) as i32 >= 0
    }

    /// Whether its watcher wants to be told this.
    #[inline(always)]
    pub fn wants(&self, report: &Report) -> bool {
        let [_, reasons, what, ..] = self.0;
        if reasons >> (report.reason().0 & 63) & 1 == 0 {
            return false;
        }
        let (source, destination) = (report.source(), report.destination());
        if what & FRONTEND != 0 {
            let frontend = Address { high: self.0[3], low: self.0[4] };
            let port = (what >> 16) as u16;
            let is = |address: Address, of: u16| address == frontend && (port == 0 || port == of);
            if !is(destination, report.destination_port()) && !is(source, report.source_port()) {
                return false;
            }
        }
        if what & CLIENT != 0 {
            let bits = what as u32 & 0xff;
            let (high, low) = (mask(bits), mask(bits.saturating_sub(64)));
            let is = |address: Address| {
                (address.high ^ self.0[5]) & high == 0 && (address.low ^ self.0[6]) & low == 0
            };
            if !is(source) && !is(destination) {
                return false;
            }
        }
        true
    }
}

const FRONTEND: u64 = 1 << 8;
const CLIENT: u64 = 1 << 9;

/// The first `bits` of a word; all of them where it has not so many.
#[inline(always)]
const fn mask(bits: u32) -> u64 {
    if bits >= 64 { u64::MAX } else { !(u64::MAX >> bits) }
}

/// What is told of a frame that nobody gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct Report(pub [u64; REPORT_WORDS]);

const ARP: u64 = 1 << 48;

impl Report {
    /// A frame of `bytes` that came in by `link`. What it says of itself is added by [`Self::of_packet`] or [`Self::of_arp`].
    #[inline(always)]
    pub const fn new(nanoseconds: u64, link: u32, reason: Reason, bytes: u32) -> Self {
        Self([nanoseconds, (reason.0 as u64) << 32 | link as u64, 0, 0, 0, 0, (bytes as u64) << 32, 0])
    }

    /// An IP packet; ports are 0 where it has none, or they were not found.
    #[inline(always)]
    pub const fn of_packet(
        mut self,
        protocol: u8,
        source: Address,
        destination: Address,
        ports: u32,
    ) -> Self {
        self.0[1] |= (protocol as u64) << 40;
        self.0[6] |= ports as u64;
        self.between(source, destination)
    }

    /// ARP, from this address about that one.
    #[inline(always)]
    pub const fn of_arp(mut self, source: Address, destination: Address) -> Self {
        self.0[1] |= ARP;
        self.between(source, destination)
    }

    #[inline(always)]
    const fn between(mut self, source: Address, destination: Address) -> Self {
        self.0[2] = source.high;
        self.0[3] = source.low;
        self.0[4] = destination.high;
        self.0[5] = destination.low;
        self
    }

    /// The security rule that denied it; 0 where none did.
    #[inline(always)]
    pub const fn denied_by(mut self, rule: u32) -> Self {
        self.0[7] = rule as u64;
        self
    }

    /// When, in nanoseconds of the kernel's monotonic clock.
    pub const fn nanoseconds(&self) -> u64 {
        self.0[0]
    }

    /// Interface index of the link it came in by.
    pub const fn link(&self) -> u32 {
        self.0[1] as u32
    }

    /// Why.
    #[inline(always)]
    pub const fn reason(&self) -> Reason {
        Reason((self.0[1] >> 32) as u8)
    }

    /// Whether it is ARP.
    pub const fn is_arp(&self) -> bool {
        self.0[1] & ARP != 0
    }

    /// The protocol, as IP numbers them.
    pub const fn protocol(&self) -> u8 {
        (self.0[1] >> 40) as u8
    }

    /// From where.
    #[inline(always)]
    pub const fn source(&self) -> Address {
        Address { high: self.0[2], low: self.0[3] }
    }

    /// To where.
    #[inline(always)]
    pub const fn destination(&self) -> Address {
        Address { high: self.0[4], low: self.0[5] }
    }

    /// From which port; 0 where it has none.
    #[inline(always)]
    pub const fn source_port(&self) -> u16 {
        (self.0[6] >> 16) as u16
    }

    /// To which port; 0 where it has none.
    #[inline(always)]
    pub const fn destination_port(&self) -> u16 {
        self.0[6] as u16
    }

    /// Bytes of the frame.
    pub const fn bytes(&self) -> u32 {
        (self.0[6] >> 32) as u32
    }

    /// The security rule that denied it; 0 where none did.
    pub const fn security_rule(&self) -> u32 {
        self.0[7] as u32
    }
}
