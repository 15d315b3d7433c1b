//! Frontends: one for each family of a Service, or the one of somebody else whose address it insists on.

use std::net::IpAddr;

use model::document::words::{AllocationMethod, IpVersion};
use model::document::{FrontendIpConfiguration, LoadBalancer, PublicIpAddress, Reference};

use super::Translation;
use super::owner::{Owner, is_own, other_user};
use crate::annotation::{IPV4, IPV6, PREFIX, SUBNET};
use crate::documents::{key_of_public, public_key};
use crate::failure::{Class, Failure};
use crate::name;
use crate::service::{Family, Service};

impl Translation<'_> {
    /// Brings the frontends of a Service to what it wants: those that changed go, and those that are missing come.
    pub(super) fn settle_frontends(
        &mut self,
        service: &Service<'_>,
        balancer: &mut LoadBalancer,
    ) -> Result<(), Failure> {
        self.check_subnet(service)?;
        for frontend in balancer.frontend_ip_configurations.clone() {
            if self.owner(service, &frontend) != Some(Owner::Primary)
                || !self.has_changed(service, &frontend)?
            {
                continue;
            }
            let own = |rule: &model::document::LoadBalancingRule| is_own(service, &rule.name);
            if let Some(user) = other_user(balancer, service, &frontend) {
                let message = format!(
                    "frontend {} of load balancer {} cannot change: {user} uses it as well",
                    frontend.name, balancer.name
                );
                return Err(Failure::new(Class::FrontendInUse, message));
            }
            balancer.frontend_ip_configurations.retain(|it| it.name != frontend.name);
            let of_frontend = |rule: &model::document::LoadBalancingRule| {
                crate::documents::is_to(rule.frontend_ip_configuration.as_ref(), &frontend.name)
            };
            balancer.load_balancing_rules.retain(|rule| !(own(rule) && of_frontend(rule)));
            self.former.push(frontend);
        }
        for family in service.families() {
            if !service.internal {
                self.replace_public_ip(service, family, balancer)?;
            }
            if self.frontend_of(service, balancer, family).is_none() {
                let frontend = match service.internal {
                    true => self.private_frontend(service, family, balancer)?,
                    false => self.public_frontend(service, family, balancer)?,
                };
                balancer.frontend_ip_configurations.push(frontend);
            } else if !service.internal {
                // Whoever shares an address says so on it.
                self.settle_public_ip(service, family)?;
            }
        }
        Ok(())
    }

    /// The frontend of one family on a load balancer that is being changed: its own rather than a shared one.
    pub(super) fn frontend_of(
        &self,
        service: &Service<'_>,
        balancer: &LoadBalancer,
        family: Family,
    ) -> Option<FrontendIpConfiguration> {
        let owned = |owner: Owner| {
            balancer.frontend_ip_configurations.iter().find(|frontend| {
                self.owner(service, frontend) == Some(owner)
                    && self.draft.documents.family_of(frontend) == family
            })
        };
        owned(Owner::Primary).or_else(|| owned(Owner::Secondary)).cloned()
    }

    fn check_subnet(&self, service: &Service<'_>) -> Result<(), Failure> {
        match service.subnet() {
            Some(subnet) if self.draft.documents.subnet(subnet).is_none() => {
                let message = format!(
                    "annotation {PREFIX}{SUBNET}: failed to get subnet {subnet} of network {}",
                    self.config.network.0
                );
                Err(Failure::new(Class::SubnetNotFound, message))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn has_changed(
        &self,
        service: &Service<'_>,
        frontend: &FrontendIpConfiguration,
    ) -> Result<bool, Failure> {
        let family = self.draft.documents.family_of(frontend);
        if !service.has(family) || !frontend.name.eq_ignore_ascii_case(&name::frontend(service, family)) {
            return Ok(true);
        }
        if service.internal {
            let named = service.subnet().map(|subnet| self.places.subnet(subnet));
            let there = frontend.subnet.as_ref().map(|it| it.id.as_str());
            let is_elsewhere =
                named.zip(there).is_some_and(|(named, there)| !named.eq_ignore_ascii_case(there));
            let pin = service.pin(family).map(|pin| private_pin(pin, family)).transpose()?;
            return Ok(is_elsewhere || pin.is_some_and(|pin| frontend.private_ip_address != Some(pin)));
        }
        let desired = self.desired_public_ip(service, family)?;
        let there = self.draft.documents.public_ip(&desired.group, &desired.name);
        let attached = public_key(frontend);
        Ok(there.is_none_or(|it| it.id.as_deref().map(key_of_public) != attached))
    }

    /// An address that the Service had stays its address: where it was just now, or as its status tells it.
    fn private_frontend(
        &self,
        service: &Service<'_>,
        family: Family,
        balancer: &LoadBalancer,
    ) -> Result<FrontendIpConfiguration, Failure> {
        let subnet = service.subnet().unwrap_or(&self.config.subnet);
        let prefixes = self.draft.documents.prefixes(subnet);
        let is_here = |address: &IpAddr| prefixes.iter().any(|prefix| prefix.contains(*address));
        let is_of_family = |address: &IpAddr| Family::of(*address) == family;
        let is_free = |address: &IpAddr| !self.is_on_a_frontend(*address, balancer);
        let address = match service.pin(family) {
            Some(pin) => Some(private_pin(pin, family)?),
            None => {
                let former = self.former.iter().filter(|it| it.name.starts_with(&service.base()));
                let former = former.filter_map(|it| it.private_ip_address);
                former.chain(service.status()).filter(is_of_family).filter(is_here).find(is_free)
            }
        };
        let method = if address.is_some() { AllocationMethod::Static } else { AllocationMethod::Dynamic };
        Ok(FrontendIpConfiguration {
            name: name::frontend(service, family),
            private_ip_address: address,
            private_ip_allocation_method: Some(method),
            private_ip_address_version: Some(version(family)),
            subnet: Some(Reference::to(self.places.subnet(subnet))),
            ..FrontendIpConfiguration::default()
        })
    }

    fn is_on_a_frontend(&self, address: IpAddr, balancer: &LoadBalancer) -> bool {
        let others = self.draft.documents.balancers.values().filter(|it| it.name != balancer.name);
        let frontends = others.flat_map(|it| &it.frontend_ip_configurations);
        frontends
            .chain(&balancer.frontend_ip_configurations)
            .any(|frontend| frontend.private_ip_address == Some(address))
    }

    fn public_frontend(
        &mut self,
        service: &Service<'_>,
        family: Family,
        balancer: &LoadBalancer,
    ) -> Result<FrontendIpConfiguration, Failure> {
        let public = self.settle_public_ip(service, family)?;
        let reference = PublicIpAddress { name: public.name, id: public.id, ..PublicIpAddress::default() };
        let frontend = FrontendIpConfiguration {
            name: name::frontend(service, family),
            public_ip_address: Some(Box::new(reference)),
            ..FrontendIpConfiguration::default()
        };
        match balancer.frontend_ip_configurations.iter().find(|it| public_key(it) == public_key(&frontend)) {
            // It insists on a name that another frontend of this load balancer carries already.
            Some(shared) => Err(Failure::new(
                Class::FrontendInUse,
                format!(
                    "public IP {} is on frontend {} of load balancer {}",
                    public_name(&frontend),
                    shared.name,
                    balancer.name
                ),
            )),
            None => Ok(frontend),
        }
    }
}

fn public_name(frontend: &FrontendIpConfiguration) -> &str {
    frontend.public_ip_address.as_ref().map(|it| it.name.as_str()).unwrap_or_default()
}

/// An address for a private frontend; whether it is in its subnet is for the store to judge.
fn private_pin(pin: &str, family: Family) -> Result<IpAddr, Failure> {
    let name = match family {
        Family::V4 => IPV4,
        Family::V6 => IPV6,
    };
    let address = pin.parse::<IpAddr>().ok().filter(|address| Family::of(*address) == family);
    address.ok_or_else(|| {
        let message = format!(
            "annotation {PREFIX}{name}: invalid LoadBalancer IP `{pin}`: it has to be an {} address",
            family.name()
        );
        Failure::new(Class::InvalidAddress, message)
    })
}

/// The word of a family in documents.
pub(super) const fn version(family: Family) -> IpVersion {
    match family {
        Family::V4 => IpVersion::V4,
        Family::V6 => IpVersion::V6,
    }
}
