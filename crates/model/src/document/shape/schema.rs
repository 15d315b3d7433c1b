//! JSON Schema, made of the same field lists that read and write.

use serde_json::{Map, Value, json};

/// An object with these fields and no others.
pub(crate) fn object(fields: Vec<(&'static str, Value)>) -> Value {
    let fields: Map<String, Value> =
        fields.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
    json!({ "type": "object", "properties": fields, "additionalProperties": false })
}

/// A field that the server gives.
pub(crate) fn read_only(schema: Value) -> Value {
    match schema {
        Value::Object(mut schema) => {
            schema.insert("readOnly".to_owned(), true.into());
            schema.into()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            json!({ "readOnly": true })
        }
    }
}

/// One of these words.
pub(crate) fn words(words: &[&'static str]) -> Value {
    json!({ "type": "string", "enum": words })
}

/// This word; any, if it is empty.
pub(crate) fn word(word: &'static str) -> Value {
    match word {
        "" => json!({ "type": "string" }),
        word => words(&[word]),
    }
}

/// A text that says something.
pub(crate) fn text_of(what: &'static str) -> Value {
    json!({ "type": "string", "description": what })
}
