//! Writes that clients send again with the id they had: they are done once, and answered alike.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::sync::{Mutex, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};

use super::answer::Answer;

/// How many are remembered.
const MAX_SENT: usize = 1_000;
/// How many bytes their answers may have together.
const MAX_BYTES: usize = 32 << 20;
/// How long an id can be that is remembered.
const MAX_ID: usize = 256;

/// The newest writes that have an id of their client.
#[derive(Default)]
pub struct Sent(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    answers: HashMap<Key, Shared<BoxFuture<'static, Answer>>>,
    order: VecDeque<Key>,
}

/// What makes two requests the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The client's id.
    pub id: Vec<u8>,
    /// A digest of method, path, conditions and body.
    pub request: Vec<u8>,
}

impl Sent {
    /// The answer to a write, which is done unless it was, or is being done. It is done to its end even when the client
    /// goes away: it may come again and ask.
    pub fn once(
        &self,
        key: Key,
        write: impl Future<Output = Answer> + Send + 'static,
        failed: Answer,
    ) -> Shared<BoxFuture<'static, Answer>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = kept.answers.get(&key).filter(|answer| !is_lost(answer)) {
            return answer.clone();
        }
        let done = tokio::spawn(write).map(|answer| answer.unwrap_or(failed));
        let answer = done.boxed().shared();
        if key.id.len() > MAX_ID {
            return answer;
        }
        kept.make_room();
        kept.order.push_back(key.clone());
        kept.answers.insert(key, answer.clone());
        answer
    }
}

impl Kept {
    /// Forgets the oldest.
    fn make_room(&mut self) {
        let size = |answer: &Shared<BoxFuture<'static, Answer>>| answer.peek().map_or(0, Answer::size);
        let mut bytes: usize = self.answers.values().map(size).sum();
        while self.order.len() >= MAX_SENT || bytes > MAX_BYTES {
            let Some(oldest) = self.order.pop_front() else { return };
            bytes -= self.answers.remove(&oldest).as_ref().map_or(0, size);
        }
    }
}

/// Whether it is the server that failed, so that trying again is worth something.
fn is_lost(answer: &Shared<BoxFuture<'static, Answer>>) -> bool {
    answer.peek().is_some_and(|answer| answer.status.is_server_error())
}

impl fmt::Debug for Sent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Sent").finish_non_exhaustive()
    }
}
