//! What several resources have.

use serde_json::{Map, Value, json};

use super::shape::{Object, Shape};
use super::trail::Trail;
use crate::problem::{Code, Path, Report};

/// A reference to another resource: `{ "id": … }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// A full id, or of a sibling the short form `frontendIPConfigurations/green`.
    pub id: String,
}

impl Reference {
    /// A reference to the resource of this id.
    pub fn to(id: impl Into<String>) -> Self {
        Self { id: id.into() }
    }
}

impl Shape for Reference {
    fn read(value: &Value, at: &Path, report: &mut Report) -> Option<Self> {
        let mut object = Object::of_fields(value, at, report)?;
        let id: Option<Option<String>> = object.take("id", report);
        object.close(report);
        match id.flatten() {
            Some(id) => Some(Self { id }),
            None => {
                let message = "a reference needs an id: write `{ \"id\": … }`";
                report.add(&at.field("id"), Code::MissingField, message);
                None
            }
        }
    }

    fn write(&self) -> Option<Value> {
        Some(Map::from_iter([("id".to_owned(), self.id.as_str().into())]).into())
    }

    fn references<'a>(&'a self, at: &Trail<'_>, found: &mut dyn FnMut(&Trail<'_>, &'a str)) {
        found(at, &self.id);
    }

    fn schema() -> Value {
        json!({
            "type": "object",
            "properties": { "id": { "type": "string" } },
            "required": ["id"],
            "additionalProperties": false
        })
    }

    #[cfg(test)]
    fn sample(dice: &mut super::tests::Dice) -> Self {
        Self { id: String::sample(dice) }
    }
}

object! {
    /// An edge zone.
    ExtendedLocation {
        name: Option<String> = "name",
        kind: Option<String> = "type",
    }
}
