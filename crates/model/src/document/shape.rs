//! How values become fields and fields become values: one list of fields for each resource, read and written
//! by the same line.

use serde_json::{Map, Value};

use super::trail::Trail;
use crate::id;
use crate::problem::{Code, Path, Report};

pub(crate) mod schema;
mod values;

/// What a field can hold.
pub(crate) trait Shape: Sized {
    /// Whether it is a resource with a name. In a list it goes by that name, and the list is written even when
    /// empty: clients index the arrays of a load balancer without asking whether they are there.
    const NAMED: bool = false;

    /// Reads it, or reports why not.
    fn read(value: &Value, at: &Path, report: &mut Report) -> Option<Self>;

    /// Writes it; `None` when it is unset.
    fn write(&self) -> Option<Value>;

    /// Derives what an element of a list may leave out.
    fn settle(&mut self) {}

    /// The references it makes, with their places; not those that the server gives.
    fn references<'a>(&'a self, _at: &Trail<'_>, _found: &mut dyn FnMut(&Trail<'_>, &'a str)) {}

    /// Takes out what the server gives: clients send back what they were shown.
    fn strip(&mut self) {}

    /// Leaves only the id of a resource that stands where a reference would.
    fn shorten(&mut self) {}

    /// Gives a resource its id, and its children theirs.
    fn identify(&mut self, _id: String) {}

    /// Takes the id from a resource whose place says it.
    fn identify_not(&mut self) {}

    /// Gives the resources of a list the ids that follow from where they stand.
    fn identify_within(&mut self, _parent: &str, _collection: &str) {}

    /// The id of a resource that has one.
    fn own_id(&self) -> Option<&str> {
        None
    }

    /// Its name, if it is a resource.
    fn own_name(&self) -> &str {
        ""
    }

    /// Its JSON Schema.
    fn schema() -> Value;

    /// Any value of this kind, by the dice.
    #[cfg(test)]
    fn sample(dice: &mut crate::document::tests::Dice) -> Self;
}

/// What interfaces show of every resource, and clients send back.
pub(crate) const GIVEN: [&str; 3] = ["configurationState", "counters", "resourceGuid"];

/// Declares a resource: the fields beside its name, those within `properties`, and those there that the server
/// gives and no client changes. Name, id, etag, tags, metadata and provisioning state are common to all.
macro_rules! resource {
    (
        $(#[$meta:meta])*
        $resource:ident($kind:expr) {
            beside { $($(#[$beside_meta:meta])* $beside:ident: $beside_type:ty = $beside_wire:literal,)* }
            properties { $($(#[$property_meta:meta])* $property:ident: $property_type:ty = $wire:literal,)* }
            $(read_only { $($(#[$given_meta:meta])* $given:ident: $given_type:ty = $given_wire:literal,)* })?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $resource {
            /// `name`; derived from the id when only that is given.
            pub name: String,
            /// `id`
            pub id: Option<String>,
            /// `etag`, which the server gives.
            pub etag: Option<String>,
            /// `tags`
            pub tags: std::collections::BTreeMap<String, String>,
            /// `resourceMetadata`, kept for clients of the Network Controller.
            pub resource_metadata: Option<serde_json::Value>,
            $(#[doc = concat!("`", $beside_wire, "`")] $(#[$beside_meta])* pub $beside: $beside_type,)*
            $(#[doc = concat!("`", $wire, "`")] $(#[$property_meta])* pub $property: $property_type,)*
            $($(
                #[doc = concat!("`", $given_wire, "`, which the server gives.")]
                $(#[$given_meta])*
                pub $given: $given_type,
            )*)?
            /// `provisioningState`, which the server gives.
            pub provisioning_state: Option<String>,
        }

        impl $resource {
            /// Its resource type.
            pub const TYPE: &str = $kind;
        }

        impl $crate::document::shape::Shape for $resource {
            const NAMED: bool = true;

            fn read(
                value: &serde_json::Value,
                at: &$crate::problem::Path,
                report: &mut $crate::problem::Report,
            ) -> Option<Self> {
                let mut object = $crate::document::shape::Object::of_resource(value, at, report)?;
                let resource = Self {
                    name: object.take("name", report),
                    id: object.take("id", report),
                    etag: object.take("etag", report),
                    tags: object.take("tags", report),
                    resource_metadata: object.take("resourceMetadata", report),
                    $($beside: object.take($beside_wire, report),)*
                    $($property: object.take($wire, report),)*
                    $($($given: object.take_if_readable($given_wire, report),)*)?
                    provisioning_state: object.take("provisioningState", report),
                };
                // It follows from where the resource stands, so nothing is lost.
                let _kind: Option<String> = object.take("type", report);
                for given in $crate::document::shape::GIVEN {
                    object.pass_over(given);
                }
                object.close(report);
                Some(resource)
            }

            fn write(&self) -> Option<serde_json::Value> {
                use $crate::document::shape::put;
                let mut object = serde_json::Map::new();
                let mut properties = serde_json::Map::new();
                if !self.name.is_empty() {
                    put(&mut object, "name", &self.name);
                }
                put(&mut object, "id", &self.id);
                put(&mut object, "etag", &self.etag);
                // Without a name it is only referred to.
                if !self.name.is_empty() && !Self::TYPE.is_empty() {
                    object.insert("type".to_owned(), Self::TYPE.into());
                }
                put(&mut object, "tags", &self.tags);
                put(&mut object, "resourceMetadata", &self.resource_metadata);
                $(put(&mut object, $beside_wire, &self.$beside);)*
                put(&mut properties, "provisioningState", &self.provisioning_state);
                $(put(&mut properties, $wire, &self.$property);)*
                $($(put(&mut properties, $given_wire, &self.$given);)*)?
                if !(self.name.is_empty() && properties.is_empty()) {
                    object.insert("properties".to_owned(), properties.into());
                }
                Some(object.into())
            }

            fn settle(&mut self) {
                if self.name.is_empty() {
                    let name = self.id.as_deref().and_then($crate::id::name_of);
                    self.name = name.unwrap_or_default().to_owned();
                }
            }

            fn references<'a>(
                &'a self,
                at: &$crate::document::trail::Trail<'_>,
                found: &mut dyn FnMut(&$crate::document::trail::Trail<'_>, &'a str),
            ) {
                let _ = (at, &mut *found);
                $(self.$beside.references(&at.field($beside_wire), found);)*
                $(self.$property.references(&at.field($wire), found);)*
            }

            fn strip(&mut self) {
                self.etag = None;
                self.provisioning_state = None;
                $(self.$beside.strip();)*
                $(self.$property.strip();)*
                $($(self.$given = Default::default();)*)?
            }

            fn shorten(&mut self) {
                if self.id.is_some() {
                    *self = Self { id: self.id.take(), ..Self::default() };
                }
            }

            fn identify(&mut self, id: String) {
                $(self.$property.identify_within(&id, $wire);)*
                self.id = Some(id);
            }

            fn identify_not(&mut self) {
                self.id = None;
            }

            fn own_id(&self) -> Option<&str> {
                self.id.as_deref()
            }

            fn own_name(&self) -> &str {
                &self.name
            }

            fn schema() -> serde_json::Value {
                use $crate::document::shape::{Shape, schema};
                let properties = schema::object(vec![
                    ("configurationState", schema::read_only(serde_json::Value::schema())),
                    ("counters", schema::read_only(serde_json::Value::schema())),
                    ("resourceGuid", schema::read_only(String::schema())),
                    $(($wire, <$property_type as Shape>::schema()),)*
                    $($(($given_wire, schema::read_only(<$given_type as Shape>::schema())),)*)?
                    ("provisioningState", schema::read_only(String::schema())),
                ]);
                schema::object(vec![
                    ("name", String::schema()),
                    ("id", String::schema()),
                    ("etag", schema::read_only(String::schema())),
                    ("type", schema::word(Self::TYPE)),
                    ("tags", std::collections::BTreeMap::<String, String>::schema()),
                    ("resourceMetadata", serde_json::Value::schema()),
                    $(($beside_wire, <$beside_type as Shape>::schema()),)*
                    ("properties", properties),
                ])
            }

            #[cfg(test)]
            fn sample(dice: &mut $crate::document::tests::Dice) -> Self {
                use $crate::document::shape::Shape;
                Self {
                    name: Shape::sample(dice),
                    id: Shape::sample(dice),
                    etag: Shape::sample(dice),
                    tags: Shape::sample(dice),
                    resource_metadata: Shape::sample(dice),
                    $($beside: Shape::sample(dice),)*
                    $($property: Shape::sample(dice),)*
                    $($($given: Shape::sample(dice),)*)?
                    provisioning_state: Shape::sample(dice),
                }
            }
        }

        impl serde::Serialize for $resource {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::document::shape::Shape::write(self).serialize(serializer)
            }
        }
    };
}

/// Declares an object without a name and without `properties`.
macro_rules! object {
    (
        $(#[$meta:meta])*
        $object:ident { $($(#[$field_meta:meta])* $field:ident: $field_type:ty = $wire:literal,)* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $object {
            $(#[doc = concat!("`", $wire, "`")] $(#[$field_meta])* pub $field: $field_type,)*
        }

        impl $crate::document::shape::Shape for $object {
            fn read(
                value: &serde_json::Value,
                at: &$crate::problem::Path,
                report: &mut $crate::problem::Report,
            ) -> Option<Self> {
                let mut object = $crate::document::shape::Object::of_fields(value, at, report)?;
                let read = Self { $($field: object.take($wire, report),)* };
                object.close(report);
                Some(read)
            }

            fn write(&self) -> Option<serde_json::Value> {
                let mut object = serde_json::Map::new();
                $($crate::document::shape::put(&mut object, $wire, &self.$field);)*
                Some(object.into())
            }

            fn references<'a>(
                &'a self,
                at: &$crate::document::trail::Trail<'_>,
                found: &mut dyn FnMut(&$crate::document::trail::Trail<'_>, &'a str),
            ) {
                $(self.$field.references(&at.field($wire), found);)*
            }

            fn strip(&mut self) {
                $(self.$field.strip();)*
            }

            fn schema() -> serde_json::Value {
                use $crate::document::shape::{Shape, schema};
                schema::object(vec![$(($wire, <$field_type as Shape>::schema()),)*])
            }

            #[cfg(test)]
            fn sample(dice: &mut $crate::document::tests::Dice) -> Self {
                Self { $($field: $crate::document::shape::Shape::sample(dice),)* }
            }
        }
    };
}

/// Declares the words a field may hold.
macro_rules! words {
    ($(#[$meta:meta])* $words:ident { $($word:ident = $wire:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $words {
            $(#[doc = concat!("`", $wire, "`")] $word,)*
        }

        impl $words {
            /// The word as documents spell it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$word => $wire,)*
                }
            }
        }

        impl std::fmt::Display for $words {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str(self.as_str())
            }
        }

        impl $crate::document::shape::Shape for $words {
            fn read(
                value: &serde_json::Value,
                at: &$crate::problem::Path,
                report: &mut $crate::problem::Report,
            ) -> Option<Self> {
                let text = String::read(value, at, report)?;
                let words = [$(Self::$word,)*];
                let found = words.iter().copied().find(|word| word.as_str().eq_ignore_ascii_case(&text));
                if found.is_none() {
                    $crate::document::shape::unknown_word(&text, &[$($wire,)*], at, report);
                }
                found
            }

            fn write(&self) -> Option<serde_json::Value> {
                Some(self.as_str().into())
            }

            fn schema() -> serde_json::Value {
                $crate::document::shape::schema::words(&[$($wire,)*])
            }

            #[cfg(test)]
            fn sample(dice: &mut $crate::document::tests::Dice) -> Self {
                dice.pick(&[$(Self::$word,)*])
            }
        }
    };
}

/// An object while it is read: what was not taken in the end is unknown.
#[derive(Debug)]
pub(crate) struct Object<'a> {
    at: Path,
    fields: Vec<Field<'a>>,
    known: Vec<&'static str>,
}

#[derive(Debug)]
struct Field<'a> {
    name: &'a str,
    value: &'a Value,
    taken: bool,
}

impl<'a> Object<'a> {
    /// Opens a resource; its properties may be nested or, as `az` prints them, beside the name.
    pub(crate) fn of_resource(value: &'a Value, at: &Path, report: &mut Report) -> Option<Self> {
        let mut object = Self::of_fields(value, at, report)?;
        let nested: Vec<&Value> = object
            .fields
            .iter_mut()
            .filter(|field| field.name.eq_ignore_ascii_case("properties"))
            .map(|field| {
                field.taken = true;
                field.value
            })
            .collect();
        object.known.push("properties");
        for properties in nested.into_iter().filter(|value| !value.is_null()) {
            match properties {
                Value::Object(properties) => object.fields.extend(properties.iter().map(Field::new)),
                other @ (Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Array(_)) => {
                    report.add(&at.field("properties"), Code::WrongType, expected("an object", other));
                }
            }
        }
        Some(object)
    }

    pub(crate) fn of_fields(value: &'a Value, at: &Path, report: &mut Report) -> Option<Self> {
        let Value::Object(map) = value else {
            report.add(at, Code::WrongType, expected("an object", value));
            return None;
        };
        Some(Self { at: at.clone(), fields: map.iter().map(Field::new).collect(), known: Vec::new() })
    }

    /// Takes a field, whatever its casing; null is as good as absent.
    pub(crate) fn take<T: Shape + Default>(&mut self, name: &'static str, report: &mut Report) -> T {
        self.known.push(name);
        let at = self.at.field(name);
        let mut given = Vec::new();
        for field in self.fields.iter_mut().filter(|field| field.name.eq_ignore_ascii_case(name)) {
            field.taken = true;
            if !field.value.is_null() {
                given.push(field.value);
            }
        }
        if given.len() > 1 {
            report.add(&at, Code::InvalidRequestFormat, format!("`{name}` is given twice: keep one"));
        }
        given.first().and_then(|value| T::read(value, &at, report)).unwrap_or_default()
    }

    /// Takes a field that the server gives: what a client sends in it is never a mistake.
    pub(crate) fn take_if_readable<T: Shape + Default>(&mut self, name: &'static str, _: &mut Report) -> T {
        self.take(name, &mut Report::new(""))
    }

    /// Passes over a field that is shown and never read.
    pub(crate) fn pass_over(&mut self, name: &str) {
        for field in self.fields.iter_mut().filter(|field| field.name.eq_ignore_ascii_case(name)) {
            field.taken = true;
        }
    }

    /// Reports what is left: a misspelled field must not lose its effect in silence.
    pub(crate) fn close(self, report: &mut Report) {
        // `az` adds the group to every object, and older ones print nulls for fields of other versions.
        let strange = |field: &&Field<'_>| {
            !field.taken && !field.value.is_null() && !field.name.eq_ignore_ascii_case("resourceGroup")
        };
        for field in self.fields.iter().filter(strange) {
            let message = match nearest(field.name, &self.known) {
                Some(near) => format!("there is no field `{}`: did you mean `{near}`?", field.name),
                None => format!("there is no field `{}`: remove it", field.name),
            };
            report.add(&self.at.field(field.name), Code::UnknownField, message);
        }
    }
}

impl<'a> Field<'a> {
    fn new((name, value): (&'a String, &'a Value)) -> Self {
        Self { name, value, taken: false }
    }
}

/// The name the problems of an element or document go by; empty when it has none.
pub(crate) fn label_of(value: &Value) -> &str {
    let text = |wanted: &str| {
        let fields = value.as_object().into_iter().flatten();
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(wanted)).find_map(|(_, value)| value.as_str())
    };
    match text("name") {
        Some(name) if !name.is_empty() => name,
        Some(_) | None => text("id").and_then(id::name_of).unwrap_or_default(),
    }
}

pub(crate) fn put(object: &mut Map<String, Value>, name: &str, field: &impl Shape) {
    if let Some(value) = field.write() {
        object.insert(name.to_owned(), value);
    }
}

pub(crate) fn unknown_word(text: &str, words: &[&'static str], at: &Path, report: &mut Report) {
    let message = match nearest(text, words) {
        Some(near) => format!("`{text}` is not known here: did you mean `{near}`?"),
        None => format!("`{text}` is not known here: write one of {}", words.join(", ")),
    };
    report.add(at, Code::UnknownValue, message);
}

pub(crate) fn expected(wanted: &str, value: &Value) -> String {
    let hint = match value {
        Value::String(_) if matches!(wanted, "a whole number" | "true or false") => {
            ": write it without quotes"
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Array(_)
        | Value::Object(_)
        | Value::String(_) => "",
    };
    format!("{wanted} is wanted here, not {}{hint}", type_of(value))
}

pub(crate) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The known word that was probably meant: a few letters wrong in a long one, one in a short one.
fn nearest(word: &str, known: &[&'static str]) -> Option<&'static str> {
    const LONGEST: usize = 64;
    if word.len() > LONGEST {
        return None;
    }
    let tolerated = (word.len() / 4).clamp(1, 3);
    let distances = known.iter().map(|name| (distance(word, name), *name));
    distances.filter(|(distance, _)| *distance <= tolerated).min().map(|(_, name)| name)
}

/// How many letters to insert, remove or replace to make one word the other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (b, above) in other.bytes().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal + usize::from(!a.eq_ignore_ascii_case(&b));
            left = replaced.min(*above + 1).min(left + 1);
            diagonal = std::mem::replace(above, left);
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}
