//! Addresses of the network layer and of the link layer.

use core::fmt;

/// An IPv6 address, or an IPv4 address in the mapped form `::ffff:a.b.c.d`: its upper and lower eight bytes, read as
/// big-endian numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Address {
    /// The first eight bytes.
    pub high: u64,
    /// The last eight bytes.
    pub low: u64,
}

const MAPPED: u64 = 0x0000_ffff_0000_0000;

impl Address {
    /// The IPv4 address with this value in network order.
    #[inline(always)]
    pub const fn v4(value: u32) -> Self {
        Self { high: 0, low: MAPPED | value as u64 }
    }

    /// The IPv6 address with these bytes.
    #[inline(always)]
    pub const fn v6(high: u64, low: u64) -> Self {
        Self { high, low }
    }

    /// What stands for a station among addresses. It is in the range of multicast, from which nobody sends, and of a scope that is
    /// reserved.
    #[inline(always)]
    pub const fn of_station(station: Mac) -> Self {
        Self { high: u64::MAX, low: station.bits() }
    }

    /// The station that this stands for.
    pub const fn station(self) -> Option<Mac> {
        if self.high == u64::MAX && self.low >> 48 == 0 { Some(Mac::from_bits(self.low)) } else { None }
    }

    /// Whether this is an IPv4 address in mapped form.
    #[inline(always)]
    pub const fn is_v4(self) -> bool {
        self.high == 0 && self.low >> 32 == MAPPED >> 32
    }

    /// The IPv4 address's value; only meaningful where [`Self::is_v4`].
    #[inline(always)]
    pub const fn v4_value(self) -> u32 {
        self.low as u32
    }
}

impl From<core::net::IpAddr> for Address {
    fn from(address: core::net::IpAddr) -> Self {
        match address {
            core::net::IpAddr::V4(v4) => Self::v4(v4.to_bits()),
            core::net::IpAddr::V6(v6) => Self::v6((v6.to_bits() >> 64) as u64, v6.to_bits() as u64),
        }
    }
}

impl From<Address> for core::net::IpAddr {
    fn from(address: Address) -> Self {
        if address.is_v4() {
            core::net::Ipv4Addr::from_bits(address.v4_value()).into()
        } else {
            core::net::Ipv6Addr::from_bits(u128::from(address.high) << 64 | u128::from(address.low)).into()
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.station() {
            Some(station) => station.fmt(f),
            None => core::net::IpAddr::from(*self).fmt(f),
        }
    }
}

/// A link-layer address, in the low 48 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mac(u64);

impl Mac {
    /// From its six bytes.
    #[inline(always)]
    pub const fn new(bytes: [u8; 6]) -> Self {
        Self(u64::from_be_bytes([0, 0, bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5]]))
    }

    /// From the low 48 bits of a word.
    #[inline(always)]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits & 0xffff_ffff_ffff)
    }

    /// The low 48 bits.
    #[inline(always)]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Its six bytes.
    #[inline(always)]
    pub const fn bytes(self) -> [u8; 6] {
        let [_, _, a, b, c, d, e, f] = self.0.to_be_bytes();
        [a, b, c, d, e, f]
    }

    /// Whether frames to it reach several stations.
    #[inline(always)]
    pub const fn is_group(self) -> bool {
        self.0 & 0x0100_0000_0000 != 0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.bytes();
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
