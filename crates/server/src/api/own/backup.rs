//! A copy of everything while it is served: only one process can have the store open.

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use crate::api::{Refusal, State, status};
use crate::catalogue::Refused;
use crate::store::backup;

/// The copy, of one revision, as `forebay restore` reads it.
pub(super) async fn answer(state: &State) -> Result<Response, Refusal> {
    let contents = state.catalogue.contents().await.map_err(Refused::Store)?;
    let mut copy = Vec::new();
    // There is always room in memory for a few megabytes more, so this writes.
    if let Err(error) = backup::write(&contents, &mut copy) {
        tracing::error!("{error}");
    }
    let mut response = (status::ANSWERED, Body::from(copy)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
