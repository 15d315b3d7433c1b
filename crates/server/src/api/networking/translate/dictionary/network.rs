//! Virtual and logical networks.

use super::super::check;
use super::{Absent, Entry, Field, INVALID, Shape, Writer};
use crate::api::networking::version::Version;

pub static VIRTUAL_NETWORKS: Entry = Entry {
    name: "virtualNetworks",
    canonical: "virtualNetworks",
    beside: &[],
    fields: &[
        Field::reference("logicalNetwork", "forebay/logicalNetwork", &["logicalNetworks"]).required(),
        Field::texts("addressSpace/addressPrefixes", "addressSpace/addressPrefixes").required(),
        Field::texts("dhcpOptions/dnsServers", "dhcpOptions/dnsServers"),
        Field::children(&VIRTUAL_SUBNETS),
    ],
    check: check::virtual_network,
};

static VIRTUAL_SUBNETS: Entry = Entry {
    name: "subnets",
    canonical: "subnets",
    beside: &[],
    fields: &[
        Field::new(
            "addressPrefix",
            "addressPrefix",
            Shape::TextOrTexts { list: "addressPrefixes", words: &[] },
        )
        .required(),
        Field::reference("accessControlList", "networkSecurityGroup", &["accessControlLists"]),
        Field::reference("routeTable", "routeTable", &["routeTables"]),
        Field::reference("dualStackSubnet", "forebay/dualStackSubnet", &["virtualNetworks/subnets"])
            .since(Version::V3),
        Field::references("ipConfigurations", "ipConfigurations", &[]).written_by(Writer::Server),
    ],
    check: check::nothing,
};

pub static LOGICAL_NETWORKS: Entry = Entry {
    name: "logicalNetworks",
    canonical: "logicalNetworks",
    beside: &[],
    fields: &[
        Field::flag("networkVirtualizationEnabled", "networkVirtualizationEnabled").or(Absent::Flag(false)),
        Field::children(&LOGICAL_SUBNETS),
        Field::references("virtualNetworks", "virtualNetworks", &["virtualNetworks"])
            .written_by(Writer::Server),
    ],
    check: check::nothing,
};

static LOGICAL_SUBNETS: Entry = Entry {
    name: "subnets",
    canonical: "subnets",
    beside: &[],
    fields: &[
        Field::text("addressPrefix", "addressPrefix"),
        Field::number("vlanId", "vlanId", 0, 4_095, INVALID),
        Field::texts("dnsServers", "dnsServers"),
        Field::texts("defaultGateways", "defaultGateways"),
        Field::flag("isPublic", "isPublic"),
        Field::kept("routes", "routes"),
        Field::children(&IP_POOLS),
        Field::references("ipConfigurations", "ipConfigurations", &[]).written_by(Writer::Server),
        Field::references("networkInterfaces", "networkInterfaces", &["networkInterfaces"])
            .written_by(Writer::Server),
    ],
    check: check::nothing,
};

static IP_POOLS: Entry = Entry {
    name: "ipPools",
    canonical: "ipPools",
    beside: &[],
    fields: &[
        Field::text("startIpAddress", "startIpAddress").required(),
        Field::text("endIpAddress", "endIpAddress").required(),
        usage("usage/numberOfIPAddresses", "usage/numberOfIPAddresses"),
        usage("usage/numberOfIPAddressesAllocated", "usage/numberOfIPAddressesAllocated"),
        usage("usage/numberOfIPAddressesInTransition", "usage/numberOfIPAddressesInTransition"),
        // As servers in the field spell it.
        usage("usage/totalIPCount", "usage/numberOfIPAddresses"),
        usage("usage/currentIPCount", "usage/numberOfIPAddressesAllocated"),
    ],
    check: check::nothing,
};

const fn usage(name: &'static str, canonical: &'static str) -> Field {
    Field::kept(name, canonical).written_by(Writer::Server)
}
