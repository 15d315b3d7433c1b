//! One resource or child, as it is shown.

use axum::response::Response;
use model::{ChildPath, ResourceId};
use serde_json::Value;

use crate::api::{Refusal, answer, status};
use crate::catalogue::{Record, Refused, tree};
use crate::realised::States;
use crate::{Realised, Snapshot};

/// What is at an id.
pub(super) fn one(
    snapshot: &Snapshot,
    realised: &Realised,
    id: &ResourceId,
    path: &ChildPath,
) -> Result<Response, Refusal> {
    let record = snapshot.get(id).ok_or_else(|| match path.is_empty() {
        true => Refused::NotFound { id: id.to_string() },
        false => Refused::ParentNotFound { id: id.to_string() },
    })?;
    let whole = shown(snapshot, realised, record);
    let value = tree::find(&whole, path).ok_or_else(|| Refused::NotFound { id: id.child(path) })?;
    Ok(answer::resource(status::ANSWERED, record.etag(path), value))
}

/// A resource as this dialect shows it: every child has its type, and what the data path made of it.
pub(super) fn shown(snapshot: &Snapshot, realised: &Realised, record: &Record) -> Value {
    let mut value = snapshot.shown(record);
    let kind = record.id.kind();
    let states = States::of(snapshot, record, realised);
    tree::visit(kind, &mut value, &mut |path, object| {
        let collections: String = path.iter().map(|(collection, _)| format!("/{collection}")).collect();
        object.insert("type".to_owned(), (kind.type_name() + &collections).into());
        let state = states.get(path).and_then(|state| serde_json::to_value(state).ok());
        if let (Some(state), Some(properties)) = (state, object["properties"].as_object_mut()) {
            properties.insert("configurationState".to_owned(), state);
        }
    });
    value
}
