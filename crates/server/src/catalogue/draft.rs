//! An edit on its way: everything as it would be, judged, but not stored yet.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use model::{Document, ResourceId};

use super::judge::{self, Judgement, Limits, Use};
use super::resting::Resting;
use super::{Action, Edit, Put, Record, Refused, Snapshot, Touched, etag, tree};
use crate::store::Revision;

/// What an edit makes of everything.
pub(super) struct Draft {
    pub(super) dry_run: bool,
    records: BTreeMap<ResourceId, Arc<Record>>,
    judgement: Judgement,
    written: Vec<(Arc<Record>, Action)>,
    deleted: Vec<(ResourceId, Action)>,
}

impl Draft {
    pub(super) fn of(
        present: &Snapshot,
        mut edit: Edit,
        resting: &Resting,
        limits: &Limits,
    ) -> Result<Self, Refused> {
        is_at(present, edit.if_revision)?;
        once_each(&edit)?;
        for put in &mut edit.puts {
            settle(present, put);
        }
        let gone = Gone::of(present, &edit);
        if edit.detach {
            edit.puts.append(&mut gone.detached(present, &edit));
        }
        let deleted: Vec<_> = edit.deletes.iter().map(|id| (id.clone(), of_delete(present, id))).collect();
        let mut records = present.records.clone();
        for id in &edit.deletes {
            records.remove(id);
        }
        allocate(&records, &mut edit.puts, present, resting)?;
        let mut written = Vec::new();
        for Put { id, document, touched } in edit.puts {
            let former = present.get(&id);
            let action = match former {
                Some(former) if edit.keep_equal && *former.document == document => Action::Unchanged,
                Some(_) => Action::Updated,
                None => Action::Created,
            };
            let record = match (former, action) {
                (Some(former), Action::Unchanged) => Arc::clone(former),
                (former, _) => {
                    Arc::new(etag::written(former.map(|former| &**former), id.clone(), document, &touched))
                }
            };
            records.insert(id, Arc::clone(&record));
            written.push((record, action));
        }
        gone.is_unused(&records)?;
        let judgement = judge::judge(records.values().map(|record| &record.document), limits)
            .map_err(Refused::Invalid)?;
        Ok(Self { dry_run: edit.dry_run, records, judgement, written, deleted })
    }

    /// Whether nothing would change.
    pub(super) fn is_nothing(&self) -> bool {
        self.records().next().is_none() && self.deletes().next().is_none()
    }

    /// Records that are new or replaced.
    pub(super) fn records(&self) -> impl Iterator<Item = &Arc<Record>> {
        let changed = self.written.iter().filter(|(_, action)| *action != Action::Unchanged);
        changed.map(|(record, _)| record)
    }

    /// Records that are gone.
    pub(super) fn deletes(&self) -> impl Iterator<Item = &ResourceId> {
        self.deleted.iter().filter(|(_, action)| *action == Action::Deleted).map(|(id, _)| id)
    }

    pub(super) fn outcomes(&self) -> Vec<(ResourceId, Action)> {
        let written = self.written.iter().map(|(record, action)| (record.id.clone(), *action));
        written.chain(self.deleted.iter().cloned()).collect()
    }

    /// The addresses that somebody has now and nobody has after it.
    pub(super) fn released(&self, present: &Snapshot) -> BTreeSet<IpAddr> {
        let changed = self.records().map(|record| &record.id).chain(self.deletes());
        let before = changed.filter_map(|id| present.get(id).cloned());
        let after = self.records().flat_map(|record| judge::addresses(&record.document));
        let after: BTreeSet<IpAddr> = after.collect();
        let before = before.flat_map(|record| judge::addresses(&record.document));
        before.filter(|address| !after.contains(address)).collect()
    }

    pub(super) fn finish(self, present: &Snapshot, revision: Revision) -> Snapshot {
        Snapshot::judged(revision, self.records, self.judgement, Some(present))
    }
}

fn is_at(present: &Snapshot, wanted: Option<Revision>) -> Result<(), Refused> {
    match wanted {
        Some(wanted) if wanted != present.revision => {
            Err(Refused::Revision { wanted, found: present.revision })
        }
        Some(_) | None => Ok(()),
    }
}

fn once_each(edit: &Edit) -> Result<(), Refused> {
    let mut seen = BTreeSet::new();
    let ids = edit.puts.iter().map(|put| &put.id).chain(&edit.deletes);
    for id in ids {
        if !seen.insert(id) {
            return Err(Refused::Twice { id: id.to_string() });
        }
    }
    Ok(())
}

/// Takes out what only the server says, and gives it and its children their ids. A name stays spelled as it is.
fn settle(present: &Snapshot, put: &mut Put) {
    if let Some(former) = present.get(&put.id) {
        put.id = former.id.clone();
    }
    put.document.strip_read_only();
    put.document.identify(&put.id);
}

fn of_delete(present: &Snapshot, id: &ResourceId) -> Action {
    if present.get(id).is_some() { Action::Deleted } else { Action::Unchanged }
}

/// Fills in addresses, one document after the other, so that each sees what those before it got.
fn allocate(
    records: &BTreeMap<ResourceId, Arc<Record>>,
    puts: &mut [Put],
    present: &Snapshot,
    resting: &Resting,
) -> Result<(), Refused> {
    let resting = resting.addresses();
    let written: BTreeSet<ResourceId> = puts.iter().map(|put| put.id.clone()).collect();
    let others = records.iter().filter(|(id, _)| !written.contains(id));
    let mut documents: Vec<Arc<Document>> = others.map(|(_, record)| Arc::clone(&record.document)).collect();
    let mut problems = Vec::new();
    for Put { id, document, .. } in puts {
        let former = present.get(id).map(|record| &*record.document);
        if let Err(mut wrong) = judge::allocate(&documents, document, former, &resting) {
            problems.append(&mut wrong);
        }
        documents.push(Arc::new(document.clone()));
    }
    if problems.is_empty() { Ok(()) } else { Err(Refused::Invalid(problems)) }
}

/// What an edit removes: resources, and children of resources that stay.
struct Gone {
    /// By the id in lower case.
    ids: BTreeMap<String, One>,
}

/// Something that is removed.
struct One {
    /// As it is spelled.
    id: String,
    /// Whether its own resource may not refer to it either.
    also_own: bool,
}

impl Gone {
    fn of(present: &Snapshot, edit: &Edit) -> Self {
        let mut ids = BTreeMap::new();
        let mut add = |id: String, also_own| ids.insert(id.to_ascii_lowercase(), One { id, also_own });
        for record in edit.deletes.iter().filter_map(|id| present.get(id)) {
            add(record.id.to_string(), false);
            for path in tree::paths(record.id.kind(), &record.value()) {
                add(record.id.child(&path), false);
            }
        }
        for Put { id, document, touched } in &edit.puts {
            let Some(former) = present.get(id) else { continue };
            let value = serde_json::to_value(document).unwrap_or_default();
            let kept: BTreeSet<String> =
                tree::paths(id.kind(), &value).iter().map(|path| tree::key(path)).collect();
            // Who removes a child by its own name wants to hear who uses it, also next to it.
            let is_named = matches!(touched, Touched::Child(_));
            if former.children.keys().all(|child| kept.contains(child)) {
                continue;
            }
            for path in tree::paths(id.kind(), &former.value()) {
                if !kept.contains(&tree::key(&path)) {
                    add(id.child(&path), is_named);
                }
            }
        }
        Self { ids }
    }

    /// Network interfaces that leave what is gone.
    fn detached(&self, present: &Snapshot, edit: &Edit) -> Vec<Put> {
        let written =
            |id: &ResourceId| edit.puts.iter().any(|put| put.id == *id) || edit.deletes.contains(id);
        let interfaces = present.of_kind(model::Kind::NetworkInterface).filter(|record| !written(&record.id));
        interfaces.filter_map(|record| self.detach(record)).collect()
    }

    fn detach(&self, record: &Record) -> Option<Put> {
        let Document::NetworkInterface(interface) = &*record.document else { return None };
        let mut interface = interface.clone();
        let before = interface.clone();
        let stays = |reference: &model::document::Reference| {
            !self.ids.contains_key(&reference.id.to_ascii_lowercase())
        };
        for configuration in &mut interface.ip_configurations {
            configuration.load_balancer_backend_address_pools.retain(stays);
            configuration.load_balancer_inbound_nat_rules.retain(stays);
        }
        (interface != before).then(|| Put {
            id: record.id.clone(),
            document: Document::NetworkInterface(interface),
            touched: Touched::Whole,
        })
    }

    /// Whether nobody refers to what is gone.
    fn is_unused(&self, records: &BTreeMap<ResourceId, Arc<Record>>) -> Result<(), Refused> {
        if self.ids.is_empty() {
            return Ok(());
        }
        let mut users: BTreeMap<String, Vec<Use>> = BTreeMap::new();
        for record in records.values() {
            for (path, target) in record.document.references() {
                let target = target.to_ascii_lowercase();
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
}
