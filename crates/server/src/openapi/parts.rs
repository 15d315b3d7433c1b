//! What several descriptions share: errors, parameters, and how an operation is written down.

use serde_json::{Map, Value, json};

use super::content;
use crate::api::status;

/// Paths with their operations.
#[derive(Default)]
pub(super) struct Paths(pub(super) Map<String, Value>);

/// Schemas by name.
#[derive(Default)]
pub(super) struct Schemas(pub(super) Map<String, Value>);

impl Schemas {
    pub(super) fn add(&mut self, name: &str, schema: Value) {
        self.0.insert(name.to_owned(), schema);
    }
}

/// A pointer to a schema.
pub(super) fn of(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// A list as both dialects show it.
pub(super) fn list_of(name: &str) -> Value {
    json!({
        "type": "object",
        "properties": { "value": { "type": "array", "items": of(name) }, "nextLink": { "type": "string" } },
        "required": ["value"],
    })
}

/// What can be done at a path.
pub(super) struct Operation<'a> {
    pub(super) tag: &'static str,
    pub(super) method: &'static str,
    pub(super) id: String,
    pub(super) summary: String,
    /// Names of shared parameters.
    pub(super) parameters: &'a [&'static str],
    /// The schema of what is sent.
    pub(super) body: Option<Value>,
    /// What each status says.
    pub(super) done: &'static [(&'static str, &'static str)],
    /// The schema of what comes back, if anything does.
    pub(super) shown: Option<Value>,
    /// Whether it comes with an etag.
    pub(super) tagged: bool,
}

impl Paths {
    pub(super) fn add(&mut self, path: &str, operation: Operation<'_>) {
        let parameters = operation
            .parameters
            .iter()
            .map(|name| json!({ "$ref": format!("#/components/parameters/{name}") }));
        let mut responses = Map::new();
        for (code, words) in operation.done {
            let mut response = Map::from_iter([("description".to_owned(), Value::from(*words))]);
            if operation.tagged && operation.shown.is_some() {
                response
                    .insert("headers".to_owned(), json!({ "ETag": { "$ref": "#/components/headers/ETag" } }));
            }
            if let Some(shown) = operation.shown.clone() {
                response.insert("content".to_owned(), content(shown));
            }
            responses.insert((*code).to_owned(), response.into());
        }
        for (code, _) in status::OF_REFUSALS {
            responses.insert((*code).to_owned(), json!({ "$ref": format!("#/components/responses/{code}") }));
        }
        let mut written = json!({
            "tags": [operation.tag],
            "operationId": operation.id,
            "summary": operation.summary,
            "parameters": parameters.collect::<Vec<_>>(),
            "responses": responses,
        });
        if let Some(body) = operation.body {
            written["requestBody"] = json!({ "required": true, "content": content(body) });
        }
        let place = self.0.entry(path).or_insert_with(|| json!({}));
        place[operation.method] = written;
    }
}

pub(super) fn describe(schemas: &mut Schemas) {
    let text = || json!({ "type": "string" });
    schemas.add(
        "Error",
        json!({
            "type": "object",
            "properties": { "error": of("ErrorDetail") },
            "required": ["error"],
        }),
    );
    schemas.add(
        "ErrorDetail",
        json!({
            "type": "object",
            "properties": {
                "code": text(),
                "message": text(),
                "target": { "type": "string", "description": "The document, and the path in it." },
                "innerError": text(),
                "details": { "type": "array", "items": of("ErrorDetail") },
            },
            "required": ["code", "message"],
        }),
    );
    let endpoint = |name: &str| {
        let (status, when) = (of("ConfigurationStatus"), text());
        json!({ "status": status, "detailedInfo": { "type": "array" }, "lastUpdatedTime": when, name: text() })
    };
    let mut vip = endpoint("vipEndpoint");
    vip["dipEndpointStates"] =
        json!({ "type": "array", "items": { "type": "object", "properties": endpoint("dipEndpoint") } });
    schemas.add(
        "ConfigurationStatus",
        json!({ "type": "string", "enum": ["Uninitialized", "InProgress", "Success", "Warning", "Failure"] }),
    );
    schemas.add(
        "ConfigurationState",
        json!({
            "type": "object",
            "description": "What the data path has made of what was accepted.",
            "readOnly": true,
            "properties": {
                "status": of("ConfigurationStatus"),
                "detailedInfo": {
                    "type": "array",
                    "items": { "type": "object", "properties": { "source": text(), "message": text(), "code": text() } },
                },
                "lastUpdatedTime": { "type": "string", "format": "date-time" },
                "id": text(),
                "vipEndpointStates": { "type": "array", "items": { "type": "object", "properties": vip } },
            },
            "required": ["status"],
        }),
    );
}

/// Parameters by name.
pub(super) fn parameters() -> Value {
    const NAME: &str = "^[A-Za-z0-9]([A-Za-z0-9._-]{0,78}[A-Za-z0-9_])?$";
    const GROUP: &str = "^[A-Za-z0-9._()-]{1,90}$";
    let path = |name: &str, pattern: &str| {
        let schema = json!({ "type": "string", "pattern": pattern });
        json!({ "name": name, "in": "path", "required": true, "schema": schema })
    };
    let header = |name: &str, words: &str| {
        let schema = json!({ "type": "string" });
        json!({ "name": name, "in": "header", "description": words, "schema": schema })
    };
    let versions: Vec<&str> =
        crate::api::networking::version::Version::ALL.iter().map(|version| version.as_str()).collect();
    json!({
        "subscription": path("subscription", GROUP),
        "resourceGroup": path("resourceGroup", GROUP),
        "name": path("name", NAME),
        "child": path("child", NAME),
        "grandchild": path("grandchild", NAME),
        "id": path("id", "^[0-9A-Za-z-]{1,64}$"),
        "api-version": {
            "name": "api-version",
            "in": "query",
            "required": true,
            "schema": {
                "type": "string",
                "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}(-[a-z]+)?$",
                "default": "2025-05-01",
            },
        },
        "filter": {
            "name": "$filter",
            "in": "query",
            "description": "`resourceType eq '…'`, `resourceGroup eq '…'` and `name eq '…'`, joined by `and`.",
            "schema": { "type": "string" },
        },
        "top": { "name": "$top", "in": "query", "schema": { "type": "integer", "minimum": 0 } },
        "from": {
            "name": "from",
            "in": "query",
            "description": "The revision after which changes are told; without it, everything there is comes first.",
            "schema": { "type": "integer", "minimum": 0 },
        },
        "events": {
            "name": "events",
            "in": "query",
            "description": "Whether what happens to members and rules is told as well, from now on.",
            "schema": { "type": "boolean", "default": false },
        },
        "version": {
            "name": "version",
            "in": "path",
            "required": true,
            "schema": { "type": "string", "enum": versions },
        },
        "If-Match": header("If-Match", "The etag that the resource must have; `*` for any."),
        "If-None-Match": header("If-None-Match", "`*`: the resource must not be there."),
    })
}

/// What is answered when nothing was done, by status.
pub(super) fn refusals() -> Value {
    let refusal = |words: &str| json!({ "description": words, "content": content(of("Error")) });
    status::OF_REFUSALS
        .iter()
        .map(|(code, words)| ((*code).to_owned(), refusal(words)))
        .collect::<Map<_, _>>()
        .into()
}

/// Headers of answers.
pub(super) fn headers() -> Value {
    json!({ "ETag": { "description": "What a precondition compares.", "schema": { "type": "string" } } })
}
