//! Rules for all ports and the members they lead to: networking-rest.md 10.5.

use model::document::words::TransportProtocol;
use model::document::{IpConfiguration, LoadBalancer, LoadBalancingRule, NetworkInterface};
use model::{Document, Kind, ResourceId};

use super::Guard;
use crate::api::networking::translate::finding::Finding;

impl Guard<'_> {
    /// The members of a load balancer's pools, when the load balancer is written.
    pub(super) fn members_of(&self, id: &ResourceId, balancer: &LoadBalancer) -> Vec<Finding> {
        let is_one = |record: &model::Document| match record {
            Document::LoadBalancer(it) => it.load_balancing_rules.iter().any(is_for_all_ports),
            _ => false,
        };
        let others = self.snapshot.of_kind(Kind::LoadBalancer).filter(|record| record.id != *id);
        if !balancer.load_balancing_rules.iter().any(is_for_all_ports)
            && !others.into_iter().any(|record| is_one(&record.document))
        {
            return Vec::new();
        }
        let within = format!("{}/", id.key());
        let mut findings = Vec::new();
        for record in self.snapshot.of_kind(Kind::NetworkInterface) {
            let Document::NetworkInterface(interface) = &*record.document else { continue };
            for configuration in &interface.ip_configurations {
                let mut pools = configuration.load_balancer_backend_address_pools.iter();
                if pools.any(|pool| pool.id.to_lowercase().starts_with(&within)) {
                    let member = self.home.pointer(&record.id.to_string(), "");
                    findings.extend(self.member(configuration, &member, Some((id, balancer))));
                }
            }
        }
        findings
    }

    /// The members of an interface, when the interface is written.
    pub(super) fn members_at(&self, interface: &NetworkInterface) -> Vec<Finding> {
        let configurations = interface.ip_configurations.iter();
        configurations.flat_map(|configuration| self.member(configuration, self.at, None)).collect()
    }

    fn member(
        &self,
        configuration: &IpConfiguration,
        interface: &str,
        written: Option<(&ResourceId, &LoadBalancer)>,
    ) -> Option<Finding> {
        let mut rules: Vec<(bool, bool)> = Vec::new();
        for pool in &configuration.load_balancer_backend_address_pools {
            let (id, path) = ResourceId::parse(&pool.id)?;
            let (_, pool) = path.first()?;
            let balancer = match written {
                Some((written, balancer)) if *written == id => balancer,
                Some(_) | None => match self.snapshot.get(&id).map(|record| &*record.document) {
                    Some(Document::LoadBalancer(balancer)) => balancer,
                    Some(_) | None => continue,
                },
            };
            let leads_here = |rule: &&LoadBalancingRule| {
                let mut pools = rule.backend_address_pool.iter().chain(&rule.backend_address_pools);
                pools.any(|it| it.id.rsplit('/').next().is_some_and(|name| name.eq_ignore_ascii_case(pool)))
            };
            let found = balancer.load_balancing_rules.iter().filter(leads_here);
            rules.extend(found.map(|rule| (is_for_all_ports(rule), rule.enable_floating_ip == Some(true))));
        }
        let (code, message) = match () {
            () if rules.contains(&(true, false)) && rules.len() > 1 => (
                "IpConfigCannotHaveOtherLbRulesWithNonFloatingIpAnyPortRule",
                "a rule for all ports takes everything that arrives here, and there are other rules: use another pool",
            ),
            () if rules.contains(&(true, true)) && rules.iter().any(|(_, floating)| !floating) => (
                "IpConfigCannotHaveFloatingIpAnyPortLbRulesWithNonFloatingIpRules",
                "a rule for all ports with floating IP leads here, and one without floating IP does as well: use \
                 floating IP for both, or another pool",
            ),
            () => return None,
        };
        let at = format!("{interface}/ipConfigurations/{}", configuration.name);
        Some(Finding::at(&at, "loadBalancerBackendAddressPools", code, message))
    }
}

fn is_for_all_ports(rule: &LoadBalancingRule) -> bool {
    rule.protocol == Some(TransportProtocol::All) && rule.frontend_port == Some(0)
}
