//! Every kind of resource, through the ARM face, as the description says.

use model::{Kind, ResourceId};
use node::{Observed, Outcome};
use serde_json::{Value, json};

use super::{Rig, at};
use crate::Realised;
use crate::openapi::{openapi, tests::compare};

/// One of each kind, in an order in which each finds what it refers to.
fn one_of_each() -> Vec<(&'static str, Value)> {
    let id = |place: &str| json!({ "id": at(place) });
    vec![
        (
            "logicalNetworks/underlay",
            json!({ "properties": { "networkVirtualizationEnabled": true, "subnets": [{
                "name": "vips",
                "properties": {
                    "addressPrefix": "10.9.0.0/24",
                    "vlanID": 7,
                    "dnsServers": ["10.9.0.2"],
                    "defaultGateways": ["10.9.0.1"],
                    "isPublic": false,
                    "ipPools": [{ "name": "pool", "properties": { "startIpAddress": "10.9.0.10", "endIpAddress": "10.9.0.99" } }],
                },
            }] } }),
        ),
        (
            "loadBalancerManagers/config",
            json!({ "properties": {
                "loadBalancerManagerIPAddress": "10.9.0.10",
                "vipIpPools": [id("logicalNetworks/underlay/subnets/vips/ipPools/pool")],
            } }),
        ),
        (
            "virtualServers/mux1",
            json!({ "properties": { "vmGuid": "0", "connections": [{ "managementAddresses": ["a"] }] } }),
        ),
        (
            "loadBalancerMuxes/mux1",
            json!({ "properties": {
                "virtualServer": id("virtualServers/mux1"),
                "routerConfiguration": { "localASN": 64_628, "peerRouterConfigurations": [
                    { "routerName": "r", "routerIPAddress": "10.0.1.1", "peerASN": 64_623 },
                ] },
            } }),
        ),
        (
            "networkSecurityGroups/acl",
            json!({ "location": "here", "properties": { "securityRules": [{
                "name": "web",
                "properties": {
                    "priority": 200, "direction": "Inbound", "access": "Allow", "protocol": "Tcp",
                    "sourceAddressPrefix": "*", "sourcePortRange": "*",
                    "destinationAddressPrefix": "*", "destinationPortRange": "80-81",
                },
            }] } }),
        ),
        (
            "virtualNetworks/net",
            json!({ "location": "here", "properties": {
                "addressSpace": { "addressPrefixes": ["10.0.0.0/16"] },
                "subnets": [{ "name": "a", "properties": { "addressPrefix": "10.0.0.0/24" } }],
            } }),
        ),
        (
            "publicIPAddresses/ip",
            json!({ "location": "here", "sku": { "name": "Standard" }, "properties": {
            "publicIPAllocationMethod": "Static", "ipAddress": "203.0.113.7",
        } }),
        ),
        (
            "publicIPPrefixes/prefix",
            json!({ "location": "here", "sku": { "name": "Standard" }, "properties": {
            "prefixLength": 28, "ipPrefix": "198.51.100.0/28",
        } }),
        ),
        ("loadBalancers/web", super::balancer("10.0.0.10")),
        (
            "networkInterfaces/nic",
            json!({ "location": "here", "properties": { "ipConfigurations": [{
                "name": "one",
                "properties": {
                    "privateIPAddress": "10.0.0.20",
                    "privateIPAllocationMethod": "Static",
                    "subnet": id("virtualNetworks/net/subnets/a"),
                    "loadBalancerBackendAddressPools": [id("loadBalancers/web/backendAddressPools/pool")],
                },
            }] } }),
        ),
    ]
}

async fn with_one_of_each() -> Rig {
    let rig = Rig::new().await;
    for (place, body) in one_of_each() {
        let answer = rig.put(place, &body).await;
        assert_eq!(answer.status, 201, "{place}: {:#}", answer.body);
    }
    rig
}

#[tokio::test]
async fn there_is_one_of_each() {
    let rig = with_one_of_each().await;
    for kind in Kind::ALL {
        assert_eq!(rig.get(kind.segment()).await.body["value"].as_array().unwrap().len(), 1, "{kind:?}");
    }
}

// API-1
#[tokio::test]
async fn each_is_shown_as_described_and_can_be_sent_back_while_the_data_path_runs() {
    let rig = with_one_of_each().await;
    let observed = |revision| {
        let mut realised = Realised::default();
        realised.observe(&Observed { revision, outcome: Outcome::Done, ..Observed::default() });
        realised
    };
    rig.realised.send_replace(observed(10));
    let whole = openapi();
    let mut states = 0;
    for (place, _) in one_of_each() {
        let shown = rig.get(place).await.body;
        states += shown.to_string().matches("\"configurationState\"").count();
        described(&whole, place, &shown);
        let again = rig.put(place, &shown).await;
        assert_eq!(again.status, 200, "{place}: {:#}", again.body);
        described(&whole, place, &again.body);
    }
    assert!(states > 0);
}

fn described(whole: &Value, place: &str, shown: &Value) {
    let (id, _) = ResourceId::parse(&at(place)).unwrap();
    let schema = &whole["components"]["schemas"][id.kind().segment()];
    let mut wrong = Vec::new();
    compare(whole, schema, shown, place, &mut wrong);
    assert_eq!(wrong, Vec::<String>::new(), "{shown:#}");
}

// API-1
#[tokio::test]
async fn what_is_in_the_home_group_is_shown_by_the_network_controller_as_described() {
    let rig = with_one_of_each().await;
    let home = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/forebay/providers";
    let elsewhere = "/subscriptions/S/resourceGroups/G/providers";
    let whole = openapi();
    for (place, _) in one_of_each().iter().rev() {
        assert_eq!(rig.delete(place).await.status, 200, "{place}");
    }
    for (place, body) in one_of_each() {
        let body: Value = serde_json::from_str(&body.to_string().replace(elsewhere, home)).unwrap();
        let answer = rig.put(&at(place).replace(elsewhere, home), &body).await;
        assert_eq!(answer.status, 201, "{place}: {:#}", answer.body);
    }
    for (place, name) in [
        ("logicalNetworks/underlay", "logicalNetworks"),
        ("loadBalancerManager/config", "loadBalancerManager"),
        ("virtualServers/mux1", "virtualServers"),
        ("loadBalancerMuxes/mux1", "loadBalancerMuxes"),
        ("accessControlLists/acl", "accessControlLists"),
        ("virtualNetworks/net", "virtualNetworks"),
        ("publicIPAddresses/ip", "publicIPAddresses"),
        ("loadBalancers/web", "loadBalancers"),
        ("networkInterfaces/nic", "networkInterfaces"),
    ] {
        let shown = rig.ask("GET", &format!("/networking/v7.1/{place}"), &[], "").await;
        assert_eq!(shown.status, 200, "{place}: {:#}", shown.body);
        let schema = &whole["components"]["schemas"][format!("networking.{name}")];
        let mut wrong = Vec::new();
        compare(&whole, schema, &shown.body, place, &mut wrong);
        assert_eq!(wrong, Vec::<String>::new(), "{:#}", shown.body);
    }
}

// API-5
#[tokio::test]
async fn whatever_stands_in_a_field_no_request_fails() {
    let rig = with_one_of_each().await;
    for (place, body) in one_of_each() {
        let mut paths = Vec::new();
        leaves(&body, &mut Vec::new(), &mut paths);
        for path in paths {
            for strange in strange() {
                let mut body = body.clone();
                *path.iter().fold(&mut body, |value, step| match step {
                    Step::Field(name) => &mut value[name.as_str()],
                    Step::Element(at) => &mut value[*at],
                }) = strange.clone();
                let answer = rig.put(place, &body).await;
                assert!(answer.status < 500, "{place} {path:?} {strange}: {:#}", answer.body);
            }
        }
    }
}

fn strange() -> [Value; 12] {
    [
        Value::Null,
        json!(true),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(""),
        json!("\u{0}\u{202e}/../'\"\\"),
        json!("x".repeat(10_000)),
        json!([]),
        json!([[], {}, null]),
        json!({}),
        json!({ "id": "/subscriptions//resourceGroups/" }),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Field(String),
    Element(usize),
}

/// The way to everything in a value.
fn leaves(value: &Value, way: &mut Vec<Step>, found: &mut Vec<Vec<Step>>) {
    let steps: Vec<(Step, &Value)> = match value {
        Value::Object(object) => {
            object.iter().map(|(name, value)| (Step::Field(name.clone()), value)).collect()
        }
        Value::Array(values) => {
            values.iter().enumerate().map(|(at, value)| (Step::Element(at), value)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    for (step, value) in steps {
        way.push(step);
        found.push(way.clone());
        leaves(value, way, found);
        way.pop();
    }
}
