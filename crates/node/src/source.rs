//! Where intent comes from: documents on disk, or a control plane in this process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::{Desired, NatPorts, ServiceTags};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::documents::{self, Fingerprint};
use crate::serve::ServeError;

/// How often the documents are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Where intent comes from.
#[derive(Debug)]
pub enum Source {
    /// A document, or a folder of `*.json`, which is followed, and what service tags in it mean.
    Documents(PathBuf, ServiceTags),
    /// What a control plane wants, the newest of it.
    Wanted(watch::Receiver<Wanted>),
}

/// What is wanted, and as of when.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The control plane's revision.
    pub revision: u64,
    /// Everything it asks for.
    pub desired: Arc<Desired>,
}

/// A source while it is followed.
#[derive(Debug)]
pub(crate) enum Intake {
    Documents { path: PathBuf, tags: ServiceTags, seen: Fingerprint, look: Interval },
    Wanted(watch::Receiver<Wanted>),
}

impl Intake {
    /// What is there already counts as seen: [`Self::read`] comes before the first [`Self::changed`].
    pub(crate) fn open(source: Source) -> Self {
        match source {
            Source::Documents(path, tags) => {
                let mut look = interval(LOOK);
                look.set_missed_tick_behavior(MissedTickBehavior::Delay);
                Self::Documents { seen: documents::fingerprint(&path), path, tags, look }
            }
            Source::Wanted(wanted) => Self::Wanted(wanted),
        }
    }

    /// Whether a start that finds no room shall begin all the same: a control plane can be told to want less.
    pub(crate) const fn outlives_refusal(&self) -> bool {
        matches!(self, Self::Wanted(_))
    }

    /// Returns when there is something new to read. Nothing is lost when the future is dropped.
    pub(crate) async fn changed(&mut self) {
        match self {
            Self::Documents { path, seen, look, .. } => loop {
                look.tick().await;
                let now = documents::fingerprint(path);
                if now != *seen {
                    *seen = now;
                    return;
                }
            },
            Self::Wanted(wanted) => {
                if wanted.changed().await.is_err() {
                    // Whoever wanted something has ended; what was wanted last stays.
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// What is wanted now.
    ///
    /// Documents do not say which ports members have in the ranges of inbound NAT rules: they keep those that they had last. A control
    /// plane has seen to that already.
    pub(crate) fn read(&mut self, ports: &NatPorts) -> Result<Wanted, ServeError> {
        match self {
            Self::Documents { path, tags, .. } => {
                let sources =
                    documents::read(path).map_err(|(path, cause)| ServeError::Documents { path, cause })?;
                let desired = model::check_after(&sources, tags, ports).map_err(ServeError::Refused)?;
                Ok(Wanted { revision: 0, desired: Arc::new(desired) })
            }
            Self::Wanted(wanted) => Ok(wanted.borrow_and_update().clone()),
        }
    }
}
