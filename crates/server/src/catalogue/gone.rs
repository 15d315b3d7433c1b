//! What an edit removes: resources, and children of resources that stay. Nobody may refer to it afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::document::Reference;
use model::{ChildPath, Document, Kind, ResourceId, Use};

use super::{Action, Edit, Put, Record, Refused, Snapshot, Touched, tree};

/// What is removed.
pub(super) struct Gone {
    /// By the id in lower case.
    ids: BTreeMap<String, One>,
    /// Where users are looked for: resources as a whole, and children of those that stay.
    places: Vec<(ResourceId, ChildPath)>,
}

struct One {
    /// The id as it is spelled.
    id: String,
    /// Whether its own resource may not refer to it either.
    also_own: bool,
}

impl Gone {
    /// `children` are those of each put.
    pub(super) fn of(present: &Snapshot, edit: &Edit, children: &[Vec<ChildPath>]) -> Self {
        let mut gone = Self { ids: BTreeMap::new(), places: Vec::new() };
        for record in edit.deletes.iter().filter_map(|id| present.get(id)) {
            gone.places.push((record.id.clone(), ChildPath::new()));
            gone.add(record.id.to_string(), false);
            for path in tree::paths(record.id.kind(), &record.value()) {
                gone.add(record.id.child(&path), false);
            }
        }
        for (put, children) in edit.puts.iter().zip(children) {
            if let Some(former) = present.get(&put.id) {
                gone.compare(former, put, children);
            }
        }
        gone
    }

    /// The children that are not there any more.
    fn compare(&mut self, former: &Record, Put { id, touched, .. }: &Put, children: &[ChildPath]) {
        let kept: BTreeSet<String> = children.iter().map(|path| tree::key(path)).collect();
        if former.children.keys().all(|child| kept.contains(child)) {
            return;
        }
        // Who removes a child by its own name wants to hear who uses it, also next to it.
        let is_named = matches!(touched, Touched::Child(_));
        for path in tree::paths(id.kind(), &former.value()) {
            if !kept.contains(&tree::key(&path)) {
                self.add(id.child(&path), is_named);
                self.places.push((id.clone(), path));
            }
        }
    }

    fn add(&mut self, id: String, also_own: bool) {
        self.ids.insert(id.to_ascii_lowercase(), One { id, also_own });
    }

    /// Network interfaces that leave what is gone, of those that are not written themselves.
    pub(super) fn detached(&self, present: &Snapshot, edit: &Edit) -> Vec<Put> {
        let written: BTreeSet<&ResourceId> =
            edit.puts.iter().map(|put| &put.id).chain(&edit.deletes).collect();
        let users = self.users(present);
        let users = users.iter().filter(|id| id.kind() == Kind::NetworkInterface && !written.contains(id));
        users.filter_map(|id| self.detach(present.get(id)?)).collect()
    }

    fn detach(&self, record: &Record) -> Option<Put> {
        let Document::NetworkInterface(before) = &*record.document else { return None };
        let mut interface = before.clone();
        let stays = |reference: &Reference| !self.ids.contains_key(&key_of(&reference.id));
        for configuration in &mut interface.ip_configurations {
            configuration.load_balancer_backend_address_pools.retain(stays);
            configuration.load_balancer_inbound_nat_rules.retain(stays);
        }
        (interface != *before).then(|| Put {
            id: record.id.clone(),
            document: Document::NetworkInterface(interface),
            touched: Touched::Whole,
        })
    }

    /// Whether nobody refers to what is gone: neither who did before, nor who is written now.
    pub(super) fn is_unused(
        &self,
        present: &Snapshot,
        records: &BTreeMap<ResourceId, Arc<Record>>,
        written: &[(Arc<Record>, Action)],
    ) -> Result<(), Refused> {
        if self.ids.is_empty() {
            return Ok(());
        }
        let mut candidates = self.users(present);
        candidates.extend(written.iter().map(|(record, _)| record.id.clone()));
        let mut users: BTreeMap<String, Vec<Use>> = BTreeMap::new();
        for record in candidates.iter().filter_map(|id| records.get(id)) {
            for (path, target) in record.document.references() {
                let target = key_of(&target);
                let Some(One { also_own, .. }) = self.ids.get(&target) else { continue };
                let is_own = target.strip_prefix(record.id.key()).is_some_and(|rest| rest.starts_with('/'));
                if *also_own || !is_own {
                    users.entry(target).or_default().push(Use { by: record.id.to_string(), path });
                }
            }
        }
        match users.into_iter().next() {
            Some((target, users)) => {
                let id = self.ids.get(&target).map_or(target, |one| one.id.clone());
                Err(Refused::InUse { id, users })
            }
            None => Ok(()),
        }
    }

    /// Who refers to it as things are.
    fn users(&self, present: &Snapshot) -> BTreeSet<ResourceId> {
        let users = self.places.iter().flat_map(|(id, path)| present.inventory().users(id, path));
        users.filter_map(|user| Some(ResourceId::parse(&user.by)?.0)).collect()
    }
}

/// Clients are not always careful about slashes around ids.
fn key_of(id: &str) -> String {
    format!("/{}", id.trim_matches('/').to_ascii_lowercase())
}
