//! What a field can hold: lists, texts, numbers, flags, addresses, maps.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use super::{Shape, expected, label_of};
use crate::document::trail::Trail;
use crate::net::{MacAddress, Prefix};
use crate::problem::{Code, Path, Report};

impl<T: Shape> Shape for Option<T> {
    fn read(value: &Value, at: &Path, report: &mut Report) -> Option<Self> {
        T::read(value, at, report).map(Some)
    }

    fn write(&self) -> Option<Value> {
        self.as_ref().and_then(T::write)
    }

    fn references<'a>(&'a self, at: &Trail<'_>, found: &mut dyn FnMut(&Trail<'_>, &'a str)) {
        if let Some(value) = self {
            value.references(at, found);
        }
    }

    fn strip(&mut self) {
        if let Some(value) = self {
            value.strip();
        }
    }

    fn schema() -> Value {
        T::schema()
    }

    #[cfg(test)]
    fn sample(dice: &mut crate::document::tests::Dice) -> Self {
        dice.pick(&[true, false]).then(|| T::sample(dice))
    }
}

/// In a box stands a resource where a reference would: clients send it whole, and what counts is its id.
impl<T: Shape> Shape for Box<T> {
    fn read(value: &Value, at: &Path, report: &mut Report) -> Option<Self> {
        T::read(value, at, report).map(Self::new)
    }

    fn write(&self) -> Option<Value> {
        T::write(self)
    }

    fn references<'a>(&'a self, at: &Trail<'_>, found: &mut dyn FnMut(&Trail<'_>, &'a str)) {
        if let Some(id) = self.own_id() {
            found(at, id);
        }
    }

    fn strip(&mut self) {
        self.shorten();
    }

    fn own_id(&self) -> Option<&str> {
        T::own_id(self)
    }

    fn shorten(&mut self) {
        T::shorten(self);
    }

    fn schema() -> Value {
        T::schema()
    }

    #[cfg(test)]
    fn sample(dice: &mut crate::document::tests::Dice) -> Self {
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

    fn references<'a>(&'a self, at: &Trail<'_>, found: &mut dyn FnMut(&Trail<'_>, &'a str)) {
        for (index, element) in self.iter().enumerate() {
            element.references(&at.element(element.own_name(), index), found);
        }
    }

    fn strip(&mut self) {
        for element in self {
            element.strip();
            element.identify_not();
        }
    }

    fn identify_within(&mut self, parent: &str, collection: &str) {
        for element in self.iter_mut().filter(|_| T::NAMED) {
            let id = format!("{parent}/{collection}/{}", element.own_name());
            element.identify(id);
        }
    }

    fn schema() -> Value {
        serde_json::json!({ "type": "array", "items": T::schema() })
    }

    #[cfg(test)]
    fn sample(dice: &mut crate::document::tests::Dice) -> Self {
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

    fn schema() -> Value {
        serde_json::json!({ "type": "string" })
    }

    #[cfg(test)]
    fn sample(dice: &mut crate::document::tests::Dice) -> Self {
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

    fn schema() -> Value {
        serde_json::json!({ "type": "boolean" })
    }

    #[cfg(test)]
    fn sample(dice: &mut crate::document::tests::Dice) -> Self {
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

    fn schema() -> Value {
        serde_json::json!({ "type": "integer", "minimum": 0, "maximum": Self::MAX })
    }

    #[cfg(test)]
    fn sample(dice: &mut crate::document::tests::Dice) -> Self {
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

    fn schema() -> Value {
        super::schema::text_of("an IPv4 or IPv6 address")
    }

    #[cfg(test)]
    fn sample(dice: &mut crate::document::tests::Dice) -> Self {
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

    fn schema() -> Value {
        serde_json::json!({ "type": "object", "additionalProperties": { "type": "string" } })
    }

    #[cfg(test)]
    fn sample(dice: &mut crate::document::tests::Dice) -> Self {
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

    fn schema() -> Value {
        Value::Bool(true)
    }

    #[cfg(test)]
    fn sample(dice: &mut crate::document::tests::Dice) -> Self {
        dice.pick(&["kept", ""]).into()
    }
}

impl Shape for Prefix {
    fn read(value: &Value, at: &Path, report: &mut Report) -> Option<Self> {
        let text = String::read(value, at, report).filter(|text| !text.is_empty())?;
        let prefix = text.parse().ok();
        if prefix.is_none() {
            let message = format!("`{text}` is no prefix: write one such as `10.0.0.0/24` or `fd00::/64`");
            report.add(at, Code::WrongType, message);
        }
        prefix
    }

    fn write(&self) -> Option<Value> {
        Some(self.to_string().into())
    }

    fn schema() -> Value {
        super::schema::text_of("a prefix such as 10.0.0.0/24")
    }

    #[cfg(test)]
    fn sample(dice: &mut crate::document::tests::Dice) -> Self {
        let texts = ["10.0.0.0/24", "10.0.0.77/8", "fd00::/64", "0.0.0.0/0"];
        dice.pick(&texts).parse().unwrap()
    }
}

impl Shape for MacAddress {
    fn read(value: &Value, at: &Path, report: &mut Report) -> Option<Self> {
        let text = String::read(value, at, report).filter(|text| !text.is_empty())?;
        let mac = text.parse().ok();
        if mac.is_none() {
            let message = format!("`{text}` is no MAC address: write twelve hexadecimal digits");
            report.add(at, Code::WrongType, message);
        }
        mac
    }

    fn write(&self) -> Option<Value> {
        Some(self.to_string().into())
    }

    fn schema() -> Value {
        super::schema::text_of("a MAC address such as 00-1D-D8-B7-0C-00")
    }

    #[cfg(test)]
    fn sample(dice: &mut crate::document::tests::Dice) -> Self {
        Self([dice.pick(&[0, 2, 255]); 6])
    }
}
