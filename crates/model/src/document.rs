//! Documents in the shape of Azure's resources, read from whatever clients send and written canonically.
//!
//! A document says what somebody wrote, valid or not; `check` judges it. Two spellings are read: the REST
//! shape with `properties`, and what `az … show -o json` prints, which has the properties beside the name.
//! Written is always the REST shape.

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::problem::{Code, Path, Problem, Report};
use shape::Shape;

pub use address::{PublicIpAddress, PublicIpSku};
pub use balancer::{LoadBalancer, Sku};
pub use common::{ExtendedLocation, Reference};
pub use frontend::FrontendIpConfiguration;
pub use nat::{InboundNatPool, InboundNatRule};
pub use outbound::OutboundRule;
pub use pool::{BackendAddress, BackendAddressPool, PoolExtension, TunnelInterface};
pub use probe::Probe;
pub use rule::LoadBalancingRule;

#[macro_use]
mod shape;
mod address;
mod balancer;
mod common;
mod frontend;
mod json;
mod nat;
mod outbound;
mod pool;
mod probe;
mod rule;
#[cfg(test)]
mod tests;
pub mod words;

/// One file or request body, with where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file's name, or what else to call it.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// One resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// `Microsoft.Network/loadBalancers`.
    LoadBalancer(Box<LoadBalancer>),
    /// `Microsoft.Network/publicIPAddresses`.
    PublicIpAddress(Box<PublicIpAddress>),
}

impl Document {
    /// Its name; empty when it has none, which `check` refuses.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::LoadBalancer(balancer) => &balancer.name,
            Self::PublicIpAddress(address) => &address.name,
        }
    }

    /// Its id, if it has one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::LoadBalancer(balancer) => balancer.id.as_deref(),
            Self::PublicIpAddress(address) => address.id.as_deref(),
        }
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::LoadBalancer(balancer) => balancer.serialize(serializer),
            Self::PublicIpAddress(address) => address.serialize(serializer),
        }
    }
}

/// Reads the documents of one source: syntax, fields and types. What they mean is for `check`.
///
/// # Errors
/// Every problem of every document in it.
pub fn parse(source: &Source) -> Result<Vec<Document>, Vec<Problem>> {
    let Reading { documents, problems } = read(source);
    match problems.is_empty() {
        true => Ok(documents.into_iter().map(|(_, document)| document).collect()),
        false => Err(problems),
    }
}

/// What could be read, each document with the name its problems go by, and what could not.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub(crate) documents: Vec<(String, Document)>,
    pub(crate) problems: Vec<Problem>,
}

pub(crate) fn read(source: &Source) -> Reading {
    let mut reading = Reading::default();
    match json::parse(&source.text) {
        Err(error) => reading.refuse(source, Code::InvalidRequestFormat, error),
        Ok(Value::Array(values)) => reading.read_all(source, &values),
        Ok(Value::Object(object)) => match object.get("value") {
            Some(Value::Array(values)) => {
                for field in object.keys().filter(|field| !matches!(field.as_str(), "value" | "nextLink")) {
                    let message = format!("a list has no field `{field}`: remove it");
                    reading.refuse(source, Code::UnknownField, message);
                }
                reading.read_all(source, values);
            }
            Some(_) | None => reading.read_one(&source.name, &Value::Object(object)),
        },
        Ok(other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_))) => {
            let message =
                format!("{} is no document: write an object or a list of objects", shape::type_of(&other));
            reading.refuse(source, Code::WrongType, message);
        }
    }
    reading
}

impl Reading {
    fn read_all(&mut self, source: &Source, values: &[Value]) {
        for (index, value) in values.iter().enumerate() {
            self.read_one(&format!("{}#{}", source.name, index + 1), value);
        }
    }

    /// Reads one document; `place` is what it is called while it has no name.
    fn read_one(&mut self, place: &str, value: &Value) {
        let label = match shape::label_of(value) {
            "" => place.to_owned(),
            name => name.to_owned(),
        };
        let mut report = Report::new(&label);
        if let Some(document) = read_document(value, &mut report) {
            self.documents.push((label, document));
        }
        self.problems.append(&mut report.into_problems());
    }

    fn refuse(&mut self, source: &Source, code: Code, message: String) {
        let mut report = Report::new(&source.name);
        report.add(&Path::default(), code, message);
        self.problems.append(&mut report.into_problems());
    }
}

fn read_document(value: &Value, report: &mut Report) -> Option<Document> {
    let root = Path::default();
    let Value::Object(object) = value else {
        let message = format!("{} is no document: write an object", shape::type_of(value));
        report.add(&root, Code::WrongType, message);
        return None;
    };
    let kind = object.iter().find(|(field, kind)| field.eq_ignore_ascii_case("type") && !kind.is_null());
    match kind.map(|(_, kind)| kind) {
        None => LoadBalancer::read_whole(value, report).map(Document::of_balancer),
        Some(Value::String(kind)) if kind.eq_ignore_ascii_case(LoadBalancer::TYPE) => {
            LoadBalancer::read_whole(value, report).map(Document::of_balancer)
        }
        Some(Value::String(kind)) if kind.eq_ignore_ascii_case(PublicIpAddress::TYPE) => {
            let mut address = PublicIpAddress::read(value, &root, report)?;
            address.settle();
            Some(Document::PublicIpAddress(Box::new(address)))
        }
        Some(Value::String(kind)) => {
            let message = format!(
                "`{kind}` is no resource known here: write `{}` or `{}`",
                LoadBalancer::TYPE,
                PublicIpAddress::TYPE
            );
            report.add(&root.field("type"), Code::UnknownValue, message);
            None
        }
        Some(other) => {
            report.add(&root.field("type"), Code::WrongType, shape::expected("a text", other));
            None
        }
    }
}

impl Document {
    fn of_balancer(balancer: LoadBalancer) -> Self {
        Self::LoadBalancer(Box::new(balancer))
    }
}
