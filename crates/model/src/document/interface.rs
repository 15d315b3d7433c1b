//! `Microsoft.Network/networkInterfaces`: who is a member, and of which pools, is said here.

use std::net::IpAddr;

use serde_json::Value;

use super::words::{AllocationMethod, IpVersion};
use super::{ExtendedLocation, MacAddress, PublicIpAddress, Reference};

resource! {
    /// A network interface of a machine.
    NetworkInterface("Microsoft.Network/networkInterfaces") {
        beside {
            location: Option<String> = "location",
            extended_location: Option<ExtendedLocation> = "extendedLocation",
        }
        properties {
            ip_configurations: Vec<IpConfiguration> = "ipConfigurations",
            mac_address: Option<MacAddress> = "macAddress",
            primary: Option<bool> = "primary",
            enable_ip_forwarding: Option<bool> = "enableIPForwarding",
            enable_accelerated_networking: Option<bool> = "enableAcceleratedNetworking",
            disable_tcp_state_tracking: Option<bool> = "disableTcpStateTracking",
            network_security_group: Option<Reference> = "networkSecurityGroup",
            dns_settings: Option<InterfaceDnsSettings> = "dnsSettings",
            nic_type: Option<String> = "nicType",
            auxiliary_mode: Option<String> = "auxiliaryMode",
            auxiliary_sku: Option<String> = "auxiliarySku",
            workload_type: Option<String> = "workloadType",
            migration_phase: Option<String> = "migrationPhase",
            virtual_machine: Option<Reference> = "virtualMachine",
            /// Ours, not Azure's.
            forebay: Option<InterfaceExtension> = "forebay",
        }
        read_only {
            resource_guid: Option<String> = "resourceGuid",
            default_outbound_connectivity_enabled: Option<bool> = "defaultOutboundConnectivityEnabled",
            dscp_configuration: Option<Value> = "dscpConfiguration",
            hosted_workloads: Vec<Value> = "hostedWorkloads",
            private_endpoint: Option<Value> = "privateEndpoint",
            private_link_service: Option<Value> = "privateLinkService",
            tap_configurations: Vec<Value> = "tapConfigurations",
            vnet_encryption_supported: Option<bool> = "vnetEncryptionSupported",
        }
    }
}

resource! {
    /// An address of a network interface, the pools it serves in, and the NAT rules that lead to it.
    IpConfiguration("Microsoft.Network/networkInterfaces/ipConfigurations") {
        beside {}
        properties {
            private_ip_address: Option<IpAddr> = "privateIPAddress",
            private_ip_address_prefix_length: Option<u32> = "privateIPAddressPrefixLength",
            private_ip_allocation_method: Option<AllocationMethod> = "privateIPAllocationMethod",
            private_ip_address_version: Option<IpVersion> = "privateIPAddressVersion",
            primary: Option<bool> = "primary",
            subnet: Option<Reference> = "subnet",
            /// Usually only its id; an expanded one counts by its id.
            public_ip_address: Option<Box<PublicIpAddress>> = "publicIPAddress",
            load_balancer_backend_address_pools: Vec<Reference> = "loadBalancerBackendAddressPools",
            load_balancer_inbound_nat_rules: Vec<Reference> = "loadBalancerInboundNatRules",
            application_security_groups: Vec<Reference> = "applicationSecurityGroups",
            application_gateway_backend_address_pools: Vec<Reference> = "applicationGatewayBackendAddressPools",
            gateway_load_balancer: Option<Reference> = "gatewayLoadBalancer",
            virtual_network_taps: Vec<Value> = "virtualNetworkTaps",
            /// Ours, not Azure's.
            forebay: Option<IpConfigurationExtension> = "forebay",
        }
        read_only {
            private_link_connection_properties: Option<Value> = "privateLinkConnectionProperties",
        }
    }
}

object! {
    /// Whom a network interface asks for names, and what it is called.
    InterfaceDnsSettings {
        dns_servers: Vec<IpAddr> = "dnsServers",
        internal_dns_name_label: Option<String> = "internalDnsNameLabel",
        /// Which of these are in force is for others to find out; kept.
        applied_dns_servers: Vec<IpAddr> = "appliedDnsServers",
        internal_fqdn: Option<String> = "internalFqdn",
        internal_domain_name_suffix: Option<String> = "internalDomainNameSuffix",
    }
}

object! {
    /// What the Network Controller says of a network interface and Azure does not.
    InterfaceExtension {
        mac_allocation_method: Option<AllocationMethod> = "macAllocationMethod",
        is_host_virtual_network_interface: Option<bool> = "isHostVirtualNetworkInterface",
        is_multitenant_stack: Option<bool> = "isMultitenantStack",
        port_settings: Option<Value> = "portSettings",
        security_tags: Vec<Value> = "securityTags",
        /// The host of the machine, which is no resource here.
        server: Option<Value> = "server",
        service: Option<Value> = "service",
        service_insertion_elements: Vec<Value> = "serviceInsertionElements",
    }
}

object! {
    /// What the Network Controller says of an ip configuration and Azure does not, and what neither does.
    IpConfigurationExtension {
        /// Its share of new flows in its pools, beside those of other members: 1 to 100; 1 unless said.
        weight: Option<u32> = "weight",
        network_security_group: Option<Reference> = "networkSecurityGroup",
        learned_ip: Option<Value> = "learnedIp",
        service_insertion: Option<Value> = "serviceInsertion",
        security_tags: Vec<Value> = "securityTags",
    }
}
