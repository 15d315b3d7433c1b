//! The description fits what is served.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::openapi;
use crate::api::tests::{Rig, balancer, furnished, network};

#[test]
fn it_is_the_same_whenever_it_is_made_and_every_pointer_leads_somewhere() {
    let whole = openapi();
    assert_eq!(whole.to_string(), openapi().to_string());
    let mut pointers = BTreeSet::new();
    collect(&whole, &mut pointers);
    assert!(pointers.len() > 50, "{}", pointers.len());
    for pointer in pointers {
        assert!(whole.pointer(pointer.trim_start_matches('#')).is_some(), "{pointer}");
    }
}

#[test]
fn every_operation_has_an_id_of_its_own_and_its_parameters() {
    let whole = openapi();
    let mut ids = BTreeSet::new();
    for (path, operations) in whole["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id), "{id} twice");
            let named: BTreeSet<String> = operation["parameters"]
                .as_array()
                .unwrap()
                .iter()
                .map(|it| whole.pointer(it["$ref"].as_str().unwrap().trim_start_matches('#')).unwrap())
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
                .collect();
            let within = path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap().to_owned());
            assert_eq!(named, within.collect(), "{method} {path}");
        }
    }
    assert!(ids.len() > 200, "{}", ids.len());
}

// API-1
#[tokio::test]
async fn what_is_shown_is_as_described() {
    let rig = furnished().await;
    let home = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/forebay/providers/Microsoft.Network";
    for (place, body) in [("virtualNetworks/net", network()), ("loadBalancers/web", balancer("10.0.0.20"))] {
        let body: Value = serde_json::from_str(&body.to_string().replace(super_group(), home)).unwrap();
        let answer = rig.put(&format!("{home}/{place}"), &body).await;
        assert_eq!(answer.status, 201, "{:#}", answer.body);
    }
    check(&rig, "loadBalancers/web", "loadBalancers").await;
    check(&rig, "loadBalancers/web/loadBalancingRules/http", "loadBalancers.loadBalancingRules").await;
    check(&rig, "virtualNetworks/net", "virtualNetworks").await;
    check(&rig, "/forebay/v1/status", "Status").await;
    check(&rig, "/forebay/v1/health", "Health").await;
    check(&rig, "loadBalancers/none", "Error").await;
    check(&rig, "/networking/v7/loadBalancers/web", "networking.loadBalancers").await;
    check(&rig, "/networking/v7/virtualNetworks/net", "networking.virtualNetworks").await;
    check(&rig, "/networking/v7/loadBalancers/none", "Error").await;

    async fn check(rig: &Rig, place: &str, name: &str) {
        let shown = rig.get(place).await.body;
        let whole = openapi();
        let schema = &whole["components"]["schemas"][name];
        assert!(schema.is_object(), "{name}");
        let mut wrong = Vec::new();
        compare(&whole, schema, &shown, name, &mut wrong);
        assert_eq!(wrong, Vec::<String>::new(), "{place}: {shown:#}");
    }
}

fn super_group() -> &'static str {
    "/subscriptions/S/resourceGroups/G/providers/Microsoft.Network"
}

fn collect<'a>(value: &'a Value, pointers: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(object) => {
            pointers.extend(object.get("$ref").and_then(Value::as_str));
            object.values().for_each(|value| collect(value, pointers));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, pointers)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// As much of JSON Schema as is used here.
pub(crate) fn compare(whole: &Value, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
    if let Some(pointer) = schema["$ref"].as_str() {
        return compare(whole, whole.pointer(&pointer[1..]).unwrap(), value, at, wrong);
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fits = match &schema["type"] {
        Value::String(wanted) => wanted == kind || (wanted == "number" && kind == "integer"),
        Value::Array(wanted) => wanted.contains(&json!(kind)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => true,
    };
    if !fits || schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
        wrong.push(format!("{at}: {value} is not {schema}"));
    }
    if let Some(object) = value.as_object() {
        let (none, fields) = (Map::new(), schema["properties"].as_object());
        let fields = fields.unwrap_or(&none);
        for required in schema["required"].as_array().into_iter().flatten() {
            if !object.contains_key(required.as_str().unwrap()) {
                wrong.push(format!("{at}: no {required}"));
            }
        }
        for (name, value) in object {
            let at = format!("{at}/{name}");
            match (fields.get(name), &schema["additionalProperties"]) {
                (Some(schema), _) => compare(whole, schema, value, &at, wrong),
                (None, Value::Bool(false)) => wrong.push(format!("{at}: not known")),
                (None, schema) => compare(whole, schema, value, &at, wrong),
            }
        }
    }
    for (number, value) in value.as_array().into_iter().flatten().enumerate() {
        compare(whole, &schema["items"], value, &format!("{at}/{number}"), wrong);
    }
    for schema in schema["allOf"].as_array().into_iter().flatten() {
        compare(whole, schema, value, at, wrong);
    }
}
