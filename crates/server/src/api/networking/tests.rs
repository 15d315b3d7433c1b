//! The interface as clients meet it, without a network.

#![cfg(test)]

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::router;
use crate::api::State;
use crate::catalogue::{Catalogue, Limits};
use crate::settings::Settings;
use crate::store::Memory;

mod balancers;
mod envelope;
mod fuzz;
mod members;
mod writes;

/// A client of a server that holds nothing yet.
struct Client(Router);

/// What a client gets.
#[derive(Debug)]
struct Got {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Client {
    async fn new() -> Self {
        Self::of(Settings::default()).await
    }

    async fn of(settings: Settings) -> Self {
        let catalogue = Catalogue::open(Arc::new(Memory::default()), Limits::default()).await.unwrap();
        Self(router(State::quiet(catalogue, settings)))
    }

    async fn send(&self, request: Request<Body>) -> Got {
        let answer = self.0.clone().oneshot(request).await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        Got { status, headers, body: serde_json::from_slice(&body).unwrap_or_default() }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Got {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_null() {
            request = request.header("content-type", "application/json; charset=UTF-8");
        }
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        self.send(request.body(body).unwrap()).await
    }

    async fn get(&self, path: &str) -> Got {
        self.ask("GET", path, &[], &Value::Null).await
    }

    async fn put(&self, path: &str, body: Value) -> Got {
        self.ask("PUT", path, &[], &body).await
    }

    async fn delete(&self, path: &str) -> Got {
        self.ask("DELETE", path, &[], &Value::Null).await
    }

    /// A public address, and a load balancer with a frontend on it.
    async fn with_balancer() -> Self {
        let client = Self::new().await;
        assert_eq!(client.put("/v1/publicIPAddresses/pip", address("65.52.0.20")).await.status, 201);
        let got = client.put("/v1/loadBalancers/lb", balancer(json!({}))).await;
        assert_eq!(got.status, 201, "{got:?}");
        client
    }
}

impl Got {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn etag(&self) -> &str {
        self.body["etag"].as_str().unwrap_or_default()
    }

    fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    fn properties(&self) -> &Value {
        &self.body["properties"]
    }
}

fn address(address: &str) -> Value {
    json!({ "properties": { "publicIPAllocationMethod": "Static", "ipAddress": address } })
}

/// A load balancer on the public address `pip`, with these properties as well.
fn balancer(more: Value) -> Value {
    let mut properties = json!({ "frontendIPConfigurations": [{ "resourceId": "fe", "properties": {
        "publicIPAddress": { "resourceRef": "/publicIPAddresses/pip" } } }] });
    for (name, value) in more.as_object().cloned().unwrap_or_default() {
        properties[&name] = value;
    }
    json!({ "resourceId": "lb", "properties": properties })
}

fn probe(port: u16) -> Value {
    json!({ "properties": { "protocol": "Tcp", "port": port } })
}

/// A pointer to a child of the load balancer `lb`.
fn of_balancer(path: &str) -> Value {
    json!({ "resourceRef": format!("/loadBalancers/lb/{path}") })
}
