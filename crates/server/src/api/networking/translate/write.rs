//! From a canonical document to the Network Controller's JSON.

use serde_json::{Map, Value, json};

use super::dictionary::{Absent, Entry, Field, Shape, Writer};
use super::read::Place;
use super::reference::Home;
use super::value;
use crate::api::networking::version::Version;

/// What the server knows of a resource and its children beside the document.
pub trait Facts {
    /// The etag of the resource, or of the child at a canonical path.
    fn etag(&self, child: &[(String, String)]) -> Option<String>;

    /// The instance id.
    fn instance(&self, child: &[(String, String)]) -> Option<String>;

    /// Further properties: `configurationState`, `counters`.
    fn properties(&self, child: &[(String, String)]) -> Map<String, Value>;
}

/// How resources are shown.
#[derive(Clone, Copy)]
pub struct Teller<'a> {
    /// The group whose resources go by their plain names.
    pub home: &'a Home,
    /// The version of the answer.
    pub version: Version,
    /// What is known beside the document.
    pub facts: &'a dyn Facts,
}

impl std::fmt::Debug for Teller<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Teller")
            .field("home", self.home)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl Teller<'_> {
    /// A resource or child with everything in it; `path` is where in its resource it is.
    #[must_use]
    pub fn resource(
        &self,
        entry: &Entry,
        document: &Value,
        place: &Place,
        path: &[(String, String)],
    ) -> Value {
        let empty = Map::new();
        let document = document.as_object().unwrap_or(&empty);
        let properties = document.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        let mut envelope = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                envelope.insert(name.to_owned(), value);
            }
        };
        put("resourceRef", Some(place.pointer.as_str().into()));
        // With group and subscription, where they are not the home's.
        put("resourceId", place.pointer.rsplit('/').next().map(Value::from));
        put("instanceId", self.facts.instance(path).map(Value::from));
        put("etag", self.facts.etag(path).map(Value::from));
        put("tags", document.get("tags").cloned());
        put("resourceMetadata", document.get("resourceMetadata").cloned());
        self.fields(entry.beside, properties, place, path, &mut envelope);

        let mut shown = Map::new();
        let state = properties.get("provisioningState").cloned().unwrap_or_else(|| "Succeeded".into());
        shown.insert("provisioningState".to_owned(), state);
        self.fields(entry.fields, properties, place, path, &mut shown);
        shown.extend(self.facts.properties(path));
        envelope.insert("properties".to_owned(), shown.into());
        envelope.into()
    }

    fn fields(
        &self,
        fields: &[Field],
        properties: &Map<String, Value>,
        place: &Place,
        path: &[(String, String)],
        shown: &mut Map<String, Value>,
    ) {
        for field in fields.iter().filter(|field| field.is_in(self.version)) {
            let value = match field.writer {
                Writer::Request => Some(false.into()),
                Writer::Client | Writer::Server | Writer::Members | Writer::Target => {
                    self.value(field, properties, place, path).or_else(|| absent(field))
                }
            };
            if let Some(value) = value {
                value::set(shown, field.name, value);
            }
        }
    }

    fn value(
        &self,
        field: &Field,
        properties: &Map<String, Value>,
        place: &Place,
        path: &[(String, String)],
    ) -> Option<Value> {
        let value = value::get(properties, field.canonical);
        let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
        match field.shape {
            Shape::Text | Shape::Texts | Shape::Number { .. } | Shape::Flag | Shape::Kept => value.cloned(),
            Shape::TextOrTexts { list: name, words } => {
                let texts =
                    value.cloned().map_or_else(|| list(value::get(properties, name)), |text| vec![text]);
                let texts = texts.iter().filter_map(Value::as_str).map(|text| spelled_here(words, text));
                let text = texts.collect::<Vec<_>>().join(",");
                (!text.is_empty()).then(|| text.into())
            }
            Shape::Words { words, .. } => {
                value.and_then(Value::as_str).map(|word| spelled_here(words, word).into())
            }
            Shape::Mac => value.and_then(Value::as_str).map(|mac| mac.replace(['-', ':'], "").into()),
            Shape::Reference(_) => value.and_then(|value| self.pointer(value, place)),
            Shape::References(_) => {
                Some(list(value).iter().filter_map(|it| self.pointer(it, place)).collect::<Vec<_>>().into())
            }
            Shape::FirstAndRest { rest, .. } => {
                let rest = list(value::get(properties, rest));
                let all = value.into_iter().chain(&rest).filter_map(|it| self.pointer(it, place));
                Some(all.collect::<Vec<_>>().into())
            }
            Shape::Objects(fields) => Some(
                list(value)
                    .iter()
                    .filter_map(Value::as_object)
                    .map(|object| {
                        let mut shown = Map::new();
                        self.fields(fields, object, place, path, &mut shown);
                        Value::Object(shown)
                    })
                    .collect::<Vec<_>>()
                    .into(),
            ),
            Shape::Children(entry) => {
                let child = |document: &Value| {
                    let name = document.get("name").and_then(Value::as_str).unwrap_or_default();
                    let mut path = path.to_vec();
                    path.push((entry.canonical.to_owned(), name.to_owned()));
                    self.resource(entry, document, &place.child(entry, name), &path)
                };
                Some(list(value).iter().map(child).collect::<Vec<_>>().into())
            }
        }
    }

    fn pointer(&self, reference: &Value, place: &Place) -> Option<Value> {
        let id = reference.get("id").and_then(Value::as_str)?;
        Some(json!({ "resourceRef": self.home.pointer(id, &place.pointer) }))
    }
}

fn spelled_here<'a>(words: &[(&'a str, &str)], word: &'a str) -> &'a str {
    words.iter().find(|(_, canonical)| canonical.eq_ignore_ascii_case(word)).map_or(word, |(here, _)| *here)
}

fn absent(field: &Field) -> Option<Value> {
    match field.absent {
        Absent::Nothing | Absent::Required(_) => None,
        Absent::Number(number) => Some(number.into()),
        Absent::Flag(flag) => Some(flag.into()),
        Absent::Word(word) => Some(word.into()),
    }
}
