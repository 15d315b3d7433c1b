//! `outboundRules`.

use super::Reference;
use super::words::TransportProtocol;

resource! {
    /// Which addresses and ports the members of a pool call out from.
    OutboundRule("Microsoft.Network/loadBalancers/outboundRules") {
        beside {}
        properties {
            frontend_ip_configurations: Vec<Reference> = "frontendIPConfigurations",
            backend_address_pool: Option<Reference> = "backendAddressPool",
            protocol: Option<TransportProtocol> = "protocol",
            allocated_outbound_ports: Option<u32> = "allocatedOutboundPorts",
            idle_timeout_in_minutes: Option<u32> = "idleTimeoutInMinutes",
            enable_tcp_reset: Option<bool> = "enableTcpReset",
        }
    }
}
