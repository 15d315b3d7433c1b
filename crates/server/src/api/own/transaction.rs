//! Many writes at once: all of them or none (API-2).

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::response::Response;
use model::{Code, Document, Problem, ResourceId};
use serde_json::{Map, Value, json};

use crate::api::{Refusal, State, answer, body, reference, status};
use crate::catalogue::{Action, Edit, Put, Snapshot, Touched};

/// Does what a body says, or says everything that is wrong with it.
pub(super) async fn answer(state: &State, request: Request) -> Result<Response, Refusal> {
    let body = body::read_object(request, &state.settings).await?;
    let edit = read(body);
    let dry_run = edit.dry_run;
    let written = state.catalogue.write(move |_: &Snapshot| Ok(edit)).await?;
    let change =
        |(id, action): &(ResourceId, Action)| json!({ "id": id.to_string(), "action": word(*action) });
    let changes: Vec<Value> = written.outcomes.iter().map(change).collect();
    let outcome = json!({ "revision": written.snapshot.revision, "dryRun": dry_run, "changes": changes });
    Ok(answer::json(status::ANSWERED, HeaderMap::new(), &outcome))
}

const fn word(action: Action) -> &'static str {
    match action {
        Action::Created => "create",
        Action::Updated => "update",
        Action::Unchanged => "unchanged",
        Action::Deleted => "delete",
    }
}

/// The edit that a body asks for; what of it cannot be read goes along, so that the rest is judged as well.
fn read(body: Map<String, Value>) -> Edit {
    let mut edit = Edit { keep_equal: true, ..Edit::default() };
    let mut problems = Vec::new();
    for (field, value) in body {
        match (field.as_str(), value) {
            (_, Value::Null) => {}
            ("dryRun", Value::Bool(dry_run)) => edit.dry_run = dry_run,
            ("ifRevision", Value::Number(number)) => match number.as_u64() {
                Some(revision) => edit.if_revision = Some(revision),
                None => {
                    problems.push(wrong(&field, Code::WrongType, "write a revision, as `watch` tells it"))
                }
            },
            ("put", Value::Array(documents)) => {
                for (at, document) in documents.into_iter().enumerate() {
                    edit.puts.extend(read_put(&format!("put/{at}"), document, &mut problems));
                }
            }
            ("delete", Value::Array(ids)) => {
                for (at, id) in ids.iter().enumerate() {
                    match read_delete(&format!("delete/{at}"), id) {
                        Ok(id) => edit.deletes.push(id),
                        Err(wrong) => problems.push(wrong),
                    }
                }
            }
            ("dryRun", _) => problems.push(wrong(&field, Code::WrongType, "write true or false")),
            ("ifRevision", _) => problems.push(wrong(&field, Code::WrongType, "write a number")),
            ("put", _) => problems.push(wrong(&field, Code::WrongType, "write a list of documents")),
            ("delete", _) => problems.push(wrong(&field, Code::WrongType, "write a list of ids")),
            (_, _) => {
                let mend = "write dryRun, put, delete and ifRevision, and nothing else";
                problems.push(wrong(&field, Code::UnknownField, mend));
            }
        }
    }
    Edit { unread: problems, ..edit }
}

fn read_put(place: &str, mut value: Value, problems: &mut Vec<Problem>) -> Option<Put> {
    let id = value["id"].as_str().and_then(ResourceId::parse).filter(|(_, path)| path.is_empty());
    if let Some((id, _)) = &id {
        reference::complete(id, &mut value);
    }
    let label = value["id"].as_str().or(value["name"].as_str()).unwrap_or(place).to_owned();
    let mut wrong = |path: &str, code, message| {
        problems.push(Problem { document: label.clone(), path: path.to_owned(), code, message });
    };
    let (document, unread) = Document::read_in_part(&value, &label);
    let named = document.as_ref().map(|document| (document, document.resource_id()));
    let put = match named {
        None => None,
        Some((document, None)) => {
            let code = if document.id().is_some() { Code::InvalidRequestFormat } else { Code::MissingField };
            let kind = document.kind().type_name();
            let mend =
                format!("write the full id, as /subscriptions/…/resourceGroups/…/providers/{kind}/NAME");
            wrong("id", code, mend);
            None
        }
        Some((document, Some(id))) => {
            if let Err(error) = ResourceId::new(id.subscription(), id.group(), id.kind(), id.name()) {
                wrong("id", Code::InvalidResourceName, error.to_string());
            } else if !document.name().eq_ignore_ascii_case(id.name()) {
                let (name, other) = (document.name(), id.name());
                let mend =
                    format!("the name is `{name}`, and the id says `{other}`: write one of them twice");
                wrong("name", Code::InvalidRequestFormat, mend);
            }
            Some(id)
        }
    };
    problems.extend(unread);
    Some(Put { id: put?, document: document?, touched: Touched::Whole })
}

fn read_delete(place: &str, value: &Value) -> Result<ResourceId, Problem> {
    let Some(text) = value.as_str() else { return Err(wrong(place, Code::WrongType, "write an id")) };
    match ResourceId::parse(text) {
        Some((id, path)) if path.is_empty() => Ok(id),
        Some((id, _)) => {
            let mend =
                format!("`{text}` is a part of {id}: put that without it, or DELETE it at its own path");
            Err(wrong(place, Code::InvalidRequestFormat, &mend))
        }
        None => {
            let text: String = text.chars().take(200).collect();
            let mend = format!(
                "`{text}` is no id: write /subscriptions/…/resourceGroups/…/providers/Microsoft.Network/KIND/NAME"
            );
            Err(wrong(place, Code::InvalidRequestFormat, &mend))
        }
    }
}

fn wrong(field: &str, code: Code, message: &str) -> Problem {
    Problem { document: "transaction".to_owned(), path: field.to_owned(), code, message: message.to_owned() }
}
