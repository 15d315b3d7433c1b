//! Load balancers, their children, and what the Network Controller refuses.

use super::*;

const CHILD: &str = "/v1/loadBalancers/lb/loadBalancingRules/x";

fn rule(frontend: u16, backend: u16) -> Value {
    json!({ "properties": { "frontendIPConfigurations": [of_balancer("frontendIPConfigurations/fe")],
        "backendAddressPool": of_balancer("backendAddressPools/web"), "protocol": "Tcp",
        "frontendPort": frontend, "backendPort": backend } })
}

#[tokio::test]
async fn children_are_written_listed_and_removed_one_by_one() {
    let client = Client::with_balancer().await;
    assert_eq!(client.put("/v1/loadBalancers/lb/backendAddressPools/web", json!({})).await.status, 201);
    assert_eq!(client.put(CHILD, rule(80, 8080)).await.status, 201);
    let listed = client.get("/v1/loadBalancers/lb/loadbalancingrules").await;
    assert_eq!(listed.body["value"][0]["resourceRef"], "/loadBalancers/lb/loadBalancingRules/x");
    assert_eq!(listed.body["value"][0]["properties"]["loadDistribution"], "Default");
    for (child, code) in [
        ("frontendIPConfigurations/fe", "InUseFrontendIpConfigurationCannotBeDeleted"),
        ("backendAddressPools/web", "InUseBackendAddressPoolCannotBeDeleted"),
    ] {
        let got = client.delete(&format!("/v1/loadBalancers/lb/{child}")).await;
        assert_eq!((got.status, got.code()), (409, code));
    }
    let used = client.delete("/v1/publicIPAddresses/pip").await;
    assert_eq!((used.status, used.code()), (409, "ResourceInUse"));
    assert!(used.body["error"]["message"].as_str().unwrap().contains("/loadBalancers/lb"), "{used:?}");
    assert_eq!(client.delete(CHILD).await.status, 200);
    assert_eq!(client.delete("/v1/loadBalancers/lb/backendAddressPools/web").await.status, 200);
    assert_eq!(client.delete(CHILD).await.status, 204);
    assert_eq!(client.delete("/v1/loadBalancers/lb").await.status, 200);
    assert_eq!(client.delete("/v1/publicIPAddresses/pip").await.status, 200);
}

#[tokio::test]
async fn a_write_of_the_whole_has_the_last_word_on_children() {
    let client = Client::with_balancer().await;
    let pools = |names: &[&str]| {
        let pools: Vec<Value> = names.iter().map(|name| json!({ "resourceId": name })).collect();
        balancer(json!({ "backendAddressPools": pools }))
    };
    client.put("/v1/loadBalancers/lb", pools(&["one", "two"])).await;
    let got = client.put("/v1/loadBalancers/lb", pools(&["two"])).await;
    assert_eq!(got.properties()["backendAddressPools"].as_array().map(Vec::len), Some(1));
    // API-2
    let mut wrong = pools(&["three"]);
    wrong["properties"]["frontendIPConfigurations"] = json!([]);
    let got = client.put("/v1/loadBalancers/lb", wrong).await;
    assert_eq!((got.status, got.code()), (400, "InvalidFrontendIPCount"));
    let pools = client.get("/v1/loadBalancers/lb/backendAddressPools").await;
    assert_eq!(pools.body["value"][0]["resourceId"], "two");
}

// API-2
#[tokio::test]
async fn every_problem_is_in_the_details() {
    let client = Client::with_balancer().await;
    let probes = json!([{ "resourceId": "a", "properties": { "protocol": "Http", "port": 80 } },
        { "resourceId": "b", "properties": { "protocol": "Tcp", "port": 70_000 } }, { "resourceId": "B" }]);
    let got = client.put("/v1/loadBalancers/lb", balancer(json!({ "probes": probes }))).await;
    let details = got.body["error"]["details"].as_array().unwrap();
    let said: Vec<(&str, &str)> =
        details.iter().map(|it| (it["code"].as_str().unwrap(), it["target"].as_str().unwrap())).collect();
    let at = "/loadBalancers/lb/probes";
    assert_eq!(
        said,
        [
            ("ProbeRequestPathIsRequired", &*format!("{at}/a/requestPath")),
            ("PortValueIsOutOfRange", &*format!("{at}/b/port")),
            ("InvalidResourceName", &*format!("{at}/B/resourceId")),
        ]
    );
}

// API-2
#[tokio::test]
async fn what_cannot_be_read_and_what_is_not_valid_are_said_together() {
    let client = Client::with_balancer().await;
    let pools = json!([{ "resourceId": "web" }]);
    let mut wrong = rule(80, 8080);
    wrong["resourceId"] = "wrong".into();
    wrong["properties"]["idleTimeoutInMinutes"] = 31.into();
    let rules: Vec<Value> = ["one", "two"]
        .iter()
        .map(|name| {
            let mut rule = rule(81, 81);
            rule["resourceId"] = (*name).into();
            rule
        })
        .chain([wrong])
        .collect();
    let body = balancer(json!({ "backendAddressPools": pools, "loadBalancingRules": rules }));
    let got = client.put("/v1/loadBalancers/lb", body).await;
    let details = got.body["error"]["details"].as_array().unwrap();
    let codes: Vec<&str> = details.iter().filter_map(|it| it["code"].as_str()).collect();
    assert_eq!(got.status, 400);
    assert_eq!(codes[0], "RuleIdleTimeoutIsOutOfRange");
    assert!(codes.contains(&"RulesUseSameFrontendPort"), "{codes:?}");
    assert!(details.iter().all(|it| it["message"] != "" && it["target"] != ""), "{details:?}");
}

#[tokio::test]
async fn what_is_wrong_has_the_code_that_clients_know() {
    let client = Client::with_balancer().await;
    client.put("/v1/loadBalancers/lb/backendAddressPools/web", json!({})).await;
    client.put("/v1/loadBalancers/lb/loadBalancingRules/http", rule(80, 8080)).await;
    let with = |field: &str, value: Value| {
        let mut body = rule(81, 81);
        body["properties"][field] = value;
        body
    };
    for (code, body) in [
        ("RulesUseSameFrontendPort", rule(80, 81)),
        ("RulesUseSameBackendPort", rule(81, 8080)),
        ("PortValueIsOutOfRange", with("frontendPort", json!(65_536))),
        ("InvalidAnyPortAnyProtocolInboundRule", rule(81, 0)),
        ("InvalidAnyPortAnyProtocolInboundRule", with("protocol", json!("All"))),
        ("RuleIdleTimeoutIsOutOfRange", with("idleTimeoutInMinutes", json!(31))),
        ("BackendPoolReferenceNotProvided", with("backendAddressPool", Value::Null)),
        ("FrontendIpConfigReferenceNotProvided", with("frontendIPConfigurations", json!([]))),
        ("InvalidResourceReference", with("backendAddressPool", of_balancer("backendAddressPools/nobody"))),
        ("InvalidRequestFormat", with("backendAddressPool", of_balancer("probes/web"))),
        ("InvalidJsonReferenceFormat", with("backendAddressPool", json!({ "resourceRef": "web" }))),
        ("InvalidParameterValue", with("protocol", json!("Tcq"))),
        ("OperationNotSupported", with("protocol", json!("GRE"))),
        ("RequiredParamMissing", with("protocol", Value::Null)),
    ] {
        let got = client.put(CHILD, body.clone()).await;
        assert_eq!((got.status, got.code()), (400, code), "{body} {got:?}");
    }
    let got = client.put("/v1/loadBalancers/lb/inboundNatRules/http", rule(85, 85)).await;
    assert_eq!((got.status, got.code()), (400, "RuleNameDuplicate"));
    let flag = balancer(json!({ "updateBackendAddressPools": true }));
    let got = client.put("/v6.1/loadBalancers/lb", flag).await;
    assert_eq!((got.status, got.code()), (400, "UpdateBackendAddressPoolsNotAllowed"));
}

#[tokio::test]
async fn a_strict_server_wants_the_manager_first() {
    let client = Client::of(Settings { strict: true, ..Settings::default() }).await;
    client.put("/v1/publicIPAddresses/pip", address("65.52.0.20")).await;
    let got = client.put("/v1/loadBalancers/lb", balancer(json!({}))).await;
    assert_eq!((got.status, got.code()), (400, "LbManagerResourceNotConfigured"));
    let manager = json!({ "properties": { "loadBalancerManagerIPAddress": "65.52.0.10", "outboundNatIPExemptions": [] } });
    assert_eq!(client.put("/v1/loadBalancerManager/config", manager).await.status, 201);
    assert_eq!(client.put("/v1/loadBalancers/lb", balancer(json!({}))).await.status, 201);

    let path = "/v1/loadBalancers/lb/probes/p";
    let mut few = probe(80);
    few["properties"]["numberOfProbes"] = 10.into();
    assert_eq!(client.put(path, few).await.code(), "NumberOfProbesIsOutOfRange");
    assert_eq!(client.put(path, probe(80)).await.properties()["numberOfProbes"], 31);
}
