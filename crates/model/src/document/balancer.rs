//! `Microsoft.Network/loadBalancers`.

use super::words::{Scope, SkuName, SkuTier};
use super::{
    BackendAddressPool, ExtendedLocation, FrontendIpConfiguration, InboundNatPool, InboundNatRule,
    LoadBalancingRule, OutboundRule, Probe,
};

resource! {
    /// A load balancer and everything in it.
    LoadBalancer("Microsoft.Network/loadBalancers") {
        beside {
            location: Option<String> = "location",
            extended_location: Option<ExtendedLocation> = "extendedLocation",
            sku: Option<Sku> = "sku",
        }
        properties {
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
        read_only {
            resource_guid: Option<String> = "resourceGuid",
        }
    }
}

impl LoadBalancer {
    /// Derives what rules may leave out.
    pub(super) fn settle_rules(&mut self) {
        for rule in &mut self.load_balancing_rules {
            rule.settle_pools();
        }
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
