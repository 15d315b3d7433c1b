//! What is counted, as Prometheus reads it.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::api::own::EXPOSITION;
use crate::api::{State, status};
use crate::metrics;

/// One reading.
pub(super) fn answer(state: &State) -> Response {
    let realised = state.realised.borrow().clone();
    let text = metrics::text(&state.catalogue.snapshot(), &realised);
    (status::ANSWERED, [(CONTENT_TYPE, EXPOSITION)], Body::from(text)).into_response()
}
