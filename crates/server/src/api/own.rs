//! What is ours: whether the server is well, how it is, many writes at once, every change as it happens, and what there is to ask.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use serde_json::json;

use super::{Refusal, answer, status};
use crate::auth::Caller;
use crate::openapi::text as openapi;

mod backup;
mod condition;
mod health;
mod metrics;
mod transaction;
mod watch;

/// Where anybody may ask whether the server is there.
pub const HEALTH: &str = "/healthz";
/// Where the description of all interfaces is.
pub const OPENAPI: &str = "/openapi.json";
/// Who is well, as every probe sees it.
pub const MEMBERS: &str = "/forebay/v1/health";
/// What is counted, as Prometheus reads it.
pub const METRICS: &str = "/metrics";
/// The form of what is counted.
pub const EXPOSITION: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// How the server is.
pub const STATUS: &str = "/forebay/v1/status";
/// Many writes, all or nothing.
pub const TRANSACTION: &str = "/forebay/v1/transaction";
/// Every change.
pub const WATCH: &str = "/forebay/v1/watch";
/// A copy of everything.
pub const BACKUP: &str = "/forebay/v1/backup";

/// Answers what is asked at none of the dialects' paths.
pub async fn handle(State(state): State<super::State>, request: Request) -> Response {
    let answered = match Deed::of(&request) {
        Err(refusal) => Err(refusal),
        Ok(Deed::Health) => Ok(value(&json!({ "status": "ok" }))),
        Ok(Deed::Describe) => Ok(answer::text(openapi())),
        Ok(Deed::Status) => Ok(value(&condition::of(&state, request.extensions().get::<Caller>()))),
        Ok(Deed::Members) => Ok(value(&health::of(&state))),
        Ok(Deed::Metrics) => Ok(metrics::answer(&state)),
        Ok(Deed::Watch) => watch::answer(state, request.uri().query().unwrap_or_default()),
        Ok(Deed::Backup) => backup::answer(&state).await,
        Ok(Deed::Transaction) => transaction::answer(&state, request).await,
    };
    answered.unwrap_or_else(|refusal| refusal.answer(super::Dialect::Arm))
}

/// What is to be done.
enum Deed {
    Health,
    Describe,
    Status,
    Members,
    Metrics,
    Watch,
    Backup,
    Transaction,
}

impl Deed {
    fn of(request: &Request) -> Result<Self, Refusal> {
        let (deed, allowed) = match request.uri().path() {
            HEALTH => (Self::Health, "GET, HEAD"),
            OPENAPI => (Self::Describe, "GET, HEAD"),
            STATUS => (Self::Status, "GET, HEAD"),
            MEMBERS => (Self::Members, "GET, HEAD"),
            METRICS => (Self::Metrics, "GET, HEAD"),
            WATCH => (Self::Watch, "GET"),
            BACKUP => (Self::Backup, "GET"),
            TRANSACTION => (Self::Transaction, "POST"),
            path => return Err(Refusal::NoSuchPlace { path: path.to_owned() }),
        };
        let method = match *request.method() {
            Method::GET => "GET",
            Method::HEAD => "HEAD",
            Method::POST => "POST",
            _ => "",
        };
        match allowed.split(", ").any(|allowed| allowed == method) {
            true => Ok(deed),
            false => Err(Refusal::Method { method: request.method().to_string(), allowed }),
        }
    }
}

fn value(value: &serde_json::Value) -> Response {
    answer::json(status::ANSWERED, HeaderMap::new(), value)
}
