//! What is worth a column.

use serde_json::json;

use super::*;

const WEB: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/loadBalancers/web";

#[test]
fn a_balancer_is_told_by_its_frontends_rules_and_pools() {
    let value = web();
    let text = resources(Kind::LoadBalancer, &[("web".into(), &value)], false);
    let wanted = "\
NAME  FRONTENDS                     RULES                  POOLS            STATE
web   front 203.0.113.9             http 80/tcp -> app:81  app (2 members)  Succeeded
      side publicIPAddresses/other                         spare (0 members)
";
    assert_eq!(squeezed(&text), squeezed(wanted));
}

#[test]
fn a_range_of_ports_is_told_by_its_ends_and_its_pool() {
    let mut value = web();
    value["properties"]["inboundNatRules"] = json!([{ "name": "ssh", "properties": {
        "protocol": "Tcp", "frontendPort": 0, "frontendPortRangeStart": 500, "frontendPortRangeEnd": 509, "backendPort": 22,
        "backendAddressPool": { "id": format!("{WEB}/backendAddressPools/app") } } }]);
    let text = resources(Kind::LoadBalancer, &[("web".into(), &value)], false);
    assert!(text.contains("ssh 500-509/tcp -> one each of app:22"), "{text}");
}

#[test]
fn wide_says_group_and_etag_too() {
    let value = web();
    let text = resources(Kind::LoadBalancer, &[("web".into(), &value)], true);
    assert!(text.contains("GROUP") && text.contains("W/\"1\""), "{text}");
}

#[test]
fn what_the_data_path_cannot_do_is_told_with_its_place() {
    let state = |message: &str| json!({ "status": "Warning", "detailedInfo": [{ "source": "x", "message": message, "code": "y" }] });
    let mut value = web();
    assert_eq!(troubles(&value), Vec::<String>::new());
    value["properties"]["configurationState"] = state("not all of it");
    value["properties"]["loadBalancingRules"][0]["properties"]["configurationState"] =
        state("no HA ports yet");
    let wanted = ["Warning: not all of it", "loadBalancingRules/http: Warning: no HA ports yet"];
    assert_eq!(troubles(&value), wanted);
    assert!(resources(Kind::LoadBalancer, &[("web".into(), &value)], false).contains("data path: Warning"));
}

#[test]
fn children_say_everything() {
    let child = json!({ "id": format!("{WEB}/probes/alive"), "name": "alive", "etag": "W/\"1\"",
        "type": "Microsoft.Network/loadBalancers/probes",
        "properties": { "port": 80, "loadBalancingRules": [{ "id": format!("{WEB}/loadBalancingRules/http") }] } });
    let text = children(&format!("{WEB}/probes"), &[child], false);
    let wanted = "NAME FIELDS\nalive port: 80\nloadBalancingRules: [loadBalancingRules/http]\n";
    assert_eq!(squeezed(&text), squeezed(wanted));
}

#[test]
fn every_kind_has_columns_and_bears_anything() {
    for kind in Kind::ALL {
        for properties in [json!({}), json!(null), json!({ "subnets": 3, "ipConfigurations": [null, 1, {}] })]
        {
            let value = json!({ "id": "nonsense", "properties": properties });
            assert!(resources(kind, &[("x".into(), &value)], true).contains('x'));
        }
    }
}

fn squeezed(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|it| !it.is_empty())
        .collect()
}

fn web() -> Value {
    let member = |address: &str| json!({ "name": address, "properties": { "ipAddress": address } });
    json!({ "id": WEB, "name": "web", "etag": "W/\"1\"", "properties": {
        "provisioningState": "Succeeded",
        "frontendIPConfigurations": [
            { "name": "front", "properties": { "privateIPAddress": "203.0.113.9" } },
            { "name": "side", "properties": { "publicIPAddress": { "id": WEB.replace("loadBalancers/web", "publicIPAddresses/other") } } },
        ],
        "backendAddressPools": [
            { "name": "app", "properties": { "loadBalancerBackendAddresses": [member("10.0.0.1"), member("10.0.0.2")] } },
            { "name": "spare", "properties": {} },
        ],
        "loadBalancingRules": [{ "name": "http", "properties": { "protocol": "Tcp", "frontendPort": 80, "backendPort": 81,
            "backendAddressPool": { "id": format!("{WEB}/backendAddressPools/app") } } }],
    } })
}
