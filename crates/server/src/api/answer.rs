//! Answers: JSON, with the headers that belong to it.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::status::{self, Status};

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// A value.
#[must_use]
pub fn json(status: Status, mut headers: HeaderMap, value: &Value) -> Response {
    headers.insert(CONTENT_TYPE, JSON);
    (status, headers, Body::from(value.to_string())).into_response()
}

/// JSON that is written down already.
#[must_use]
pub fn text(text: &'static str) -> Response {
    (status::ANSWERED, [(CONTENT_TYPE, JSON)], text).into_response()
}

/// A resource or child, with its etag beside it.
#[must_use]
pub fn resource(status: Status, etag: &str, value: &Value) -> Response {
    let mut headers = HeaderMap::new();
    if let Ok(etag) = HeaderValue::from_str(etag) {
        headers.insert(ETAG, etag);
    }
    json(status, headers, value)
}

/// A status that says it all.
#[must_use]
pub fn empty(status: Status) -> Response {
    status.into_response()
}
