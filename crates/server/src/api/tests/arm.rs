//! The ARM face: azure-arm.md 2, and the table of networking-rest.md 4.1, which is the same.

use serde_json::{Value, json};

use super::{Rig, at, balancer, furnished, network, versioned};

const WEB: &str = "loadBalancers/web";

#[tokio::test]
async fn a_resource_is_made_shown_replaced_and_removed() {
    let rig = furnished().await;
    let shown = rig.get(WEB).await;
    assert_eq!(shown.status, 200);
    assert_eq!(shown.body["id"], at(WEB));
    assert_eq!(shown.body["type"], "Microsoft.Network/loadBalancers");
    assert_eq!(shown.body["properties"]["provisioningState"], "Succeeded");
    assert_eq!(shown.header("etag"), shown.body["etag"].as_str().unwrap());
    assert!(shown.header("etag").starts_with("W/\""), "{shown:?}");
    let replaced = rig.put(WEB, &balancer("10.0.0.11")).await;
    assert_eq!(replaced.status, 200);
    assert_ne!(replaced.header("etag"), shown.header("etag"));
    let removed = rig.delete(WEB).await;
    assert_eq!((removed.status, removed.body), (200, Value::Null));
    assert_eq!(rig.delete(WEB).await.status, 204);
    let gone = rig.get(WEB).await;
    assert_eq!((gone.status, gone.code()), (404, "ResourceNotFound"));
}

#[tokio::test]
async fn clients_find_every_array_and_every_child_with_its_id_and_type() {
    let shown = furnished().await.get(WEB).await.body;
    for collection in model::Kind::LoadBalancer.collections() {
        assert!(shown["properties"][collection.name].is_array(), "{}", collection.name);
    }
    let front = &shown["properties"]["frontendIPConfigurations"][0];
    assert_eq!(front["id"], at("loadBalancers/web/frontendIPConfigurations/front"));
    assert_eq!(front["type"], "Microsoft.Network/loadBalancers/frontendIPConfigurations");
    assert_eq!(front["etag"], shown["etag"]);
    assert_eq!(front["properties"]["provisioningState"], "Succeeded");
}

// API-1
#[tokio::test]
async fn what_is_shown_can_be_sent_back_and_stays_as_it_is() {
    let rig = furnished().await;
    for place in [WEB, "virtualNetworks/net"] {
        let shown = rig.get(place).await.body;
        let again = rig.put(place, &shown).await;
        assert_eq!(again.status, 200, "{:#}", again.body);
        assert_eq!(without_etags(again.body), without_etags(shown));
    }
    for child in ["frontendIPConfigurations/front", "backendAddressPools/pool", "loadBalancingRules/http"] {
        let place = format!("{WEB}/{child}");
        let shown = rig.get(&place).await.body;
        let again = rig.put(&place, &shown).await;
        assert_eq!(again.status, 200, "{:#}", again.body);
        assert_eq!(without_etags(again.body), without_etags(shown));
    }
}

#[tokio::test]
async fn a_write_counts_when_the_resource_is_as_the_client_says() {
    let rig = furnished().await;
    let body = balancer("10.0.0.10");
    let etag = rig.get(WEB).await.header("etag").to_owned();
    check(&rig, WEB, "If-Match: W/\"other\"", 412).await;
    check(&rig, WEB, "If-None-Match: *", 412).await;
    check(&rig, "loadBalancers/new", "If-Match: *", 412).await;
    check(&rig, "loadBalancers/new", "If-Match: W/\"other\"", 412).await;
    let refused = rig.put_if(WEB, "If-Match: W/\"other\"", &body).await;
    assert_eq!(
        (refused.code(), refused.details()),
        ("PreconditionFailed", vec!["PreconditionFailedEtagMismatch"])
    );
    assert_eq!(rig.get(WEB).await.header("etag"), etag);
    check(&rig, WEB, &format!("If-Match: {etag}"), 200).await;
    check(&rig, WEB, &format!("If-Match: {etag}"), 412).await;
    check(&rig, WEB, "If-Match: *", 200).await;
    check(&rig, WEB, "If-Match: \"\"", 200).await;
    let delete = |header: &'static str| {
        let rig = &rig;
        async move { rig.ask("DELETE", &versioned(WEB), &[header], "").await.status }
    };
    assert_eq!(delete("If-Match: W/\"other\"").await, 412);
    assert_eq!(delete("If-Match: *").await, 200);
    assert_eq!(delete("If-Match: W/\"other\"").await, 204);
    check(&rig, WEB, "If-None-Match: *", 201).await;

    async fn check(rig: &Rig, place: &str, header: &str, wanted: u16) {
        let answer = rig.put_if(place, header, &balancer("10.0.0.10")).await;
        assert_eq!(answer.status, wanted, "{place} {header}: {:#}", answer.body);
    }
}

#[tokio::test]
async fn children_are_written_and_removed_alone() {
    let rig = furnished().await;
    let probe = json!({ "properties": { "protocol": "Tcp", "port": 80 } });
    let place = "loadBalancers/web/probes/alive";
    let (before, sibling) = (rig.get(WEB).await, rig.get("loadBalancers/web/backendAddressPools/pool").await);
    let made = rig.put(place, &probe).await;
    assert_eq!(made.status, 201, "{:#}", made.body);
    assert_eq!((&made.body["name"], &made.body["id"]), (&json!("alive"), &json!(at(place))));
    // networking-rest.md 4.2
    assert_ne!(rig.get(WEB).await.header("etag"), before.header("etag"));
    let after = rig.get("loadBalancers/web/backendAddressPools/pool").await;
    assert_eq!(after.header("etag"), sibling.header("etag"));
    assert_eq!(rig.put("loadBalancers/WEB/Probes/ALIVE", &probe).await.body["name"], "alive");
    let listed = rig.get("loadBalancers/web/probes").await;
    assert_eq!(listed.body["value"].as_array().unwrap().len(), 1);
    assert_eq!(rig.delete(place).await.status, 200);
    assert_eq!(rig.delete(place).await.status, 204);
    assert_eq!(rig.get(place).await.code(), "NotFound");
    let orphan = rig.put("loadBalancers/none/probes/alive", &probe).await;
    assert_eq!((orphan.status, orphan.code()), (404, "ParentResourceNotFound"));
    assert_eq!(rig.get("loadBalancers/none/probes").await.code(), "ParentResourceNotFound");
    assert_eq!(rig.delete("loadBalancers/none/probes/alive").await.status, 204);
}

#[tokio::test]
async fn what_is_referred_to_stays() {
    let rig = furnished().await;
    let refused = rig.delete("virtualNetworks/net/subnets/a").await;
    assert_eq!((refused.status, refused.code()), (400, "InUseSubnetCannotBeDeleted"), "{:#}", refused.body);
    assert!(refused.body["error"]["message"].as_str().unwrap().contains(&at(WEB)), "{:#}", refused.body);
    assert_eq!(rig.get("virtualNetworks/net/subnets/a").await.status, 200);
    let refused = rig.delete("loadBalancers/web/backendAddressPools/pool").await;
    assert_eq!((refused.status, refused.code()), (400, "InUseBackendAddressPoolCannotBeDeleted"));
}

// API-2
#[tokio::test]
async fn every_problem_of_a_body_is_said_and_nothing_of_it_is_done() {
    let rig = furnished().await;
    let mut body = balancer("10.0.0.11");
    body["properties"]["loadBalancingRules"][0]["properties"]["frontendPort"] = json!(70_000);
    body["properties"]["loadBalancingRules"][0]["properties"]["protocl"] = json!("Tcp");
    body["properties"]["probes"] = json!([{ "name": "alive", "properties": { "protocol": "Smtp" } }]);
    let before = rig.get(WEB).await.body;
    let refused = rig.put(WEB, &body).await;
    assert_eq!((refused.status, refused.code()), (400, "MultipleErrorsOccurred"));
    // What could not be read does not hide what is wrong with the rest.
    let targets: Vec<&str> = refused.body["error"]["details"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|it| it["target"].as_str())
        .collect();
    let wanted = [
        "loadBalancingRules/http/frontendPort",
        "loadBalancingRules/http/protocl",
        "probes/alive/port",
        "probes/alive/protocol",
    ];
    assert_eq!(targets, wanted.map(|path| format!("{}: {path}", at(WEB))));
    assert_eq!(rig.get(WEB).await.body, before);
}

#[tokio::test]
async fn one_problem_is_said_as_clients_know_it() {
    let rig = furnished().await;
    let mut body = balancer("10.0.0.10");
    body["properties"]["backendAddressPools"] = json!([]);
    let refused = rig.put(WEB, &body).await;
    assert_eq!((refused.status, refused.code()), (400, "InvalidResourceReference"), "{:#}", refused.body);
}

#[tokio::test]
async fn references_are_shown_whole_however_they_were_written() {
    let rig = furnished().await;
    let mut body = balancer("10.0.0.10");
    let rule = &mut body["properties"]["loadBalancingRules"][0]["properties"];
    rule["backendAddressPool"] = json!({ "id": "backendAddressPools/pool" });
    rule["frontendIPConfiguration"]["id"] = json!(at("LOADBALANCERS/web/FRONTENDIPCONFIGURATIONS/front"));
    let shown = rig.put(WEB, &body).await.body;
    let rule = &shown["properties"]["loadBalancingRules"][0]["properties"];
    assert_eq!(
        rule["backendAddressPool"]["id"],
        at("loadBalancers/web/backendAddressPools/pool"),
        "{shown:#}"
    );
    assert_eq!(rule["frontendIPConfiguration"]["id"], at("loadBalancers/web/frontendIPConfigurations/front"));
}

#[tokio::test]
async fn tags_are_changed_alone() {
    let rig = furnished().await;
    let patch = |body: Value| {
        let rig = &rig;
        async move { rig.ask("PATCH", &versioned(WEB), &[], body.to_string()).await }
    };
    let answer = patch(json!({ "tags": { "owner": "ops", "cost": "low" } })).await;
    assert_eq!((answer.status, &answer.body["tags"]["owner"]), (200, &json!("ops")));
    let answer = patch(json!({ "tags": { "owner": "web" } })).await;
    assert_eq!(answer.body["tags"], json!({ "owner": "web" }));
    assert_eq!(answer.body["properties"]["loadBalancingRules"][0]["name"], "http");
    assert_eq!(patch(json!({})).await.body["tags"], json!({ "owner": "web" }));
    assert_eq!(patch(json!({ "properties": {} })).await.code(), "UnknownField");
    assert_eq!(patch(json!({ "tags": { "owner": [1] } })).await.status, 400);
    let nobody = rig.ask("PATCH", &versioned("loadBalancers/none"), &[], "{}").await;
    assert_eq!((nobody.status, nobody.code()), (404, "ResourceNotFound"));
}

#[tokio::test]
async fn lists_are_of_a_group_or_of_a_subscription() {
    let rig = furnished().await;
    let other = "/subscriptions/s/resourceGroups/other/providers/Microsoft.Network/virtualNetworks/net2";
    let mut body = network();
    body["properties"]["addressSpace"]["addressPrefixes"] = json!(["10.1.0.0/16"]);
    body["properties"]["subnets"][0]["properties"]["addressPrefix"] = json!("10.1.0.0/24");
    assert_eq!(rig.put(other, &body).await.status, 201);
    let count = |path: &'static str| {
        let rig = &rig;
        async move { rig.get(path).await.body["value"].as_array().unwrap().len() }
    };
    assert_eq!(count("virtualNetworks").await, 1);
    assert_eq!(count("/subscriptions/S/providers/Microsoft.Network/virtualNetworks").await, 2);
    assert_eq!(count("/subscriptions/T/providers/Microsoft.Network/virtualNetworks").await, 0);
    assert_eq!(count("/subscriptions/S/resources").await, 3);
    assert_eq!(count("/subscriptions/S/resourceGroups/G/resources").await, 2);
    let filter = "/subscriptions/S/resources?api-version=2021-04-01&$filter=resourceType%20eq%20%27microsoft.network/\
                  virtualnetworks%27+and+name+eq+%27NET%27";
    assert_eq!(count(filter).await, 1);
    assert_eq!(count("/subscriptions/S/resources?api-version=2021-04-01&$top=2").await, 2);
    let wrong = rig.get("/subscriptions/S/resources?api-version=2021-04-01&$filter=size+gt+3").await;
    assert_eq!((wrong.status, wrong.code()), (400, "InvalidFilterInQueryString"));
}

#[tokio::test]
async fn names_keep_their_case_and_are_found_in_any() {
    let rig = furnished().await;
    let path = versioned("loadBalancers/web").to_ascii_uppercase().replace("API-VERSION", "api-version");
    assert_eq!(rig.ask("GET", &path, &[], "").await.body["name"], "web");
    let written = rig.ask("PUT", &path, &[], balancer("10.0.0.10").to_string()).await;
    assert_eq!((written.status, &written.body["id"]), (200, &json!(at(WEB))));
}

// API-5
#[tokio::test]
async fn what_is_not_there_or_cannot_be_done_is_said_in_the_dialect_s_shape() {
    let rig = furnished().await;
    check(&rig, "GET", "/subscriptions/S", 404, "NotFound").await;
    check(&rig, "GET", &versioned("virtualMachines/a"), 404, "NotFound").await;
    check(&rig, "GET", &versioned("loadBalancers/web/nothing/a"), 404, "NotFound").await;
    check(&rig, "PUT", &versioned("loadBalancers"), 405, "MethodNotAllowed").await;
    check(&rig, "POST", &versioned(WEB), 405, "MethodNotAllowed").await;
    check(&rig, "PATCH", &versioned("loadBalancers/web/probes/a"), 405, "MethodNotAllowed").await;
    check(&rig, "GET", &at(WEB), 400, "MissingApiVersionParameter").await;
    check(&rig, "GET", &format!("{}?api-version=new", at(WEB)), 400, "InvalidApiVersionParameter").await;
    check(&rig, "PUT", &versioned(WEB), 400, "InvalidRequestContent").await;
    check(&rig, "PUT", &versioned("loadBalancers/a%20b"), 400, "InvalidResourceName").await;
    let allowed = rig.ask("POST", &versioned(WEB), &[], "").await;
    assert_eq!(allowed.header("allow"), "GET, HEAD, PUT, PATCH, DELETE");

    async fn check(rig: &Rig, method: &str, path: &str, status: u16, code: &str) {
        let answer = rig.ask(method, path, &[], "").await;
        assert_eq!((answer.status, answer.code()), (status, code), "{method} {path}: {:#}", answer.body);
        assert!(!answer.body["error"]["message"].as_str().unwrap().is_empty());
        assert_eq!(answer.header("content-type"), "application/json; charset=utf-8");
    }
}

// API-5
#[tokio::test]
async fn bodies_that_are_not_as_they_should_be_are_refused() {
    let rig = Rig::new().await;
    check(&rig, "[]", 400, "InvalidRequestFormat").await;
    check(&rig, "{\n  \"a\": }", 400, "InvalidRequestContent").await;
    check(&rig, &format!("{}1{}", "[".repeat(40), "]".repeat(40)), 400, "InvalidRequestContent").await;
    check(&rig, &"[".repeat(3_000_000), 400, "InvalidRequestContent").await;
    check(&rig, &"x".repeat(5 << 20), 413, "RequestEntityTooLarge").await;
    let refused = rig.ask("PUT", &versioned(WEB), &[], "{\n  \"a\": }").await;
    let message = refused.body["error"]["message"].as_str().unwrap();
    assert!(message.contains("line 2 column 8"), "{message}");

    async fn check(rig: &Rig, body: &str, status: u16, code: &str) {
        let answer = rig.ask("PUT", &versioned(WEB), &[], body.to_owned()).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{:#}", answer.body);
    }
}

fn without_etags(mut value: Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(object) => {
                object.remove("etag");
                object.values_mut().for_each(strip);
            }
            Value::Array(values) => values.iter_mut().for_each(strip),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    strip(&mut value);
    value
}
