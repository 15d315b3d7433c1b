//! `Microsoft.Network/publicIPPrefixes`.

use serde_json::Value;

use super::words::{IpVersion, PublicIpPrefixSkuName, SkuTier};
use super::{ExtendedLocation, Prefix, Reference};

resource! {
    /// Public addresses in a row.
    PublicIpPrefix("Microsoft.Network/publicIPPrefixes") {
        beside {
            location: Option<String> = "location",
            extended_location: Option<ExtendedLocation> = "extendedLocation",
            sku: Option<PublicIpPrefixSku> = "sku",
            zones: Vec<String> = "zones",
        }
        properties {
            prefix_length: Option<u32> = "prefixLength",
            /// Given here by whoever owns the addresses: nobody hands them out as Azure does.
            ip_prefix: Option<Prefix> = "ipPrefix",
            public_ip_address_version: Option<IpVersion> = "publicIPAddressVersion",
            ip_tags: Vec<Value> = "ipTags",
            custom_ip_prefix: Option<Reference> = "customIPPrefix",
            nat_gateway: Option<Value> = "natGateway",
        }
        read_only {
            resource_guid: Option<String> = "resourceGuid",
            /// The addresses taken from it.
            public_ip_addresses: Vec<Reference> = "publicIPAddresses",
            /// The frontend that uses it.
            load_balancer_frontend_ip_configuration: Option<Reference> = "loadBalancerFrontendIpConfiguration",
        }
    }
}

object! {
    /// The kind of a public IP prefix and its reach.
    PublicIpPrefixSku {
        name: Option<PublicIpPrefixSkuName> = "name",
        tier: Option<SkuTier> = "tier",
    }
}
