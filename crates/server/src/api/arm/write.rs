//! PUT, PATCH and DELETE of resources and children.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::Request;
use axum::response::Response;
use model::{ChildPath, Code, Document, Problem, ResourceId};
use serde_json::{Map, Value};

use super::{condition, read};
use crate::api::{Refusal, State, answer, body, reference, status};
use crate::catalogue::{Action, Condition, Edit, Fault, Record, Refused, Snapshot, Written, tree};

/// Creates or replaces a resource.
pub(super) async fn put(state: &State, id: ResourceId, request: Request) -> Result<Response, Refusal> {
    let id = named(&id)?;
    let condition = condition(request.headers())?;
    let mut body = body::read_object(request, &state.settings).await?;
    set(&mut body, "id", id.to_string());
    set(&mut body, "name", id.name().to_owned());
    set(&mut body, "type", id.kind().type_name());
    let mut body = body.into();
    reference::complete(&id, &mut body);
    let (document, unread) = read_in_part(&body, &id)?;
    let written_id = id.clone();
    let edit = move |snapshot: &Snapshot| {
        condition.of_put(&id.to_string(), snapshot.get(&id).map(|record| record.etag(&[])))?;
        Ok(Edit { unread, ..Edit::put(id, document) })
    };
    let written = state.catalogue.write(edit).await?;
    let is_new = written.action(&written_id) == Action::Created;
    shown(state, &written, &written_id, &ChildPath::new(), is_new)
}

/// Creates or replaces a child of a resource that is there.
pub(super) async fn put_child(
    state: &State,
    id: ResourceId,
    path: ChildPath,
    request: Request,
) -> Result<Response, Refusal> {
    let condition = condition(request.headers())?;
    let mut child = body::read_object(request, &state.settings).await?;
    let was_there = Arc::new(AtomicBool::new(false));
    let (found, at, within) = (Arc::clone(&was_there), path.clone(), id.clone());
    let edit = move |snapshot: &Snapshot| {
        let record = snapshot.get(&id).ok_or_else(|| parent_missing(&id, &path))?;
        let has = record.has(&path);
        found.store(has, Ordering::Relaxed);
        condition.of_put(&id.child(&path), has.then(|| record.etag(&path)))?;
        let mut whole = record.value();
        set(&mut child, "name", spelled(&whole, &path));
        child.retain(|field, _| !field.eq_ignore_ascii_case("id"));
        let mut child = child.into();
        reference::complete(&id, &mut child);
        if !tree::put(&mut whole, &path, child) {
            return Err(parent_missing(&id, &path));
        }
        replaced(record, &whole, path)
    };
    let written = state.catalogue.write(edit).await?;
    shown(state, &written, &within, &at, !was_there.load(Ordering::Relaxed))
}

/// Replaces the tags of a resource, and nothing else.
pub(super) async fn tag(state: &State, id: ResourceId, request: Request) -> Result<Response, Refusal> {
    let condition = condition(request.headers())?;
    let body = body::read_object(request, &state.settings).await?;
    let tags = only_tags(body)?;
    let written_id = id.clone();
    let edit = move |snapshot: &Snapshot| {
        let record = snapshot.get(&id).ok_or_else(|| Refused::NotFound { id: id.to_string() })?;
        condition.of_put(&id.to_string(), Some(record.etag(&[])))?;
        let mut whole = record.value();
        if let (Some(object), Some(tags)) = (whole.as_object_mut(), tags) {
            object.insert("tags".to_owned(), tags);
        }
        let (document, unread) = read_in_part(&whole, &id)?;
        Ok(Edit { unread, keep_equal: true, ..Edit::put(id, document) })
    };
    let written = state.catalogue.write(edit).await?;
    shown(state, &written, &written_id, &ChildPath::new(), false)
}

/// Removes a resource. Where none is there is nothing to do.
pub(super) async fn delete(state: &State, id: ResourceId, condition: Condition) -> Result<Response, Refusal> {
    let deleted_id = id.clone();
    let edit = move |snapshot: &Snapshot| {
        condition.of_delete(&id.to_string(), snapshot.get(&id).map(|record| record.etag(&[])))?;
        Ok(Edit::delete(id))
    };
    let written = state.catalogue.write(edit).await?;
    Ok(answer::empty(status::of_delete(written.action(&deleted_id) == Action::Deleted)))
}

/// Removes a child.
pub(super) async fn delete_child(
    state: &State,
    id: ResourceId,
    path: ChildPath,
    condition: Condition,
) -> Result<Response, Refusal> {
    let was_there = Arc::new(AtomicBool::new(false));
    let found = Arc::clone(&was_there);
    let edit = move |snapshot: &Snapshot| {
        let Some(record) = snapshot.get(&id).filter(|record| record.has(&path)) else {
            return Ok(Edit::default());
        };
        found.store(true, Ordering::Relaxed);
        condition.of_delete(&id.child(&path), Some(record.etag(&path)))?;
        let mut whole = record.value();
        match tree::remove(&mut whole, &path) {
            true => replaced(record, &whole, path),
            false => Ok(Edit::default()),
        }
    };
    state.catalogue.write(edit).await?;
    Ok(answer::empty(status::of_delete(was_there.load(Ordering::Relaxed))))
}

/// A resource as it is with a child that was written or removed.
fn replaced(record: &Record, whole: &Value, path: ChildPath) -> Result<Edit, Refused> {
    let (document, unread) = read_in_part(whole, &record.id)?;
    Ok(Edit { unread, ..Edit::put_child(record.id.clone(), document, path) })
}

/// What can be read of a document, so that it is judged as well, and what cannot.
fn read_in_part(value: &Value, id: &ResourceId) -> Result<(Document, Vec<Problem>), Refused> {
    match Document::read_in_part(value, &id.to_string()) {
        (Some(document), unread) => Ok((document, unread)),
        (None, unread) => Err(Refused::Invalid(unread)),
    }
}

fn shown(
    state: &State,
    written: &Written,
    id: &ResourceId,
    path: &ChildPath,
    is_new: bool,
) -> Result<Response, Refusal> {
    let Some(record) = written.snapshot.get(id) else {
        return Err(Refused::NotFound { id: id.to_string() }.into());
    };
    let whole = read::shown(&written.snapshot, &state.realised.borrow(), record);
    let value = tree::find(&whole, path).unwrap_or(&Value::Null);
    Ok(answer::resource(status::of_put(is_new), record.etag(path), value))
}

/// The id, if its parts are names.
fn named(id: &ResourceId) -> Result<ResourceId, Refused> {
    let named = ResourceId::new(id.subscription(), id.group(), id.kind(), id.name());
    named.map_err(|error| Refused::Wrong(Fault::new(Code::InvalidResourceName.as_str(), error.to_string())))
}

fn parent_missing(id: &ResourceId, path: &ChildPath) -> Refused {
    let parent = path.split_last().map_or(&[][..], |(_, parents)| parents);
    Refused::ParentNotFound { id: id.child(parent) }
}

/// The name of a child: spelled as it is, where it is.
fn spelled(whole: &Value, path: &ChildPath) -> String {
    let there = tree::find(whole, path).and_then(|child| child["name"].as_str());
    there.or_else(|| path.last().map(|(_, name)| name.as_str())).unwrap_or_default().to_owned()
}

/// Writes a field, however it was spelled before.
fn set(object: &mut Map<String, Value>, field: &str, value: String) {
    object.retain(|other, _| !other.eq_ignore_ascii_case(field));
    object.insert(field.to_owned(), value.into());
}

/// What a PATCH may say; `None` when it says nothing.
fn only_tags(body: Map<String, Value>) -> Result<Option<Value>, Refusal> {
    let mut tags = None;
    for (field, value) in body {
        if !field.eq_ignore_ascii_case("tags") {
            let message = "only tags can be changed alone: send the whole resource with PUT";
            return Err(Refused::Wrong(Fault::new(Code::UnknownField.as_str(), message).at(field)).into());
        }
        tags = Some(if value.is_null() { Map::new().into() } else { value });
    }
    Ok(tags)
}
