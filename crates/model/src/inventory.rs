//! Many documents, to be found by id: what refers to what, and which addresses are taken.
//!
//! An inventory is a value. [`Inventory::with`] makes the next one of it, and shares with it all that did not
//! change; nothing is indexed twice.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use crate::document::{Document, IpPool, LoadBalancerManager, LogicalNetwork};
use crate::kind::Kind;
use crate::net::MacAddress;
use crate::resource_id::ResourceId;
pub(crate) use entry::{Child, Entry, Link, key_of};
use entry::{Located, located};
pub use ports::NatMapping;
pub(crate) use segment::{Segment, SegmentKind, next};
pub(crate) use view::mirror_name;

mod claims;
mod entry;
mod ports;
mod segment;
#[cfg(test)]
mod tests;
mod view;

type Keys = BTreeSet<Arc<str>>;
/// Kind and key of each.
type Referrers = BTreeSet<(Kind, Arc<str>)>;

/// Many documents, indexed by id.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// By kind, and then by key.
    kinds: [BTreeMap<Arc<str>, Arc<Entry>>; Kind::ALL.len()],
    /// The keys of documents by their short name `loadBalancers/web`. Where several have it, the first is meant.
    shorts: HashMap<Arc<str>, Arc<Keys>>,
    /// By the short name of a document: the kind and key of whoever refers to such a document, or into it.
    referrers: HashMap<Arc<str>, Arc<Referrers>>,
    /// How many times each address is somebody's.
    claims: HashMap<IpAddr, u32>,
    macs: HashMap<MacAddress, u32>,
}

/// Where a reference leads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) entry: &'a Entry,
    pub(crate) child: Child,
}

/// Somebody who refers to a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// The id of the document that refers; its name, when it has no id.
    pub by: String,
    /// Where in that document.
    pub path: String,
}

impl Inventory {
    /// Indexes documents. Of several with one id the first one counts.
    pub fn of(documents: impl IntoIterator<Item = Arc<Document>>) -> Self {
        let mut inventory = Self::default();
        for document in documents {
            let (kind, key) = (document.kind(), key_of(&document));
            if !inventory.kinds[kind as usize].contains_key(&*key) {
                inventory.enter(kind, Entry::of(document));
            }
        }
        inventory
    }

    /// What it is when some documents come, or take the place of those of their ids, and others go.
    #[must_use]
    pub fn with<'i>(
        &self,
        puts: impl IntoIterator<Item = Arc<Document>>,
        deletes: impl IntoIterator<Item = &'i ResourceId>,
    ) -> Self {
        let mut inventory = self.clone();
        for id in deletes {
            inventory.remove(id);
        }
        for document in puts {
            inventory.put(document);
        }
        inventory
    }

    /// Adds a document, in the place of the one of its id.
    pub fn put(&mut self, document: Arc<Document>) {
        let (kind, key) = (document.kind(), key_of(&document));
        self.leave(kind, &key);
        self.enter(kind, Entry::of(document));
    }

    /// Takes a document out, and says whether it was there.
    pub fn remove(&mut self, id: &ResourceId) -> bool {
        self.leave(id.kind(), key_of_id(id))
    }

    /// The documents, by kind, and within a kind by id.
    pub fn documents(&self) -> impl Iterator<Item = &Arc<Document>> {
        self.entries().map(|entry| &entry.document)
    }

    /// The documents of a kind, by id.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Arc<Document>> {
        self.entries_of(kind).map(|entry| &entry.document)
    }

    /// The document of this id.
    #[must_use]
    pub fn get(&self, id: &ResourceId) -> Option<&Arc<Document>> {
        self.kinds[id.kind() as usize].get(key_of_id(id)).map(|entry| &entry.document)
    }

    /// Who refers to a resource or into it, beside itself; with a path, who refers to that child, or into it, also
    /// its siblings.
    #[must_use]
    pub fn users(&self, id: &ResourceId, child: &[(String, String)]) -> Vec<Use> {
        let Some(entry) = self.kinds[id.kind() as usize].get(key_of_id(id)) else { return Vec::new() };
        let wanted: String = child.iter().map(|(collection, name)| format!("/{collection}/{name}")).collect();
        let wanted = wanted.to_ascii_lowercase();
        let inside = |path: &str| {
            path.strip_prefix(&*wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let mut users = Vec::new();
        for (user, link) in self.links_to(entry) {
            if inside(link.child()) && (!std::ptr::eq(user, &**entry) || !child.is_empty()) {
                users.push(Use { by: user.label().to_owned(), path: link.path.clone() });
            }
        }
        if let [(collection, name)] = child {
            users.extend(entry.siblings_of(collection, name));
        }
        users.sort();
        users.dedup();
        users
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.kinds.iter().flat_map(BTreeMap::values).map(|entry| &**entry)
    }

    pub(crate) fn entries_of(&self, kind: Kind) -> impl Iterator<Item = &Entry> {
        self.kinds[kind as usize].values().map(|entry| &**entry)
    }

    /// The entry of a document that is in it.
    pub(crate) fn entry_of(&self, document: &Document) -> Option<&Entry> {
        self.kinds[document.kind() as usize].get(&*key_of(document)).map(|entry| &**entry)
    }

    /// Where a reference leads.
    pub(crate) fn find(&self, id: &str) -> Option<Place<'_>> {
        let id = id.trim_matches('/').to_ascii_lowercase();
        self.find_located(&located(&id)?)
    }

    /// Where a reference of an entry leads.
    pub(crate) fn follow(&self, link: &Link) -> Option<Place<'_>> {
        self.find_located(&link.located()?)
    }

    fn find_located(&self, at: &Located<'_>) -> Option<Place<'_>> {
        let kind = &self.kinds[at.kind as usize];
        let by_short = || kind.get(at.short);
        // Only files write short references; a full one does not lead to a document of another full id.
        let by_name = || kind.get(self.shorts.get(at.short).filter(|_| at.short == at.whole)?.first()?);
        let entry = kind.get(at.whole).or_else(by_short).or_else(by_name)?;
        Some(Place { entry, child: entry.child(at.child)? })
    }

    /// Every reference that leads to an entry or into it, with the entry that makes it.
    pub(crate) fn links_to<'a>(&'a self, entry: &'a Entry) -> impl Iterator<Item = (&'a Entry, &'a Link)> {
        let referrers = self.referrers.get(&entry.short).into_iter().flat_map(|referrers| referrers.iter());
        let users = referrers.filter_map(|(kind, key)| self.kinds[*kind as usize].get(key));
        users.flat_map(|user| user.links.iter().map(|link| (&**user, link))).filter(|(_, link)| {
            link.located().is_some_and(|at| {
                *at.short == *entry.short
                    && (at.whole == &*entry.key || *entry.key == *entry.short || at.whole == at.short)
            })
        })
    }

    /// The subnet a reference leads to.
    pub(crate) fn segment(&self, id: &str) -> Option<Segment<'_>> {
        Segment::of(self.find(id)?)
    }

    /// The pools that frontends come from, each with its subnet.
    pub(crate) fn vip_pools(&self) -> Vec<(Segment<'_>, &IpPool)> {
        let managers = self.of_kind(Kind::LoadBalancerManager);
        let managers = managers.filter_map(|document| LoadBalancerManager::of(document));
        let references = managers.flat_map(|manager| &manager.vip_ip_pools);
        references.filter_map(|reference| self.find(&reference.id)?.ip_pool()).collect()
    }

    /// How many times an address is somebody's.
    pub(crate) fn claims_of(&self, address: IpAddr) -> u32 {
        self.claims.get(&address).copied().unwrap_or_default()
    }

    /// Every address that is somebody's, in no order.
    pub(crate) fn claimed(&self) -> impl Iterator<Item = IpAddr> {
        self.claims.keys().copied()
    }

    pub(crate) fn claims_of_mac(&self, mac: MacAddress) -> u32 {
        self.macs.get(&mac).copied().unwrap_or_default()
    }

    /// How many addresses of a pool are somebody's.
    fn claimed_in(&self, pool: &IpPool) -> usize {
        self.claims.keys().filter(|address| pool.has(**address)).count()
    }

    fn enter(&mut self, kind: Kind, entry: Entry) {
        for link in &entry.links {
            if let Some(at) = link.located() {
                let referrers = match self.referrers.get_mut(at.short) {
                    Some(referrers) => referrers,
                    None => self.referrers.entry(at.short.into()).or_default(),
                };
                Arc::make_mut(referrers).insert((kind, Arc::clone(&entry.key)));
            }
        }
        for address in claims::addresses(&entry.document) {
            *self.claims.entry(address).or_default() += 1;
        }
        if let Some(mac) = claims::mac(&entry.document) {
            *self.macs.entry(mac).or_default() += 1;
        }
        let keys = self.shorts.entry(Arc::clone(&entry.short)).or_default();
        Arc::make_mut(keys).insert(Arc::clone(&entry.key));
        self.kinds[kind as usize].insert(Arc::clone(&entry.key), Arc::new(entry));
    }

    fn leave(&mut self, kind: Kind, key: &str) -> bool {
        let Some(entry) = self.kinds[kind as usize].remove(key) else { return false };
        if let Some(keys) = self.shorts.get_mut(&entry.short) {
            let keys = Arc::make_mut(keys);
            keys.remove(&entry.key);
            if keys.is_empty() {
                self.shorts.remove(&entry.short);
            }
        }
        for at in entry.links.iter().filter_map(Link::located) {
            if let Some(referrers) = self.referrers.get_mut(at.short) {
                let referrers = Arc::make_mut(referrers);
                referrers.remove(&(kind, Arc::clone(&entry.key)));
                if referrers.is_empty() {
                    self.referrers.remove(at.short);
                }
            }
        }
        for address in claims::addresses(&entry.document) {
            release(&mut self.claims, &address);
        }
        if let Some(mac) = claims::mac(&entry.document) {
            release(&mut self.macs, &mac);
        }
        true
    }
}

/// The key that a document of this id has.
fn key_of_id(id: &ResourceId) -> &str {
    id.key().trim_start_matches('/')
}

fn release<K: Eq + std::hash::Hash>(claims: &mut HashMap<K, u32>, key: &K) {
    if let Some(count) = claims.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            claims.remove(key);
        }
    }
}

impl<'a> Place<'a> {
    pub(crate) fn document(&self) -> &'a Document {
        &self.entry.document
    }

    /// The ipPool that is there, with its subnet.
    pub(crate) fn ip_pool(&self) -> Option<(Segment<'a>, &'a IpPool)> {
        let Child::IpPool(subnet, pool) = self.child else { return None };
        let network = LogicalNetwork::of(self.document())?;
        Some((Segment::of(*self)?, network.subnets.get(subnet)?.ip_pools.get(pool)?))
    }
}
