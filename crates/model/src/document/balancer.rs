//! `Microsoft.Network/loadBalancers`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::shape::Shape;
use super::words::{Scope, SkuName, SkuTier};
use super::{
    BackendAddressPool, ExtendedLocation, FrontendIpConfiguration, InboundNatPool, InboundNatRule,
    LoadBalancingRule, OutboundRule, Probe,
};
use crate::problem::{Path, Report};

resource! {
    /// A load balancer and everything in it.
    LoadBalancer("Microsoft.Network/loadBalancers") {
        beside {
            location: Option<String> = "location",
            extended_location: Option<ExtendedLocation> = "extendedLocation",
            tags: BTreeMap<String, String> = "tags",
            sku: Option<Sku> = "sku",
        }
        properties {
            resource_guid: Option<String> = "resourceGuid",
            scope: Option<Scope> = "scope",
            mode: Option<String> = "mode",
            frontend_ip_configurations: Vec<FrontendIpConfiguration> = "frontendIPConfigurations",
            backend_address_pools: Vec<BackendAddressPool> = "backendAddressPools",
            load_balancing_rules: Vec<LoadBalancingRule> = "loadBalancingRules",
            probes: Vec<Probe> = "probes",
            inbound_nat_rules: Vec<InboundNatRule> = "inboundNatRules",
            outbound_rules: Vec<OutboundRule> = "outboundRules",
            inbound_nat_pools: Vec<InboundNatPool> = "inboundNatPools",
        }
    }
}

impl LoadBalancer {
    /// Reads a whole document, and derives what may be left out.
    pub(super) fn read_whole(value: &Value, report: &mut Report) -> Option<Self> {
        let mut balancer = Self::read(value, &Path::default(), report)?;
        balancer.settle();
        for rule in &mut balancer.load_balancing_rules {
            rule.settle_pools();
        }
        Some(balancer)
    }

    /// Its SKU: Standard unless it says otherwise.
    #[must_use]
    pub fn sku_name(&self) -> SkuName {
        self.sku.as_ref().and_then(|sku| sku.name).unwrap_or(SkuName::Standard)
    }
}

object! {
    /// The kind of a load balancer and its reach.
    Sku {
        name: Option<SkuName> = "name",
        tier: Option<SkuTier> = "tier",
    }
}
