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

/// The polynomial of CRC-32C; the highest bit stands for 1.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// The product of two polynomials. No bit decides where it goes on here or in what follows: the verifier then follows one way only.
#[inline(always)]
const fn times(one: u32, other: u32) -> u32 {
    let mut product = 0;
    let (mut one, mut other) = (one, other);
    let mut bit = 0;
    while bit < 32 {
        product ^= other & (one >> 31).wrapping_neg();
        one <<= 1;
        other = other >> 1 ^ POLYNOMIAL & (other & 1).wrapping_neg();
        bit += 1;
    }
    product
}

/// What a difference in the first four bytes of a packet of `length` bytes makes of its CRC-32C. `difference` is read as a number in
/// little-endian order, as the checksum is in SCTP.
#[inline(always)]
pub(crate) const fn crc_difference(difference: u32, length: u32) -> u32 {
    let mut crc = difference;
    // x^8, of which each byte that follows is one more.
    let mut power = 1 << 23;
    let mut at = 0;
    while at < u16::BITS {
        let chosen = (length >> at & 1).wrapping_neg();
        crc ^= (crc ^ times(crc, power)) & chosen;
        power = times(power, power);
        at += 1;
    }
    crc
}
