//! The ways in which a part of an object is changed.

use serde_json::{Map, Value};

/// How a patch is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// RFC 7396, and server-side apply as far as one owner goes.
    Merge,
    /// The same, but lists of objects are merged by a key.
    Strategic,
    /// RFC 6902.
    Json,
}

impl Manner {
    pub fn of(content_type: &str) -> Option<Self> {
        match content_type.split(';').next()?.trim() {
            "application/merge-patch+json" | "application/apply-patch+yaml" => Some(Self::Merge),
            "application/strategic-merge-patch+json" => Some(Self::Strategic),
            "application/json-patch+json" => Some(Self::Json),
            _ => None,
        }
    }
}

pub fn apply(manner: Manner, object: &mut Value, change: &Value) -> Result<(), String> {
    match manner {
        Manner::Merge => merge(object, change, false),
        Manner::Strategic => merge(object, change, true),
        Manner::Json => {
            for step in change.as_array().ok_or("a JSON patch is a list")? {
                take_step(object, step)?;
            }
        }
    }
    Ok(())
}

fn merge(object: &mut Value, change: &Value, strategic: bool) {
    let Value::Object(fields) = change else {
        object.clone_from(change);
        return;
    };
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let Value::Object(there) = object else { return };
    for (field, value) in fields.iter().filter(|(field, _)| !field.starts_with('$')) {
        match (value, there.get_mut(field)) {
            (Value::Null, _) => drop(there.remove(field)),
            (Value::Array(changes), Some(Value::Array(items))) if strategic => merge_lists(items, changes),
            (value @ Value::Object(_), Some(inner)) => merge(inner, value, strategic),
            (value, _) => {
                let inner = there.entry(field.clone()).or_insert(Value::Null);
                *inner = Value::Null;
                merge(inner, value, strategic);
            }
        }
    }
}

/// Items with a `port` are told apart by it; words are added once.
fn merge_lists(items: &mut Vec<Value>, changes: &[Value]) {
    for change in changes {
        let same = |item: &&mut Value| match change.get("port") {
            Some(port) => {
                item["port"] == *port
                    && (change["protocol"].is_null() || item["protocol"] == change["protocol"])
            }
            None => **item == *change,
        };
        let is_deletion = change["$patch"] == "delete";
        match items.iter_mut().find(same) {
            Some(_) if is_deletion => items.retain(|item| item["port"] != change["port"]),
            Some(item) => merge(item, change, true),
            None => items.push(change.clone()),
        }
    }
}

fn take_step(object: &mut Value, step: &Value) -> Result<(), String> {
    let path = step["path"].as_str().unwrap_or_default();
    let (holder, last) = path.rsplit_once('/').ok_or("a path begins with /")?;
    let last = last.replace("~1", "/").replace("~0", "~");
    let holder = object.pointer_mut(holder).ok_or_else(|| format!("nothing is at {path}"))?;
    match (step["op"].as_str(), holder) {
        (Some("remove"), Value::Object(fields)) => {
            fields.remove(&last).ok_or_else(|| format!("nothing is at {path}"))?;
        }
        (Some("add" | "replace"), Value::Object(fields)) => drop(fields.insert(last, step["value"].clone())),
        (Some("add"), Value::Array(items)) if last == "-" => items.push(step["value"].clone()),
        (Some("remove"), Value::Array(items)) => {
            let at: usize = last.parse().map_err(|_| format!("{path} is no place in a list"))?;
            items.remove(at);
        }
        (op, _) => return Err(format!("{op:?} cannot be done at {path}")),
    }
    Ok(())
}
