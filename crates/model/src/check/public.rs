//! Public IP addresses, which public frontends refer to, and the prefixes they come from.

use super::{Scope, address, field};
use crate::IdleTimeout;
use crate::document::words::IpVersion;
use crate::document::{PublicIpAddress, PublicIpPrefix};
use crate::net::Prefix;
use crate::problem::{Code, Path, Report};

pub(super) fn address(report: &mut Report, document: &PublicIpAddress, scope: &Scope<'_>) {
    let root = Path::default();
    let idle = document.idle_timeout_in_minutes;
    field::within(report, &root, "idleTimeoutInMinutes", idle, IdleTimeout::RANGE);
    let Some(ip) = document.ip_address else { return };
    let at = root.field("ipAddress");
    address::usable(report, &at, ip);
    address::of_version(report, &at, ip, document.public_ip_address_version);
    if let Some(prefix) = prefix_of(document, scope)
        && !prefix.contains(ip)
    {
        let message = format!("{ip} is not in its prefix {prefix}: use one of its addresses");
        report.add(&at, Code::PrivateIPAddressNotInSubnet, message);
    }
}

/// The prefix that a public address is taken from.
fn prefix_of(document: &PublicIpAddress, scope: &Scope<'_>) -> Option<Prefix> {
    let place = scope.inventory.find(&document.public_ip_prefix.as_ref()?.id)?;
    PublicIpPrefix::of(place.document())?.ip_prefix
}

pub(super) fn prefix(report: &mut Report, document: &PublicIpPrefix) {
    let root = Path::default();
    let longest = match document.public_ip_address_version {
        Some(IpVersion::V6) => 128,
        Some(IpVersion::V4) | None => 32,
    };
    field::within(report, &root, "prefixLength", document.prefix_length, 1..=longest);
    let Some(prefix) = document.ip_prefix else {
        field::required::<()>(report, &root, "ipPrefix", None);
        return;
    };
    let at = root.field("ipPrefix");
    field::canonical(report, &at, prefix);
    address::usable(report, &at, prefix.first());
    address::of_version(report, &at, prefix.address(), document.public_ip_address_version);
    if let Some(length) = document.prefix_length.filter(|length| *length != u32::from(prefix.length())) {
        let message = format!("the prefix is {prefix}, and prefixLength says {length}: make them agree");
        report.add(&root.field("prefixLength"), Code::InvalidRequestFormat, message);
    }
}
