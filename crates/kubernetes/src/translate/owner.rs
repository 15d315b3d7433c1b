//! Whose frontends, rules and probes are: those whose names begin with a Service's base are its own, and an address that it insists on
//! makes it share the frontend of somebody else.

use std::net::IpAddr;

use model::document::{FrontendIpConfiguration, LoadBalancer};

use super::Translation;
use crate::annotation;
use crate::documents::{key_of_public, public_key};
use crate::name;
use crate::service::Service;

/// How a frontend is a Service's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// It is named after the Service.
    Primary,
    /// The Service insists on its address.
    Secondary,
}

impl Translation<'_> {
    /// How a frontend of a load balancer of the Service's kind is the Service's.
    pub(super) fn owner(&self, service: &Service<'_>, frontend: &FrontendIpConfiguration) -> Option<Owner> {
        if frontend.name.starts_with(&service.base()) {
            return Some(Owner::Primary);
        }
        let pins = || service.pins.iter().filter_map(|pin| pin.parse::<IpAddr>().ok());
        let selected = if service.internal {
            frontend.private_ip_address.is_some_and(|address| pins().any(|pin| pin == address))
        } else if service.pins.is_empty() {
            let family = self.draft.documents.family_of(frontend);
            let name = service.public_ip_name(family).map(str::to_lowercase);
            name.is_some_and(|name| {
                public_key(frontend) == Some((self.public_group(service).to_lowercase(), name))
            })
        } else {
            let group = self.public_group(service);
            let at = |pin| self.draft.documents.public_ip_at(&group, pin)?.id.as_deref().map(key_of_public);
            public_key(frontend).is_some_and(|key| pins().filter_map(at).any(|it| it == key))
        };
        selected.then_some(Owner::Secondary)
    }

    /// The frontends of a load balancer that are a Service's.
    pub(super) fn owned_frontends(
        &self,
        service: &Service<'_>,
        balancer: &str,
    ) -> Vec<FrontendIpConfiguration> {
        let Some(balancer) = self.draft.documents.balancer(balancer) else { return Vec::new() };
        let frontends = balancer.frontend_ip_configurations.iter();
        frontends.filter(|frontend| self.owner(service, frontend).is_some()).cloned().collect()
    }

    /// The load balancer of its kind that has a frontend of a Service.
    pub(super) fn balancer_of(&self, service: &Service<'_>) -> Option<String> {
        let has = |balancer: &&String| !self.owned_frontends(service, balancer).is_empty();
        self.managed_balancers(service.internal).iter().find(has).cloned()
    }

    /// Where public IPs of a Service are.
    pub(super) fn public_group(&self, service: &Service<'_>) -> String {
        let said = service.annotations.trimmed(annotation::RESOURCE_GROUP);
        said.unwrap_or(&self.config.group).to_owned()
    }
}

/// Whether a rule or a probe is named after a Service.
pub(super) fn is_own(service: &Service<'_>, name: &str) -> bool {
    let base = service.base();
    name.get(..base.len()).is_some_and(|start| start.eq_ignore_ascii_case(&base))
}

/// Who else uses a frontend: a rule of another Service, an outbound rule, or inbound NAT.
pub(super) fn other_user(
    balancer: &LoadBalancer,
    service: &Service<'_>,
    frontend: &FrontendIpConfiguration,
) -> Option<String> {
    let is_to = |reference| crate::documents::is_to(reference, &frontend.name);
    let rules = balancer.load_balancing_rules.iter();
    let rule = rules
        .filter(|rule| !is_own(service, &rule.name))
        .find(|rule| is_to(rule.frontend_ip_configuration.as_ref()));
    let outbound = || {
        let to = |reference| is_to(Some(reference));
        balancer.outbound_rules.iter().find(|rule| rule.frontend_ip_configurations.iter().any(to))
    };
    let nat =
        || balancer.inbound_nat_rules.iter().find(|rule| is_to(rule.frontend_ip_configuration.as_ref()));
    let pool =
        || balancer.inbound_nat_pools.iter().find(|pool| is_to(pool.frontend_ip_configuration.as_ref()));
    rule.map(|rule| format!("load balancing rule {}", rule.name))
        .or_else(|| outbound().map(|rule| format!("outbound rule {}", rule.name)))
        .or_else(|| nat().map(|rule| format!("inbound NAT rule {}", rule.name)))
        .or_else(|| pool().map(|pool| format!("inbound NAT pool {}", pool.name)))
}

/// Takes the rules and probes of a Service off a load balancer, and the shared probe when nobody is left who uses it.
pub(super) fn strip(balancer: &mut LoadBalancer, service: &Service<'_>) {
    balancer.load_balancing_rules.retain(|rule| !is_own(service, &rule.name));
    balancer.probes.retain(|probe| !is_own(service, &probe.name));
    drop_unused_shared_probe(balancer);
}

/// The shared probe goes with the last rule that refers to it.
pub(super) fn drop_unused_shared_probe(balancer: &mut LoadBalancer) {
    let shared = name::SHARED_PROBE;
    let uses =
        |rule: &model::document::LoadBalancingRule| crate::documents::is_to(rule.probe.as_ref(), shared);
    if !balancer.load_balancing_rules.iter().any(uses) {
        balancer.probes.retain(|probe| !probe.name.eq_ignore_ascii_case(shared));
    }
}
