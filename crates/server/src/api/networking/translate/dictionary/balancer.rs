//! Load balancers and their six kinds of children.

use super::super::check;
use super::{ALLOCATION, Absent, Entry, Field, INVALID, Shape, Writer};
use crate::api::networking::version::Version;

pub static LOAD_BALANCERS: Entry = Entry {
    name: "loadBalancers",
    canonical: "loadBalancers",
    beside: &[],
    fields: &[
        // Read first: it decides what the pools below ask for.
        Field::flag("updateBackendAddressPools", "").since(Version::V7).written_by(Writer::Request),
        Field::children(&FRONTENDS),
        Field::children(&POOLS),
        Field::children(&RULES),
        Field::children(&NAT_RULES),
        Field::children(&OUTBOUND_RULES),
        Field::children(&PROBES),
    ],
    check: check::balancer,
};

static FRONTENDS: Entry = Entry {
    name: "frontendIPConfigurations",
    canonical: "frontendIPConfigurations",
    beside: &[],
    fields: &[
        Field::text("privateIPAddress", "privateIPAddress"),
        Field::words("privateIPAllocationMethod", "privateIPAllocationMethod", ALLOCATION, INVALID),
        Field::reference("subnet", "subnet", &["logicalNetworks/subnets", "virtualNetworks/subnets"]),
        Field::reference("publicIPAddress", "publicIPAddress", &["publicIPAddresses"]),
        Field::references("loadBalancingRules", "loadBalancingRules", RULE).written_by(Writer::Server),
        Field::references("inboundNatRules", "inboundNatRules", NAT_RULE).written_by(Writer::Server),
        Field::references("outboundNatRules", "outboundRules", OUTBOUND_RULE).written_by(Writer::Server),
    ],
    check: check::frontend,
};

static POOLS: Entry = Entry {
    name: "backendAddressPools",
    canonical: "backendAddressPools",
    beside: &[],
    fields: &[
        Field::references("backendIPConfigurations", "backendIPConfigurations", IP_CONFIGURATION)
            .written_by(Writer::Members),
        Field::references("loadBalancingRules", "loadBalancingRules", RULE).written_by(Writer::Server),
        Field::references("outboundNatRules", "outboundRules", OUTBOUND_RULE).written_by(Writer::Server),
    ],
    check: check::nothing,
};

static RULES: Entry = Entry {
    name: "loadBalancingRules",
    canonical: "loadBalancingRules",
    beside: &[],
    fields: &[
        LISTENS_ON,
        Field::reference("backendAddressPool", "backendAddressPool", POOL)
            .or(Absent::Required("BackendPoolReferenceNotProvided")),
        PROTOCOL.required(),
        Field::number("frontendPort", "frontendPort", 0, 65_535, PORT_RANGE),
        Field::number("backendPort", "backendPort", 0, 65_535, PORT_RANGE),
        Field::reference("probe", "probe", &["loadBalancers/probes"]),
        FLOATING,
        IDLE.or(Absent::Number(4)),
        Field::words("loadDistribution", "loadDistribution", DISTRIBUTION, INVALID)
            .or(Absent::Word("Default")),
        RESET,
    ],
    check: check::rule,
};

static NAT_RULES: Entry = Entry {
    name: "inboundNatRules",
    canonical: "inboundNatRules",
    beside: &[],
    fields: &[
        LISTENS_ON,
        Field::reference("backendIPConfiguration", "backendIPConfiguration", IP_CONFIGURATION)
            .written_by(Writer::Target),
        PROTOCOL.required(),
        Field::number("frontendPort", "frontendPort", 0, 65_535, PORT_RANGE),
        Field::number("backendPort", "backendPort", 0, 65_535, PORT_RANGE),
        FLOATING,
        IDLE.or(Absent::Number(4)),
        RESET,
    ],
    check: check::nat_rule,
};

static OUTBOUND_RULES: Entry = Entry {
    name: "outboundNatRules",
    canonical: "outboundRules",
    beside: &[],
    fields: &[
        Field::references("frontendIPConfigurations", "frontendIPConfigurations", FRONTEND)
            .or(Absent::Required(NO_FRONTEND)),
        Field::reference("backendAddressPool", "backendAddressPool", POOL)
            .or(Absent::Required("BackendPoolReferenceNotProvided")),
        Field::words("protocol", "protocol", PROTOCOLS, "InvalidOutboundNatProtocolType").required(),
        IDLE.since(Version::V4_2)
            .until(Version::V6)
            .frozen_before("OutboundIdleTimeoutImmutableIfLessThanV4_2"),
        RESET,
    ],
    check: check::nothing,
};

static PROBES: Entry = Entry {
    name: "probes",
    canonical: "probes",
    beside: &[],
    fields: &[
        Field::words("protocol", "protocol", &[("Http", "Http"), ("Tcp", "Tcp")], "InvalidProtocolForProbe")
            .required(),
        Field::number("port", "port", 1, 65_535, PORT_RANGE).required(),
        Field::text("requestPath", "requestPath"),
        Field::number(
            "intervalInSeconds",
            "intervalInSeconds",
            5,
            2_147_483_646,
            "ProbeIntervalIsOutOfRange",
        )
        .or(Absent::Number(15)),
        // Whatever the prose says of seconds, it is how many equal results change a member's state.
        Field::number("numberOfProbes", "probeThreshold", 1, 100, "NumberOfProbesIsOutOfRange")
            .or(Absent::Number(1)),
        Field::references("loadBalancingRules", "loadBalancingRules", RULE).written_by(Writer::Server),
    ],
    check: check::probe,
};

const LISTENS_ON: Field = Field::new(
    "frontendIPConfigurations",
    "frontendIPConfiguration",
    Shape::FirstAndRest { to: FRONTEND, rest: "forebay/frontendIPConfigurations" },
)
.or(Absent::Required(NO_FRONTEND));

const PROTOCOL: Field = Field::words("protocol", "protocol", PROTOCOLS, INVALID);
const FLOATING: Field = Field::flag("enableFloatingIP", "enableFloatingIP").or(Absent::Flag(false));
const IDLE: Field =
    Field::number("idleTimeoutInMinutes", "idleTimeoutInMinutes", 4, 30, "RuleIdleTimeoutIsOutOfRange");
const RESET: Field =
    Field::flag("enableTcpReset", "enableTcpReset").since(Version::V3_2).or(Absent::Flag(false));

/// What rules carry. The last two are the Network Controller's words for what no data path of ours does.
const PROTOCOLS: &[(&str, &str)] =
    &[("Tcp", "Tcp"), ("Udp", "Udp"), ("All", "All"), ("GRE", ""), ("ESP", "")];
const DISTRIBUTION: &[(&str, &str)] =
    &[("Default", "Default"), ("SourceIP", "SourceIP"), ("SourceIPProtocol", "SourceIPProtocol")];

const PORT_RANGE: &str = "PortValueIsOutOfRange";
const NO_FRONTEND: &str = "FrontendIpConfigReferenceNotProvided";

const FRONTEND: &[&str] = &["loadBalancers/frontendIPConfigurations"];
const POOL: &[&str] = &["loadBalancers/backendAddressPools"];
const RULE: &[&str] = &["loadBalancers/loadBalancingRules"];
const NAT_RULE: &[&str] = &["loadBalancers/inboundNatRules"];
const OUTBOUND_RULE: &[&str] = &["loadBalancers/outboundNatRules"];
const IP_CONFIGURATION: &[&str] = &["networkInterfaces/ipConfigurations"];
