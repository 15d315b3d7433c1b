//! What there is: all resources, judged together, stored, and shown to whoever asks.
//!
//! ```text
//! edit ──▶ addresses allocated ──▶ everything judged ──▶ stored durably ──▶ published
//! ```
//!
//! There is one writer at a time, and a write that is refused anywhere on this way changes nothing (API-2, API-3).

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use model::{Code, NatPorts, Problem, ResourceId};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};

use crate::store::{Changes, Contents, Revision, Store, StoreError, Stored};
use draft::Draft;
use resting::Resting;

pub use model::{Limits, Terms, Use};

pub use condition::Condition;
pub use edit::{Action, Edit, Put, Touched, Written};
pub use record::Record;
pub use refused::{Fault, Refused};
pub use snapshot::Snapshot;

mod condition;
mod draft;
mod edit;
mod etag;
mod gone;
mod nat_ports;
mod record;
mod refused;
mod resting;
mod snapshot;
#[cfg(test)]
mod tests;
pub mod tree;
mod wanted;

/// How long an address that became free is not given to anybody else: long enough for neighbours and clients to forget it.
pub const HOLD_OFF: Duration = Duration::from_secs(60);

/// All resources, and the only way to change them.
#[derive(Clone)]
pub struct Catalogue {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    terms: Terms,
    published: watch::Sender<Arc<Snapshot>>,
    /// Who has it is the writer.
    writer: Arc<Mutex<Resting>>,
}

/// Why there is no catalogue.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored is not valid by the rules and limits of today.
    #[error(
        "the store holds what is not valid ({} problem{}): set the limits as they were, start the version that \
         wrote it, or restore a backup",
        .0.len(), if .0.len() == 1 { "" } else { "s" }
    )]
    Invalid(Vec<Problem>),
}

impl Catalogue {
    /// Takes up what a store holds.
    ///
    /// # Errors
    /// It cannot be read, or is not valid.
    pub async fn open(store: Arc<dyn Store>, terms: impl Into<Terms>) -> Result<Self, OpenError> {
        let terms = terms.into();
        let (store, terms, loaded) = blocking(move || {
            let loaded = load(&*store, &terms);
            (store, terms, loaded)
        })
        .await
        .ok_or_else(|| OpenError::Store(interrupted()))?;
        let (snapshot, resting) = loaded?;
        let (published, _) = watch::channel(Arc::new(snapshot));
        let writer = Arc::new(Mutex::new(resting));
        Ok(Self { inner: Arc::new(Inner { store, terms, published, writer }) })
    }

    /// Everything, as it is now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.inner.published.borrow())
    }

    /// Everything, and whenever it changes, again.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.inner.published.subscribe()
    }

    /// What was written after a revision.
    ///
    /// # Errors
    /// It is no longer known.
    pub fn watch(&self, from: Revision) -> Result<Changes, StoreError> {
        self.inner.store.watch(from)
    }

    /// One write. `edit` sees everything as it is and says what shall be; nobody else writes meanwhile. The write is finished
    /// even when nobody waits for its end any more.
    ///
    /// # Errors
    /// What `edit` refuses, what is not valid, what is in use, and a store that does not write. Then nothing changed.
    pub async fn write(
        &self,
        edit: impl FnOnce(&Snapshot) -> Result<Edit, Refused> + Send + 'static,
    ) -> Result<Arc<Written>, Refused> {
        let inner = Arc::clone(&self.inner);
        let turn = Arc::clone(&inner.writer).lock_owned().await;
        let written = blocking(move || inner.write(turn, edit, SystemTime::now())).await;
        written.unwrap_or_else(|| Err(Refused::Store(interrupted())))
    }

    /// Everything as the store has it, for a backup.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn contents(&self) -> Result<Contents, StoreError> {
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.store.load()).await.unwrap_or_else(|| Err(interrupted()))
    }
}

impl fmt::Debug for Catalogue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let revision = self.inner.published.borrow().revision;
        out.debug_struct("Catalogue").field("store", &self.inner.store).field("revision", &revision).finish()
    }
}

impl Inner {
    fn write(
        &self,
        mut resting: OwnedMutexGuard<Resting>,
        edit: impl FnOnce(&Snapshot) -> Result<Edit, Refused>,
        now: SystemTime,
    ) -> Result<Arc<Written>, Refused> {
        let present = Arc::clone(&self.published.borrow());
        resting.wake(now);
        let draft = Draft::of(&present, edit(&present)?, &resting, &self.terms)?;
        if draft.dry_run || draft.is_nothing() {
            return Ok(Arc::new(Written { snapshot: present, outcomes: draft.outcomes() }));
        }
        let rested = resting.after(&draft.released(&present), now);
        let ports = nat_ports::stored(draft.nat_ports(), present.desired.nat_ports());
        let beside = rested.stored(&resting).into_iter().chain(ports);
        let puts: Vec<Stored> = draft.records().map(|record| record.stored()).chain(beside).collect();
        let deletes: Vec<String> = draft.deletes().map(|id| id.key().to_owned()).collect();
        let revision = match self.store.commit(present.revision, &puts, &deletes) {
            Ok(revision) => revision,
            Err(error) => return Err(self.not_stored(&mut resting, error)),
        };
        *resting = rested;
        let outcomes = draft.outcomes();
        let snapshot = Arc::new(draft.finish(&present, revision, resting.clone()));
        self.published.send_replace(Arc::clone(&snapshot));
        Ok(Arc::new(Written { snapshot, outcomes }))
    }

    /// Somebody else wrote, or a write that was said to have failed was durable after all: take up what there is.
    fn not_stored(&self, resting: &mut Resting, error: StoreError) -> Refused {
        if matches!(error, StoreError::Moved { .. }) {
            match load(&*self.store, &self.terms) {
                Ok((snapshot, rested)) => {
                    *resting = rested;
                    self.published.send_replace(Arc::new(snapshot));
                }
                Err(error) => tracing::error!("the store moved on, and cannot be taken up: {error}"),
            }
        }
        Refused::Store(error)
    }
}

/// Whether a catalogue can be opened on this, within some limits: a backup is asked before it takes the place of anything.
///
/// # Errors
/// A record of it cannot be read, or it is not valid.
pub fn examine(contents: &Contents) -> Result<(), OpenError> {
    match Snapshot::of(contents.revision, read(contents)?, &Terms::default()) {
        Ok(_) => Ok(()),
        Err(mut problems) => {
            problems.retain(|problem| problem.code != Code::LimitReached);
            if problems.is_empty() { Ok(()) } else { Err(OpenError::Invalid(problems)) }
        }
    }
}

fn load(store: &dyn Store, terms: &Terms) -> Result<(Snapshot, Resting), OpenError> {
    let contents = store.load()?;
    let kept = read(&contents)?;
    let resting = kept.resting.clone();
    let snapshot = Snapshot::of(contents.revision, kept, terms).map_err(OpenError::Invalid)?;
    Ok((snapshot, resting))
}

/// What a store holds.
#[derive(Default)]
struct Kept {
    records: Vec<Record>,
    resting: Resting,
    ports: NatPorts,
}

fn read(contents: &Contents) -> Result<Kept, StoreError> {
    let mut kept = Kept::default();
    for one in &contents.records {
        match one.key.as_str() {
            resting::KEY => kept.resting = Resting::read(one)?,
            nat_ports::KEY => kept.ports = nat_ports::read(one)?,
            _ => kept.records.push(Record::read(one)?),
        }
    }
    Ok(kept)
}

/// Does what waits for a disk on a thread that may. `None`: the program is being stopped.
async fn blocking<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(act).await.ok()
}

fn interrupted() -> StoreError {
    StoreError::Write("the program is being stopped, or failed on the way".into())
}

/// The id of a resource or child as interfaces write it.
#[must_use]
pub fn full_id(id: &ResourceId, child: &[(String, String)]) -> String {
    id.child(child)
}
