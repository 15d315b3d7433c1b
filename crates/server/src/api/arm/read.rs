//! One resource or child, as it is shown.

use axum::response::Response;
use model::{ChildPath, ResourceId};
use serde_json::Value;

use crate::Snapshot;
use crate::api::{Refusal, answer, status};
use crate::catalogue::{Record, Refused, tree};

/// What is at an id.
pub(super) fn one(snapshot: &Snapshot, id: &ResourceId, path: &ChildPath) -> Result<Response, Refusal> {
    let record = snapshot.get(id).ok_or_else(|| match path.is_empty() {
        true => Refused::NotFound { id: id.to_string() },
        false => Refused::ParentNotFound { id: id.to_string() },
    })?;
    let whole = shown(snapshot, record);
    let value = tree::find(&whole, path).ok_or_else(|| Refused::NotFound { id: id.child(path) })?;
    Ok(answer::resource(status::ANSWERED, record.etag(path), value))
}

/// A resource as this dialect shows it: every child has its type.
pub(super) fn shown(snapshot: &Snapshot, record: &Record) -> Value {
    let mut value = snapshot.shown(record);
    let kind = record.id.kind();
    tree::visit(kind, &mut value, &mut |path, object| {
        let collections = path.iter().map(|(collection, _)| format!("/{collection}"));
        object.insert("type".to_owned(), (kind.type_name() + &collections.collect::<String>()).into());
    });
    value
}
