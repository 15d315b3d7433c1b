//! A store that is gone with the process: for tests, and for trying things out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::history::History;
use super::{Change, Changes, Contents, Revision, Store, StoreError, Stored, once_each};

/// Records in memory.
#[derive(Debug)]
pub struct Memory {
    state: Mutex<State>,
    history: History,
}

#[derive(Debug, Default)]
struct State {
    revision: Revision,
    records: BTreeMap<String, Arc<str>>,
}

impl Memory {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self { state: Mutex::default(), history: History::since(0) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for Memory {
    fn load(&self) -> Result<Contents, StoreError> {
        let state = self.lock();
        let records = state.records.iter();
        let records = records.map(|(key, value)| Stored { key: key.clone(), value: Arc::clone(value) });
        Ok(Contents { revision: state.revision, records: records.collect() })
    }

    fn commit(
        &self,
        expected: Revision,
        puts: &[Stored],
        deletes: &[String],
    ) -> Result<Revision, StoreError> {
        once_each(puts, deletes)?;
        let mut state = self.lock();
        if state.revision != expected {
            return Err(StoreError::Moved { expected, found: state.revision });
        }
        if puts.is_empty() && deletes.is_empty() {
            return Ok(expected);
        }
        state.revision += 1;
        for key in deletes {
            state.records.remove(key);
        }
        state.records.extend(puts.iter().map(|put| (put.key.clone(), Arc::clone(&put.value))));
        let change = Change { revision: state.revision, puts: puts.to_vec(), deletes: deletes.to_vec() };
        self.history.add(change);
        Ok(state.revision)
    }

    fn watch(&self, from: Revision) -> Result<Changes, StoreError> {
        self.history.watch(from)
    }
}
