//! What is ours: transactions, the watch, how the server is.

use model::Kind;
use serde_json::{Map, Value, json};

use super::parts::{Operation, Paths, Schemas, of};
use crate::api::{own, status};

pub(super) const TAG: &str = "Forebay";

pub(super) fn describe(paths: &mut Paths, schemas: &mut Schemas) {
    schemas.add("Transaction", transaction());
    schemas.add("Outcome", outcome());
    schemas.add("Status", condition());
    schemas.add("Event", event());
    let show = |id: &str, summary: &str, shown| Operation {
        tag: TAG,
        method: "get",
        id: id.to_owned(),
        summary: summary.to_owned(),
        parameters: &[],
        body: None,
        done: status::OF_READING,
        shown: Some(shown),
        tagged: false,
    };
    let any = || json!({ "type": "object" });
    paths.add(own::HEALTH, show("health", "Whether the server is there; anybody may ask", any()));
    paths.add(own::OPENAPI, show("openapi", "This description", any()));
    paths.add(own::STATUS, show("status", "What is accepted, and what is realised", of("Status")));
    let watch = show("watch", "Every change as it happens, one object a line", of("Event"));
    paths.add(own::WATCH, Operation { parameters: &["from"], ..watch });
    paths.add(own::BACKUP, show("backup", "A copy of everything, one object a line", any()));
    for path in [own::WATCH, own::BACKUP] {
        let lines = &mut paths.0[path]["get"]["responses"]["200"]["content"];
        if let Some(schema) = lines.as_object_mut().and_then(|lines| lines.remove("application/json")) {
            *lines = Map::from_iter([("application/x-ndjson".to_owned(), schema)]).into();
        }
    }
    let write = show("transaction", "Many writes, all of them or none", of("Outcome"));
    paths.add(own::TRANSACTION, Operation { method: "post", body: Some(of("Transaction")), ..write });
}

fn transaction() -> Value {
    let documents: Vec<Value> = Kind::ALL.into_iter().map(|kind| of(kind.segment())).collect();
    json!({
        "type": "object",
        "properties": {
            "dryRun": { "type": "boolean", "description": "Only say what would happen." },
            "put": { "type": "array", "items": { "anyOf": documents }, "description": "Documents with their full ids." },
            "delete": { "type": "array", "items": { "type": "string" }, "description": "Ids of resources." },
            "ifRevision": { "type": "integer", "minimum": 0, "description": "The revision that everything must be at." },
        },
        "additionalProperties": false,
    })
}

fn outcome() -> Value {
    json!({
        "type": "object",
        "properties": {
            "revision": { "type": "integer" },
            "dryRun": { "type": "boolean" },
            "changes": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "id": { "type": "string" },
                        "action": { "type": "string", "enum": ["create", "update", "delete", "unchanged"] },
                    },
                    "required": ["id", "action"],
                },
            },
        },
        "required": ["revision", "dryRun", "changes"],
    })
}

fn condition() -> Value {
    let (number, text) = (|| json!({ "type": "integer" }), || json!({ "type": "string" }));
    json!({
        "type": "object",
        "properties": {
            "version": text(),
            "name": text(),
            "revision": number(),
            "realised": {
                "type": "object",
                "properties": {
                    "revision": number(),
                    "state": of("ConfigurationStatus"),
                    "message": text(),
                    "since": { "type": "string", "format": "date-time" },
                },
                "required": ["revision", "state", "message", "since"],
            },
            "counts": { "type": "object", "additionalProperties": number() },
            "shortfalls": number(),
            "subscription": text(),
            "resourceGroup": text(),
            "role": { "type": ["string", "null"], "enum": ["read", "write", null] },
        },
        "required": ["version", "name", "revision", "realised", "counts", "subscription", "resourceGroup"],
    })
}

fn event() -> Value {
    json!({
        "type": "object",
        "properties": {
            "action": { "type": "string", "enum": ["put", "delete", "reset", "synced", "alive"] },
            "revision": { "type": "integer" },
            "id": { "type": "string" },
            "etag": { "type": "string" },
            "document": { "type": "object" },
        },
        "required": ["action", "revision"],
    })
}
