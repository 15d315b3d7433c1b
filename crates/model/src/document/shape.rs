//! How values become fields and fields become values: one list of fields for each resource, read and written
//! by the same line.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::id;
use crate::problem::{Code, Path, Report};

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

    /// Any value of this kind, by the dice.
    #[cfg(test)]
    fn sample(dice: &mut super::tests::Dice) -> Self;
}

/// Declares a resource: the fields beside its name, and those within `properties`. Name, id, etag and
/// provisioning state are common to all.
macro_rules! resource {
    (
        $(#[$meta:meta])*
        $resource:ident($kind:expr) {
            beside { $($(#[$beside_meta:meta])* $beside:ident: $beside_type:ty = $beside_wire:literal,)* }
            properties { $($(#[$property_meta:meta])* $property:ident: $property_type:ty = $wire:literal,)* }
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
            $(#[doc = concat!("`", $beside_wire, "`")] $(#[$beside_meta])* pub $beside: $beside_type,)*
            $(#[doc = concat!("`", $wire, "`")] $(#[$property_meta])* pub $property: $property_type,)*
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
                    $($beside: object.take($beside_wire, report),)*
                    $($property: object.take($wire, report),)*
                    provisioning_state: object.take("provisioningState", report),
                };
                // It follows from where the resource stands, so nothing is lost.
                let _kind: Option<String> = object.take("type", report);
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
                $(put(&mut object, $beside_wire, &self.$beside);)*
                put(&mut properties, "provisioningState", &self.provisioning_state);
                $(put(&mut properties, $wire, &self.$property);)*
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

            #[cfg(test)]
            fn sample(dice: &mut $crate::document::tests::Dice) -> Self {
                use $crate::document::shape::Shape;
                Self {
                    name: Shape::sample(dice),
                    id: Shape::sample(dice),
                    etag: Shape::sample(dice),
                    $($beside: Shape::sample(dice),)*
                    $($property: Shape::sample(dice),)*
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

impl<T: Shape> Shape for Option<T> {
    fn read(value: &Value, at: &Path, report: &mut Report) -> Option<Self> {
        T::read(value, at, report).map(Some)
    }

    fn write(&self) -> Option<Value> {
        self.as_ref().and_then(T::write)
    }

    #[cfg(test)]
    fn sample(dice: &mut super::tests::Dice) -> Self {
        dice.pick(&[true, false]).then(|| T::sample(dice))
    }
}

impl<T: Shape> Shape for Box<T> {
    fn read(value: &Value, at: &Path, report: &mut Report) -> Option<Self> {
        T::read(value, at, report).map(Self::new)
    }

    fn write(&self) -> Option<Value> {
        T::write(self)
    }

    #[cfg(test)]
    fn sample(dice: &mut super::tests::Dice) -> Self {
        Self::new(T::sample(dice))
    }
}

impl<T: Shape> Shape for Vec<T> {
    fn read(value: &Value, at: &Path, report: &mut Report) -> Option<Self> {
        let Value::Array(values) = value else {
            report.add(at, Code::WrongType, expected("a list", value));
            return None;
        };
        let mut elements = Self::with_capacity(values.len());
        for (index, value) in values.iter().enumerate() {
            let label = if T::NAMED { label_of(value) } else { "" };
            if let Some(mut element) = T::read(value, &at.element(label, index), report) {
                element.settle();
                elements.push(element);
            }
        }
        Some(elements)
    }

    fn write(&self) -> Option<Value> {
        (T::NAMED || !self.is_empty()).then(|| self.iter().filter_map(T::write).collect())
    }

    #[cfg(test)]
    fn sample(dice: &mut super::tests::Dice) -> Self {
        let length = dice.pick(&[0, 0, 1, 2]);
        (0..length).map(|_| T::sample(dice)).collect()
    }
}

impl Shape for String {
    fn read(value: &Value, at: &Path, report: &mut Report) -> Option<Self> {
        let text = value.as_str().map(str::to_owned);
        if text.is_none() {
            report.add(at, Code::WrongType, expected("a text", value));
        }
        text
    }

    fn write(&self) -> Option<Value> {
        Some(self.as_str().into())
    }

    #[cfg(test)]
    fn sample(dice: &mut super::tests::Dice) -> Self {
        dice.pick(&["a", "Web-1", "ü / \" \\ \n", "/subscriptions/s/resourceGroups/g"]).to_owned()
    }
}

impl Shape for bool {
    fn read(value: &Value, at: &Path, report: &mut Report) -> Option<Self> {
        let flag = value.as_bool();
        if flag.is_none() {
            report.add(at, Code::WrongType, expected("true or false", value));
        }
        flag
    }

    fn write(&self) -> Option<Value> {
        Some((*self).into())
    }

    #[cfg(test)]
    fn sample(dice: &mut super::tests::Dice) -> Self {
        dice.pick(&[true, false])
    }
}

impl Shape for u32 {
    fn read(value: &Value, at: &Path, report: &mut Report) -> Option<Self> {
        let whole = value.as_u64().or_else(|| value.as_i64().map(|_| u64::MAX));
        let Some(whole) = whole else {
            report.add(at, Code::WrongType, expected("a whole number", value));
            return None;
        };
        let number = Self::try_from(whole).ok();
        if number.is_none() {
            report.add(
                at,
                Code::OutOfRange,
                format!("{value} is out of range: no field takes such a number"),
            );
        }
        number
    }

    fn write(&self) -> Option<Value> {
        Some((*self).into())
    }

    #[cfg(test)]
    fn sample(dice: &mut super::tests::Dice) -> Self {
        dice.pick(&[0, 1, 80, 65_535, Self::MAX])
    }
}

impl Shape for IpAddr {
    fn read(value: &Value, at: &Path, report: &mut Report) -> Option<Self> {
        let Some(text) = value.as_str() else {
            report.add(at, Code::WrongType, expected("an IP address", value));
            return None;
        };
        // Clients send an empty address for a frontend whose address is to be chosen.
        if text.is_empty() {
            return None;
        }
        let address = text.parse().ok();
        if address.is_none() {
            let message = format!("`{text}` is no IP address: write one such as `10.0.0.4` or `2001:db8::4`");
            report.add(at, Code::WrongType, message);
        }
        address
    }

    fn write(&self) -> Option<Value> {
        Some(self.to_string().into())
    }

    #[cfg(test)]
    fn sample(dice: &mut super::tests::Dice) -> Self {
        dice.pick(&[Self::from([10, 0, 0, 4]), Self::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 4])])
    }
}

impl Shape for BTreeMap<String, String> {
    fn read(value: &Value, at: &Path, report: &mut Report) -> Option<Self> {
        let Value::Object(object) = value else {
            report.add(at, Code::WrongType, expected("an object", value));
            return None;
        };
        let given = object.iter().filter(|(_, value)| !value.is_null());
        Some(given.filter_map(|(k, v)| Some((k.clone(), String::read(v, &at.field(k), report)?))).collect())
    }

    fn write(&self) -> Option<Value> {
        let pairs = || self.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
        (!self.is_empty()).then(|| Value::Object(pairs().collect()))
    }

    #[cfg(test)]
    fn sample(dice: &mut super::tests::Dice) -> Self {
        Vec::<String>::sample(dice).into_iter().map(|name| (name, String::sample(dice))).collect()
    }
}

/// Kept as it is, for what this crate has no use for and somebody may want back.
impl Shape for Value {
    fn read(value: &Value, _: &Path, _: &mut Report) -> Option<Self> {
        Some(value.clone())
    }

    fn write(&self) -> Option<Value> {
        Some(self.clone())
    }

    #[cfg(test)]
    fn sample(dice: &mut super::tests::Dice) -> Self {
        dice.pick(&["kept", ""]).into()
    }
}
