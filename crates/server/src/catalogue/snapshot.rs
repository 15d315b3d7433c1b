//! Everything, as of one revision. It never changes: whoever has one sees one consistent state.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Desired, Document, Kind, Problem, ResourceId};
use serde_json::{Map, Value};

use super::judge::{self, Judgement, Limits};
use super::{Record, tree};
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
    /// What of it is valid, but cannot be done yet.
    pub shortfalls: Arc<Vec<Problem>>,
}

impl Snapshot {
    pub(super) fn of(
        revision: Revision,
        records: Vec<Record>,
        limits: &Limits,
    ) -> Result<Self, Vec<Problem>> {
        let records: BTreeMap<_, _> =
            records.into_iter().map(|record| (record.id.clone(), Arc::new(record))).collect();
        let judgement = judge::judge(records.values().map(|record| &record.document), limits)?;
        Ok(Self::judged(revision, records, judgement))
    }

    pub(super) fn judged(
        revision: Revision,
        records: BTreeMap<ResourceId, Arc<Record>>,
        judgement: Judgement,
    ) -> Self {
        let Judgement { desired, shortfalls } = judgement;
        Self { revision, records, desired: Arc::new(desired), shortfalls: Arc::new(shortfalls) }
    }

    /// One resource.
    #[must_use]
    pub fn get(&self, id: &ResourceId) -> Option<&Arc<Record>> {
        self.records.get(id)
    }

    /// All resources of a kind, sorted by their ids.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Arc<Record>> {
        self.records.values().filter(move |record| record.id.kind() == kind)
    }

    /// A resource as everybody may see it: with who refers to it, and what follows from others.
    #[must_use]
    pub fn view(&self, record: &Record) -> Document {
        Document::clone(&record.document)
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
                if path.is_empty() {
                    properties.insert("resourceGuid".to_owned(), record.instance(path).to_string().into());
                }
            }
        });
        value
    }
}
