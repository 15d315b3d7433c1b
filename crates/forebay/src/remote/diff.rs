//! What differs between two documents, as far as somebody means something by it.
//!
//! Children are compared by their names and references by what they refer to, so their order says nothing; nor do the case of ids and
//! what only the server writes. What the server has chosen, such as a dynamic address, stays as it is where a document leaves it open.

use std::collections::BTreeMap;

use model::Document;
use serde_json::{Map, Value};

#[cfg(test)]
mod tests;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// Where: `loadBalancingRules/https/frontendPort`. Empty: the document as a whole.
    pub(super) path: String,
    /// What.
    pub(super) what: What,
}

/// What is different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// It was not there; its fields, each with its path within.
    Added(Vec<(String, String)>),
    /// It is not there any more.
    Removed,
    /// It was one and is another.
    Changed(String, String),
}

/// What is different when `after` takes the place of `before`.
pub(super) fn between(before: &Document, after: &Document) -> Vec<Difference> {
    let mut found = Vec::new();
    let names = Names::of(after);
    fields("", &meaning(before), &meaning(after), &names, &mut found);
    found
}

/// Everything a document says, as what is added when it is created.
pub(super) fn all(document: &Document) -> Vec<(String, String)> {
    leaves(&meaning(document), &Names::of(document))
}

/// What the server adds to everything that it shows.
const ADDED: [&str; 5] = ["id", "type", "etag", "provisioningState", "configurationState"];

/// Everything a child of the resource `own` says, as the server shows it.
pub(super) fn fields_of(child: &Value, own: &str) -> Vec<(String, String)> {
    let mut value = plain(child.clone(), own);
    strip_added(&mut value);
    if let Value::Object(fields) = &mut value {
        fields.shift_remove("name");
    }
    leaves(&value, &Names::within(own))
}

fn strip_added(value: &mut Value) {
    match value {
        // A reference is nothing but its id.
        Value::Object(fields) if fields.len() > 1 || !fields.contains_key("id") => {
            fields.retain(|field, _| !ADDED.contains(&field.as_str()));
            fields.values_mut().for_each(strip_added);
        }
        Value::Array(values) => values.iter_mut().for_each(strip_added),
        Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The document without what only the server writes, and without what is said by where it stands.
fn meaning(document: &Document) -> Value {
    let mut document = document.clone();
    document.strip_read_only();
    let own = document.id().unwrap_or_default().to_owned();
    let mut value = serde_json::to_value(&document).unwrap_or_default();
    if let Value::Object(fields) = &mut value {
        for field in ["id", "name", "type", "etag"] {
            fields.shift_remove(field);
        }
    }
    plain(value, &own)
}

/// Without `properties` around the properties, without what is empty, and with whole ids.
fn plain(value: Value, own: &str) -> Value {
    match value {
        Value::Object(fields) => {
            let mut flat = Map::new();
            for (field, value) in fields {
                match (field.as_str(), plain(value, own)) {
                    ("properties", Value::Object(inner)) => flat.extend(inner),
                    // It follows from where the child stands.
                    ("type", Value::String(kind)) if kind.starts_with(model::PROVIDER) => {}
                    ("id", Value::String(id)) if !id.is_empty() && !is_whole(&id) => {
                        let id = format!("{own}/{}", id.trim_start_matches('/'));
                        flat.insert(field, id.into());
                    }
                    (_, value) if is_empty(&value) => {}
                    (_, value) => {
                        flat.insert(field, value);
                    }
                }
            }
            flat.into()
        }
        Value::Array(values) => values.into_iter().map(|value| plain(value, own)).collect::<Vec<_>>().into(),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}

fn is_whole(id: &str) -> bool {
    id.get(..15).is_some_and(|start| start.eq_ignore_ascii_case("/subscriptions/")) || !id.contains('/')
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn fields(path: &str, before: &Value, after: &Value, names: &Names, found: &mut Vec<Difference>) {
    let none = Map::new();
    let (before, after) = (before.as_object().unwrap_or(&none), after.as_object().unwrap_or(&none));
    let fields = after.keys().chain(before.keys().filter(|field| !after.contains_key(*field)));
    for field in fields {
        let at = join(path, field);
        match (before.get(field), after.get(field)) {
            (Some(before), Some(after)) => values(&at, before, after, names, found),
            (Some(_), None) if is_chosen_by_the_server(path, field, after) => {}
            (before, after) => one_sided(&at, before, after, names, found),
        }
    }
}

/// What a document may leave open, and the server then chooses.
fn is_chosen_by_the_server(path: &str, field: &str, after: &Map<String, Value>) -> bool {
    let is = |field: &str, word: &str| after.get(field).and_then(Value::as_str) == Some(word);
    match field {
        "privateIPAddress" => !is("privateIPAllocationMethod", "Static"),
        "ipAddress" | "ipPrefix" | "macAddress" | "resourceGuid" => path.is_empty(),
        _ => false,
    }
}

fn values(at: &str, before: &Value, after: &Value, names: &Names, found: &mut Vec<Difference>) {
    match (before, after) {
        (Value::Object(_), Value::Object(_)) if reference(before).is_none() => {
            fields(at, before, after, names, found);
        }
        (Value::Array(old), Value::Array(new)) => match (keyed(old), keyed(new)) {
            (Some(old), Some(new)) => {
                for (key, (name, after)) in &new {
                    let at = join(at, &names.short(name));
                    match old.get(key) {
                        Some((_, before)) => fields(&at, before, after, names, found),
                        None => one_sided(&at, None, Some(after), names, found),
                    }
                }
                for (_, (name, before)) in old.iter().filter(|(key, _)| !new.contains_key(*key)) {
                    one_sided(&join(at, &names.short(name)), Some(before), None, names, found);
                }
            }
            _ if before != after => found.push(changed(at, before, after, names)),
            _ => {}
        },
        _ if same(before, after) => {}
        _ => found.push(changed(at, before, after, names)),
    }
}

fn one_sided(
    at: &str,
    before: Option<&Value>,
    after: Option<&Value>,
    names: &Names,
    found: &mut Vec<Difference>,
) {
    // A list of children is not itself a thing: its children are.
    if let Some(children) = before.or(after).and_then(Value::as_array).and_then(|list| keyed(list)) {
        for (name, child) in children.values() {
            let at = join(at, &names.short(name));
            one_sided(&at, before.map(|_| *child), after.map(|_| *child), names, found);
        }
        return;
    }
    let what = match after {
        Some(after) => What::Added(leaves(after, names)),
        None => What::Removed,
    };
    found.push(Difference { path: at.to_owned(), what });
}

fn changed(at: &str, before: &Value, after: &Value, names: &Names) -> Difference {
    let what = What::Changed(names.show(before), names.show(after));
    Difference { path: at.to_owned(), what }
}

fn same(before: &Value, after: &Value) -> bool {
    match (reference(before), reference(after)) {
        (Some(before), Some(after)) => before.eq_ignore_ascii_case(after),
        (None, _) | (_, None) => before == after,
    }
}

/// The elements of a list by what each goes by, if they all go by something: children by their names, references by their ids.
fn keyed(list: &[Value]) -> Option<BTreeMap<String, (&str, &Value)>> {
    let mut found = BTreeMap::new();
    for element in list {
        let name = match reference(element) {
            Some(id) => id,
            None => element.get("name")?.as_str()?,
        };
        found.insert(name.to_ascii_lowercase(), (name, element));
    }
    (found.len() == list.len()).then_some(found)
}

/// The id, if it is nothing but a reference.
fn reference(value: &Value) -> Option<&str> {
    let fields = value.as_object().filter(|fields| fields.len() == 1)?;
    fields.get("id")?.as_str()
}

/// Each field within, with its path; of a single value the value.
fn leaves(value: &Value, names: &Names) -> Vec<(String, String)> {
    let mut found = Vec::new();
    collect("", value, names, &mut found);
    found
}

fn collect(path: &str, value: &Value, names: &Names, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) if reference(value).is_none() => {
            // The name of a child is in its path already.
            for (field, value) in
                fields.iter().filter(|(field, _)| *field != "name" || path.ends_with("/name"))
            {
                collect(&join(path, field), value, names, found);
            }
        }
        Value::Array(list) if list.iter().all(|element| reference(element).is_none()) => match keyed(list) {
            Some(children) if !children.is_empty() => {
                for (name, child) in children.values() {
                    let at = join(path, name);
                    let before = found.len();
                    collect(&at, child, names, found);
                    if found.len() == before {
                        found.push((at, String::new()));
                    }
                }
            }
            Some(_) | None => found.push((path.to_owned(), names.show(value))),
        },
        Value::Object(_)
        | Value::Array(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_) => found.push((path.to_owned(), names.show(value))),
    }
}

fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}/{field}") }
}

/// How ids are said for short: without what they share with the document's own.
pub(super) struct Names {
    /// From the longest to the shortest.
    prefixes: Vec<String>,
}

impl Names {
    fn of(document: &Document) -> Self {
        Self::within(document.id().unwrap_or_default())
    }

    /// Ids as they are said within this resource.
    pub(super) fn within(own: &str) -> Self {
        let group =
            own.to_ascii_lowercase().find("/microsoft.network/").map(|at| at + "/microsoft.network/".len());
        let mut prefixes = vec![format!("{own}/")];
        prefixes.extend(group.and_then(|length| own.get(..length)).map(str::to_owned));
        Self { prefixes }
    }

    /// An id for short, and any other name as it is.
    pub(super) fn short(&self, id: &str) -> String {
        let without = |prefix: &String| {
            let start = id.get(..prefix.len())?;
            (prefix.len() > 1 && start.eq_ignore_ascii_case(prefix)).then(|| &id[prefix.len()..])
        };
        self.prefixes.iter().find_map(without).unwrap_or(id).to_owned()
    }

    /// A value in one line.
    pub(super) fn show(&self, value: &Value) -> String {
        match value {
            Value::String(text) if text.is_empty() || text.contains(char::is_whitespace) => {
                format!("{text:?}")
            }
            Value::String(text) => text.clone(),
            Value::Array(list) => {
                let list: Vec<String> = list.iter().map(|value| self.show(value)).collect();
                format!("[{}]", list.join(", "))
            }
            Value::Object(fields) => match reference(value) {
                Some(id) => self.short(id),
                None => {
                    let fields: Vec<String> = fields
                        .iter()
                        .map(|(field, value)| format!("{field}: {}", self.show(value)))
                        .collect();
                    format!("{{{}}}", fields.join(", "))
                }
            },
            Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        }
    }
}
