//! Prefixes and MAC addresses: what a document says of networks in one text.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An address and how many of its bits say the network, as it was written: `10.0.0.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// The prefix of this address and length; `None` when the address has fewer bits.
    #[must_use]
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        (length <= bits_of(address)).then_some(Self { address, length })
    }

    /// The address as it was written.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// How many bits say the network.
    #[must_use]
    pub const fn length(self) -> u8 {
        self.length
    }

    /// Its first address.
    #[must_use]
    pub fn first(self) -> IpAddr {
        of_number(number_of(self.address) & !self.host_mask(), self.address.is_ipv4())
    }

    /// Its last address.
    #[must_use]
    pub fn last(self) -> IpAddr {
        of_number(number_of(self.address) | self.host_mask(), self.address.is_ipv4())
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && self.first() <= address && address <= self.last()
    }

    /// Whether all of another prefix is in it.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.length <= other.length && self.contains(other.address)
    }

    /// Whether they have an address in common.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// Whether the bits behind the network are zero.
    #[must_use]
    pub fn is_canonical(self) -> bool {
        self.first() == self.address
    }

    fn host_mask(self) -> u128 {
        match u32::from(bits_of(self.address) - self.length) {
            128 => u128::MAX,
            bits => (1 << bits) - 1,
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.address, self.length)
    }
}

impl FromStr for Prefix {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, length) = text.split_once('/').ok_or(())?;
        let length = Some(length).filter(|it| it.bytes().all(|byte| byte.is_ascii_digit())).ok_or(())?;
        Self::new(address.parse().map_err(|_| ())?, length.parse().map_err(|_| ())?).ok_or(())
    }
}

/// The link-layer address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl fmt::Display for MacAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([a, b, c, d, e, f]) = self;
        write!(out, "{a:02X}-{b:02X}-{c:02X}-{d:02X}-{e:02X}-{f:02X}")
    }
}

impl FromStr for MacAddress {
    type Err = ();

    /// Twelve hexadecimal digits, with `-` or `:` between pairs or with nothing.
    fn from_str(text: &str) -> Result<Self, ()> {
        let digits: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'-' | b':')).collect();
        let regular = matches!(text.len(), 12 | 17) && digits.len() == 12;
        let digits = std::str::from_utf8(&digits).map_err(|_| ())?;
        if !regular || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(());
        }
        let number = u64::from_str_radix(digits, 16).map_err(|_| ())?;
        let [_, _, mac @ ..] = number.to_be_bytes();
        Ok(Self(mac))
    }
}

/// An address as a number, to be counted with.
pub(crate) fn number_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// The address of a number.
pub(crate) fn of_number(number: u128, is_v4: bool) -> IpAddr {
    match u32::try_from(number) {
        Ok(number) if is_v4 => IpAddr::V4(Ipv4Addr::from(number)),
        Ok(_) | Err(_) if !is_v4 => IpAddr::V6(Ipv6Addr::from(number)),
        Ok(_) | Err(_) => IpAddr::V4(Ipv4Addr::BROADCAST),
    }
}

const fn bits_of(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_knows_its_addresses() {
        check("10.0.0.0/24", "10.0.0.0", "10.0.0.255");
        check("10.0.0.77/24", "10.0.0.0", "10.0.0.255");
        check("10.0.0.4/32", "10.0.0.4", "10.0.0.4");
        check("0.0.0.0/0", "0.0.0.0", "255.255.255.255");
        check("fd00::/64", "fd00::", "fd00::ffff:ffff:ffff:ffff");
        check("::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");

        fn check(text: &str, first: &str, last: &str) {
            let prefix: Prefix = text.parse().unwrap();
            assert_eq!((prefix.first().to_string(), prefix.last().to_string()), (first.into(), last.into()));
            assert!(prefix.contains(prefix.first()) && prefix.contains(prefix.last()));
            assert_eq!(prefix.to_string(), text);
        }
        for text in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0.0/", "10.0.0/8", "::/129"] {
            assert_eq!(text.parse::<Prefix>(), Err(()), "{text}");
        }
    }

    #[test]
    fn prefixes_meet_or_do_not() {
        check("10.0.0.0/24", "10.0.0.0/16", (false, true));
        check("10.0.0.0/16", "10.0.9.0/24", (true, true));
        check("10.0.0.0/24", "10.0.1.0/24", (false, false));
        check("10.0.0.0/8", "fd00::/8", (false, false));

        fn check(one: &str, other: &str, wanted: (bool, bool)) {
            let (one, other): (Prefix, Prefix) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!((one.covers(other), one.overlaps(other)), wanted, "{one} {other}");
        }
    }

    #[test]
    fn mac_addresses_are_read_as_everybody_writes_them() {
        for text in ["001DD8B70C00", "00-1d-d8-b7-0c-00", "00:1D:D8:B7:0C:00"] {
            assert_eq!(text.parse::<MacAddress>().unwrap().to_string(), "00-1D-D8-B7-0C-00");
        }
        for text in ["", "001DD8B70C0", "001DD8B70C0G", "00-1d-d8-b7-0c", "0-0-1-d-d-8-b-7-0-c-00"] {
            assert_eq!(text.parse::<MacAddress>(), Err(()), "{text}");
        }
    }
}
