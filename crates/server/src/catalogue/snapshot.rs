//! Everything, as of one revision. It never changes: whoever has one sees one consistent state.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use model::{Desired, Document, Inventory, Judgement, Kind, Pool, Problem, ResourceId, Rule, Terms};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::resting::Resting;
use super::wanted::Wanted;
use super::{Kept, Record, tree};
use crate::store::Revision;

/// Everything there is.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When it was last written.
    pub revision: Revision,
    /// All resources.
    pub records: BTreeMap<ResourceId, Arc<Record>>,
    /// What they ask for together.
    pub desired: Arc<Desired>,
    /// What of it is valid, but cannot be done yet, by resource.
    pub shortfalls: Arc<Vec<Problem>>,
    pub(super) inventory: Inventory,
    wanted: Wanted,
    /// The instances of network interfaces, by their addresses.
    adapters: Arc<BTreeMap<IpAddr, Uuid>>,
    resting: Resting,
}

/// What a snapshot is made of.
pub(super) struct Parts {
    pub(super) records: BTreeMap<ResourceId, Arc<Record>>,
    pub(super) inventory: Inventory,
    pub(super) judgement: Judgement,
    pub(super) resting: Resting,
}

impl Snapshot {
    pub(super) fn of(
        revision: Revision,
        Kept { records, resting, ports }: Kept,
        terms: &Terms,
    ) -> Result<Self, Vec<Problem>> {
        let records: BTreeMap<_, _> =
            records.into_iter().map(|record| (record.id.clone(), Arc::new(record))).collect();
        let inventory = Inventory::of(records.values().map(|record| Arc::clone(&record.document)));
        let judgement = model::judge_after(&inventory, terms, &ports)?;
        Ok(Self::judged(revision, Parts { records, inventory, judgement, resting }, None))
    }

    /// What is not changed since `former` is known to be wanted longer.
    pub(super) fn judged(revision: Revision, parts: Parts, former: Option<&Self>) -> Self {
        let Parts { records, inventory, judgement: Judgement { desired, mut shortfalls }, resting } = parts;
        let desired = match former {
            Some(former) if *former.desired == desired => Arc::clone(&former.desired),
            Some(_) | None => Arc::new(desired),
        };
        let wanted = match former {
            Some(former) if Arc::ptr_eq(&former.desired, &desired) => former.wanted.clone(),
            Some(former) => former.wanted.then(&former.desired, &desired, revision),
            None => Wanted::since(&desired, revision),
        };
        let adapters = match former {
            Some(former) if same_interfaces(&former.records, &records) => Arc::clone(&former.adapters),
            Some(_) | None => Arc::new(interfaces(&records).flat_map(|record| adapters(record)).collect()),
        };
        shortfalls.sort();
        let shortfalls = Arc::new(shortfalls);
        Self { revision, records, desired, shortfalls, inventory, wanted, adapters, resting }
    }

    /// One resource.
    #[must_use]
    pub fn get(&self, id: &ResourceId) -> Option<&Arc<Record>> {
        self.records.get(id)
    }

    /// All documents, to be found by what refers to them.
    #[must_use]
    pub const fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// What of a resource is valid, but cannot be done yet.
    #[must_use]
    pub fn shortfalls_of(&self, id: &ResourceId) -> &[Problem] {
        let id = id.to_string();
        let from = self.shortfalls.partition_point(|problem| problem.document < id);
        let to = self.shortfalls.partition_point(|problem| problem.document <= id);
        &self.shortfalls[from..to]
    }

    /// The revision since which what a frontend address does is wanted as it is.
    #[must_use]
    pub fn wanted_since(&self, frontend: IpAddr) -> Revision {
        self.wanted.of(frontend)
    }

    /// The address of a load balancer's frontend, when the data path has it.
    #[must_use]
    pub fn frontend_address(&self, balancer: &ResourceId, frontend: &str) -> Option<IpAddr> {
        names(balancer, frontend).iter().find_map(|name| self.wanted.named(&self.desired, name))
    }

    /// The network interface that has an address.
    pub(crate) fn adapter(&self, address: IpAddr) -> Option<Uuid> {
        self.adapters.get(&address).copied()
    }

    /// A load balancer's pool, when the data path has it.
    #[must_use]
    pub fn pool(&self, balancer: &ResourceId, pool: &str) -> Option<&Pool> {
        let found = names(balancer, pool).iter().find_map(|name| self.desired.pool_named(name));
        found.map(|at| self.desired.pool(at))
    }

    /// A load balancer's rule, once for each of its frontends, as far as the data path has it.
    #[must_use]
    pub fn rules(&self, balancer: &ResourceId, rule: &str) -> Vec<&Rule> {
        let names = names(balancer, rule);
        self.desired.rules().iter().filter(|rule| names.iter().any(|name| name == rule.name())).collect()
    }

    /// All resources of a kind, sorted by their ids.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Arc<Record>> {
        self.records.values().filter(move |record| record.id.kind() == kind)
    }

    /// A resource as everybody may see it: with who refers to it, and what follows from others.
    #[must_use]
    pub fn view(&self, record: &Record) -> Document {
        let mut view = self.inventory.view_with_ports(&record.document, self.desired.nat_ports());
        if let Document::LogicalNetwork(network) = &mut view {
            let now = SystemTime::now();
            for pool in network.subnets.iter_mut().flat_map(|subnet| &mut subnet.ip_pools) {
                let count = pool.range().map_or(0, |range| self.resting.count(range, now));
                if let Some(usage) = &mut pool.usage {
                    usage.number_of_ip_addresses_in_transition = u32::try_from(count).ok();
                }
            }
        }
        view
    }

    /// The same as canonical JSON, with etags and states of it and everything in it.
    #[must_use]
    pub fn shown(&self, record: &Record) -> Value {
        let mut value = serde_json::to_value(self.view(record)).unwrap_or_default();
        tree::visit(record.id.kind(), &mut value, &mut |path, object| {
            let etag = record.etag(path);
            object.insert("etag".to_owned(), etag.into());
            let properties = object.entry("properties").or_insert_with(|| Map::new().into());
            if let Some(properties) = properties.as_object_mut() {
                properties.insert("provisioningState".to_owned(), "Succeeded".into());
                if path.is_empty() && is_azures(record.id.kind()) {
                    properties.insert("resourceGuid".to_owned(), record.instance(path).to_string().into());
                }
            }
        });
        value
    }
}

/// What the parts of a load balancer are called where things are wanted: by its name, or by its id when that is not its own.
fn names(balancer: &ResourceId, part: &str) -> [String; 2] {
    let id = balancer.to_string();
    [format!("{}/{part}", balancer.name()), format!("{}/{part}", id.trim_start_matches('/'))]
}

fn interfaces(records: &BTreeMap<ResourceId, Arc<Record>>) -> impl Iterator<Item = &Arc<Record>> {
    records.values().filter(|record| record.id.kind() == Kind::NetworkInterface)
}

fn same_interfaces(
    before: &BTreeMap<ResourceId, Arc<Record>>,
    after: &BTreeMap<ResourceId, Arc<Record>>,
) -> bool {
    interfaces(before).map(Arc::as_ptr).eq(interfaces(after).map(Arc::as_ptr))
}

fn adapters(record: &Record) -> impl Iterator<Item = (IpAddr, Uuid)> {
    record.document.addresses().into_iter().map(|address| (address, record.instance))
}

/// Whether it is a kind of Azure's, where a resource shows its instance.
const fn is_azures(kind: Kind) -> bool {
    match kind {
        Kind::LoadBalancer
        | Kind::PublicIpAddress
        | Kind::PublicIpPrefix
        | Kind::VirtualNetwork
        | Kind::NetworkInterface
        | Kind::NetworkSecurityGroup => true,
        Kind::LogicalNetwork | Kind::LoadBalancerManager | Kind::LoadBalancerMux | Kind::VirtualServer => {
            false
        }
    }
}
