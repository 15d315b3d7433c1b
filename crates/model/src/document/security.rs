//! `Microsoft.Network/networkSecurityGroups`, the Network Controller's access control lists.

use serde_json::Value;

use super::Reference;
use super::words::{Access, Direction, Logging, SecurityProtocol};
use crate::net::Prefix;

resource! {
    /// Which packets may pass.
    NetworkSecurityGroup("Microsoft.Network/networkSecurityGroups") {
        beside {
            location: Option<String> = "location",
        }
        properties {
            security_rules: Vec<SecurityRule> = "securityRules",
            flush_connection: Option<bool> = "flushConnection",
            /// Ours, not Azure's.
            forebay: Option<SecurityGroupExtension> = "forebay",
        }
        read_only {
            resource_guid: Option<String> = "resourceGuid",
            default_security_rules: Vec<Value> = "defaultSecurityRules",
            flow_logs: Vec<Value> = "flowLogs",
            /// The interfaces it guards.
            network_interfaces: Vec<Reference> = "networkInterfaces",
            /// The ip configurations it guards, each for itself.
            ip_configurations: Vec<Reference> = "ipConfigurations",
            /// The subnets it guards.
            subnets: Vec<Reference> = "subnets",
        }
    }
}

resource! {
    /// One rule of a list; the one of the lowest priority number that matches decides.
    SecurityRule("Microsoft.Network/networkSecurityGroups/securityRules") {
        beside {}
        properties {
            description: Option<String> = "description",
            protocol: Option<SecurityProtocol> = "protocol",
            access: Option<Access> = "access",
            direction: Option<Direction> = "direction",
            priority: Option<u32> = "priority",
            source_port_range: Option<String> = "sourcePortRange",
            source_port_ranges: Vec<String> = "sourcePortRanges",
            destination_port_range: Option<String> = "destinationPortRange",
            destination_port_ranges: Vec<String> = "destinationPortRanges",
            source_address_prefix: Option<String> = "sourceAddressPrefix",
            source_address_prefixes: Vec<String> = "sourceAddressPrefixes",
            destination_address_prefix: Option<String> = "destinationAddressPrefix",
            destination_address_prefixes: Vec<String> = "destinationAddressPrefixes",
            source_application_security_groups: Vec<Reference> = "sourceApplicationSecurityGroups",
            destination_application_security_groups: Vec<Reference> = "destinationApplicationSecurityGroups",
            /// Ours, not Azure's.
            forebay: Option<SecurityRuleExtension> = "forebay",
        }
    }
}

object! {
    /// What the Network Controller says of a list and Azure does not.
    SecurityGroupExtension {
        inbound_default_action: Option<DefaultAction> = "inboundDefaultAction",
        outbound_default_action: Option<DefaultAction> = "outboundDefaultAction",
        /// Ours: what the service tags in its rules stand for.
        service_tags: Vec<ServiceTag> = "serviceTags",
    }
}

object! {
    /// A name for addresses. On Azure everybody knows what it stands for.
    ServiceTag {
        name: Option<String> = "name",
        address_prefixes: Vec<Prefix> = "addressPrefixes",
    }
}

object! {
    /// What the Network Controller says of a rule and Azure does not.
    SecurityRuleExtension {
        logging: Option<Logging> = "logging",
        source_security_tags: Vec<Value> = "sourceSecurityTags",
        destination_security_tags: Vec<Value> = "destinationSecurityTags",
    }
}

words! {
    /// What happens to packets that no rule of a list matches.
    DefaultAction {
        Permit = "Permit",
        Deny = "Deny",
    }
}

impl NetworkSecurityGroup {
    /// What a service tag stands for, where the group says so.
    pub fn prefixes_of_tag(&self, tag: &str) -> Option<impl Iterator<Item = Prefix> + '_> {
        let known = self.forebay.as_ref()?.service_tags.iter();
        let mut named =
            known.filter(|it| it.name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(tag)));
        Some(named.next()?.address_prefixes.iter().copied())
    }
}
