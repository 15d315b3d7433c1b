//! The last changes of a store, for watchers that were away for a while.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::{Change, Changes, Revision, StoreError};

/// Changes that are kept.
pub(super) const MAX_CHANGES: usize = 10_000;
/// Bytes of records in them.
const MAX_BYTES: usize = 64 << 20;
/// Changes a watcher may be behind before it has to load again.
pub(super) const MAX_BEHIND: usize = 1_024;

#[derive(Debug)]
pub(super) struct History(Mutex<Past>);

#[derive(Debug)]
struct Past {
    /// Changes after this revision are kept.
    since: Revision,
    newest: Revision,
    changes: VecDeque<Arc<Change>>,
    bytes: usize,
    watchers: Vec<mpsc::Sender<Arc<Change>>>,
}

impl History {
    /// Nothing is known of what was before `revision`.
    pub(super) fn since(revision: Revision) -> Self {
        Self(Mutex::new(Past::since(revision)))
    }

    /// Takes up a change, and tells the watchers.
    pub(super) fn add(&self, change: Change) {
        let mut past = self.lock();
        let change = Arc::new(change);
        past.newest = change.revision;
        past.bytes += bytes(&change);
        past.changes.push_back(Arc::clone(&change));
        while past.changes.len() > MAX_CHANGES || past.bytes > MAX_BYTES {
            let Some(oldest) = past.changes.pop_front() else { break };
            past.bytes -= bytes(&oldest);
            past.since = oldest.revision;
        }
        // Who has no room for it has fallen behind, and finds the channel closed after what is in it.
        past.watchers.retain(|watcher| watcher.try_send(Arc::clone(&change)).is_ok());
    }

    /// Forgets everything, when what happened in between is not known.
    pub(super) fn restart(&self, revision: Revision) {
        let mut past = self.lock();
        if past.newest != revision {
            *past = Past::since(revision);
        }
    }

    pub(super) fn watch(&self, from: Revision) -> Result<Changes, StoreError> {
        let mut past = self.lock();
        if from < past.since || from > past.newest {
            return Err(StoreError::Compacted { from });
        }
        let missed: Vec<_> = past.changes.iter().filter(|change| change.revision > from).cloned().collect();
        let (watcher, changes) = mpsc::channel(missed.len() + MAX_BEHIND);
        for change in missed {
            // There is room for each.
            let _ = watcher.try_send(change);
        }
        past.watchers.push(watcher);
        Ok(Changes(changes))
    }

    fn lock(&self) -> MutexGuard<'_, Past> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Past {
    fn since(revision: Revision) -> Self {
        Self { since: revision, newest: revision, changes: VecDeque::new(), bytes: 0, watchers: Vec::new() }
    }
}

fn bytes(change: &Change) -> usize {
    let puts = change.puts.iter().map(|put| put.key.len() + put.value.len());
    puts.chain(change.deletes.iter().map(String::len)).sum()
}
