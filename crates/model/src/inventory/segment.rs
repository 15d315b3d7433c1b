//! A subnet, of a virtual or of a logical network, and which of its addresses may be used.

use std::net::IpAddr;

use super::{Child, Entry, Place};
use crate::document::{IpPool, LogicalNetwork, LogicalSubnet, VirtualNetwork};
use crate::net::{Prefix, number_of, of_number};

/// A subnet somebody refers to.
#[derive(Clone, Debug)]
pub(crate) struct Segment<'a> {
    /// The network it is of.
    pub(crate) network: &'a Entry,
    pub(crate) name: &'a str,
    pub(crate) kind: SegmentKind<'a>,
    prefixes: Vec<Prefix>,
}

/// What network a subnet is of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SegmentKind<'a> {
    Virtual,
    Logical(&'a LogicalSubnet),
}

impl<'a> Segment<'a> {
    /// The subnet that a reference leads to, or into.
    pub(crate) fn of(place: Place<'a>) -> Option<Self> {
        let (Child::Subnet(at) | Child::IpPool(at, _)) = place.child else { return None };
        if let Some(network) = VirtualNetwork::of(place.document()) {
            let subnet = network.subnets.get(at)?;
            let prefixes = subnet.prefixes().collect();
            return Some(Self {
                network: place.entry,
                name: &subnet.name,
                kind: SegmentKind::Virtual,
                prefixes,
            });
        }
        let subnet = LogicalNetwork::of(place.document())?.subnets.get(at)?;
        let (kind, prefixes) = (SegmentKind::Logical(subnet), subnet.address_prefix.into_iter().collect());
        Some(Self { network: place.entry, name: &subnet.name, kind, prefixes })
    }

    pub(crate) const fn is_virtual(&self) -> bool {
        matches!(self.kind, SegmentKind::Virtual)
    }

    /// Whether it is of a logical network and faces the public.
    pub(crate) fn is_public(&self) -> bool {
        matches!(self.kind, SegmentKind::Logical(subnet) if subnet.is_public == Some(true))
    }

    pub(crate) fn prefixes(&self) -> &[Prefix] {
        &self.prefixes
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.prefixes.iter().any(|prefix| prefix.contains(address))
    }

    /// Whether an address of it is nobody's to use. Azure keeps the first four and the last of a virtual subnet; in
    /// a logical one the network has its own two, and its gateways theirs.
    pub(crate) fn reserves(&self, address: IpAddr) -> bool {
        let Some(prefix) = self.prefixes.iter().find(|prefix| prefix.contains(address)) else { return false };
        let (first, last) = (number_of(prefix.first()), number_of(prefix.last()));
        let number = number_of(address);
        match self.kind {
            SegmentKind::Virtual => last - first >= 7 && (number - first < 4 || number == last),
            SegmentKind::Logical(subnet) => {
                let edge = address.is_ipv4() && last - first >= 3 && (number == first || number == last);
                edge || subnet.default_gateways.contains(&address)
            }
        }
    }

    /// The ranges of addresses of one family that it has, from the first to the last of each.
    pub(crate) fn ranges(&self, v4: bool) -> Vec<(IpAddr, IpAddr)> {
        let of_family = self.prefixes.iter().filter(|prefix| prefix.address().is_ipv4() == v4);
        of_family.map(|prefix| (prefix.first(), prefix.last())).collect()
    }
}

impl IpPool {
    /// Its first and last address, when both are of one family and in order.
    #[must_use]
    pub fn range(&self) -> Option<(IpAddr, IpAddr)> {
        let (start, end) = (self.start_ip_address?, self.end_ip_address?);
        (start.is_ipv4() == end.is_ipv4() && start <= end).then_some((start, end))
    }

    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.range().is_some_and(|(start, end)| {
            start.is_ipv4() == address.is_ipv4() && start <= address && address <= end
        })
    }

    /// How many addresses it has.
    pub(crate) fn size(&self) -> u128 {
        self.range().map_or(0, |(start, end)| (number_of(end) - number_of(start)).saturating_add(1))
    }
}

/// The address after this one, if there is one.
pub(crate) fn next(address: IpAddr) -> Option<IpAddr> {
    let after = number_of(address).checked_add(1)?;
    let limit = if address.is_ipv4() { u128::from(u32::MAX) } else { u128::MAX };
    (after <= limit).then(|| of_number(after, address.is_ipv4()))
}
