//! An edit on its way: everything as it would be, judged, but not stored yet.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use model::{ChildPath, Document, Inventory, Judgement, NatPorts, ResourceId, Terms};

use super::gone::Gone;
use super::resting::Resting;
use super::snapshot::Parts;
use super::{Action, Edit, Put, Record, Refused, Snapshot, etag, tree};
use crate::store::Revision;

/// What an edit makes of everything.
pub(super) struct Draft {
    pub(super) dry_run: bool,
    records: BTreeMap<ResourceId, Arc<Record>>,
    inventory: Inventory,
    judgement: Judgement,
    written: Vec<(Arc<Record>, Action)>,
    deleted: Vec<(ResourceId, Action)>,
}

impl Draft {
    pub(super) fn of(
        present: &Snapshot,
        mut edit: Edit,
        resting: &Resting,
        terms: &Terms,
    ) -> Result<Self, Refused> {
        let unread = std::mem::take(&mut edit.unread);
        match Self::read_wholly(present, edit, resting, terms) {
            made if unread.is_empty() => made,
            Err(Refused::Invalid(judged)) => Err(Refused::Invalid(model::merge(unread, judged))),
            Ok(_) | Err(_) => Err(Refused::Invalid(unread)),
        }
    }

    fn read_wholly(
        present: &Snapshot,
        mut edit: Edit,
        resting: &Resting,
        terms: &Terms,
    ) -> Result<Self, Refused> {
        is_at(present, edit.if_revision)?;
        once_each(&edit)?;
        for put in &mut edit.puts {
            settle(present, put);
        }
        let mut children: Vec<Vec<ChildPath>> = edit.puts.iter().map(children).collect();
        let gone = Gone::of(present, &edit, &children);
        if edit.detach {
            let mut detached = gone.detached(present, &edit);
            children.extend(detached.iter().map(self::children));
            edit.puts.append(&mut detached);
        }
        let deleted: Vec<_> = edit.deletes.iter().map(|id| (id.clone(), of_delete(present, id))).collect();
        let mut records = present.records.clone();
        let mut inventory = present.inventory.clone();
        for id in &edit.deletes {
            records.remove(id);
            inventory.remove(id);
        }
        allocate(&mut inventory, present, &mut edit, resting)?;
        let mut written = Vec::new();
        for (Put { id, document, touched }, children) in edit.puts.into_iter().zip(&children) {
            let former = present.get(&id);
            let action = match former {
                Some(former) if edit.keep_equal && *former.document == document => Action::Unchanged,
                Some(_) => Action::Updated,
                None => Action::Created,
            };
            let record = match (former, action) {
                (Some(former), Action::Unchanged) => Arc::clone(former),
                (former, _) => {
                    let put = Put { id: id.clone(), document, touched };
                    Arc::new(etag::written(former.map(|former| &**former), put, children))
                }
            };
            records.insert(id, Arc::clone(&record));
            written.push((record, action));
        }
        gone.is_unused(present, &records, &written)?;
        let judgement =
            model::judge_after(&inventory, terms, present.desired.nat_ports()).map_err(Refused::Invalid)?;
        Ok(Self { dry_run: edit.dry_run, records, inventory, judgement, written, deleted })
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

    /// The ports of members, as they are to be kept.
    pub(super) const fn nat_ports(&self) -> &NatPorts {
        self.judgement.desired.nat_ports()
    }

    pub(super) fn outcomes(&self) -> Vec<(ResourceId, Action)> {
        let written = self.written.iter().map(|(record, action)| (record.id.clone(), *action));
        written.chain(self.deleted.iter().cloned()).collect()
    }

    /// The addresses that somebody has now and nobody has after it.
    pub(super) fn released(&self, present: &Snapshot) -> BTreeSet<IpAddr> {
        let changed = self.records().map(|record| &record.id).chain(self.deletes());
        let before = changed.filter_map(|id| present.get(id).cloned());
        let after = self.records().flat_map(|record| record.document.addresses());
        let after: BTreeSet<IpAddr> = after.collect();
        let before = before.flat_map(|record| record.document.addresses());
        before.filter(|address| !after.contains(address)).collect()
    }

    pub(super) fn finish(self, present: &Snapshot, revision: Revision, resting: Resting) -> Snapshot {
        let Self { records, inventory, judgement, .. } = self;
        Snapshot::judged(revision, Parts { records, inventory, judgement, resting }, Some(present))
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

/// The places of everything in what is put. Addresses that are filled in later change none of them.
fn children(put: &Put) -> Vec<ChildPath> {
    tree::paths(put.id.kind(), &serde_json::to_value(&put.document).unwrap_or_default())
}

fn of_delete(present: &Snapshot, id: &ResourceId) -> Action {
    if present.get(id).is_some() { Action::Deleted } else { Action::Unchanged }
}

/// Fills in the addresses that are left open, one document after the other, so that each sees what those before it got.
/// What rests, and what somebody had until now, is only for who had it.
fn allocate(
    inventory: &mut Inventory,
    present: &Snapshot,
    edit: &mut Edit,
    resting: &Resting,
) -> Result<(), Refused> {
    let mut held = resting.addresses();
    let ids = edit.puts.iter().map(|put| &put.id).chain(&edit.deletes);
    held.extend(ids.filter_map(|id| present.get(id)).flat_map(|record| record.document.addresses()));
    let mut given = Vec::new();
    for put in &edit.puts {
        let document = Arc::new(put.document.clone());
        inventory.put(Arc::clone(&document));
        given.push(document);
    }
    let mut problems = Vec::new();
    for (Put { id, document, .. }, given) in edit.puts.iter_mut().zip(given) {
        let former = present.get(id).map(|record| &*record.document);
        let own = former.map(Document::addresses).unwrap_or_default();
        for address in &own {
            held.remove(address);
        }
        if let Err(mut wrong) = model::allocate(inventory, document, former, &held) {
            problems.append(&mut wrong);
        }
        held.extend(own);
        if *document != *given {
            inventory.put(Arc::new(document.clone()));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Refused::Invalid(problems)) }
}
