//! Public IP addresses.

use super::super::check;
use super::{Absent, Entry, Field, INVALID, Writer};
use crate::api::networking::version::Version;

pub static PUBLIC_IP_ADDRESSES: Entry = Entry {
    name: "publicIPAddresses",
    canonical: "publicIPAddresses",
    beside: &[],
    fields: &[
        Field::text("ipAddress", "ipAddress"),
        Field::words(
            "publicIPAllocationMethod",
            "publicIPAllocationMethod",
            &[("Static", "Static"), ("Dynamic", "Dynamic")],
            INVALID,
        ),
        Field::number(
            "idleTimeoutInMinutes",
            "idleTimeoutInMinutes",
            4,
            30,
            "PublicIPIdleTimeoutIsOutOfRange",
        )
        .or(Absent::Number(4)),
        Field::words(
            "publicIPAddressVersion",
            "publicIPAddressVersion",
            &[("IPv4", "IPv4"), ("IPv6", "IPv6")],
            INVALID,
        )
        .since(Version::V2)
        .or(Absent::Word("IPv4")),
        Field::kept("dnsSettings", "dnsSettings"),
        Field::reference("ipConfiguration", "ipConfiguration", &[]).written_by(Writer::Server),
    ],
    check: check::public_address,
};
