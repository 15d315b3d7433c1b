//! Which addresses a machine can be reached at.

use std::net::IpAddr;

use crate::document::words::IpVersion;
use crate::problem::{Code, Path, Report};

/// Reports an address no packet can be sent to.
pub(super) fn usable(report: &mut Report, at: &Path, address: IpAddr) -> Option<IpAddr> {
    let reason = match address {
        IpAddr::V4(v4) if v4.octets()[0] == 0 => "says no address at all",
        IpAddr::V4(v4) if v4.is_broadcast() => "is the broadcast address",
        IpAddr::V6(v6) if v6.is_unspecified() => "says no address at all",
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => "is an IPv4 address in IPv6 clothes",
        // Without its interface it means another machine on every segment.
        IpAddr::V6(v6) if v6.is_unicast_link_local() => "is valid on one segment only",
        IpAddr::V4(_) | IpAddr::V6(_) if address.is_loopback() => "never leaves the machine",
        IpAddr::V4(_) | IpAddr::V6(_) if address.is_multicast() => "is a multicast address",
        IpAddr::V4(_) | IpAddr::V6(_) => return Some(address),
    };
    report.add(at, Code::AddressNotUsable, format!("{address} {reason}: use the address of one machine"));
    None
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
