//! Many writes at once: all of them or none (API-2).

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::response::Response;
use model::{Code, Document, Problem, ResourceId};
use serde_json::{Map, Value, json};

use crate::api::{Refusal, State, answer, body, status};
use crate::catalogue::{Action, Edit, Put, Refused, Snapshot, Touched};

/// Does what a body says, or says everything that is wrong with it.
pub(super) async fn answer(state: &State, request: Request) -> Result<Response, Refusal> {
    let body = body::read_object(request, &state.settings).await?;
    let edit = read(body).map_err(Refused::Invalid)?;
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

fn read(body: Map<String, Value>) -> Result<Edit, Vec<Problem>> {
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
                for (at, document) in documents.iter().enumerate() {
                    match read_put(&format!("put/{at}"), document) {
                        Ok(put) => edit.puts.push(put),
                        Err(mut wrong) => problems.append(&mut wrong),
                    }
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
    if problems.is_empty() { Ok(edit) } else { Err(problems) }
}

fn read_put(place: &str, value: &Value) -> Result<Put, Vec<Problem>> {
    let label = value["id"].as_str().or(value["name"].as_str()).unwrap_or(place).to_owned();
    let document = Document::read(value, &label)?;
    let id = document.resource_id().ok_or_else(|| {
        vec![Problem {
            document: label.clone(),
            path: "id".to_owned(),
            code: if document.id().is_some() { Code::InvalidRequestFormat } else { Code::MissingField },
            message: format!(
                "write the full id, as /subscriptions/…/resourceGroups/…/providers/{}/NAME",
                document.kind().type_name()
            ),
        }]
    })?;
    let named = ResourceId::new(id.subscription(), id.group(), id.kind(), id.name());
    let id = named.map_err(|error| {
        let (path, code) = ("id".to_owned(), Code::InvalidResourceName);
        vec![Problem { document: label.clone(), path, code, message: error.to_string() }]
    })?;
    if !document.name().eq_ignore_ascii_case(id.name()) {
        let message = format!(
            "the name is `{}`, and the id says `{}`: write one of them twice",
            document.name(),
            id.name()
        );
        let (path, code) = ("name".to_owned(), Code::InvalidRequestFormat);
        return Err(vec![Problem { document: label, path, code, message }]);
    }
    Ok(Put { id, document, touched: Touched::Whole })
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
