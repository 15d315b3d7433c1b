//! One load balancer as one Service wants it: pools, frontends, rules and probes, tags, and then its members.

use model::document::words::SkuName;
use model::document::{BackendAddressPool, LoadBalancer, Reference, Sku};

use super::Translation;
use super::owner::{drop_unused_shared_probe, is_own, other_user, strip};
use super::rule;
use crate::config::{PoolType, Preconfigured};
use crate::documents::Write;
use crate::event::Event;
use crate::failure::Failure;
use crate::name::{self, INTERNAL};
use crate::node;
use crate::service::{Family, Service};
use crate::tag;

impl Translation<'_> {
    /// Brings the load balancer of a Service to what the Service wants, and says which it is.
    pub(super) fn serve(&mut self, service: &Service<'_>) -> Result<String, Failure> {
        self.drop_basic();
        let mut balancer = self.choose(service)?;
        let name = balancer.name.clone();
        self.add_pools(service, &mut balancer);
        self.settle_frontends(service, &mut balancer)?;
        self.settle_rules(service, &mut balancer)?;
        tag::settle(&mut balancer.tags, &self.config.tags, &self.config.system_tags);
        self.drop_local_pools(service, &mut balancer);
        self.draft.put_balancer(balancer);
        if self.config.is_multiple() {
            self.placement.record(stem(&name), &service.key);
            self.place_nodes(service, &name);
        }
        self.settle_members(service, &name);
        self.leave_others(service, &name);
        Ok(name)
    }

    /// Takes everything of a Service off the load balancers of its kind.
    pub(super) fn withdraw(&mut self, service: &Service<'_>) {
        self.drop_basic();
        for name in self.managed_balancers(service.internal) {
            let Some(there) = self.draft.documents.balancer(&name).cloned() else { continue };
            let mut balancer = (*there).clone();
            strip(&mut balancer, service);
            for frontend in self.owned_frontends(service, &name) {
                match other_user(&balancer, service, &frontend) {
                    Some(user) => {
                        let message = format!(
                            "frontend {} of load balancer {name} stays: {user} uses it",
                            frontend.name
                        );
                        self.tell(Event::warning("DeletingFrontendIPConfiguration", message));
                    }
                    None => {
                        balancer.frontend_ip_configurations.retain(|it| it.name != frontend.name);
                        self.former.push(frontend);
                    }
                }
            }
            self.drop_own_local_pools(service, &mut balancer);
            self.put_or_delete(balancer);
        }
    }

    /// Writes a load balancer, or deletes it when it has lost its last frontend.
    pub(super) fn put_or_delete(&mut self, balancer: LoadBalancer) {
        let Some(there) = self.draft.documents.balancer(&balancer.name) else { return };
        let is_last = balancer.frontend_ip_configurations.is_empty()
            && !there.frontend_ip_configurations.is_empty()
            && !self.is_preconfigured(&balancer.name);
        match is_last {
            true => self.draft.write(Write::DeleteBalancer(balancer.name)),
            false => self.draft.put_balancer(balancer),
        }
    }

    /// The load balancers of a kind that are the cluster's, in the order of the config.
    pub(super) fn managed_balancers(&self, internal: bool) -> Vec<String> {
        let known = self.draft.documents.balancers.values().map(|it| it.name.clone());
        let managed = known.filter(|name| is_internal(name) == internal && self.is_managed(name));
        let mut names: Vec<String> = managed.collect();
        let place = |name: &String| {
            let placings = &self.config.balancers;
            placings.iter().position(|it| it.name.eq_ignore_ascii_case(stem(name))).unwrap_or(usize::MAX)
        };
        names.sort_by_key(place);
        names
    }

    fn is_managed(&self, name: &str) -> bool {
        let stem = stem(name);
        let is = |other: &str| stem.eq_ignore_ascii_case(other);
        is(self.stem_of_cluster())
            || (!self.config.is_standard()
                && (is(&self.config.primary_set)
                    || self.cluster.nodes.iter().any(|node| is(node::set_of(node)))))
            || (self.config.is_multiple() && self.config.balancers.iter().any(|it| is(&it.name)))
    }

    /// What the load balancers of the cluster are called, without what tells the kinds apart.
    pub(super) fn stem_of_cluster(&self) -> &str {
        self.config.balancer_name.as_deref().unwrap_or(self.cluster.name)
    }

    /// The document of a load balancer, or a new one.
    pub(super) fn balancer(&self, name: &str) -> LoadBalancer {
        match self.draft.documents.balancer(name) {
            Some(there) => (**there).clone(),
            None => LoadBalancer {
                name: name.to_owned(),
                id: Some(self.places.balancer(name)),
                location: self.config.location.clone(),
                sku: Some(Sku { name: Some(self.config.sku), tier: None }),
                ..LoadBalancer::default()
            },
        }
    }

    fn is_preconfigured(&self, balancer: &str) -> bool {
        match self.config.preconfigured {
            Preconfigured::None => false,
            Preconfigured::Internal => is_internal(balancer),
            Preconfigured::External => !is_internal(balancer),
            Preconfigured::All => true,
        }
    }

    /// Whether the pools of a load balancer are left to somebody else.
    pub(super) fn has_foreign_members(&self, balancer: &str) -> bool {
        self.is_preconfigured(balancer)
    }

    /// Basic load balancers of a cluster that has standard ones now.
    fn drop_basic(&mut self) {
        if !self.config.is_standard() {
            return;
        }
        let managed = self.managed_balancers(false).into_iter().chain(self.managed_balancers(true));
        let is_basic = |name: &String| {
            self.draft.documents.balancer(name).is_some_and(|it| it.sku_name() == SkuName::Basic)
        };
        let basic: Vec<String> = managed.filter(is_basic).collect();
        for name in basic {
            let gone = self.draft.documents.balancer(&name).map(|it| it.frontend_ip_configurations.clone());
            self.former.extend(gone.unwrap_or_default());
            self.draft.write(Write::DeleteBalancer(name));
        }
    }

    fn add_pools(&self, service: &Service<'_>, balancer: &mut LoadBalancer) {
        for family in service.families() {
            let name = self.pool_of(service, family);
            if !balancer.backend_address_pools.iter().any(|pool| pool.name.eq_ignore_ascii_case(&name)) {
                let network =
                    (self.config.pools == PoolType::NodeIp).then(|| Reference::to(self.places.network()));
                let pool =
                    BackendAddressPool { name, virtual_network: network, ..BackendAddressPool::default() };
                balancer.backend_address_pools.push(pool);
            }
        }
    }

    /// The pool that the rules of a Service lead to.
    pub(super) fn pool_of(&self, service: &Service<'_>, family: Family) -> String {
        match self.config.is_multiple() && service.is_local() {
            true => name::local_pool(service, family),
            false => name::pool(self.cluster.name, family),
        }
    }

    /// A Service that has no pool of its own any more leaves none behind.
    fn drop_local_pools(&self, service: &Service<'_>, balancer: &mut LoadBalancer) {
        if !(self.config.is_multiple() && service.is_local()) {
            self.drop_own_local_pools(service, balancer);
        }
    }

    fn drop_own_local_pools(&self, service: &Service<'_>, balancer: &mut LoadBalancer) {
        let own = Family::BOTH.map(|family| name::local_pool(service, family));
        let common = Family::BOTH.map(|family| name::pool(self.cluster.name, family));
        balancer.backend_address_pools.retain(|pool| {
            let is = |name: &String| pool.name.eq_ignore_ascii_case(name);
            !own.iter().any(is) || common.iter().any(is)
        });
    }

    fn settle_rules(&mut self, service: &Service<'_>, balancer: &mut LoadBalancer) -> Result<(), Failure> {
        let mut wanted = rule::Wanted::default();
        for family in service.families() {
            let Some(frontend) = self.frontend_of(service, balancer, family) else { continue };
            rule::check_conflicts(self, service, balancer, &frontend)?;
            let more = self.rules(service, balancer, &frontend, family)?;
            wanted.rules.extend(more.rules);
            wanted.probes.extend(
                more.probes
                    .into_iter()
                    .filter(|probe| {
                        !wanted.probes.iter().any(|other| other.name.eq_ignore_ascii_case(&probe.name))
                    })
                    .collect::<Vec<_>>(),
            );
        }
        let rules = &mut balancer.load_balancing_rules;
        rules.retain(|rule| {
            !is_own(service, &rule.name) || wanted.rules.iter().any(|it| rule::is_same(rule, it))
        });
        for rule in wanted.rules {
            if !rules.iter().any(|there| there.name.eq_ignore_ascii_case(&rule.name)) {
                rules.push(rule);
            }
        }
        let probes = &mut balancer.probes;
        probes.retain(|probe| {
            let is_shared = probe.name.eq_ignore_ascii_case(name::SHARED_PROBE);
            let named = wanted.probes.iter().find(|it| it.name.eq_ignore_ascii_case(&probe.name));
            match named {
                Some(wanted) => rule::is_same_probe(probe, wanted),
                None => is_shared || !is_own(service, &probe.name),
            }
        });
        for probe in wanted.probes {
            if !probes.iter().any(|there| there.name.eq_ignore_ascii_case(&probe.name)) {
                probes.push(probe);
            }
        }
        drop_unused_shared_probe(balancer);
        Ok(())
    }

    /// Nothing of a Service stays on other load balancers of its kind, where it may have been.
    fn leave_others(&mut self, service: &Service<'_>, current: &str) {
        for name in self.managed_balancers(service.internal) {
            if name.eq_ignore_ascii_case(current) {
                continue;
            }
            let Some(there) = self.draft.documents.balancer(&name) else { continue };
            let mut balancer = (**there).clone();
            strip(&mut balancer, service);
            self.drop_own_local_pools(service, &mut balancer);
            let free = |frontend: &model::document::FrontendIpConfiguration| {
                frontend.name.starts_with(&service.base())
                    && other_user(&balancer, service, frontend).is_none()
            };
            let gone: Vec<String> = balancer
                .frontend_ip_configurations
                .iter()
                .filter(|frontend| free(frontend))
                .map(|frontend| frontend.name.clone())
                .collect();
            balancer.frontend_ip_configurations.retain(|frontend| !gone.contains(&frontend.name));
            self.put_or_delete(balancer);
        }
    }
}

/// Whether a load balancer has private frontends.
pub(super) fn is_internal(name: &str) -> bool {
    name.to_lowercase().ends_with(INTERNAL)
}

/// The name of a load balancer without what tells the kinds apart.
pub(super) fn stem(name: &str) -> &str {
    match is_internal(name) {
        true => &name[..name.len() - INTERNAL.len()],
        false => name,
    }
}
