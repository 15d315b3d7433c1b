//! Writes that were done, for clients that look there. Every write is finished when it is answered.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use uuid::Uuid;

use super::Service;
use super::answer::Answer;
use super::path::Spot;
use super::refusal::Refusal;
use super::version::Version;
use crate::api::status;
use crate::catalogue::Refused;

/// How many are remembered.
const MAX_OPERATIONS: usize = 10_000;

/// The newest writes.
#[derive(Debug, Default)]
pub struct Operations(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    operations: HashMap<Uuid, Operation>,
    order: VecDeque<Uuid>,
}

/// A write.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Where.
    pub spot: Spot,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a write.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It was put.
    Put,
    /// It was deleted, if it was there.
    Deleted {
        /// Whether it was.
        was_there: bool,
    },
    /// It was refused, with this answer.
    Failed {
        /// The answer.
        answer: Box<Answer>,
        /// The error in it.
        error: Value,
    },
}

impl Operations {
    /// Remembers a write.
    pub fn keep(&self, id: Uuid, operation: Operation) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.order.len() >= MAX_OPERATIONS
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.operations.remove(&oldest);
        }
        kept.order.push_back(id);
        kept.operations.insert(id, operation);
    }

    fn get(&self, id: &str) -> Result<Operation, Refusal> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = id.parse().ok().and_then(|id: Uuid| kept.operations.get(&id).cloned());
        found.ok_or_else(|| Refused::NotFound { id: format!("/operations/{id}") }.into())
    }
}

impl Service {
    /// How far a write is.
    pub(super) fn show_operation(&self, id: &str) -> Result<Answer, Refusal> {
        let value = match self.operations.get(id)?.outcome {
            Outcome::Put | Outcome::Deleted { .. } => json!({ "status": "Succeeded" }),
            Outcome::Failed { error, .. } => json!({ "status": "Failed", "error": error }),
        };
        Ok(Answer::json(status::ANSWERED, &value))
    }

    /// What a write came to: the resource as it is now, or the answer it got.
    pub(super) fn show_result(&self, version: Version, id: &str) -> Result<Answer, Refusal> {
        let Operation { spot, outcome } = self.operations.get(id)?;
        match outcome {
            Outcome::Put => self.show(version, &spot),
            Outcome::Deleted { was_there } => Ok(Answer::empty(status::of_delete(was_there))),
            Outcome::Failed { answer, .. } => Ok(*answer),
        }
    }
}
