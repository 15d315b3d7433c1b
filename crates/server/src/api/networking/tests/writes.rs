//! Preconditions, etags, deletion, writes that are sent again, and operations.

use super::*;

const ABSENT: u16 = 404;

// The table of networking-rest.md 4.1.
#[tokio::test]
async fn preconditions_hold_for_resources_and_children() {
    let client = Client::with_balancer().await;
    for (path, body) in
        [("/v1/publicIPAddresses/a", address("65.52.0.30")), ("/v1/loadBalancers/lb/probes/a", probe(80))]
    {
        let put = |headers: &'static [(&'static str, &'static str)]| {
            let (client, body) = (&client, &body);
            async move { client.ask("PUT", path, headers, body).await.status }
        };
        assert_eq!(put(&[("if-match", "*")]).await, 412);
        assert_eq!(put(&[("if-match", "W/\"1\"")]).await, 412);
        assert_eq!(client.get(path).await.status, ABSENT);
        assert_eq!(put(&[("if-none-match", "*")]).await, 201);
        assert_eq!(put(&[("if-none-match", "*")]).await, 412);
        assert_eq!(put(&[("if-match", "*")]).await, 200);
        assert_eq!(put(&[("if-match", "\"\"")]).await, 200);
        assert_eq!(put(&[("if-match", "W/\"1\"")]).await, 412);
        let etag = client.get(path).await.etag().to_owned();
        assert_eq!(client.ask("PUT", path, &[("if-match", &etag)], &body).await.status, 200);
        assert_eq!(client.ask("PUT", path, &[("if-match", &etag)], &body).await.status, 412);
        assert_eq!(client.ask("DELETE", path, &[("if-match", &etag)], &Value::Null).await.status, 412);
        assert_eq!(client.ask("DELETE", path, &[("if-match", "*")], &Value::Null).await.status, 200);
        assert_eq!(client.ask("DELETE", path, &[("if-match", &etag)], &Value::Null).await.status, 204);
        assert_eq!(client.get(path).await.status, ABSENT);
    }
}

// networking-rest.md 4.2
#[tokio::test]
async fn a_childs_write_changes_its_own_and_its_parents_etag() {
    let client = Client::with_balancer().await;
    let probes = json!([{ "resourceId": "a", "properties": { "protocol": "Tcp", "port": 1 } },
        { "resourceId": "b", "properties": { "protocol": "Tcp", "port": 2 } }]);
    let whole = client.put("/v1/loadBalancers/lb", balancer(json!({ "probes": probes }))).await;
    for child in ["probes/a", "probes/b", "frontendIPConfigurations/fe"] {
        assert_eq!(client.get(&format!("/v1/loadBalancers/lb/{child}")).await.etag(), whole.etag());
    }
    let child = client.put("/v1/loadBalancers/lb/probes/a", probe(3)).await;
    assert_ne!(child.etag(), whole.etag());
    assert_eq!(client.get("/v1/loadBalancers/lb").await.etag(), child.etag());
    assert_eq!(client.get("/v1/loadBalancers/lb/probes/b").await.etag(), whole.etag());
}

#[tokio::test]
async fn what_is_sent_again_is_done_once() {
    let client = Client::new().await;
    let (path, body) = ("/v1/publicIPAddresses/a", address("65.52.0.30"));
    let headers = [("x-ms-client-request-id", "one")];
    let first = client.ask("PUT", path, &headers, &body).await;
    assert_eq!((first.status, first.header("x-ms-client-request-id")), (201, "one"));
    let again = client.ask("PUT", path, &headers, &body).await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    assert_eq!(again.header("x-ms-request-id"), first.header("x-ms-request-id"));
    assert_eq!(client.get(path).await.etag(), first.etag());
    // Another body, another path and another id are other requests.
    assert_eq!(client.ask("PUT", path, &headers, &address("65.52.0.31")).await.status, 200);
    assert_eq!(client.ask("PUT", "/v1/publicIPAddresses/b", &headers, &body).await.status, 201);
    let quiet = [("x-ms-client-request-id", "two"), ("x-ms-return-client-request-id", "FALSE")];
    let other = client.ask("PUT", path, &quiet, &address("65.52.0.32")).await;
    assert_eq!((other.status, other.header("x-ms-client-request-id")), (200, ""));
}

#[tokio::test]
async fn what_is_sent_again_while_it_is_being_done_is_done_once() {
    let client = Client::new().await;
    let body = address("65.52.0.30");
    let headers = [("x-ms-client-request-id", "one")];
    let both = tokio::join!(
        client.ask("PUT", "/v1/publicIPAddresses/a", &headers, &body),
        client.ask("PUT", "/v1/publicIPAddresses/a", &headers, &body),
    );
    assert_eq!((both.0.status, both.1.status), (201, 201));
    assert_eq!(both.0.etag(), both.1.etag());
}

#[tokio::test]
async fn operations_are_finished_when_they_are_answered() {
    let client = Client::new().await;
    let made = client.put("/v1/publicIPAddresses/a", address("65.52.0.30")).await;
    check(&client, &made, "Succeeded", 200).await;
    let gone = client.delete("/v1/publicIPAddresses/a").await;
    check(&client, &gone, "Succeeded", 200).await;
    let again = client.delete("/v1/publicIPAddresses/a").await;
    check(&client, &again, "Succeeded", 204).await;
    let wrong = client.put("/v1/publicIPAddresses/a", json!({ "properties": { "ipAddress": 7 } })).await;
    check(&client, &wrong, "Failed", 400).await;
    check(&client, &made, "Succeeded", 404).await;
    assert_eq!(client.get("/v1/operations/nothing").await.status, 404);
    assert_eq!(client.get("/v1/operationResults/nothing").await.status, 404);

    async fn check(client: &Client, write: &Got, state: &str, result: u16) {
        let id = write.header("x-ms-request-id");
        let operation = client.get(&format!("/v1/operations/{id}")).await;
        assert_eq!((operation.status, &operation.body["status"]), (200, &json!(state)));
        assert_eq!(operation.body["error"], write.body["error"]);
        assert_eq!(client.get(&format!("/v1/operationResults/{id}")).await.status, result);
    }
}

#[tokio::test]
async fn bodies_that_are_none_are_refused_in_words() {
    let client = Client::new().await;
    let path = "/v1/publicIPAddresses/a";
    let text = |kind: &'static str, body: &'static str| {
        Request::builder()
            .method("PUT")
            .uri(path)
            .header("content-type", kind)
            .body(Body::from(body))
            .unwrap()
    };
    let got = client.send(text("application/json", "{\"properties\": {")).await;
    assert_eq!((got.status, got.code()), (400, "InvalidRequestFormat"));
    assert_eq!(got.body["error"]["details"][0]["code"], "InvalidJson");
    let got = client.send(text("application/json", "[]")).await;
    assert_eq!((got.status, got.code()), (400, "InvalidRequestFormat"));
    let got = client.send(text("text/plain", "{}")).await;
    assert_eq!((got.status, got.code()), (400, "InternalServerError"));
    let got = client.put(path, json!({ "resourceId": "b", "properties": {} })).await;
    assert_eq!((got.status, got.code()), (400, "InvalidParameterValue"));
    let got = client.put("/v1/publicIPAddresses/-a", json!({ "properties": {} })).await;
    assert_eq!((got.status, got.code()), (400, "InvalidResourceName"));
    let got = client.put("/v1/loadBalancers/nobody/probes/a", probe(1)).await;
    assert_eq!((got.status, got.code()), (404, "NotFound"));
}

#[tokio::test]
async fn members_that_nobody_knows_are_named_in_a_warning() {
    let client = Client::new().await;
    let mut body = address("65.52.0.30");
    body["properties"]["colour"] = "blue".into();
    body["properties"]["gr\u{f6}\u{df}e"] = 3.into();
    let got = client.put("/v1/publicIPAddresses/a", body).await;
    assert_eq!(got.status, 201);
    let warning = got.header("warning");
    assert!(
        warning.starts_with("199 forebay \"") && warning.contains("/publicIPAddresses/a/colour"),
        "{warning}"
    );
    assert_eq!(client.put("/v1/publicIPAddresses/a", address("65.52.0.30")).await.header("warning"), "");
}
