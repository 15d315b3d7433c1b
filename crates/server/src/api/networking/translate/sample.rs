//! Resources made up from the dictionary, for tests: each a valid one by its rows, though not always by what it means.

#![cfg(test)]

use serde_json::{Map, Value, json};

use super::dictionary::{Entry, Field, Shape, Writer};
use super::value;
use crate::api::networking::version::Version;

/// Makes up resources from the dictionary.
#[derive(Debug)]
pub struct Sample {
    version: Version,
    state: u64,
}

impl Sample {
    /// The same seed makes the same up.
    pub const fn new(version: Version, seed: u64) -> Self {
        Self { version, state: seed | 1 }
    }

    /// A number below this one.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % sides
    }

    /// A resource of this kind and name, with everything in it.
    pub fn resource(&mut self, entry: &'static Entry, name: &str) -> Value {
        let mut envelope = Map::new();
        envelope.insert("resourceId".to_owned(), name.into());
        envelope.insert("tags".to_owned(), json!({ "colour": "blue" }));
        envelope.insert("resourceMetadata".to_owned(), json!({ "client": "suite" }));
        self.fields(entry.beside, &mut envelope);
        let mut properties = Map::new();
        self.fields(entry.fields, &mut properties);
        self.settle(entry, &mut properties);
        envelope.insert("properties".to_owned(), properties.into());
        envelope.into()
    }

    fn fields(&mut self, fields: &'static [Field], to: &mut Map<String, Value>) {
        for field in fields.iter().filter(|field| field.writer == Writer::Client) {
            if field.is_in(self.version) {
                let value = self.value(field);
                value::set(to, field.name, value);
            }
        }
    }

    fn value(&mut self, field: &'static Field) -> Value {
        match field.shape {
            Shape::Text | Shape::TextOrTexts { .. } => self.text(field.name).into(),
            Shape::Texts => json!([self.text(field.name), self.text(field.name)]),
            Shape::Number { least, most, .. } => (least + self.roll(most - least + 1)).into(),
            Shape::Flag => (self.roll(2) == 0).into(),
            Shape::Words { words, .. } => {
                let words: Vec<&str> =
                    words.iter().filter(|(_, it)| !it.is_empty()).map(|(word, _)| *word).collect();
                words[self.roll(words.len() as u64) as usize].into()
            }
            Shape::Mac => "001DD8B70C00".into(),
            Shape::Reference(to) => self.pointer(to),
            Shape::References(to) | Shape::FirstAndRest { to, .. } => {
                json!([self.pointer(to), self.pointer(to)])
            }
            Shape::Objects(fields) => {
                let mut object = Map::new();
                self.fields(fields, &mut object);
                json!([object])
            }
            Shape::Children(entry) => json!([self.resource(entry, "one"), self.resource(entry, "two")]),
            Shape::Kept
                if ["connections", "routes"].contains(&field.name) || field.name.ends_with("Tags") =>
            {
                json!([{ "kept": self.roll(100) }])
            }
            Shape::Kept => json!({ "kept": self.roll(100) }),
        }
    }

    fn text(&mut self, name: &str) -> String {
        let number = self.roll(200) + 1;
        match name {
            _ if name.contains("IPAddress") || name.contains("IpAddress") => format!("10.1.2.{number}"),
            "ipAddress" => format!("10.1.2.{number}"),
            _ if name.ends_with("dnsServers") || name == "defaultGateways" => format!("10.1.3.{number}"),
            _ if name.contains("refix") => format!("10.{number}.0.0/16"),
            _ if name.ends_with("PortRange") => format!("{number}-{}", number + 7),
            _ => format!("text {number}"),
        }
    }

    fn pointer(&mut self, to: &[&str]) -> Value {
        let collections = to[self.roll(to.len() as u64) as usize];
        let names = collections.split('/').map(|collection| format!("/{collection}/n{}", self.roll(9)));
        json!({ "resourceRef": names.collect::<String>() })
    }

    /// Takes out what contradicts.
    fn settle(&mut self, entry: &Entry, properties: &mut Map<String, Value>) {
        match entry.name {
            "frontendIPConfigurations" if self.roll(2) == 0 => {
                properties.retain(|name, _| name == "publicIPAddress");
            }
            "frontendIPConfigurations" => {
                properties.shift_remove("publicIPAddress");
            }
            "publicIPAddresses" if properties.contains_key("publicIPAddressVersion") => {
                properties.insert("publicIPAddressVersion".to_owned(), "IPv4".into());
            }
            _ => {}
        }
    }
}
