//! Which load balancer a Service is on: the one of the cluster, the one of a set of nodes (Basic), or one of several standard ones.

use model::document::LoadBalancer;

use super::Translation;
use super::balancer::stem;
use super::owner::{other_user, strip};
use crate::annotation::{CONFIGURATIONS, MODE, PREFIX};
use crate::failure::{Class, Failure};
use crate::name::INTERNAL;
use crate::node;
use crate::service::Service;

/// What the mode annotation says.
enum Mode<'a> {
    /// Nothing: the primary set.
    Primary,
    /// Whichever set has room.
    Auto,
    /// This set.
    Set(&'a str),
}

impl Translation<'_> {
    /// The load balancer a Service is to be on, taken off any other one.
    pub(super) fn choose(&mut self, service: &Service<'_>) -> Result<LoadBalancer, Failure> {
        if self.config.is_multiple() {
            return self.choose_among_several(service);
        }
        if self.config.is_standard() {
            return Ok(self.balancer(&self.name_of(self.stem_of_cluster(), service)));
        }
        self.choose_of_set(service)
    }

    pub(super) fn name_of(&self, stem: &str, service: &Service<'_>) -> String {
        format!("{stem}{}", if service.internal { INTERNAL } else { "" })
    }

    fn choose_of_set(&mut self, service: &Service<'_>) -> Result<LoadBalancer, Failure> {
        let mode = match service.annotations.trimmed(MODE) {
            None => Mode::Primary,
            Some(mode) if mode.eq_ignore_ascii_case("__auto__") => Mode::Auto,
            Some(set) => Mode::Set(set),
        };
        let sets = self.sets(&mode)?;
        let current = self.balancer_of(service);
        if let Some(current) = current {
            let wanted = match mode {
                Mode::Set(set) => self.stem_of_set(set).to_owned(),
                Mode::Primary | Mode::Auto => stem(&current).to_owned(),
            };
            if stem(&current).eq_ignore_ascii_case(&wanted) {
                return Ok(self.balancer(&current));
            }
            self.take_off(service, &current)?;
        }
        let named = sets.iter().map(|set| self.name_of(self.stem_of_set(set), service));
        let names: Vec<String> = named.collect();
        let rules =
            |name: &String| self.draft.documents.balancer(name).map(|it| it.load_balancing_rules.len());
        if let Some(free) = names.iter().find(|name| rules(name).is_none()) {
            return Ok(self.balancer(free));
        }
        let fewest = names.iter().min_by_key(|name| rules(name).unwrap_or_default());
        let Some(chosen) = fewest else {
            return Err(Failure::new(Class::SetNotFound, "no set of nodes was found for a load balancer"));
        };
        let (count, most) = (rules(chosen).unwrap_or_default(), self.config.most_rules);
        if most != 0 && count >= most {
            let message =
                format!("load balancer {chosen} has {count} rules: maximumLoadBalancerRuleCount is {most}");
            return Err(Failure::new(Class::TooManyRules, message));
        }
        Ok(self.balancer(chosen))
    }

    /// The sets of nodes whose load balancers may be chosen, in the order of the nodes.
    fn sets(&self, mode: &Mode<'_>) -> Result<Vec<String>, Failure> {
        let mut known: Vec<String> = Vec::new();
        for set in self.cluster.nodes.iter().map(node::set_of).filter(|set| !set.is_empty()) {
            if !known.iter().any(|it| it.eq_ignore_ascii_case(set)) {
                known.push(set.to_owned());
            }
        }
        match mode {
            Mode::Primary => Ok(vec![self.config.primary_set.clone()]),
            Mode::Auto if known.is_empty() => Ok(vec![self.config.primary_set.clone()]),
            Mode::Auto => Ok(known),
            Mode::Set(set) => {
                let is_known =
                    known.iter().chain([&self.config.primary_set]).any(|it| it.eq_ignore_ascii_case(set));
                match is_known {
                    true => Ok(vec![(*set).to_owned()]),
                    false => Err(Failure::new(
                        Class::SetNotFound,
                        format!("annotation {PREFIX}{MODE}: set of nodes ({set}) - not found"),
                    )),
                }
            }
        }
    }

    /// The primary set's load balancer is named after the cluster.
    fn stem_of_set<'s>(&'s self, set: &'s str) -> &'s str {
        if set.eq_ignore_ascii_case(&self.config.primary_set) { self.stem_of_cluster() } else { set }
    }

    /// Takes the frontends, rules and probes of a Service off a load balancer, because it is going to be on another one.
    fn take_off(&mut self, service: &Service<'_>, name: &str) -> Result<(), Failure> {
        let mut balancer = self.balancer(name);
        for frontend in self.owned_frontends(service, name) {
            if let Some(user) = other_user(&balancer, service, &frontend) {
                let message = format!(
                    "{} cannot leave load balancer {name}: {user} uses its frontend {} as well",
                    service.key, frontend.name
                );
                return Err(Failure::new(Class::FrontendInUse, message));
            }
            balancer.frontend_ip_configurations.retain(|it| it.name != frontend.name);
            self.former.push(frontend);
        }
        strip(&mut balancer, service);
        self.put_or_delete(balancer);
        Ok(())
    }

    fn choose_among_several(&mut self, service: &Service<'_>) -> Result<LoadBalancer, Failure> {
        let pinned = self.balancer_of_pins(service)?;
        let eligible = self.eligible(service)?;
        let is_eligible = |name: &str| eligible.iter().any(|it| it.eq_ignore_ascii_case(name));
        if let Some(name) = pinned.as_deref().filter(|name| !is_eligible(stem(name))) {
            let message = format!(
                "the address that {} insists on is on load balancer {name}, where it may not be: {} may",
                service.key,
                eligible.join(", ")
            );
            return Err(Failure::new(Class::PlacementConflict, message));
        }
        let on = self.balancer_of(service);
        let by_name = || on.clone().filter(|_| service.annotations.in_any_case(CONFIGURATIONS).is_none());
        let remembered = || self.placement.of(&service.key).map(|stem| self.name_of(stem, service));
        let current = pinned.or_else(by_name).or_else(remembered);
        let chosen = match current.filter(|name| is_eligible(stem(name))) {
            Some(current) => current,
            None => self.best(service, &eligible)?,
        };
        if let Some(on) = on.filter(|on| !on.eq_ignore_ascii_case(&chosen)) {
            self.take_off(service, &on)?;
        }
        Ok(self.balancer(&chosen))
    }

    /// Where the address is that a Service insists on.
    fn balancer_of_pins(&self, service: &Service<'_>) -> Result<Option<String>, Failure> {
        let names = service.families().into_iter().filter_map(|family| service.public_ip_name(family));
        let is_pinned = !service.pins.is_empty() || (!service.internal && names.count() > 0);
        if !is_pinned {
            return Ok(None);
        }
        if service.annotations.in_any_case(CONFIGURATIONS).is_some() {
            let message = format!(
                "annotation {PREFIX}{CONFIGURATIONS} cannot go with an address that is insisted on: {}",
                if service.pins.is_empty() {
                    "a public IP's name".to_owned()
                } else {
                    service.pins.join(", ")
                }
            );
            return Err(Failure::new(Class::PlacementConflict, message));
        }
        Ok(self.balancer_of(service))
    }

    /// A current one is chosen before; of the others one without rules, one that is not there yet, or the one with fewest rules.
    fn best(&self, service: &Service<'_>, eligible: &[String]) -> Result<String, Failure> {
        const MOST_RULES: usize = 301;
        let names: Vec<String> = eligible.iter().map(|stem| self.name_of(stem, service)).collect();
        let rules =
            |name: &&String| self.draft.documents.balancer(name).map(|it| it.load_balancing_rules.len());
        let empty = names.iter().find(|name| rules(name) == Some(0));
        let missing = || names.iter().find(|name| rules(name).is_none());
        let fewest = || {
            let with_room = names.iter().filter(|name| rules(name).is_some_and(|count| count < MOST_RULES));
            with_room.min_by_key(|name| rules(name))
        };
        empty.or_else(missing).or_else(fewest).cloned().ok_or_else(|| {
            let message = format!(
                "no load balancer has room for {}: {} have {MOST_RULES} rules or more",
                service.key,
                names.join(", ")
            );
            Failure::new(Class::TooManyRules, message)
        })
    }
}
