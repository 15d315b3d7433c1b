//! Members and targets that are written at the load balancer. They live at the network interfaces, which are written
//! with it.

use std::collections::{BTreeMap, BTreeSet};

use model::document::{NetworkInterface, Reference};
use model::{Document, Kind, ResourceId};
use serde_json::Value;

use super::translate::finding::Finding;
use super::translate::read::Reader;
use super::translate::reference::Home;
use crate::catalogue::{Put, Snapshot, Touched, tree};

/// The network interfaces as they shall be, after what was written at the pools and NAT rules of a load balancer.
pub fn puts(
    snapshot: &Snapshot,
    reader: &Reader<'_>,
    home: &Home,
    balancer: (&ResourceId, &Value),
) -> Result<Vec<Put>, Vec<Finding>> {
    let pools = reader.members.iter().filter(|_| reader.updates_pools);
    let pools = pools
        .map(|(pool, members)| (List::Pools, pool, members.iter().map(|id| id.to_lowercase()).collect()));
    let rules = reader.targets.iter();
    let rules = rules.map(|(rule, target)| (List::NatRules, rule, BTreeSet::from([target.to_lowercase()])));
    let wishes: Vec<(List, &String, BTreeSet<String>)> = pools.chain(rules).collect();
    if wishes.is_empty() {
        return Ok(Vec::new());
    }
    let mut interfaces = Interfaces::of(snapshot);
    for (list, owner, wanted) in wishes {
        interfaces.assign(list, owner, &wanted, home);
    }
    let Interfaces { changed, findings, .. } = interfaces;
    if !findings.is_empty() {
        return Err(findings);
    }
    Ok(changed.into_iter().map(|(id, interface)| put(id.clone(), interface, balancer)).collect())
}

/// What of an ip configuration says where it belongs.
#[derive(Clone, Copy)]
enum List {
    Pools,
    NatRules,
}

/// An ip configuration: its interface, and which it is there.
type Spot<'a> = (&'a ResourceId, usize);

struct Interfaces<'a> {
    all: BTreeMap<&'a ResourceId, &'a NetworkInterface>,
    /// Where each ip configuration is, by its id in lower case.
    places: BTreeMap<String, Spot<'a>>,
    /// Who is in each pool and behind each NAT rule, by its id in lower case.
    holders: BTreeMap<String, BTreeSet<Spot<'a>>>,
    changed: BTreeMap<&'a ResourceId, NetworkInterface>,
    findings: Vec<Finding>,
}

impl<'a> Interfaces<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let mut all = BTreeMap::new();
        let mut places = BTreeMap::new();
        let mut holders: BTreeMap<String, BTreeSet<Spot<'a>>> = BTreeMap::new();
        for record in snapshot.of_kind(Kind::NetworkInterface) {
            let Document::NetworkInterface(interface) = &*record.document else { continue };
            for (at, configuration) in interface.ip_configurations.iter().enumerate() {
                let id =
                    format!("{}/ipconfigurations/{}", record.id.key(), configuration.name.to_lowercase());
                places.insert(id, (&record.id, at));
                let lists =
                    [List::Pools, List::NatRules].into_iter().filter_map(|list| list.of(interface, at));
                for reference in lists.flatten() {
                    holders.entry(reference.id.to_lowercase()).or_default().insert((&record.id, at));
                }
            }
            all.insert(&record.id, &**interface);
        }
        Self { all, places, holders, changed: BTreeMap::new(), findings: Vec::new() }
    }

    /// Lets exactly the wanted ip configurations belong to something.
    fn assign(&mut self, list: List, owner: &str, wanted: &BTreeSet<String>, home: &Home) {
        for absent in wanted.iter().filter(|id| !self.places.contains_key(*id)) {
            let field = match list {
                List::Pools => "backendIPConfigurations",
                List::NatRules => "backendIPConfiguration",
            };
            let message =
                format!("there is no {}: write that first, or point elsewhere", home.pointer(absent, ""));
            let owner = home.pointer(owner, "");
            self.findings.push(Finding::at(&owner, field, "InvalidResourceReference", message));
        }
        let wanted: BTreeSet<Spot<'a>> =
            wanted.iter().filter_map(|id| self.places.get(id).copied()).collect();
        let found = self.holders.get(&owner.to_lowercase()).cloned().unwrap_or_default();
        for spot in found.difference(&wanted) {
            self.change(*spot, list, |references| {
                references.retain(|reference| !reference.id.eq_ignore_ascii_case(owner));
            });
        }
        for spot in wanted.difference(&found) {
            self.change(*spot, list, |references| references.push(Reference::to(owner)));
        }
    }

    fn change(&mut self, (id, at): Spot<'a>, list: List, act: impl FnOnce(&mut Vec<Reference>)) {
        let Some(former) = self.all.get(id) else { return };
        let interface = self.changed.entry(id).or_insert_with(|| (*former).clone());
        if let Some(references) = list.of_mut(interface, at) {
            act(references);
        }
    }
}

impl List {
    fn of(self, interface: &NetworkInterface, at: usize) -> Option<&Vec<Reference>> {
        let configuration = interface.ip_configurations.get(at)?;
        Some(match self {
            Self::Pools => &configuration.load_balancer_backend_address_pools,
            Self::NatRules => &configuration.load_balancer_inbound_nat_rules,
        })
    }

    fn of_mut(self, interface: &mut NetworkInterface, at: usize) -> Option<&mut Vec<Reference>> {
        let configuration = interface.ip_configurations.get_mut(at)?;
        Some(match self {
            Self::Pools => &mut configuration.load_balancer_backend_address_pools,
            Self::NatRules => &mut configuration.load_balancer_inbound_nat_rules,
        })
    }
}

/// The put of an interface, which also leaves what the load balancer has no longer.
fn put(id: ResourceId, mut interface: NetworkInterface, (balancer, document): (&ResourceId, &Value)) -> Put {
    let kept: BTreeSet<String> = tree::paths(Kind::LoadBalancer, document)
        .iter()
        .map(|path| format!("{}/{}", balancer.key(), tree::key(path)))
        .collect();
    let within = format!("{}/", balancer.key());
    let stays = |reference: &Reference| {
        let id = reference.id.to_lowercase();
        !id.starts_with(&within) || kept.contains(&id)
    };
    for configuration in &mut interface.ip_configurations {
        configuration.load_balancer_backend_address_pools.retain(stays);
        configuration.load_balancer_inbound_nat_rules.retain(stays);
    }
    Put { id, document: Document::from(interface), touched: Touched::Whole }
}
