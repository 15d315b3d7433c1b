//! `loadBalancingRules`.

use super::Reference;
use super::words::{Distribution, ReturnPath, TransportProtocol};

resource! {
    /// What arrives at a frontend and port goes to a pool and port.
    LoadBalancingRule("Microsoft.Network/loadBalancers/loadBalancingRules") {
        beside {}
        properties {
            frontend_ip_configuration: Option<Reference> = "frontendIPConfiguration",
            backend_address_pool: Option<Reference> = "backendAddressPool",
            backend_address_pools: Vec<Reference> = "backendAddressPools",
            probe: Option<Reference> = "probe",
            protocol: Option<TransportProtocol> = "protocol",
            frontend_port: Option<u32> = "frontendPort",
            backend_port: Option<u32> = "backendPort",
            load_distribution: Option<Distribution> = "loadDistribution",
            idle_timeout_in_minutes: Option<u32> = "idleTimeoutInMinutes",
            enable_floating_ip: Option<bool> = "enableFloatingIP",
            enable_tcp_reset: Option<bool> = "enableTcpReset",
            disable_outbound_snat: Option<bool> = "disableOutboundSnat",
            enable_connection_tracking: Option<bool> = "enableConnectionTracking",
            enable_destination_service_endpoint: Option<bool> = "enableDestinationServiceEndpoint",
            allow_backend_port_conflict: Option<bool> = "allowBackendPortConflict",
            /// Ours, not Azure's.
            forebay: Option<RuleExtension> = "forebay",
        }
    }
}

object! {
    /// What Azure has no words for.
    RuleExtension {
        /// The frontends the rule listens on beside `frontendIPConfiguration`.
        frontend_ip_configurations: Vec<Reference> = "frontendIPConfigurations",
        /// Connections to a member that is found down are led to another one, which resets them (CLUS-1).
        reset_on_member_down: Option<bool> = "resetOnMemberDown",
        /// A member that calls the frontend may be led to itself (HAIR-1).
        hairpin: Option<bool> = "hairpin",
        /// Packets of a TCP connection that was silent for the idle time are dropped, instead of being chosen for afresh (FLOW-5).
        drop_forgotten: Option<bool> = "dropForgotten",
        /// How answers of the one target of an inbound NAT rule get back to the client. Where a rule leads to a pool, the pool says it.
        return_path: Option<ReturnPath> = "returnPath",
        /// The security group that a cluster keeps for its Services. It judges the packets of this rule, as if the members' subnets named
        /// it (ACL-2).
        service_security_group: Option<Reference> = "serviceSecurityGroup",
    }
}

impl LoadBalancingRule {
    /// Clients send the pool in one field, the other, or both; the plural wins.
    pub fn settle_pools(&mut self) {
        match self.backend_address_pools.first() {
            Some(first) => self.backend_address_pool = Some(first.clone()),
            None => self.backend_address_pools = self.backend_address_pool.clone().into_iter().collect(),
        }
    }
}
