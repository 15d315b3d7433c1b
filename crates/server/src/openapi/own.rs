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
    schemas.add("Health", health());
    paths.add(own::MEMBERS, show("membersHealth", "Who is well, as every probe sees it", of("Health")));
    paths.add(
        own::METRICS,
        show("metrics", "What is counted, as Prometheus reads it", json!({ "type": "string" })),
    );
    let watch = show("watch", "Every change as it happens, one object a line", of("Event"));
    paths.add(own::WATCH, Operation { parameters: &["from", "events"], ..watch });
    paths.add(own::BACKUP, show("backup", "A copy of everything, one object a line", any()));
    const LINES: &str = "application/x-ndjson";
    for (path, kind) in [(own::WATCH, LINES), (own::BACKUP, LINES), (own::METRICS, own::EXPOSITION)] {
        let lines = &mut paths.0[path]["get"]["responses"]["200"]["content"];
        if let Some(schema) = lines.as_object_mut().and_then(|lines| lines.remove("application/json")) {
            *lines = Map::from_iter([(kind.to_owned(), schema)]).into();
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
            "health": {
                "type": "object",
                "description": "Members that probes watch: one that two probes ask counts twice.",
                "properties": { "up": number(), "down": number(), "unknown": number() },
                "required": ["up", "down", "unknown"],
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

fn health() -> Value {
    let text = || json!({ "type": "string" });
    let group = json!({
        "type": "object",
        "description": "The members of a pool, as one probe sees them.",
        "properties": {
            "pool": text(),
            "probe": text(),
            "asks": { "type": "string", "description": "What is asked: `Tcp 8080`, `Http 8080 /alive`." },
            "rules": { "type": "array", "items": text(), "description": "The rules that lead here." },
            "members": { "type": "array", "items": of("MemberHealth") },
        },
        "required": ["pool", "probe", "asks", "rules", "members"],
    });
    let number = || json!({ "type": "integer" });
    let available = json!({
        "type": "object",
        "description": "What the balancer's own calls to a rule's frontend came to.",
        "properties": {
            "rule": text(),
            "frontend": { "type": "string", "description": "What clients call: address and port." },
            "lastCalls": { "type": "integer", "description": "The last calls, six at most." },
            "lastAnswers": number(),
            "calls": { "type": "integer", "description": "All calls since the process started." },
            "answers": number(),
        },
        "required": ["rule", "frontend", "lastCalls", "lastAnswers", "calls", "answers"],
    });
    json!({
        "type": "object",
        "properties": {
            "at": { "type": "string", "format": "date-time", "description": "When this was so." },
            "groups": { "type": "array", "items": group },
            "availability": {
                "type": "array",
                "items": available,
                "description": "How available rules are to clients: of those that were called.",
            },
        },
        "required": ["at", "groups"],
    })
}

fn event() -> Value {
    json!({
        "type": "object",
        "properties": {
            "action": { "type": "string", "enum": ["put", "delete", "reset", "synced", "alive", "event"] },
            "revision": { "type": "integer" },
            "id": { "type": "string" },
            "etag": { "type": "string" },
            "document": { "type": "object" },
            "event": {
                "type": "string",
                "enum": ["memberUp", "memberDown", "memberFlapping", "memberAvoided",
                         "memberAvoidedNoMore", "noHealthyMembers", "healthyMembersAgain"],
                "description": "What happened; it is told to those who ask for events.",
            },
            "number": { "type": "integer", "description": "Events are numbered since the process started." },
            "at": { "type": "string", "format": "date-time" },
            "message": { "type": "string" },
            "probe": { "type": "string" },
            "member": { "type": "string" },
            "because": { "type": "string" },
            "caution": { "type": "integer" },
            "rule": { "type": "string" },
        },
        "required": ["action", "revision"],
    })
}
