//! `Microsoft.Network/logicalNetworks`: the networks that are there, and the addresses to be handed out. Azure has
//! no such resource.

use std::net::IpAddr;

use serde_json::Value;

use super::{Prefix, Reference};

resource! {
    /// A physical network, in subnets.
    LogicalNetwork("Microsoft.Network/logicalNetworks") {
        beside {}
        properties {
            network_virtualization_enabled: Option<bool> = "networkVirtualizationEnabled",
            subnets: Vec<LogicalSubnet> = "subnets",
        }
        read_only {
            /// The virtual networks that it carries.
            virtual_networks: Vec<Reference> = "virtualNetworks",
        }
    }
}

resource! {
    /// A segment of a logical network.
    LogicalSubnet("Microsoft.Network/logicalNetworks/subnets") {
        beside {}
        properties {
            address_prefix: Option<Prefix> = "addressPrefix",
            vlan_id: Option<u32> = "vlanId",
            dns_servers: Vec<IpAddr> = "dnsServers",
            default_gateways: Vec<IpAddr> = "defaultGateways",
            is_public: Option<bool> = "isPublic",
            routes: Vec<Value> = "routes",
            ip_pools: Vec<IpPool> = "ipPools",
        }
        read_only {
            /// Who has an address in it.
            ip_configurations: Vec<Reference> = "ipConfigurations",
            network_interfaces: Vec<Reference> = "networkInterfaces",
        }
    }
}

resource! {
    /// Addresses of a logical subnet to be handed out, from the first to the last.
    IpPool("Microsoft.Network/logicalNetworks/subnets/ipPools") {
        beside {}
        properties {
            start_ip_address: Option<IpAddr> = "startIpAddress",
            end_ip_address: Option<IpAddr> = "endIpAddress",
        }
        read_only {
            usage: Option<PoolUsage> = "usage",
        }
    }
}

object! {
    /// How many addresses of a pool there are, and how many are taken.
    PoolUsage {
        number_of_ip_addresses: Option<u32> = "numberOfIPAddresses",
        number_of_ip_addresses_allocated: Option<u32> = "numberOfIPAddressesAllocated",
        number_of_ip_addresses_in_transition: Option<u32> = "numberOfIPAddressesInTransition",
    }
}
