//! What the catalogue promises: nothing by halves, nothing lost, nothing removed that is in use.

use std::sync::Arc;

use model::{ChildPath, Document, Kind, ResourceId};
use serde_json::{Value, json};

use super::*;
use crate::store::Memory;

mod addresses;
mod backups;
mod failing;
mod random;
mod together;
mod writes;

/// A catalogue on a store that stays when the catalogue is opened again.
struct Bench {
    store: Arc<dyn Store>,
    catalogue: Catalogue,
}

impl Bench {
    async fn new() -> Self {
        Self::on(Arc::new(Memory::new())).await
    }

    async fn on(store: Arc<dyn Store>) -> Self {
        let catalogue = Catalogue::open(Arc::clone(&store), limits()).await.unwrap();
        Self { store, catalogue }
    }

    async fn write(&self, edit: Edit) -> Result<Arc<Written>, Refused> {
        self.catalogue.write(move |_| Ok(edit)).await
    }

    async fn put(&self, value: Value) -> Result<Arc<Written>, Refused> {
        self.write(put(value)).await
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.catalogue.snapshot()
    }

    /// The record of a resource that is there.
    fn record(&self, id: &ResourceId) -> Arc<Record> {
        Arc::clone(self.snapshot().get(id).unwrap())
    }

    /// Who opens the store now sees the same.
    async fn is_durable(&self) {
        let again = Catalogue::open(Arc::clone(&self.store), limits()).await.unwrap();
        same(&again.snapshot(), &self.snapshot());
    }
}

fn limits() -> Limits {
    Limits::default()
}

fn same(one: &Snapshot, other: &Snapshot) {
    assert_eq!((one.revision, &one.records), (other.revision, &other.records));
    assert_eq!((&one.desired, &one.shortfalls), (&other.desired, &other.shortfalls));
}

fn id(kind: Kind, name: &str) -> ResourceId {
    ResourceId::new("s", "g", kind, name).unwrap()
}

fn balancer_id(name: &str) -> ResourceId {
    id(Kind::LoadBalancer, name)
}

/// Writes a whole document by its id.
fn put(value: Value) -> Edit {
    let (id, _) = ResourceId::parse(value["id"].as_str().unwrap()).unwrap();
    Edit::put(id, read(&value))
}

fn read(value: &Value) -> Document {
    Document::read(value, "a test's document").unwrap()
}

/// Several edits at once.
fn all(edits: impl IntoIterator<Item = Edit>) -> Edit {
    edits.into_iter().fold(Edit::default(), |mut all, mut edit| {
        all.puts.append(&mut edit.puts);
        all.deletes.append(&mut edit.deletes);
        all
    })
}

fn resource(id: &ResourceId, properties: Value) -> Value {
    let kind = id.kind().type_name();
    json!({ "id": id.to_string(), "name": id.name(), "type": kind, "properties": properties })
}

/// A load balancer that does nothing, with a number in its tags.
fn empty_balancer(name: &str, number: u64) -> Value {
    let mut value = resource(&balancer_id(name), json!({}));
    value["tags"] = json!({ "number": number.to_string() });
    value
}

fn number(record: &Record) -> u64 {
    let Document::LoadBalancer(balancer) = &*record.document else { return 0 };
    balancer.tags.get("number").map_or(0, |number| number.parse().unwrap())
}

fn path(text: &str) -> ChildPath {
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
    parts.chunks(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect()
}
