//! The manifests in deploy/kubernetes: the chart rendered with its own values is the file for those without Helm, and every object in it is
//! one that a cluster takes, field by field.
//!
//! The chart keeps to a part of the template language that is rendered here: `if` of a value, values, `printf`, `toJson` and `quote`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use forebay_kubernetes::config::Config;

const NAMESPACE: &str = "forebay-system";
const HEAD: &str = "# Made of the chart beside it, with its values: `FOREBAY_WRITE_PAGE=1 cargo test -p forebay-kubernetes --test chart`.
# Put your own token, authority, cloud config and forebay.toml in; docs/kubernetes.md says how.
";

#[test]
fn the_file_for_those_without_helm_is_the_chart_with_its_values() {
    let file = folder().join("forebay.yaml");
    let rendered = format!("{HEAD}{}", rendered(&values()));
    if std::env::var_os("FOREBAY_WRITE_PAGE").is_some() {
        std::fs::write(&file, &rendered).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap_or_default(), rendered, "FOREBAY_WRITE_PAGE=1 mends it");
}

#[test]
fn every_object_is_one_that_a_cluster_takes() {
    let mut kinds = Vec::new();
    for object in objects(&rendered(&values())) {
        let kind = object["kind"].as_str().unwrap().to_owned();
        match kind.as_str() {
            "Namespace" => check::<Namespace>(&object),
            "ServiceAccount" => check::<ServiceAccount>(&object),
            "ClusterRole" => check::<ClusterRole>(&object),
            "ClusterRoleBinding" => check::<ClusterRoleBinding>(&object),
            "Role" => check::<Role>(&object),
            "RoleBinding" => check::<RoleBinding>(&object),
            "ConfigMap" => check::<ConfigMap>(&object),
            "Service" => check::<Service>(&object),
            "Deployment" => check::<Deployment>(&object),
            "DaemonSet" => check::<DaemonSet>(&object),
            "PodDisruptionBudget" => check::<PodDisruptionBudget>(&object),
            "NetworkPolicy" => check::<NetworkPolicy>(&object),
            other => panic!("{other}: nobody checks it"),
        }
        kinds.push(kind);
    }
    assert!(kinds.len() >= 12, "{kinds:?}");
}

#[test]
fn what_is_switched_off_is_not_there() {
    let mut values = values();
    values["balancer"]["enabled"] = json!(false);
    values["networkPolicy"]["enabled"] = json!(false);
    let objects = objects(&rendered(&values));
    let kinds: Vec<&str> = objects.iter().map(|it| it["kind"].as_str().unwrap()).collect();
    assert!(!kinds.contains(&"DaemonSet") && !kinds.contains(&"NetworkPolicy"), "{kinds:?}");
    assert!(kinds.contains(&"Deployment"));
}

#[test]
fn the_cloud_config_of_the_chart_can_be_read() {
    let objects = objects(&rendered(&values()));
    let config = objects.iter().find(|it| it["metadata"]["name"] == "forebay-cloud-config").unwrap();
    let cloud: Value = serde_json::from_str(config["data"]["azure.json"].as_str().unwrap()).unwrap();
    let config = Config::read(&cloud).unwrap();
    assert_eq!((config.public_addresses.len(), config.subnets.len()), (1, 1));
}

/// Nothing of it is unknown: what is read and written again is all there.
fn check<T: DeserializeOwned + Serialize + Debug>(object: &Value) {
    let name = &object["metadata"]["name"];
    let read: T = serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
    let again = serde_json::to_value(&read).unwrap();
    lost(&name.to_string(), object, &again);
}

fn lost(at: &str, some: &Value, other: &Value) {
    match (some, other) {
        (Value::Object(some), Value::Object(other)) => {
            for (field, value) in some {
                let there = other.get(field).unwrap_or_else(|| panic!("{at}: nobody knows `{field}`"));
                lost(&format!("{at}/{field}"), value, there);
            }
        }
        (Value::Array(some), Value::Array(other)) => {
            assert_eq!(some.len(), other.len(), "{at}");
            some.iter().zip(other).for_each(|(some, other)| lost(at, some, other));
        }
        (some, other) => assert_eq!(some, other, "{at}"),
    }
}

fn rendered(values: &Value) -> String {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder().join("chart/templates")).unwrap().map(|it| it.unwrap().path()).collect();
    files.sort();
    // Whoever runs needs rights first.
    files.sort_by_key(|file| file.file_stem().is_some_and(|it| it != "rights"));
    let namespace = format!("---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n");
    let mut text = namespace;
    for file in files {
        let rendered = render(&std::fs::read_to_string(file).unwrap(), values);
        if !rendered.trim().is_empty() {
            text += "---\n";
            text += rendered.trim_start();
        }
    }
    text
}

/// The lines of a template, without those whose condition does not hold.
fn render(template: &str, values: &Value) -> String {
    let mut text = String::new();
    let mut holds = true;
    for line in template.lines() {
        if let Some(condition) = line.strip_prefix("{{- if ").and_then(|it| it.strip_suffix(" }}")) {
            holds = value_of(condition, values) == json!(true);
        } else if line == "{{- end }}" {
            holds = true;
        } else if holds {
            text += &filled(line, values);
            text.push('\n');
        }
    }
    text
}

fn filled(line: &str, values: &Value) -> String {
    let Some((before, rest)) = line.split_once("{{ ") else { return line.to_owned() };
    let (expression, after) = rest.split_once(" }}").unwrap_or_else(|| panic!("{line}"));
    let mut steps = expression.split(" | ");
    let mut value = value_of(steps.next().unwrap(), values);
    for step in steps {
        value = match step {
            "toJson" => json!(sorted(&value).to_string()),
            "quote" => json!(json!(value.as_str().unwrap()).to_string()),
            other => panic!("{other} is not rendered here"),
        };
    }
    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    format!("{before}{value}{}", filled(after, values))
}

fn value_of(expression: &str, values: &Value) -> Value {
    if let Some(parts) = expression.strip_prefix("printf \"%s:%s\" ") {
        let parts: Vec<String> =
            parts.split(' ').map(|it| value_of(it, values).as_str().unwrap().to_owned()).collect();
        return json!(parts.join(":"));
    }
    if expression == ".Release.Namespace" {
        return json!(NAMESPACE);
    }
    let path = expression.strip_prefix(".Values.").unwrap_or_else(|| panic!("{expression}"));
    let value = path.split('.').fold(values, |value, field| &value[field]);
    assert!(!value.is_null(), "{expression}: there is no such value");
    value.clone()
}

/// Helm writes the keys of JSON in their order.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut keys: Vec<&String> = fields.keys().collect();
            keys.sort();
            let fields: Map<String, Value> =
                keys.into_iter().map(|key| (key.clone(), sorted(&fields[key]))).collect();
            Value::Object(fields)
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other.clone(),
    }
}

fn objects(text: &str) -> Vec<Value> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    objects.into_iter().filter(|it| !it.is_null()).collect()
}

fn values() -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(folder().join("chart/values.yaml")).unwrap()).unwrap()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/kubernetes")
}
