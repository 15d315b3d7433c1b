//! Documents in the shape of Azure's resources, read from whatever clients send and written canonically.
//!
//! A document says what somebody wrote, valid or not; `check` judges it. Two spellings are read: the REST
//! shape with `properties`, and what `az … show -o json` prints, which has the properties beside the name.
//! Written is always the REST shape.

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::id::Id;
use crate::kind::Kind;
use crate::problem::{Code, Path, Problem, Report};
use crate::resource_id::ResourceId;
use shape::Shape;
use trail::Trail;

pub use address::{PublicIpAddress, PublicIpSku};
pub use balancer::{LoadBalancer, Sku};
pub use common::{ExtendedLocation, Reference};
pub use frontend::FrontendIpConfiguration;
pub use interface::{
    InterfaceDnsSettings, InterfaceExtension, IpConfiguration, IpConfigurationExtension, NetworkInterface,
};
pub use logical::{IpPool, LogicalNetwork, LogicalSubnet, PoolUsage};
pub use manager::LoadBalancerManager;
pub use mux::{LoadBalancerMux, PeerRouter, RouterConfiguration};
pub use nat::{InboundNatPool, InboundNatRule};
pub use network::{
    AddressSpace, DhcpOptions, Subnet, SubnetExtension, VirtualNetwork, VirtualNetworkExtension,
};
pub use outbound::OutboundRule;
pub use pool::{BackendAddress, BackendAddressPool, MemberExtension, PoolExtension, TunnelInterface};
pub use prefix::{PublicIpPrefix, PublicIpPrefixSku};
pub use probe::{Probe, ProbeExtension};
pub use rule::{LoadBalancingRule, RuleExtension};
pub use security::{
    DefaultAction, NetworkSecurityGroup, SecurityGroupExtension, SecurityRule, SecurityRuleExtension,
    ServiceTag,
};
pub use virtual_server::VirtualServer;

use crate::net::{MacAddress, Prefix};

#[macro_use]
mod shape;
mod address;
mod balancer;
mod common;
mod frontend;
mod interface;
mod json;
mod logical;
mod manager;
mod mux;
mod nat;
mod network;
mod outbound;
mod pool;
mod prefix;
mod probe;
mod rule;
mod security;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod trail;
mod virtual_server;
pub mod words;

/// One file or request body, with where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file's name, or what else to call it.
    pub name: String,
    /// What is in it.
    pub text: String,
}

macro_rules! documents {
    ($($kind:ident,)*) => {
        /// One resource.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Document {
            $(#[doc = concat!("One of [`Kind::", stringify!($kind), "`].")] $kind(Box<$kind>),)*
        }

        impl Document {
            /// Its name; empty when it has none, which `check` refuses.
            #[must_use]
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$kind(it) => &it.name,)*
                }
            }

            /// Its id, if it has one.
            #[must_use]
            pub fn id(&self) -> Option<&str> {
                match self {
                    $(Self::$kind(it) => it.id.as_deref(),)*
                }
            }

            /// What kind of resource it is.
            #[must_use]
            pub const fn kind(&self) -> Kind {
                match self {
                    $(Self::$kind(_) => Kind::$kind,)*
                }
            }

            /// The JSON Schema of a kind, in the REST shape.
            #[must_use]
            pub fn schema(kind: Kind) -> Value {
                match kind {
                    $(Kind::$kind => $kind::schema(),)*
                }
            }

            /// Shows every reference it makes, with its place; not those that the server gives.
            pub(crate) fn each_reference<'a>(&'a self, mut found: impl FnMut(&Trail<'_>, &'a str)) {
                match self {
                    $(Self::$kind(it) => (**it).references(&Trail::Root, &mut found),)*
                }
            }

            fn shape_strip(&mut self) {
                match self {
                    $(Self::$kind(it) => (**it).strip(),)*
                }
            }

            /// Gives it this id and its name, and each of its children the id that follows.
            pub fn identify(&mut self, id: &ResourceId) {
                match self {
                    $(Self::$kind(it) => {
                        id.name().clone_into(&mut it.name);
                        (**it).identify(id.to_string());
                    })*
                }
            }

            fn read_kind(kind: Kind, value: &Value, report: &mut Report) -> Option<Self> {
                match kind {
                    $(Kind::$kind => {
                        let mut it = $kind::read(value, &Path::default(), report)?;
                        it.settle();
                        Some(Self::$kind(Box::new(it)))
                    })*
                }
            }
        }

        impl Serialize for Document {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$kind(it) => it.serialize(serializer),)*
                }
            }
        }

        $(impl $kind {
            /// The resource, if the document is one of these.
            #[must_use]
            pub fn of(document: &Document) -> Option<&Self> {
                if let Document::$kind(it) = document { Some(it) } else { None }
            }
        })*

        $(impl From<$kind> for Document {
            fn from(it: $kind) -> Self {
                Self::$kind(Box::new(it))
            }
        })*
    };
}

documents! {
    LoadBalancer,
    PublicIpAddress,
    PublicIpPrefix,
    VirtualNetwork,
    NetworkInterface,
    NetworkSecurityGroup,
    LogicalNetwork,
    LoadBalancerManager,
    LoadBalancerMux,
    VirtualServer,
}

impl Document {
    /// Reads one document; its problems go by the label. Without `type` its kind is that of its id, and without
    /// one it is a load balancer.
    ///
    /// # Errors
    /// Every problem of its syntax, fields and types. What they mean is for `check`.
    pub fn read(value: &Value, label: &str) -> Result<Self, Vec<Problem>> {
        match Self::read_in_part(value, label) {
            (Some(document), problems) if problems.is_empty() => Ok(document),
            (_, problems) => Err(problems),
        }
    }

    /// Reads what can be read, so that it can be judged as well, with every problem of the rest.
    #[must_use]
    pub fn read_in_part(value: &Value, label: &str) -> (Option<Self>, Vec<Problem>) {
        let mut report = Report::new(label);
        let document = read_document(value, &mut report);
        (document, report.into_problems())
    }

    /// Its id, if it has a full one of its kind.
    #[must_use]
    pub fn resource_id(&self) -> Option<ResourceId> {
        let (id, path) = ResourceId::parse(self.id()?)?;
        (path.is_empty() && id.kind() == self.kind()).then_some(id)
    }

    /// Every reference it makes, as place and id; not those that the server gives.
    #[must_use]
    pub fn references(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        self.each_reference(|at, id| found.push((at.to_string(), id.to_owned())));
        found
    }

    /// Takes out what the server gives and clients send back: etags, states, ids of children, who refers to it,
    /// and the members of a pool that are said elsewhere.
    pub fn strip_read_only(&mut self) {
        if let Self::LoadBalancer(balancer) = self {
            balancer.backend_address_pools.iter_mut().for_each(BackendAddressPool::strip_mirrors);
        }
        self.shape_strip();
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

/// Reads a text of JSON in which no field is given twice.
///
/// # Errors
/// What is wrong with it, with line and column.
pub fn json_of(text: &str) -> Result<Value, String> {
    json::parse(text)
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
    let field = |wanted: &str| {
        let given =
            |(field, value): &(&String, &Value)| field.eq_ignore_ascii_case(wanted) && !value.is_null();
        object.iter().find(given).map(|(_, value)| value)
    };
    let kind = match field("type") {
        None => field("id").and_then(Value::as_str).and_then(kind_of_id).unwrap_or(Kind::LoadBalancer),
        Some(Value::String(name)) => match Kind::of_type(name) {
            Some(kind) => kind,
            None => {
                let known: Vec<_> = Kind::ALL.iter().map(|kind| kind.segment()).collect();
                let message = format!(
                    "`{name}` is no resource known here: write `Microsoft.Network/` and one of {}",
                    known.join(", ")
                );
                report.add(&root.field("type"), Code::UnknownValue, message);
                return None;
            }
        },
        Some(other) => {
            report.add(&root.field("type"), Code::WrongType, shape::expected("a text", other));
            return None;
        }
    };
    let mut document = Document::read_kind(kind, value, report)?;
    if let Document::LoadBalancer(balancer) = &mut document {
        balancer.settle_rules();
    }
    Some(document)
}

fn kind_of_id(id: &str) -> Option<Kind> {
    Kind::of_segment(Id::parse(id).filter(|id| id.parent.is_some())?.collection)
}
