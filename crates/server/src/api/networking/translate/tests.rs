//! Every row of the dictionary, both ways, through the canonical documents as they are kept.

#![cfg(test)]

use model::{ChildPath, Document};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::dictionary::Entry;
use super::read::{Place, Reader};
use super::reference::Home;
use super::sample::Sample;
use super::write::{Facts, Teller};
use crate::api::networking::version::Version;

#[test]
fn every_row_is_read_and_shown_again() {
    for entry in Entry::ALL {
        let given = Sample::new(Version::NEWEST, 1).resource(entry, "it");
        let mut rows = Vec::new();
        members(&given, &mut String::new(), &mut rows);
        assert!(rows.len() > 4, "{} has rows: {rows:?}", entry.name);
        check(entry, &given, Version::NEWEST);
    }
}

proptest! {
    #[test]
    fn what_is_said_is_what_is_shown(seed: u64, entry in 0..Entry::ALL.len(), version in 0..Version::ALL.len()) {
        let (entry, version) = (Entry::ALL[entry], Version::ALL[version]);
        check(entry, &Sample::new(version, seed).resource(entry, "it"), version);
    }

    // A client that reads, changes nothing and writes back changes nothing, whatever its version does not show it.
    #[test]
    fn what_is_shown_can_be_written_back(seed: u64, entry in 0..Entry::ALL.len(), version in 0..Version::ALL.len()) {
        let (entry, version) = (Entry::ALL[entry], Version::ALL[version]);
        let stored = stored(entry, &Sample::new(Version::NEWEST, seed).resource(entry, "it"), Version::NEWEST, None);
        let shown = shown(entry, &stored, version);
        let again = self::stored(entry, &shown, version, Some(&stored));
        let (stored, again) = (shown_newest(entry, &stored), shown_newest(entry, &again));
        prop_assert_eq!(stored, again);
    }
}

fn shown_newest(entry: &'static Entry, stored: &Value) -> Value {
    shown(entry, stored, Version::NEWEST)
}

#[test]
fn what_the_dialect_has_no_word_for_stays() {
    let entry = Entry::of("loadBalancers").unwrap();
    let mut before =
        stored(entry, &Sample::new(Version::NEWEST, 3).resource(entry, "it"), Version::NEWEST, None);
    before["location"] = "here".into();
    before["properties"]["probes"][0]["properties"]["noHealthyBackendsBehavior"] = "AllProbedUp".into();
    let after = stored(entry, &shown(entry, &before, Version::V1), Version::V1, Some(&before));
    assert_eq!(after["location"], "here");
    assert_eq!(after["properties"]["probes"][0]["properties"]["noHealthyBackendsBehavior"], "AllProbedUp");
}

#[test]
fn a_rule_goes_to_another_pool_when_told_to() {
    let entry = Entry::of("loadBalancers").unwrap();
    let given = |pool: &str| {
        json!({ "properties": { "loadBalancingRules": [{ "resourceId": "r", "properties": { "backendAddressPool":
            { "resourceRef": format!("/loadBalancers/it/backendAddressPools/{pool}") } } }] } })
    };
    let before = stored(entry, &given("one"), Version::V1, None);
    let after = shown(entry, &stored(entry, &given("two"), Version::V1, Some(&before)), Version::V1);
    assert_eq!(
        after.pointer("/properties/loadBalancingRules/0/properties/backendAddressPool"),
        given("two").pointer("/properties/loadBalancingRules/0/properties/backendAddressPool")
    );
}

#[test]
fn clients_write_members_and_values_in_their_own_ways() {
    let entry = Entry::of("loadBalancers").unwrap();
    let sloppy = json!({ "RESOURCEID": "it", "Properties": { "FrontendIpConfigurations": { "resourceID": "fe",
            "properties": { "publicIpAddress": { "resourceRef": "/publicipaddresses/pip" } } },
        "loadbalancingrules": [{ "resourceId": "r", "properties": { "frontEndPort": "80", "backendport": 80.0, "protocol": "TCP",
            "frontendipconfigurations": { "resourceRef": "/LoadBalancers/it/frontendipconfigurations/fe", "properties": {} },
            "backendAddressPool": [{ "resourceref": "loadbalancers/it/backendaddresspools/p" }],
            "enablefloatingip": "False", "probe": null, "idleTimeoutInMinutes": "" } }] } });
    let mut reader = Reader::new(home(), Version::V1, false);
    let read = reader.resource(entry, &sloppy, &place(entry), None);
    assert_eq!(reader.findings, []);
    assert_eq!(reader.ignored, [] as [String; 0]);
    let rule = &read["properties"]["loadBalancingRules"][0]["properties"];
    assert_eq!((&rule["frontendPort"], &rule["backendPort"]), (&json!(80), &json!(80)));
    assert_eq!((&rule["protocol"], &rule["enableFloatingIP"]), (&json!("Tcp"), &json!(false)));
    let id = |path: &str| json!({ "id": format!("{ROOT}/loadBalancers/it/{path}") });
    assert_eq!(rule["frontendIPConfiguration"], id("frontendIPConfigurations/fe"));
    assert_eq!(rule["backendAddressPool"], id("backendAddressPools/p"));
}

#[test]
fn members_that_nobody_knows_are_named() {
    let entry = Entry::of("publicIPAddresses").unwrap();
    let given = json!({ "colour": "blue", "etag": "x", "properties": { "ipAddress": "192.0.2.1", "size": 3, "empty": "",
        "provisioningState": "Failed", "publicIPAddressVersion": "IPv4" } });
    let mut reader = Reader::new(home(), Version::V1, false);
    reader.resource(entry, &given, &place(entry), None);
    let mut ignored = reader.ignored;
    ignored.sort();
    let pointer = "/publicIPAddresses/it";
    assert_eq!(ignored, ["colour", "publicIPAddressVersion", "size"].map(|it| format!("{pointer}/{it}")));
}

const ROOT: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network";

/// Everything that is given is shown, after it was read, kept and read again.
fn check(entry: &'static Entry, given: &Value, version: Version) {
    let stored = stored(entry, given, version, None);
    let shown = shown(entry, &stored, version);
    let (mut said, mut told) = (Vec::new(), Vec::new());
    members(given, &mut String::new(), &mut said);
    members(&shown, &mut String::new(), &mut told);
    for row in said {
        assert!(told.contains(&row), "{} {version}: {row:?} is not in {shown:#}", entry.name);
    }
}

fn stored(entry: &'static Entry, given: &Value, version: Version, former: Option<&Value>) -> Value {
    let mut reader = Reader::new(home(), version, false);
    let read = reader.resource(entry, given, &place(entry), former);
    let document = Document::read(&read, "it");
    let mut document = document.unwrap_or_else(|problems| panic!("{problems:#?}\n{given:#}\n{read:#}"));
    document.strip_read_only();
    serde_json::to_value(&document).unwrap()
}

fn shown(entry: &'static Entry, stored: &Value, version: Version) -> Value {
    Teller { home: home(), version, facts: &Nothing }.resource(
        entry,
        stored,
        &place(entry),
        &ChildPath::new(),
    )
}

fn place(entry: &Entry) -> Place {
    let id = format!("{ROOT}/{}/it", entry.canonical);
    Place { pointer: format!("/{}/it", entry.name), id, name: "it".to_owned() }
}

fn home() -> &'static Home {
    static HOME: std::sync::LazyLock<Home> =
        std::sync::LazyLock::new(|| Home { subscription: "s".to_owned(), group: "g".to_owned() });
    &HOME
}

struct Nothing;

impl Facts for Nothing {
    fn etag(&self, _: &[(String, String)]) -> Option<String> {
        None
    }

    fn instance(&self, _: &[(String, String)]) -> Option<String> {
        None
    }

    fn properties(&self, _: &[(String, String)]) -> Map<String, Value> {
        Map::new()
    }
}

/// Each value with its path; names stand for the elements of lists that have some.
fn members(value: &Value, path: &mut String, found: &mut Vec<(String, Value)>) {
    let length = path.len();
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                *path += &format!("/{name}");
                members(value, path, found);
                path.truncate(length);
            }
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                let name = value.get("resourceId").and_then(Value::as_str);
                *path += &name.map_or_else(|| format!("/{index}"), |name| format!("/{name}"));
                members(value, path, found);
                path.truncate(length);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            found.push((path.clone(), value.clone()));
        }
    }
}
