//! Answers as they are kept until they are sent: a write that is sent again gets the same once more.

use std::fmt::Write as _;

use axum::body::{Body, Bytes};
use axum::http::header::{ALLOW, CONTENT_TYPE, ETAG};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::api::status::Status;

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: Status,
    /// Its headers, without those of the exchange.
    pub headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    /// A status that says it all.
    #[must_use]
    pub fn empty(status: Status) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// A value.
    #[must_use]
    pub fn json(status: Status, value: &Value) -> Self {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, JSON)]);
        Self { status, headers, body: value.to_string().into() }
    }

    /// Everything of a list. Only what is being written down is held as values: lists can be long.
    #[must_use]
    pub fn list(status: Status, all: impl Iterator<Item = Value>) -> Self {
        let mut body = String::from("{\"value\":[");
        for (number, value) in all.enumerate() {
            if number > 0 {
                body.push(',');
            }
            // Writing to a text does not fail.
            let _ = write!(body, "{value}");
        }
        body += "],\"nextLink\":\"\"}";
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, JSON)]);
        Self { status, headers, body: body.into() }
    }

    /// A resource or child, with its etag beside it.
    #[must_use]
    pub fn resource(status: Status, value: &Value) -> Self {
        let etag = value.get("etag").and_then(Value::as_str).unwrap_or_default();
        Self::json(status, value).with(ETAG, etag)
    }

    /// How many bytes its body has.
    #[must_use]
    pub fn size(&self) -> usize {
        self.body.len()
    }

    /// The error in it, if it is one.
    #[must_use]
    pub fn error(&self) -> Value {
        let mut body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body.get_mut("error").map(Value::take).unwrap_or_default()
    }

    /// The same with another header. What no header can hold is left out.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// The same, saying what can be done.
    #[must_use]
    pub fn allowing(self, methods: &str) -> Self {
        self.with(ALLOW, methods)
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        (self.status, self.headers, Body::from(self.body)).into_response()
    }
}
