//! The Internet checksum, kept true while fields change (RFC 1624), and computed where a packet is new.

/// The difference that changed fields make to a checksum.
#[derive(Clone, Copy)]
pub(crate) struct Delta(u64);

impl Delta {
    pub(crate) const NONE: Self = Self(0);

    /// A field of up to four bytes at an even offset.
    #[inline(always)]
    pub(crate) fn field(self, old: u32, new: u32) -> Self {
        Self(self.0 + (!old) as u64 + new as u64)
    }

    /// A field of eight bytes.
    #[inline(always)]
    pub(crate) fn wide(self, old: u64, new: u64) -> Self {
        self.field((old >> 32) as u32, (new >> 32) as u32).field(old as u32, new as u32)
    }

    /// The checksum after the change.
    #[inline(always)]
    pub(crate) fn apply(self, checksum: u16) -> u16 {
        !fold(self.0 + (!checksum) as u64)
    }
}

/// The sum of big-endian words, brought down to sixteen bits.
#[inline(always)]
pub(crate) const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}
