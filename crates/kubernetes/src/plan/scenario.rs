//! What a scenario says.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use md5::{Digest, Md5};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use crate::node::Labels;
use crate::service::Key;
use crate::translate::Operation;

/// A scenario: a cluster, what exists, and what happens.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Scenario {
    /// What everything is named after.
    #[serde(default = "cluster_name")]
    pub cluster_name: String,
    /// The cloud config.
    pub config: Value,
    /// Subnets of the network, each with its prefixes.
    pub subnets: BTreeMap<String, Several>,
    /// Labels of namespaces.
    pub namespaces: BTreeMap<String, Labels>,
    /// Nodes, until a step gives others.
    pub nodes: Vec<core::Node>,
    pub(super) existing_load_balancers: Vec<Balancer>,
    #[serde(rename = "existingPublicIPs")]
    pub(super) existing_public_ips: Vec<PublicIp>,
    pub(super) existing_security_rules: Vec<SecurityRule>,
    /// What happens.
    pub(super) steps: Vec<Step>,
}

/// Why a scenario cannot be played.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct BadScenario(String);

/// One or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Several {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Several {
    pub(super) fn each(&self) -> impl Iterator<Item = &str> {
        let (one, several) = match self {
            Self::One(one) => (Some(one), &[][..]),
            Self::Several(several) => (None, several.as_slice()),
        };
        one.into_iter().chain(several).map(String::as_str)
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Balancer {
    pub name: String,
    pub sku: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub frontends: Vec<Frontend>,
    pub inbound_nat_rules: Vec<NatRule>,
    pub inbound_nat_pools: Vec<NatPool>,
    pub outbound_rules: Vec<OutboundRule>,
    pub foreign_rule_count: usize,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Frontend {
    pub name: String,
    #[serde(rename = "publicIP")]
    pub public_ip: Option<String>,
    pub subnet: Option<String>,
    #[serde(rename = "privateIP")]
    pub private_ip: Option<String>,
    pub allocation: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct NatRule {
    pub name: String,
    pub frontend: String,
    pub protocol: String,
    pub frontend_port: u32,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct NatPool {
    pub name: String,
    pub frontend: String,
    pub protocol: String,
    pub frontend_port_start: u32,
    pub frontend_port_end: u32,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OutboundRule {
    pub name: String,
    pub frontends: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PublicIp {
    pub name: String,
    pub ip: Option<String>,
    pub version: Option<String>,
    pub resource_group: Option<String>,
    pub sku: Option<String>,
    pub dns_label: Option<String>,
    pub tags: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SecurityRule {
    pub name: String,
    pub priority: u32,
    pub access: String,
    pub protocol: String,
    pub sources: Vec<String>,
    pub destinations: Vec<String>,
    pub destination_ports: Vec<String>,
}

/// One thing that happens.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Step {
    pub op: Op,
    pub service: Option<core::Service>,
    pub service_ref: Option<String>,
    pub nodes: Option<Vec<core::Node>>,
    pub endpoint_nodes: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Op {
    Ensure,
    Update,
    Delete,
    Get,
}

impl Op {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ensure => "ensure",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Get => "get",
        }
    }

    pub(super) const fn operation(self) -> Option<Operation> {
        match self {
            Self::Ensure => Some(Operation::Ensure),
            Self::Update => Some(Operation::Update),
            Self::Delete => Some(Operation::Delete),
            Self::Get => None,
        }
    }
}

impl Step {
    pub(super) fn key(&self) -> Key {
        match (&self.service, &self.service_ref) {
            (Some(manifest), _) => Key::of(manifest),
            (None, Some(name)) => Key::read(name),
            (None, None) => Key::read(""),
        }
    }
}

impl Scenario {
    /// Reads a scenario in YAML or JSON.
    ///
    /// # Errors
    /// What cannot be read, with its place.
    pub fn read(text: &str) -> Result<Self, BadScenario> {
        let value: Value =
            serde_saphyr::from_str(text).map_err(|error| BadScenario(first_line(&error.to_string())))?;
        Self::of(&value)
    }

    /// A scenario of its value.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn of(value: &Value) -> Result<Self, BadScenario> {
        // What is null is not there.
        let mut value = value.clone();
        if let Value::Object(fields) = &mut value {
            fields.retain(|_, value| !value.is_null());
        }
        let scenario = Self::deserialize(&value).map_err(|error| BadScenario(error.to_string()))?;
        let nameless = |step: &&Step| step.key().name.is_empty();
        if let Some(step) = scenario.steps.iter().find(nameless) {
            let message = format!("a step {} needs a service with a name, or a serviceRef", step.op.name());
            return Err(BadScenario(message));
        }
        Ok(scenario)
    }

    /// The short form: each Service of some manifests is ensured, once, on these nodes.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn of_manifests(
        manifests: &[(String, String)],
        nodes: Option<&(String, String)>,
        config: Option<&(String, String)>,
    ) -> Result<Self, BadScenario> {
        let mut scenario = Self { cluster_name: cluster_name(), ..Self::default() };
        for (name, text) in manifests {
            for object in objects(name, text)? {
                match object.get("kind").and_then(Value::as_str) {
                    Some("Service") => scenario.ensure(read_as(name, object)?),
                    Some("Namespace") => scenario.namespace(&read_as(name, object)?),
                    Some(_) | None => {}
                }
            }
        }
        if scenario.steps.is_empty() {
            let names: Vec<_> = manifests.iter().map(|(name, _)| name.as_str()).collect();
            return Err(BadScenario(format!("there is no Service in {}", names.join(", "))));
        }
        if let Some((name, text)) = nodes {
            for object in objects(name, text)? {
                scenario.nodes.push(read_as(name, object)?);
            }
        }
        if let Some((name, text)) = config {
            let value = serde_saphyr::from_str(text);
            scenario.config =
                value.map_err(|error| BadScenario(format!("{name}: {}", first_line(&error.to_string()))))?;
        }
        Ok(scenario)
    }

    fn ensure(&mut self, manifest: core::Service) {
        let step = Step {
            op: Op::Ensure,
            service: Some(manifest),
            service_ref: None,
            nodes: None,
            endpoint_nodes: None,
        };
        self.steps.push(step);
    }

    fn namespace(&mut self, namespace: &core::Namespace) {
        let meta = &namespace.metadata;
        let labels = meta.labels.clone().unwrap_or_default();
        self.namespaces.insert(meta.name.clone().unwrap_or_default(), labels);
    }
}

/// The UID of a Service that no cluster has seen: the same at every run.
pub(super) fn uid_of(key: &Key) -> String {
    let digest = Md5::digest(key.to_string().as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// The objects of a file: its documents, and those of its lists.
fn objects(name: &str, text: &str) -> Result<Vec<Value>, BadScenario> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text)
        .map_err(|error| BadScenario(format!("{name}: {}", first_line(&error.to_string()))))?;
    let mut objects = Vec::new();
    for document in documents {
        match document {
            Value::Null => {}
            Value::Array(items) => objects.extend(items),
            Value::Object(mut fields) => match fields.shift_remove("items") {
                Some(Value::Array(items)) => objects.extend(items),
                Some(_) | None => objects.push(Value::Object(fields)),
            },
            other @ (Value::Bool(_) | Value::Number(_) | Value::String(_)) => objects.push(other),
        }
    }
    Ok(objects)
}

fn read_as<T: for<'d> Deserialize<'d>>(name: &str, object: Value) -> Result<T, BadScenario> {
    T::deserialize(object).map_err(|error| BadScenario(format!("{name}: {error}")))
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn cluster_name() -> String {
    "kubernetes".to_owned()
}
