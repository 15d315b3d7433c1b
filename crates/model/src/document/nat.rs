//! `inboundNatRules` and `inboundNatPools`.

use super::words::TransportProtocol;
use super::{Reference, RuleExtension};

resource! {
    /// A frontend port that leads to one member, or a range that leads to each member of a pool.
    InboundNatRule("Microsoft.Network/loadBalancers/inboundNatRules") {
        beside {}
        properties {
            frontend_ip_configuration: Option<Reference> = "frontendIPConfiguration",
            backend_address_pool: Option<Reference> = "backendAddressPool",
            protocol: Option<TransportProtocol> = "protocol",
            frontend_port: Option<u32> = "frontendPort",
            frontend_port_range_start: Option<u32> = "frontendPortRangeStart",
            frontend_port_range_end: Option<u32> = "frontendPortRangeEnd",
            backend_port: Option<u32> = "backendPort",
            idle_timeout_in_minutes: Option<u32> = "idleTimeoutInMinutes",
            enable_floating_ip: Option<bool> = "enableFloatingIP",
            enable_tcp_reset: Option<bool> = "enableTcpReset",
            /// Ours, not Azure's.
            forebay: Option<RuleExtension> = "forebay",
        }
        read_only {
            /// The ip configuration that says the rule leads to it.
            backend_ip_configuration: Option<Reference> = "backendIPConfiguration",
        }
    }
}

resource! {
    /// A range of frontend ports for the machines of a scale set.
    InboundNatPool("Microsoft.Network/loadBalancers/inboundNatPools") {
        beside {}
        properties {
            frontend_ip_configuration: Option<Reference> = "frontendIPConfiguration",
            protocol: Option<TransportProtocol> = "protocol",
            frontend_port_range_start: Option<u32> = "frontendPortRangeStart",
            frontend_port_range_end: Option<u32> = "frontendPortRangeEnd",
            backend_port: Option<u32> = "backendPort",
            idle_timeout_in_minutes: Option<u32> = "idleTimeoutInMinutes",
            enable_floating_ip: Option<bool> = "enableFloatingIP",
            enable_tcp_reset: Option<bool> = "enableTcpReset",
        }
    }
}
