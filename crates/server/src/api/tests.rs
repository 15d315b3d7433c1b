//! What the interfaces answer, asked without a connection.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::ServiceExt;

use super::{Gate, Peer, State, router};
use crate::Realised;
use crate::auth::Guard;
use crate::catalogue::{Catalogue, Limits};
use crate::settings::Settings;
use crate::store::Memory;

mod arm;
mod gate;
mod health;
mod kinds;
mod own;

const GROUP: &str = "/subscriptions/S/resourceGroups/G";

/// Where a resource is: `at("loadBalancers/web")`.
pub(crate) fn at(place: &str) -> String {
    format!("{GROUP}/providers/Microsoft.Network/{place}")
}

/// A whole server, without doors.
pub(crate) struct Rig {
    pub(crate) state: State,
    pub(crate) realised: watch::Sender<Realised>,
    router: Router,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The code of an error.
    pub(crate) fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    /// The codes of its details.
    pub(crate) fn details(&self) -> Vec<&str> {
        let details = self.body["error"]["details"].as_array().map_or(&[][..], Vec::as_slice);
        details.iter().filter_map(|detail| detail["code"].as_str()).collect()
    }
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        let catalogue = Catalogue::open(Arc::new(Memory::new()), Limits::default()).await.unwrap();
        let gate = Gate::new(&settings, Guard::of(&settings).unwrap());
        let (realised, seen) = watch::channel(Realised::default());
        let state = State { realised: seen, ..State::quiet(catalogue, settings) };
        Self { router: router(state.clone(), gate), state, realised }
    }

    /// Asks with a method, a path, headers as `name: value` and a body.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for header in headers {
            let (name, value) = header.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        self.answer(request.body(body.into()).unwrap()).await
    }

    /// Asks for a path without credentials, from an address.
    pub(crate) async fn ask_from(&self, address: &str, path: &str) -> Answer {
        let peer = Peer { address: (address.parse::<IpAddr>().unwrap(), 1_024).into(), certificate: None };
        self.answer(Request::builder().uri(path).extension(peer).body(Body::empty()).unwrap()).await
    }

    async fn answer(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, place: &str) -> Answer {
        self.ask("GET", &versioned(place), &[], Body::empty()).await
    }

    pub(crate) async fn put(&self, place: &str, body: &Value) -> Answer {
        self.ask("PUT", &versioned(place), &[], body.to_string()).await
    }

    pub(crate) async fn delete(&self, place: &str) -> Answer {
        self.ask("DELETE", &versioned(place), &[], Body::empty()).await
    }

    /// The same with a precondition.
    pub(crate) async fn put_if(&self, place: &str, header: &str, body: &Value) -> Answer {
        self.ask("PUT", &versioned(place), &[header], body.to_string()).await
    }
}

pub(crate) fn versioned(place: &str) -> String {
    let path = if place.starts_with('/') { place.to_owned() } else { at(place) };
    match path.contains('?') {
        true => path,
        false => format!("{path}?api-version=2025-05-01"),
    }
}

/// A balancer with a frontend at an address, a pool, a probe and a rule.
pub(crate) fn balancer(address: &str) -> Value {
    let id = |child: &str| json!({ "id": at(&format!("loadBalancers/web/{child}")) });
    json!({
        "location": "here",
        "properties": {
            "frontendIPConfigurations": [{
                "name": "front",
                "properties": {
                    "privateIPAddress": address,
                    "privateIPAllocationMethod": "Static",
                    "subnet": { "id": at("virtualNetworks/net/subnets/a") },
                },
            }],
            "backendAddressPools": [{ "name": "pool" }],
            "loadBalancingRules": [{
                "name": "http",
                "properties": {
                    "frontendIPConfiguration": id("frontendIPConfigurations/front"),
                    "backendAddressPool": id("backendAddressPools/pool"),
                    "protocol": "Tcp",
                    "frontendPort": 80,
                    "backendPort": 8080,
                },
            }],
        },
    })
}

/// The network that such balancers are in.
pub(crate) fn network() -> Value {
    json!({
        "location": "here",
        "properties": {
            "addressSpace": { "addressPrefixes": ["10.0.0.0/16"] },
            "subnets": [{ "name": "a", "properties": { "addressPrefix": "10.0.0.0/24" } }],
        },
    })
}

/// A server with a network and a balancer.
pub(crate) async fn furnished() -> Rig {
    let rig = Rig::new().await;
    for (place, body) in [("virtualNetworks/net", network()), ("loadBalancers/web", balancer("10.0.0.10"))] {
        let answer = rig.put(place, &body).await;
        assert_eq!(answer.status, 201, "{place}: {:#}", answer.body);
    }
    rig
}
