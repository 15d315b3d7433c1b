//! Which addresses a machine can be reached at.

use std::net::IpAddr;

use crate::document::words::IpVersion;
use crate::inventory::Segment;
use crate::problem::{Code, Path, Report};

/// Reports an address no packet can be sent to.
pub(super) fn usable(report: &mut Report, at: &Path, address: IpAddr) -> Option<IpAddr> {
    let Some(reason) = refuse(address) else { return Some(address) };
    report.add(at, Code::AddressNotUsable, format!("{address} {reason}: use the address of one machine"));
    None
}

pub(super) fn is_usable(address: IpAddr) -> bool {
    refuse(address).is_none()
}

fn refuse(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Some("says no address at all"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("is the broadcast address"),
        IpAddr::V6(v6) if v6.is_unspecified() => Some("says no address at all"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("is an IPv4 address in IPv6 clothes"),
        // Without its interface it means another machine on every segment.
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("is valid on one segment only"),
        IpAddr::V4(_) | IpAddr::V6(_) if address.is_loopback() => Some("never leaves the machine"),
        IpAddr::V4(_) | IpAddr::V6(_) if address.is_multicast() => Some("is a multicast address"),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// Reports an address that its subnet does not have, or keeps for itself. A subnet without prefix has any.
pub(super) fn in_segment(report: &mut Report, at: &Path, address: IpAddr, segment: &Segment<'_>) {
    if !segment.prefixes().is_empty() && !segment.contains(address) {
        let prefixes: Vec<_> = segment.prefixes().iter().map(ToString::to_string).collect();
        let message = format!(
            "{address} is not in subnet `{}` ({}): use one of its addresses",
            segment.name,
            prefixes.join(", ")
        );
        report.add(at, Code::PrivateIPAddressNotInSubnet, message);
    } else if segment.reserves(address) {
        let message = format!("subnet `{}` keeps {address} for itself: use another one", segment.name);
        report.add(at, Code::PrivateIPAddressInReservedRange, message);
    }
}

/// Reports an address that is not of the version its document states.
pub(super) fn of_version(report: &mut Report, at: &Path, address: IpAddr, version: Option<IpVersion>) {
    let actual = version_of(address);
    if let Some(stated) = version.filter(|stated| *stated != actual) {
        let message = format!("{address} is {actual}, and the version says {stated}: change one of them");
        report.add(at, Code::AddressFamilyMismatch, message);
    }
}

pub(super) const fn version_of(address: IpAddr) -> IpVersion {
    match address {
        IpAddr::V4(_) => IpVersion::V4,
        IpAddr::V6(_) => IpVersion::V6,
    }
}
