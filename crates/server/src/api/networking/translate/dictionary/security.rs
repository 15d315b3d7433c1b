//! Access control lists, canonically network security groups.

use super::super::check;
use super::{Absent, Entry, Field, INVALID, Shape, Writer};
use crate::api::networking::version::Version;

pub static ACCESS_CONTROL_LISTS: Entry = Entry {
    name: "accessControlLists",
    canonical: "networkSecurityGroups",
    beside: &[],
    fields: &[
        Field::children(&ACL_RULES),
        Field::words("inboundDefaultAction", "forebay/inboundDefaultAction", ACTIONS, INVALID)
            .or(Absent::Word("Permit")),
        Field::words("outboundDefaultAction", "forebay/outboundDefaultAction", ACTIONS, INVALID)
            .or(Absent::Word("Permit")),
        Field::references("ipConfigurations", "ipConfigurations", &[]).written_by(Writer::Server),
        Field::references("subnets", "subnets", &[]).written_by(Writer::Server),
    ],
    check: check::nothing,
};

static ACL_RULES: Entry = Entry {
    name: "aclRules",
    canonical: "securityRules",
    beside: &[],
    fields: &[
        Field::words("action", "access", &[("Allow", "Allow"), ("Deny", "Deny")], INVALID).required(),
        Field::words("type", "direction", &[("Inbound", "Inbound"), ("Outbound", "Outbound")], INVALID)
            .required(),
        Field::words(
            "protocol",
            "protocol",
            &[
                ("Tcp", "Tcp"),
                ("Udp", "Udp"),
                ("All", "*"),
                ("ICMPv4", "Icmp"),
                ("ICMPv6", "Icmpv6"),
                ("Esp", "Esp"),
                ("Ah", "Ah"),
            ],
            INVALID,
        )
        .required(),
        range("sourcePortRange", "sourcePortRanges"),
        range("destinationPortRange", "destinationPortRanges"),
        range("sourceAddressPrefix", "sourceAddressPrefixes"),
        range("destinationAddressPrefix", "destinationAddressPrefixes"),
        Field::number("priority", "priority", 101, 65_000, INVALID).required(),
        Field::words(
            "logging",
            "forebay/logging",
            &[("Enabled", "Enabled"), ("Disabled", "Disabled")],
            INVALID,
        ),
        Field::text("description", "description"),
        Field::kept("sourceSecurityTags", "forebay/sourceSecurityTags").since(Version::V5),
        Field::kept("destinationSecurityTags", "forebay/destinationSecurityTags").since(Version::V5),
    ],
    check: check::nothing,
};

const ACTIONS: &[(&str, &str)] = &[("Permit", "Permit"), ("Deny", "Deny")];

/// The names of well-known address ranges.
const TAGS: &[(&str, &str)] = &[
    ("VIRTUALNETWORK", "VirtualNetwork"),
    ("INTERNET", "Internet"),
    ("AZURELOADBALANCER", "AzureLoadBalancer"),
];

const fn range(name: &'static str, list: &'static str) -> Field {
    Field::new(name, name, Shape::TextOrTexts { list, words: TAGS })
}
