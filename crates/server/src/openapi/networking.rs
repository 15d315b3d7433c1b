//! The Network Controller's face: its dictionary as schemas, and its paths.

use serde_json::{Map, Value, json};

use super::parts::{Operation, Paths, Schemas, list_of, of};
use crate::api::networking::translate::dictionary::{Entry, Field, Shape, Writer};
use crate::api::networking::version::Version;
use crate::api::status;

pub(super) const TAG: &str = "Network Controller";

/// Before the names of its schemas.
const PREFIX: &str = "networking";
const BASE: &str = "/networking/{version}";
/// The names of what is within each other, from the outside inwards.
const NAMES: [&str; 3] = ["name", "child", "grandchild"];

pub(super) fn describe(paths: &mut Paths, schemas: &mut Schemas) {
    schemas.add(&format!("{PREFIX}.Reference"), reference());
    for entry in Entry::ALL {
        let name = format!("{PREFIX}.{}", entry.name);
        schema(&name, entry, schemas);
        let place = format!("{BASE}/{}", entry.name);
        if entry.is_single() {
            resource(paths, &format!("{place}/config"), &name, entry, 0);
        } else {
            paths.add(
                &place,
                show(
                    format!("{}_list", id(&name)),
                    format!("All `{}`", entry.name),
                    &["version"],
                    list_of(&name),
                    false,
                ),
            );
            resource(paths, &format!("{place}/{{name}}"), &name, entry, 1);
            children(paths, &format!("{place}/{{name}}"), &name, entry, 1);
        }
    }
    around(paths);
}

/// What is no resource of anybody's.
fn around(paths: &mut Paths) {
    let any = || json!({ "type": "object" });
    let show = |id: &str, summary: &str, parameters| {
        show(id.to_owned(), summary.to_owned(), parameters, any(), false)
    };
    paths.add("/networking/discovery", show("discovery", "Which versions there are", &[]));
    let mut add = |path: &str, operation| paths.add(&format!("{BASE}{path}"), operation);
    const ONE: &[&str] = &["version", "id"];
    const ALL: &[&str] = &["version"];
    add("/operations/{id}", show("operation", "What became of a write", ONE));
    let result = show("operationResult", "What a write came to", ONE);
    add("/operationResults/{id}", Operation { done: status::OF_DELETE, shown: None, ..result });
    let dump = show("slbState", "Writes down how everything is", ALL);
    add("/diagnostics/slbState", Operation { method: "put", ..dump });
    add("/diagnostics/slbStateResults/{id}", show("slbStateResult", "How everything was", ONE));
    add("/monitoring/networkControllerStatistics", show("statistics", "What was counted", ALL));
    add("/internalResourceInstances", show("instances", "Which resource has which instance id", ALL));
    add("/internalResourceInstances/{id}", show("instance", "Which resource has this instance id", ONE));
}

fn children(paths: &mut Paths, place: &str, name: &str, entry: &Entry, depth: usize) {
    let Some(parameter) = NAMES.get(depth) else { return };
    for entry in entry.collections() {
        let (name, place) = (format!("{name}.{}", entry.name), format!("{place}/{}", entry.name));
        let (id, words) = (format!("{}_list", id(&name)), format!("All `{}` of it", entry.name));
        paths.add(&place, show(id, words, &[&["version"], &NAMES[..depth]].concat(), list_of(&name), false));
        let place = format!("{place}/{{{parameter}}}");
        resource(paths, &place, &name, entry, depth + 1);
        children(paths, &place, &name, entry, depth + 1);
    }
}

/// GET, PUT and DELETE of what has `depth` names. What there is only one of stays.
fn resource(paths: &mut Paths, place: &str, name: &str, entry: &Entry, depth: usize) {
    let parameters = [&["version"], &NAMES[..depth]].concat();
    let (id, words) = (id(name), format!("one of `{}`", entry.name));
    paths.add(place, show(format!("{id}_get"), format!("Shows {words}"), &parameters, of(name), true));
    let put = [&parameters[..], &["If-Match", "If-None-Match"]].concat();
    let write = |method, verb: &str, word: &str, done| Operation {
        tag: TAG,
        method,
        id: format!("{id}_{method}"),
        summary: format!("{verb} {words}{word}"),
        parameters: &put,
        body: None,
        done,
        shown: None,
        tagged: true,
    };
    let (body, shown) = (Some(of(name)), Some(of(name)));
    paths.add(place, Operation { body, shown, ..write("put", "Creates or replaces", "", status::OF_PUT) });
    if !entry.is_single() {
        paths.add(place, write("delete", "Removes", ", with everything in it", status::OF_DELETE));
    }
}

/// Adds the schema of an entry, and those of its children.
fn schema(name: &str, entry: &Entry, schemas: &mut Schemas) {
    let mut envelope = json!({
        "type": "object",
        "properties": {
            "resourceRef": { "type": "string", "readOnly": true },
            "resourceId": { "type": "string" },
            "instanceId": { "type": "string", "readOnly": true },
            "etag": { "type": "string", "readOnly": true },
            "tags": { "type": "object", "additionalProperties": { "type": "string" } },
            "resourceMetadata": true,
        },
    });
    for field in entry.beside {
        put(&mut envelope, field.name, of_field(name, field));
    }
    let mut properties = json!({
        "type": "object",
        "properties": {
            "provisioningState": { "type": "string", "readOnly": true },
            "configurationState": of("ConfigurationState"),
            "counters": { "type": "array", "readOnly": true, "items": { "type": "object" } },
        },
    });
    for field in entry.fields {
        put(&mut properties, field.name, of_field(name, field));
    }
    envelope["properties"]["properties"] = properties;
    schemas.add(name, envelope);
    for child in entry.collections() {
        schema(&format!("{name}.{}", child.name), child, schemas);
    }
}

/// Writes the schema of a field into that of its object. A name with `/` is within objects.
fn put(object: &mut Value, name: &str, schema: Value) {
    match name.split_once('/') {
        None => object["properties"][name] = schema,
        Some((outer, inner)) => {
            let outer = &mut object["properties"][outer];
            if outer.is_null() {
                *outer = json!({ "type": "object", "properties": {} });
            }
            put(outer, inner, schema);
        }
    }
}

fn of_field(name: &str, field: &Field) -> Value {
    let mut schema = match of_shape(name, field) {
        Value::Object(schema) => schema,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    };
    if field.writer == Writer::Server {
        schema.insert("readOnly".to_owned(), true.into());
    }
    // A range is a rule for who writes here: what another dialect wrote is shown as it is.
    let range = if let Shape::Number { least, most, .. } = field.shape
        && field.writer == Writer::Client
    {
        Some(format!("{least} to {most}."))
    } else {
        None
    };
    let version = match (field.since, field.until) {
        (Version::V1, None) => None,
        (since, None) => Some(format!("Since {since}.")),
        (since, Some(until)) => Some(format!("Since {since}, no more in {until}.")),
    };
    let words: Vec<String> = range.into_iter().chain(version).collect();
    let words = (!words.is_empty()).then(|| words.join(" "));
    schema.extend(words.map(|words| ("description".to_owned(), words.into())));
    schema.into()
}

fn of_shape(name: &str, field: &Field) -> Value {
    let text = || json!({ "type": "string" });
    let pointer = || of(&format!("{PREFIX}.Reference"));
    match field.shape {
        Shape::Text | Shape::TextOrTexts { .. } => text(),
        Shape::Texts => json!({ "type": "array", "items": text() }),
        Shape::Number { .. } => json!({ "type": "integer", "minimum": 0 }),
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::Words { words, .. } => {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            json!({ "type": "string", "enum": words })
        }
        Shape::Mac => json!({ "type": "string", "pattern": "^[0-9A-Fa-f]{12}$" }),
        Shape::Reference(_) => json!({ "allOf": [pointer()] }),
        Shape::References(_) | Shape::FirstAndRest { .. } => json!({ "type": "array", "items": pointer() }),
        Shape::Objects(fields) => {
            let mut object = json!({ "type": "object", "properties": {} });
            for field in fields {
                put(&mut object, field.name, of_field(name, field));
            }
            json!({ "type": "array", "items": object })
        }
        Shape::Children(entry) => json!({ "type": "array", "items": of(&format!("{name}.{}", entry.name)) }),
        Shape::Kept => Value::Bool(true),
    }
}

fn show<'a>(
    id: String,
    summary: String,
    parameters: &'a [&'static str],
    shown: Value,
    tagged: bool,
) -> Operation<'a> {
    let (tag, id, done) =
        (TAG, format!("{PREFIX}_{}", id.trim_start_matches("networking_")), status::OF_READING);
    Operation { tag, method: "get", id, summary, parameters, body: None, done, shown: Some(shown), tagged }
}

fn id(name: &str) -> String {
    name.replace('.', "_")
}

fn reference() -> Value {
    json!({
        "type": "object",
        "properties": { "resourceRef": { "type": "string", "description": "`/loadBalancers/web/probes/alive`" } },
        "required": ["resourceRef"],
    })
}
