//! What counts as a difference, and what does not.

use serde_json::json;

use super::*;

const WEB: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/loadBalancers/web";

#[test]
fn a_document_does_not_differ_from_itself() {
    check(&web(), &web(), &[]);
}

#[test]
fn the_order_of_children_and_references_says_nothing() {
    let mut other = web();
    for list in ["probes", "backendAddressPools"] {
        other["properties"][list].as_array_mut().unwrap().reverse();
    }
    other["properties"]["backendAddressPools"][1]["properties"]["loadBalancerBackendAddresses"]
        .as_array_mut()
        .unwrap()
        .reverse();
    check(&web(), &other, &[]);
}

#[test]
fn what_only_the_server_writes_says_nothing() {
    let mut shown = web();
    shown["etag"] = json!("W/\"7\"");
    shown["properties"]["provisioningState"] = json!("Succeeded");
    shown["properties"]["probes"][0]["etag"] = json!("W/\"7\"");
    shown["properties"]["probes"][0]["id"] = json!(format!("{WEB}/probes/alive"));
    shown["properties"]["probes"][0]["properties"]["loadBalancingRules"] =
        json!([{ "id": format!("{WEB}/loadBalancingRules/http") }]);
    check(&shown, &web(), &[]);
}

#[test]
fn short_and_whole_references_are_the_same_in_any_case() {
    let mut other = web();
    other["properties"]["loadBalancingRules"][0]["properties"]["probe"] =
        json!({ "id": format!("{WEB}/PROBES/alive") });
    check(&web(), &other, &[]);
}

#[test]
fn a_changed_field_is_told_with_both_values() {
    let mut other = web();
    let rule = &mut other["properties"]["loadBalancingRules"][0]["properties"];
    rule["frontendPort"] = json!(8080);
    rule["probe"] = json!({ "id": "probes/ready" });
    other["tags"] = json!({ "owner": "the web team" });
    check(
        &web(),
        &other,
        &[
            "+ tags: [owner=\"the web team\"]",
            "~ loadBalancingRules/http/probe: probes/alive -> probes/ready",
            "~ loadBalancingRules/http/frontendPort: 80 -> 8080",
        ],
    );
}

#[test]
fn children_come_and_go_by_name() {
    let mut other = web();
    let members =
        &mut other["properties"]["backendAddressPools"][0]["properties"]["loadBalancerBackendAddresses"];
    members[1] = json!({ "name": "w3", "properties": { "ipAddress": "10.1.0.6" } });
    other["properties"]["probes"] =
        json!([{ "name": "ready", "properties": { "protocol": "Tcp", "port": 81 } }]);
    let at = "backendAddressPools/app/loadBalancerBackendAddresses";
    check(
        &web(),
        &other,
        &[&format!("+ {at}/w3: [ipAddress=10.1.0.6]"), &format!("- {at}/w2"), "- probes/alive"],
    );
}

#[test]
fn the_first_child_of_a_list_is_told_as_a_child() {
    let mut before = web();
    before["properties"]["probes"] = json!([]);
    let mut after = before.clone();
    after["properties"]["probes"] = json!([{ "name": "alive", "properties": { "port": 80 } }]);
    check(&before, &after, &["+ probes/alive: [port=80]"]);
    check(&after, &before, &["- probes/alive"]);
}

#[test]
fn a_dynamic_address_stays_and_a_static_one_that_is_left_out_does_not() {
    let frontend = |fields: Value| {
        let mut document = web();
        document["properties"]["frontendIPConfigurations"] =
            json!([{ "name": "front", "properties": fields }]);
        document
    };
    let shown = frontend(json!({ "privateIPAddress": "10.1.0.9", "privateIPAllocationMethod": "Dynamic" }));
    check(&shown, &frontend(json!({ "privateIPAllocationMethod": "Dynamic" })), &[]);
    check(
        &shown,
        &frontend(json!({ "privateIPAllocationMethod": "Static" })),
        &[
            "~ frontendIPConfigurations/front/privateIPAllocationMethod: Dynamic -> Static",
            "- frontendIPConfigurations/front/privateIPAddress",
        ],
    );
    let address = |fields: Value| {
        json!({ "id": WEB.replace("loadBalancers", "publicIPAddresses"), "name": "web",
            "type": "Microsoft.Network/publicIPAddresses", "properties": fields })
    };
    check(&address(json!({ "ipAddress": "203.0.113.9" })), &address(json!({})), &[]);
}

#[test]
fn everything_of_a_new_document_is_told() {
    let said: Vec<String> =
        all(&document(&web())).into_iter().map(|(path, value)| format!("{path}={value}")).collect();
    assert!(said.contains(&"loadBalancingRules/http/probe=probes/alive".to_owned()), "{said:#?}");
    assert!(
        said.contains(
            &"backendAddressPools/app/loadBalancerBackendAddresses/w1/ipAddress=10.1.0.4".to_owned()
        ),
        "{said:#?}"
    );
    assert!(said.iter().all(|line| !line.starts_with("name=") && !line.contains("/name=")), "{said:#?}");
}

fn check(before: &Value, after: &Value, wanted: &[&str]) {
    let found: Vec<String> = between(&document(before), &document(after)).iter().map(line).collect();
    assert_eq!(found, wanted);
}

fn line(difference: &Difference) -> String {
    let path = &difference.path;
    match &difference.what {
        What::Changed(before, after) => format!("~ {path}: {before} -> {after}"),
        What::Removed => format!("- {path}"),
        What::Added(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(field, value)| format!("{field}={value}")).collect();
            format!("+ {path}: [{}]", fields.join(" "))
        }
    }
}

fn document(value: &Value) -> Document {
    Document::read(value, "web").unwrap()
}

fn web() -> Value {
    let member = |name: &str, address: &str| json!({ "name": name, "properties": { "ipAddress": address } });
    json!({
        "id": WEB,
        "name": "web",
        "type": "Microsoft.Network/loadBalancers",
        "properties": {
            "backendAddressPools": [
                { "name": "app", "properties": {
                    "loadBalancerBackendAddresses": [member("w1", "10.1.0.4"), member("w2", "10.1.0.5")] } },
                { "name": "spare" },
            ],
            "probes": [
                { "name": "alive", "properties": { "protocol": "Tcp", "port": 80 } },
                { "name": "ready", "properties": { "protocol": "Tcp", "port": 81 } },
            ],
            "loadBalancingRules": [
                { "name": "http", "properties": {
                    "probe": { "id": "probes/alive" }, "protocol": "Tcp", "frontendPort": 80, "backendPort": 80 } },
            ],
        },
    })
}
