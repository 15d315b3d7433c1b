//! `frontendIPConfigurations`.

use std::net::IpAddr;

use serde_json::Value;

use super::words::{AllocationMethod, IpVersion};
use super::{PublicIpAddress, Reference};

resource! {
    /// An address clients call.
    FrontendIpConfiguration("Microsoft.Network/loadBalancers/frontendIPConfigurations") {
        beside {
            zones: Vec<String> = "zones",
        }
        properties {
            private_ip_address: Option<IpAddr> = "privateIPAddress",
            private_ip_allocation_method: Option<AllocationMethod> = "privateIPAllocationMethod",
            private_ip_address_version: Option<IpVersion> = "privateIPAddressVersion",
            subnet: Option<Reference> = "subnet",
            /// Usually only its id; an expanded one brings its address along.
            public_ip_address: Option<Box<PublicIpAddress>> = "publicIPAddress",
            public_ip_prefix: Option<Reference> = "publicIPPrefix",
            gateway_load_balancer: Option<Reference> = "gatewayLoadBalancer",
            ddos_settings: Option<Value> = "ddosSettings",
            enable_connection_tracking: Option<bool> = "enableConnectionTracking",
            forebay: Option<FrontendExtension> = "forebay",
        }
        read_only {
            inbound_nat_rules: Vec<Reference> = "inboundNatRules",
            inbound_nat_pools: Vec<Reference> = "inboundNatPools",
            outbound_rules: Vec<Reference> = "outboundRules",
            load_balancing_rules: Vec<Reference> = "loadBalancingRules",
        }
    }
}

object! {
    /// What Azure has no words for.
    FrontendExtension {
        /// Whether echo requests are answered while somebody serves (ICMP-2): yes, unless this is false. Azure answers none.
        echo: Option<bool> = "echo",
        /// Whose rules packets to the frontend must pass, beside those of the members' groups (ACL-1).
        network_security_group: Option<Reference> = "networkSecurityGroup",
    }
}
