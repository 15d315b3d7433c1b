//! The interfaces over HTTP: two dialects of one catalogue, and what is ours.
//!
//! ```text
//! connection ──▶ gate (who, how often) ──▶ arm · networking · own ──▶ catalogue
//! ```

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use tokio::sync::watch;

use crate::catalogue::Catalogue;
use crate::realised::Realised;
use crate::settings::Settings;

pub use gate::{Gate, Peer};
pub use refusal::{Refusal, Said};

pub mod answer;
mod arm;
pub mod body;
pub mod gate;
pub mod own;
pub mod query;
pub mod refusal;
pub mod status;

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
    /// A state for tests: nobody realises anything, and nobody stops.
    #[must_use]
    pub fn quiet(catalogue: Catalogue, settings: Settings) -> Self {
        let (_, realised) = watch::channel(Realised::default());
        let (_, stopping) = watch::channel(false);
        Self { catalogue, realised, settings: Arc::new(settings), name: Arc::from("default"), stopping }
    }
}

/// Every path there is, behind the gate.
#[must_use]
pub fn router(state: State, gate: Gate) -> Router {
    Router::new()
        .merge(own::router())
        .fallback(arm::handle)
        .method_not_allowed_fallback(own::not_allowed)
        .with_state(state)
        .layer(from_fn_with_state(gate, gate::pass))
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
        let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        if first.eq_ignore_ascii_case("networking") { Self::Networking } else { Self::Arm }
    }
}
