//! Several standard load balancers: who may be on which, who is, and where each node serves.

use std::collections::{BTreeMap, BTreeSet};

use super::balancer::stem;
use super::{Cluster, Translation};
use crate::annotation::{CONFIGURATIONS, PREFIX, items};
use crate::config::Placing;
use crate::documents::Documents;
use crate::event::Event;
use crate::failure::{Class, Failure};
use crate::name;
use crate::node;
use crate::service::{Family, Key, Service};

/// Who is where. It is kept from pass to pass, and learned from the documents at the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    is_learned: bool,
    /// By the name of the configuration in lower case.
    balancers: BTreeMap<String, Placed>,
}

/// Who is on one load balancer, and on its internal twin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    /// The Services.
    pub services: BTreeSet<Key>,
    /// The nodes; nothing while none was ever placed here, and then all nodes serve.
    pub nodes: Option<BTreeSet<String>>,
}

impl Placement {
    /// Who is on the load balancer of a configuration.
    #[must_use]
    pub fn at(&self, configuration: &str) -> Option<&Placed> {
        self.balancers.get(&configuration.to_lowercase())
    }

    /// The configuration that a Service is placed at.
    #[must_use]
    pub fn of(&self, service: &Key) -> Option<&str> {
        let has = |(_, placed): &(&String, &Placed)| placed.services.contains(service);
        self.balancers.iter().find(has).map(|(name, _)| name.as_str())
    }

    /// A Service is there, and nowhere else.
    pub(super) fn record(&mut self, configuration: &str, service: &Key) {
        self.forget(service);
        self.placed(configuration).services.insert(service.clone());
    }

    /// A Service is nowhere.
    pub(super) fn forget(&mut self, service: &Key) {
        for placed in self.balancers.values_mut() {
            placed.services.remove(service);
        }
    }

    /// Where there is no load balancer no node serves.
    pub(super) fn settle(&mut self, documents: &Documents) {
        for (configuration, placed) in &mut self.balancers {
            let is_there = documents.balancers.keys().any(|name| stem(name) == configuration);
            if !is_there {
                placed.nodes = None;
            }
        }
    }

    /// Rules are named after their Services, and pools list their members.
    pub(super) fn learn(&mut self, cluster: &Cluster<'_>, documents: &Documents) {
        if self.is_learned {
            return;
        }
        self.is_learned = true;
        let bases: BTreeMap<String, &Key> =
            cluster.services.iter().map(|(key, it)| (Service::of(it).base(), key)).collect();
        let pools = Family::BOTH.map(|family| name::pool(cluster.name, family));
        for placing in &cluster.config.balancers {
            for balancer in documents.balancers.values() {
                if !stem(&balancer.name).eq_ignore_ascii_case(&placing.name) {
                    continue;
                }
                let placed = self.placed(&placing.name);
                let owners =
                    balancer.load_balancing_rules.iter().filter_map(|rule| rule.name.split('-').next());
                placed.services.extend(owners.filter_map(|base| bases.get(base).map(|key| (*key).clone())));
                let common = balancer
                    .backend_address_pools
                    .iter()
                    .filter(|pool| pools.iter().any(|name| pool.name.eq_ignore_ascii_case(name)));
                for member in common.flat_map(|pool| &pool.load_balancer_backend_addresses) {
                    placed.nodes.get_or_insert_default().insert(member.name.clone());
                }
            }
        }
    }

    fn placed(&mut self, configuration: &str) -> &mut Placed {
        self.balancers.entry(configuration.to_lowercase()).or_default()
    }
}

impl Translation<'_> {
    /// One of several load balancers has to be named like the cluster.
    pub(super) fn check_placing(&self) -> Result<(), Failure> {
        let stem = self.stem_of_cluster();
        let is_there = self.config.balancers.iter().any(|it| it.name.eq_ignore_ascii_case(stem));
        if self.config.is_multiple() && !is_there {
            let message = format!(
                "multipleStandardLoadBalancerConfigurations: none is named like the cluster, `{stem}`: one has to be"
            );
            return Err(Failure::new(Class::Config, message));
        }
        Ok(())
    }

    /// The configurations whose load balancers a Service may be on, in their order.
    pub(super) fn eligible(&self, service: &Service<'_>) -> Result<Vec<String>, Failure> {
        let mut reasons = Vec::new();
        let asked = service.annotations.in_any_case(CONFIGURATIONS).map(|text| {
            items(text).map(str::to_lowercase).filter(|name| !name.is_empty()).collect::<Vec<_>>()
        });
        let is_asked = |placing: &Placing| match &asked {
            Some(asked) => asked.contains(&placing.name.to_lowercase()),
            None => true,
        };
        let candidates: Vec<&Placing> = self.config.balancers.iter().filter(|it| is_asked(it)).collect();
        if candidates.is_empty() {
            let known: Vec<_> = self.config.balancers.iter().map(|it| it.name.as_str()).collect();
            let message = format!(
                "annotation {PREFIX}{CONFIGURATIONS}: no configuration is named {}: there are {}",
                asked.unwrap_or_default().join(" or "),
                known.join(", ")
            );
            return Err(Failure::new(Class::NoBalancer, message));
        }
        let mut eligible = Vec::new();
        for placing in candidates {
            match self.refusal(service, placing) {
                Some(reason) => reasons.push(format!("{}: {reason}", placing.name)),
                None => eligible.push(placing),
            }
        }
        let selects =
            |it: &&Placing| !node::is_empty(it.services.as_ref()) || !node::is_empty(it.namespaces.as_ref());
        if eligible.iter().any(selects) {
            eligible.retain(selects);
        }
        if eligible.is_empty() {
            let message = format!("no load balancer may have {}: {}", service.key, reasons.join("; "));
            return Err(Failure::new(Class::NoBalancer, message));
        }
        Ok(eligible.iter().map(|placing| placing.name.clone()).collect())
    }

    /// Why a Service may not be on a load balancer.
    fn refusal(&self, service: &Service<'_>, placing: &Placing) -> Option<&'static str> {
        let none = node::Labels::new();
        let labels = service.manifest.metadata.labels.as_ref().unwrap_or(&none);
        let namespace = self.cluster.namespaces.get(&service.key.namespace).unwrap_or(&none);
        let is_active = self.placement.at(&placing.name).is_some_and(|it| it.services.contains(&service.key));
        let misses =
            |selector: &Option<_>, labels| selector.as_ref().is_some_and(|it| !node::fits(it, labels));
        if !placing.allows_services && !is_active {
            Some("it takes no more Services (allowServicePlacement)")
        } else if misses(&placing.services, labels) {
            Some("the labels of the Service do not fit serviceLabelSelector")
        } else if misses(&placing.namespaces, namespace) {
            Some("the labels of the namespace do not fit serviceNamespaceSelector")
        } else {
            None
        }
    }

    /// Gives each node a load balancer among those that there are and the current one.
    pub(super) fn place_nodes(&mut self, service: &Service<'_>, current: &str) {
        let exists = |placing: &&Placing| {
            let of = |name: &String| stem(name).eq_ignore_ascii_case(&placing.name);
            of(&current.to_owned()) || self.draft.documents.balancers.values().any(|it| of(&it.name))
        };
        let there: Vec<&Placing> = self.config.balancers.iter().filter(exists).collect();
        let names: BTreeSet<&String> = self.members.iter().map(|member| &member.name).collect();
        for placed in self.placement.balancers.values_mut() {
            if let Some(nodes) = &mut placed.nodes {
                nodes.retain(|node| names.contains(node));
            }
        }
        let (settled, others): (Vec<_>, Vec<_>) = self.members.iter().partition(|member| {
            there.iter().any(|placing| placing.primary_set.eq_ignore_ascii_case(&member.set))
        });
        for member in settled {
            let home = there.iter().find(|placing| placing.primary_set.eq_ignore_ascii_case(&member.set));
            if let Some(home) = home {
                move_to(&mut self.placement, &member.name, &home.name);
            }
        }
        let mut homeless = Vec::new();
        for member in others {
            let selected = |placing: &&&Placing| {
                let selector = placing.nodes.as_ref().filter(|it| !node::is_empty(Some(*it)));
                selector.is_some_and(|it| node::fits(it, &member.labels))
            };
            let mut candidates: Vec<&&Placing> = there.iter().filter(selected).collect();
            if candidates.is_empty() {
                candidates = there.iter().filter(|placing| node::is_empty(placing.nodes.as_ref())).collect();
            }
            let nodes = |placing: &Placing| self.placement.at(&placing.name).and_then(|it| it.nodes.as_ref());
            if candidates.iter().any(|it| nodes(it).is_some_and(|nodes| nodes.contains(&member.name))) {
                continue;
            }
            match candidates.iter().min_by_key(|it| nodes(it).map_or(0, BTreeSet::len)) {
                Some(fewest) => move_to(&mut self.placement, &member.name, &fewest.name),
                None => homeless.push(member.name.clone()),
            }
        }
        for node in homeless {
            for placed in self.placement.balancers.values_mut() {
                if let Some(nodes) = &mut placed.nodes {
                    nodes.remove(&node);
                }
            }
            let message = format!("no load balancer fits node {node} ({})", service.key);
            self.tell(Event::warning("FailedToFindLoadBalancerForNode", message));
        }
    }

    /// Whether a node serves on a load balancer.
    pub(super) fn serves_on(&self, node: &str, balancer: &str) -> bool {
        if !self.config.is_multiple() {
            return true;
        }
        let nodes = self.placement.at(stem(balancer)).and_then(|placed| placed.nodes.as_ref());
        nodes.is_none_or(|nodes| nodes.contains(node))
    }

    /// Every load balancer of the cluster, both kinds.
    pub(super) fn all_managed(&self) -> Vec<String> {
        let mut names = self.managed_balancers(false);
        names.extend(self.managed_balancers(true));
        names
    }
}

fn move_to(placement: &mut Placement, node: &str, configuration: &str) {
    for placed in placement.balancers.values_mut() {
        if let Some(nodes) = &mut placed.nodes {
            nodes.remove(node);
        }
    }
    placement.placed(configuration).nodes.get_or_insert_default().insert(node.to_owned());
}
