//! The interfaces over HTTP: two dialects of one catalogue, and what is ours.
//!
//! ```text
//! connection ──▶ gate (who, how often) ──▶ arm · networking · own ──▶ catalogue
//! ```

use std::sync::Arc;

use axum::Router;
use axum::extract::{self, Request};
use axum::http::Uri;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use tokio::sync::watch;
use tower::ServiceExt;

use crate::catalogue::Catalogue;
use crate::realised::Realised;
use crate::settings::Settings;

pub use gate::{Gate, Peer};
pub use refusal::{Refusal, Said};

pub mod answer;
mod arm;
pub mod body;
pub mod gate;
pub mod networking;
pub mod own;
pub mod query;
mod reference;
pub mod refusal;
pub mod status;
#[cfg(test)]
pub(crate) mod tests;

/// What handlers know. Clones are cheap, and are of one thing.
#[derive(Clone, Debug)]
pub struct State {
    /// All resources.
    pub catalogue: Catalogue,
    /// What the data path has made of them.
    pub realised: watch::Receiver<Realised>,
    /// How the interfaces are served.
    pub settings: Arc<Settings>,
    /// The balancer's name.
    pub name: Arc<str>,
    /// Turns true when the server stops, which answers without an end must heed.
    pub stopping: watch::Receiver<bool>,
}

impl State {
    /// Nobody realises anything, and nobody stops.
    #[cfg(test)]
    pub(crate) fn quiet(catalogue: Catalogue, settings: Settings) -> Self {
        let (_, realised) = watch::channel(Realised::default());
        let (_, stopping) = watch::channel(false);
        Self { catalogue, realised, settings: Arc::new(settings), name: Arc::from("default"), stopping }
    }
}

/// Every path there is, behind the gate.
pub fn router(state: State, gate: Gate) -> Router {
    let networking = networking::router(state.clone());
    let places = Router::new().fallback(handle).with_state(state).nest("/networking", networking);
    let plainly = move |request: Request| {
        let places = places.clone();
        async move { places.oneshot(plain(request)).await }
    };
    Router::new().fallback(plainly).layer(from_fn_with_state(gate, gate::pass))
}

async fn handle(state: extract::State<State>, request: Request) -> Response {
    match first_segment(request.uri().path()).eq_ignore_ascii_case("subscriptions") {
        true => arm::handle(state, request).await,
        false => own::handle(state, request).await,
    }
}

/// The same request, its first word in small letters: clients of the Network Controller write `/Networking/v1`.
fn plain(mut request: Request) -> Request {
    let mut parts = request.uri().clone().into_parts();
    let whole = parts.path_and_query.as_ref().map_or("/", |whole| whole.as_str());
    let first = first_segment(request.uri().path());
    let small = format!("/{}{}", first.to_ascii_lowercase(), &whole[whole.len().min(1 + first.len())..]);
    parts.path_and_query = small.parse().ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}

fn first_segment(path: &str) -> &str {
    path.strip_prefix('/').and_then(|path| path.split('/').next()).unwrap_or_default()
}

/// In whose words a request is made, and answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Azure's Resource Manager; ours are worded alike.
    Arm,
    /// The Network Controller.
    Networking,
}

impl Dialect {
    /// The dialect that is spoken at a path.
    #[must_use]
    pub fn of_path(path: &str) -> Self {
        if first_segment(path).eq_ignore_ascii_case("networking") { Self::Networking } else { Self::Arm }
    }
}
