//! `Microsoft.Network/virtualNetworks`.

use std::net::IpAddr;

use serde_json::Value;

use super::{ExtendedLocation, Prefix, Reference};

resource! {
    /// A network of its own addresses, in subnets.
    VirtualNetwork("Microsoft.Network/virtualNetworks") {
        beside {
            location: Option<String> = "location",
            extended_location: Option<ExtendedLocation> = "extendedLocation",
        }
        properties {
            address_space: Option<AddressSpace> = "addressSpace",
            dhcp_options: Option<DhcpOptions> = "dhcpOptions",
            subnets: Vec<Subnet> = "subnets",
            virtual_network_peerings: Vec<Value> = "virtualNetworkPeerings",
            flow_timeout_in_minutes: Option<u32> = "flowTimeoutInMinutes",
            enable_ddos_protection: Option<bool> = "enableDdosProtection",
            ddos_protection_plan: Option<Reference> = "ddosProtectionPlan",
            enable_vm_protection: Option<bool> = "enableVmProtection",
            bgp_communities: Option<Value> = "bgpCommunities",
            encryption: Option<Value> = "encryption",
            ip_allocations: Vec<Value> = "ipAllocations",
            private_endpoint_vnet_policies: Option<String> = "privateEndpointVNetPolicies",
            /// Ours, not Azure's.
            forebay: Option<VirtualNetworkExtension> = "forebay",
        }
        read_only {
            resource_guid: Option<String> = "resourceGuid",
            flow_logs: Vec<Value> = "flowLogs",
            default_public_nat_gateway: Option<Value> = "defaultPublicNatGateway",
        }
    }
}

resource! {
    /// A part of a virtual network.
    Subnet("Microsoft.Network/virtualNetworks/subnets") {
        beside {}
        properties {
            address_prefix: Option<Prefix> = "addressPrefix",
            address_prefixes: Vec<Prefix> = "addressPrefixes",
            network_security_group: Option<Reference> = "networkSecurityGroup",
            route_table: Option<Reference> = "routeTable",
            nat_gateway: Option<Reference> = "natGateway",
            service_endpoints: Vec<Value> = "serviceEndpoints",
            service_endpoint_policies: Vec<Value> = "serviceEndpointPolicies",
            ip_allocations: Vec<Value> = "ipAllocations",
            delegations: Vec<Value> = "delegations",
            private_endpoint_network_policies: Option<String> = "privateEndpointNetworkPolicies",
            private_link_service_network_policies: Option<String> = "privateLinkServiceNetworkPolicies",
            application_gateway_ip_configurations: Vec<Value> = "applicationGatewayIPConfigurations",
            sharing_scope: Option<String> = "sharingScope",
            default_outbound_access: Option<bool> = "defaultOutboundAccess",
            ipam_pool_prefix_allocations: Vec<Value> = "ipamPoolPrefixAllocations",
            service_gateway: Option<Value> = "serviceGateway",
            /// Ours, not Azure's.
            forebay: Option<SubnetExtension> = "forebay",
        }
        read_only {
            /// Who has an address in it.
            ip_configurations: Vec<Reference> = "ipConfigurations",
            ip_configuration_profiles: Vec<Value> = "ipConfigurationProfiles",
            private_endpoints: Vec<Value> = "privateEndpoints",
            resource_navigation_links: Vec<Value> = "resourceNavigationLinks",
            service_association_links: Vec<Value> = "serviceAssociationLinks",
            purpose: Option<String> = "purpose",
        }
    }
}

impl Subnet {
    /// Its prefixes, in whichever field they stand.
    pub fn prefixes(&self) -> impl Iterator<Item = Prefix> + '_ {
        self.placed_prefixes().map(|(prefix, _)| prefix)
    }

    /// The same, each with its position in `addressPrefixes`, or with none where it is the `addressPrefix`.
    pub(crate) fn placed_prefixes(&self) -> impl Iterator<Item = (Prefix, Option<usize>)> + '_ {
        let single = self.address_prefix.filter(|prefix| !self.address_prefixes.contains(prefix));
        let listed = self.address_prefixes.iter().enumerate().map(|(index, prefix)| (*prefix, Some(index)));
        single.map(|prefix| (prefix, None)).into_iter().chain(listed)
    }
}

object! {
    /// The addresses a virtual network may use.
    AddressSpace {
        address_prefixes: Vec<Prefix> = "addressPrefixes",
        ipam_pool_prefix_allocations: Vec<Value> = "ipamPoolPrefixAllocations",
    }
}

object! {
    /// What machines are told about the network.
    DhcpOptions {
        dns_servers: Vec<IpAddr> = "dnsServers",
    }
}

object! {
    /// What the Network Controller says of a virtual network and Azure does not.
    VirtualNetworkExtension {
        /// The logical network that carries it.
        logical_network: Option<Reference> = "logicalNetwork",
    }
}

object! {
    /// What the Network Controller says of a subnet and Azure does not.
    SubnetExtension {
        /// The subnet of the other family that belongs to it.
        dual_stack_subnet: Option<Reference> = "dualStackSubnet",
    }
}
