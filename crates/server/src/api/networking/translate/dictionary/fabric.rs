//! What carries load balancers: their manager, the balancer hosts and the machines those run on.

use super::super::check;
use super::{Absent, Entry, Field, INVALID, Shape, Writer};
use crate::api::networking::version::Version;

/// There is one, and its path ends with `config`.
pub static LOAD_BALANCER_MANAGER: Entry = Entry {
    name: "loadBalancerManager",
    canonical: "loadBalancerManagers",
    beside: &[],
    fields: &[
        Field::text("loadBalancerManagerIPAddress", "loadBalancerManagerIPAddress").required(),
        Field::texts("outboundNatIPExemptions", "outboundNatIPExemptions").required(),
        Field::references("vipIpPools", "vipIpPools", IP_POOL),
        Field::words(
            "loadBalancerMuxMode",
            "loadBalancerMuxMode",
            &[("BgpPeering", "BgpPeering"), ("L2Forwarding", "L2Forwarding")],
            "LoadBalancerMuxModeNotSupported",
        )
        .since(Version::V6)
        .or(Absent::Word("BgpPeering")),
        Field::flag("isOutboundNatEnabled", "isOutboundNatEnabled"),
        Field::references("vipPoolsInUse", "vipPoolsInUse", IP_POOL).written_by(Writer::Server),
    ],
    check: check::nothing,
};

pub static LOAD_BALANCER_MUXES: Entry = Entry {
    name: "loadBalancerMuxes",
    canonical: "loadBalancerMuxes",
    beside: &[],
    fields: &[
        Field::reference("virtualServer", "virtualServer", &["virtualServers"]).required(),
        autonomous_system("routerConfiguration/localASN", "routerConfiguration/localASN"),
        four_byte_system("routerConfiguration/localASN4", "routerConfiguration/localASN4"),
        Field::new(
            "routerConfiguration/peerRouterConfigurations",
            "routerConfiguration/peerRouterConfigurations",
            Shape::Objects(PEER),
        ),
        Field::kept("connections", "connections"),
        Field::kept("networkInterfaces", "networkInterfaces"),
        Field::words(
            "activityState",
            "activityState",
            &[("NA", "NA"), ("Active", "Active"), ("Standby", "Standby")],
            INVALID,
        )
        .since(Version::V6)
        .written_by(Writer::Server)
        .or(Absent::Word("NA")),
    ],
    check: check::mux,
};

const PEER: &[Field] = &[
    Field::kept("id", "id"),
    Field::text("routerName", "routerName"),
    Field::text("routerIPAddress", "routerIPAddress"),
    Field::text("localIPAddress", "localIPAddress"),
    autonomous_system("peerASN", "peerASN"),
    four_byte_system("peerASN4", "peerASN4"),
];

pub static VIRTUAL_SERVERS: Entry = Entry {
    name: "virtualServers",
    canonical: "virtualServers",
    beside: &[Field::flag("markServerReadOnly", "markServerReadOnly")],
    fields: &[
        Field::kept("connections", "connections"),
        Field::text("vmGuid", "vmGuid").required(),
        Field::text("certificate", "certificate"),
        Field::kept("server", "server").written_by(Writer::Server),
        Field::references("loadBalancerMuxes", "loadBalancerMuxes", &["loadBalancerMuxes"])
            .written_by(Writer::Server),
    ],
    check: check::nothing,
};

const IP_POOL: &[&str] = &["logicalNetworks/subnets/ipPools"];

/// A number of two bytes, as BGP speakers had them first.
const fn autonomous_system(name: &'static str, canonical: &'static str) -> Field {
    Field::number(name, canonical, 0, 65_535, INVALID)
}

const fn four_byte_system(name: &'static str, canonical: &'static str) -> Field {
    Field::number(name, canonical, 0, 4_294_967_295, INVALID).since(Version::V7_1)
}
