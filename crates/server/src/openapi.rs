//! The description of all interfaces: OpenAPI 3.1, made of the field lists that read and write, and the paths that are served.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use parts::{Paths, Schemas};

mod arm;
mod networking;
mod own;
mod parts;
#[cfg(test)]
pub(crate) mod tests;

/// The description. It is the same whenever it is made.
#[must_use]
pub fn openapi() -> Value {
    let (mut paths, mut schemas) = (Paths::default(), Schemas::default());
    parts::describe(&mut schemas);
    arm::describe(&mut paths, &mut schemas);
    networking::describe(&mut paths, &mut schemas);
    own::describe(&mut paths, &mut schemas);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Forebay",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Load balancers and what they need, as resources. Two dialects speak of the same resources: Azure's \
                            Resource Manager below `/subscriptions`, and the Network Controller below `/networking`. \
                            Words of paths and names of fields are found in any case.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "https://127.0.0.1:8443" }],
        "security": [{ "token": [] }, { "certificate": [] }, {}],
        "tags": [
            { "name": arm::TAG, "description": "Each resource, child and list at its id." },
            { "name": networking::TAG, "description": "The same, in the Network Controller's words." },
            { "name": own::TAG, "description": "Many writes at once, every change, and how the server is." },
        ],
        "paths": paths.0,
        "components": {
            "schemas": schemas.0,
            "parameters": parts::parameters(),
            "responses": parts::refusals(),
            "headers": parts::headers(),
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "certificate": { "type": "mutualTLS" },
            },
        },
    })
}

/// The same as text, made once.
#[must_use]
pub fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| openapi().to_string());
    &TEXT
}

/// A value as the only content of a body.
fn content(schema: Value) -> Value {
    let media = Map::from_iter([("schema".to_owned(), schema)]);
    json!({ "application/json": media })
}
