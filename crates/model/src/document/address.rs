//! `Microsoft.Network/publicIPAddresses`, as far as a public frontend needs it.

use std::net::IpAddr;

use serde_json::Value;

use super::words::{AllocationMethod, IpVersion, PublicIpSkuName, SkuTier};
use super::{ExtendedLocation, Reference};

resource! {
    /// A public address.
    PublicIpAddress("Microsoft.Network/publicIPAddresses") {
        beside {
            location: Option<String> = "location",
            extended_location: Option<ExtendedLocation> = "extendedLocation",
            sku: Option<PublicIpSku> = "sku",
            zones: Vec<String> = "zones",
        }
        properties {
            ip_address: Option<IpAddr> = "ipAddress",
            public_ip_address_version: Option<IpVersion> = "publicIPAddressVersion",
            public_ip_allocation_method: Option<AllocationMethod> = "publicIPAllocationMethod",
            idle_timeout_in_minutes: Option<u32> = "idleTimeoutInMinutes",
            ip_tags: Vec<Value> = "ipTags",
            dns_settings: Option<Value> = "dnsSettings",
            ddos_settings: Option<Value> = "ddosSettings",
            public_ip_prefix: Option<Reference> = "publicIPPrefix",
            delete_option: Option<String> = "deleteOption",
            migration_phase: Option<String> = "migrationPhase",
            linked_public_ip_address: Option<Value> = "linkedPublicIPAddress",
            service_public_ip_address: Option<Value> = "servicePublicIPAddress",
        }
        read_only {
            resource_guid: Option<String> = "resourceGuid",
            /// Who uses it.
            ip_configuration: Option<Value> = "ipConfiguration",
            nat_gateway: Option<Value> = "natGateway",
        }
    }
}

object! {
    /// The kind of a public address and its reach.
    PublicIpSku {
        name: Option<PublicIpSkuName> = "name",
        tier: Option<SkuTier> = "tier",
    }
}
