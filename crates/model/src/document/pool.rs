//! `backendAddressPools`.

use std::net::IpAddr;

use serde_json::Value;

use super::Reference;
use super::words::{AdminState, ReturnPath, SyncMode, TunnelProtocol, TunnelType};

resource! {
    /// The members rules lead to.
    BackendAddressPool("Microsoft.Network/loadBalancers/backendAddressPools") {
        beside {}
        properties {
            location: Option<String> = "location",
            load_balancer_backend_addresses: Vec<BackendAddress> = "loadBalancerBackendAddresses",
            tunnel_interfaces: Vec<TunnelInterface> = "tunnelInterfaces",
            drain_period_in_seconds: Option<u32> = "drainPeriodInSeconds",
            virtual_network: Option<Reference> = "virtualNetwork",
            sync_mode: Option<SyncMode> = "syncMode",
            /// Ours, not Azure's.
            forebay: Option<PoolExtension> = "forebay",
        }
        read_only {
            /// The ip configurations of network interfaces that say they are in the pool.
            backend_ip_configurations: Vec<Reference> = "backendIPConfigurations",
            load_balancing_rules: Vec<Reference> = "loadBalancingRules",
            outbound_rule: Option<Reference> = "outboundRule",
            outbound_rules: Vec<Reference> = "outboundRules",
            inbound_nat_rules: Vec<Reference> = "inboundNatRules",
        }
    }
}

impl BackendAddressPool {
    /// Members by network interface are said there and only mirrored here, with or without the interface. What may
    /// be said of one here is its health by order, and that stays.
    pub(super) fn strip_mirrors(&mut self) {
        self.load_balancer_backend_addresses.retain_mut(|member| {
            let ordered = matches!(member.admin_state, Some(AdminState::Up | AdminState::Down));
            let mirror = member.network_interface_ip_configuration.is_some();
            if mirror {
                let name = std::mem::take(&mut member.name);
                *member =
                    BackendAddress { name, admin_state: member.admin_state, ..BackendAddress::default() };
            }
            ordered || !(mirror || member.is_empty())
        });
    }
}

impl BackendAddress {
    /// Whether it says nothing but a name, and that its health is not by order.
    fn is_empty(&self) -> bool {
        self.admin_state == Some(AdminState::None)
            && self.ip_address.is_none()
            && self.virtual_network.is_none()
            && self.subnet.is_none()
            && self.load_balancer_frontend_ip_configuration.is_none()
            && self.forebay.is_none()
    }
}

resource! {
    /// A member, by its address.
    BackendAddress("") {
        beside {}
        properties {
            ip_address: Option<IpAddr> = "ipAddress",
            virtual_network: Option<Reference> = "virtualNetwork",
            subnet: Option<Reference> = "subnet",
            admin_state: Option<AdminState> = "adminState",
            load_balancer_frontend_ip_configuration: Option<Reference> = "loadBalancerFrontendIPConfiguration",
            /// Ours, not Azure's.
            forebay: Option<MemberExtension> = "forebay",
        }
        read_only {
            /// The ip configuration this entry mirrors.
            network_interface_ip_configuration: Option<Reference> = "networkInterfaceIPConfiguration",
            inbound_nat_rules_port_mapping: Vec<Value> = "inboundNatRulesPortMapping",
        }
    }
}

object! {
    /// What Azure has no words for, because there the host does it.
    PoolExtension {
        return_path: Option<ReturnPath> = "returnPath",
    }
}

object! {
    /// What Azure's members do not have.
    MemberExtension {
        /// Its share of new flows beside those of the others: 1 to 100; 1 unless said.
        weight: Option<u32> = "weight",
    }
}

object! {
    /// One side of an appliance behind a Gateway load balancer.
    TunnelInterface {
        port: Option<u32> = "port",
        identifier: Option<u32> = "identifier",
        protocol: Option<TunnelProtocol> = "protocol",
        kind: Option<TunnelType> = "type",
    }
}
