//! Versions, discovery, envelopes, lists and what is not there.

use super::*;
use crate::api::networking::version::Version;

#[tokio::test]
async fn every_version_is_served_and_no_other() {
    let client = Client::new().await;
    for version in Version::ALL {
        let got = client.get(&format!("/{version}/loadBalancers")).await;
        assert_eq!((got.status, got.body), (200, json!({ "value": [], "nextLink": "" })), "{version}");
    }
    for path in ["/v1.1/loadBalancers", "/v8/loadBalancers", "/loadBalancers", "/v1/toasters", "/"] {
        let got = client.get(path).await;
        assert_eq!((got.status, got.code()), (404, "NotFound"), "{path}");
    }
}

#[tokio::test]
async fn discovery_names_versions_that_work_as_they_are() {
    let client = Client::new().await;
    let got = client.get("/Discovery").await;
    assert_eq!(got.properties()["supportedRestVersions"].as_array().map(Vec::len), Some(12));
    let current = got.properties()["currentRestVersion"].as_str().unwrap();
    assert_eq!(client.get(&format!("/{current}/LOADBALANCERS/")).await.status, 200);
}

#[tokio::test]
async fn a_resource_has_its_envelope_and_keeps_its_name() {
    let client = Client::new().await;
    let mut body = address("65.52.0.20");
    body["tags"] = json!({ "k": "v" });
    body["resourceMetadata"] = json!({ "client": "suite" });
    let made = client.put("/v1/publicIPAddresses/Mixed.Case_1", body).await;
    assert_eq!(made.status, 201);
    assert_eq!(made.header("etag"), made.etag());
    assert_eq!(made.header("x-ms-request-id").len(), 36);
    let read = client.get("/v1/publicipaddresses/MIXED.CASE_1").await;
    assert_eq!(read.body, made.body);
    assert_eq!(read.body["resourceRef"], "/publicIPAddresses/Mixed.Case_1");
    assert_eq!(read.body["resourceId"], "Mixed.Case_1");
    assert_eq!(
        (&read.body["tags"]["k"], &read.body["resourceMetadata"]["client"]),
        (&json!("v"), &json!("suite"))
    );
    assert_eq!(read.properties()["provisioningState"], "Succeeded");
    let instance = read.body["instanceId"].as_str().unwrap();
    let found = client.get(&format!("/v1/internalResourceInstances/{instance}")).await;
    assert_eq!(found.properties()["resourceReference"], "/publicIPAddresses/Mixed.Case_1");
    assert_eq!(client.get(&format!("/v1/publicIPAddresses/{instance}")).await.status, 404);
}

#[tokio::test]
async fn resources_of_other_groups_have_the_group_in_their_names() {
    let client = Client::new().await;
    let made = client.put("/v1/publicIPAddresses/blue~pip", address("65.52.0.20")).await;
    assert_eq!((made.status, &made.body["resourceId"]), (201, &json!("blue~pip")));
    assert_eq!(client.get("/v1/publicIPAddresses/pip").await.status, 404);
    assert_eq!(client.get("/v1/publicIPAddresses/BLUE~pip").await.body, made.body);
    let listed = client.get("/v1/publicIPAddresses").await;
    assert_eq!(listed.body["value"][0]["resourceRef"], "/publicIPAddresses/blue~pip");
    let again = client.put("/v1/publicIPAddresses/blue~pip", made.body.clone()).await;
    assert_eq!((again.status, &again.body["instanceId"]), (200, &made.body["instanceId"]));
}

#[tokio::test]
async fn older_versions_do_not_show_what_came_later() {
    let client = Client::with_balancer().await;
    let got = client.get("/v6.1/loadBalancers/lb").await;
    assert_eq!(got.properties().get("updateBackendAddressPools"), None);
    assert_eq!(client.get("/v7/loadBalancers/lb").await.properties()["updateBackendAddressPools"], false);
    assert_eq!(client.get("/v1/publicIPAddresses/pip").await.properties().get("counters"), None);
    let counters = client.get("/v2/publicIPAddresses/pip").await.properties()["counters"].clone();
    assert_eq!(counters.as_array().map(Vec::len), Some(7));
}

#[tokio::test]
async fn methods_that_are_not_defined_are_refused_with_those_that_are() {
    let client = Client::new().await;
    check(&client, "PATCH", "/v1/loadBalancers/lb", "GET, HEAD, PUT, DELETE").await;
    check(&client, "POST", "/v1/loadBalancers", "GET, HEAD").await;
    check(&client, "DELETE", "/v1/loadBalancers", "GET, HEAD").await;
    check(&client, "DELETE", "/v1/loadBalancerManager/config", "GET, HEAD, PUT").await;
    check(&client, "GET", "/v1/diagnostics/slbState", "PUT").await;
    check(&client, "PUT", "/discovery", "GET, HEAD").await;

    async fn check(client: &Client, method: &str, path: &str, allowed: &str) {
        let got = client.ask(method, path, &[], &json!({})).await;
        assert_eq!((got.status, got.header("allow")), (405, allowed), "{method} {path}");
    }
}

#[tokio::test]
async fn the_dump_and_the_statistics_say_what_there_is() {
    let client = Client::with_balancer().await;
    let dump = client.put("/v1/Diagnostics/SlbState", json!({})).await;
    let result = dump.properties()["slbStateResult"]["resourceRef"].as_str().unwrap();
    let result = client.get(&format!("/v1{result}")).await;
    assert_eq!((&result.properties()["status"], result.status), (&json!("Success"), 200));
    let groups = &result.properties()["output"]["dataGroups"];
    assert_eq!(groups[1]["dataSections"][0]["dataUnits"][0]["name"], "65.52.0.20", "{groups:#}");
    let statistics = client.get("/v1/monitoring/networkControllerStatistics").await;
    let used = &statistics.properties()["usageStatistics"][0];
    assert_eq!((&used["totalResourceCount"], &used["inUseResourceCount"]), (&json!(1), &json!(1)));
    assert_eq!(client.get("/v1/diagnostics/slbStateResults/nothing").await.status, 404);
}
