//! The interfaces over HTTP: two dialects of one catalogue, and what is ours.
//!
//! ```text
//! connection ──▶ gate (who, how often) ──▶ arm · networking · own ──▶ catalogue
//! ```

use std::sync::Arc;

use tokio::sync::watch;

use crate::catalogue::Catalogue;
use crate::realised::Realised;
use crate::settings::Settings;

pub use refusal::{Refusal, Said};

pub mod answer;
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

/// In whose words a request is made, and answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Azure's Resource Manager; ours are worded alike.
    Arm,
    /// The Network Controller.
    Networking,
}
