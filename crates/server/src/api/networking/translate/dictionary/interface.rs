//! Network interfaces, where membership is written.

use super::super::check;
use super::{ALLOCATION, Absent, Entry, Field, INVALID, Shape, Writer};
use crate::api::networking::version::Version;

pub static NETWORK_INTERFACES: Entry = Entry {
    name: "networkInterfaces",
    canonical: "networkInterfaces",
    beside: &[],
    fields: &[
        Field::children(&IP_CONFIGURATIONS),
        Field::new("privateMacAddress", "macAddress", Shape::Mac),
        Field::words(
            "privateMacAllocationMethod",
            "forebay/macAllocationMethod",
            &[("Static", "Static"), ("Dynamic", "Dynamic")],
            INVALID,
        ),
        Field::flag("isPrimary", "primary").or(Absent::Flag(true)),
        Field::flag("isHostVirtualNetworkInterface", "forebay/isHostVirtualNetworkInterface")
            .or(Absent::Flag(false)),
        Field::flag("isMultitenantStack", "forebay/isMultitenantStack"),
        Field::text("internalDnsNameLabel", "dnsSettings/internalDnsNameLabel"),
        Field::texts("dnsSettings/dnsServers", "dnsSettings/dnsServers"),
        Field::kept("portSettings", "forebay/portSettings"),
        Field::kept("securityTags", "forebay/securityTags").since(Version::V5),
        Field::kept("server", "forebay/server").written_by(Writer::Server),
        Field::kept("service", "forebay/service").written_by(Writer::Server),
        Field::kept("serviceInsertionElements", "forebay/serviceInsertionElements")
            .written_by(Writer::Server),
    ],
    check: check::interface,
};

static IP_CONFIGURATIONS: Entry = Entry {
    name: "ipConfigurations",
    canonical: "ipConfigurations",
    beside: &[],
    fields: &[
        Field::text("privateIPAddress", "privateIPAddress"),
        Field::words("privateIPAllocationMethod", "privateIPAllocationMethod", ALLOCATION, INVALID),
        Field::reference("subnet", "subnet", &["logicalNetworks/subnets", "virtualNetworks/subnets"]),
        Field::reference("publicIPAddress", "publicIPAddress", &["publicIPAddresses"]),
        Field::reference("accessControlList", "forebay/networkSecurityGroup", &["accessControlLists"]),
        Field::references(
            "loadBalancerBackendAddressPools",
            "loadBalancerBackendAddressPools",
            &["loadBalancers/backendAddressPools"],
        ),
        Field::references(
            "loadBalancerInboundNatRules",
            "loadBalancerInboundNatRules",
            &["loadBalancers/inboundNatRules"],
        ),
        Field::flag("isPrimary", "primary").since(Version::V4).or(Absent::Flag(false)),
        Field::kept("learnedIp", "forebay/learnedIp").since(Version::V5),
        Field::kept("securityTags", "forebay/securityTags").since(Version::V5),
        Field::kept("serviceInsertion", "forebay/serviceInsertion"),
    ],
    check: check::ip_configuration,
};
