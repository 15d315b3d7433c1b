//! Every change as it happens, one JSON object a line.
//!
//! Lines that carry one revision show everything as of it; what was overwritten meanwhile is left out, so that a slow
//! reader catches up instead of falling behind.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures::stream;
use model::ResourceId;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, interval_at, timeout};

use crate::Snapshot;
use crate::api::query::parameter;
use crate::api::{Refusal, State, status};
use crate::catalogue::{Catalogue, Fault, Record, Refused};
use crate::store::{Change, Changes, Revision};

/// How often a watcher hears that the server is there.
const ALIVE: Duration = Duration::from_secs(15);
/// How long a watcher may take for a few lines before it is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Lines on their way.
const LINES: usize = 64;

/// Tells everything after `from`, or everything there is and what comes then.
pub(super) fn answer(state: State, query: &str) -> Result<Response, Refusal> {
    let from = match parameter(query, "from").filter(|from| !from.is_empty()) {
        None => None,
        Some(from) => Some(from.parse::<Revision>().map_err(|_| {
            let message = format!("from is `{from}`: write the revision of the last line that was read");
            Refused::Wrong(Fault::new("InvalidRequestContent", message).at("from"))
        })?),
    };
    let (lines, read) = mpsc::channel(LINES);
    let State { catalogue, stopping, .. } = state;
    tokio::spawn(tell(Teller { catalogue, lines, told: None }, from, stopping));
    let body = Body::from_stream(stream::unfold(read, |mut read| async {
        let line: Bytes = read.recv().await?;
        Some((Ok::<_, Infallible>(line), read))
    }));
    let mut response = (status::ANSWERED, body).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

async fn tell(mut teller: Teller, from: Option<Revision>, mut stopping: watch::Receiver<bool>) {
    let gone = teller.lines.clone();
    tokio::select! {
        _ = teller.go_on(from) => {}
        _ = gone.closed() => {}
        // An error means that there is nobody who could stop it.
        Ok(_) = stopping.wait_for(|stopping| *stopping) => {}
    }
}

/// Whoever watches is gone, or reads too slowly.
struct Gone;

struct Teller {
    catalogue: Catalogue,
    lines: mpsc::Sender<Bytes>,
    /// What was told last.
    told: Option<Arc<Snapshot>>,
}

impl Teller {
    /// Ends only with its reader.
    async fn go_on(&mut self, from: Option<Revision>) -> Result<(), Gone> {
        let mut changes = match from.and_then(|from| self.after(from)) {
            Some(changes) => changes,
            None => self.anew().await?,
        };
        let mut at = from.unwrap_or_default();
        let mut alive = interval_at(Instant::now() + ALIVE, ALIVE);
        loop {
            let next = tokio::select! {
                next = changes.next() => next,
                _ = alive.tick() => {
                    at = self.told.as_ref().map_or(at, |told| told.revision);
                    self.say(&json!({ "action": "alive", "revision": at })).await?;
                    continue;
                }
            };
            match next {
                Some(change) => self.say_changes(&change, &mut changes).await?,
                // It fell too far behind.
                None => changes = self.anew().await?,
            }
            alive.reset();
        }
    }

    /// What comes after a revision, if that is still known, and not of a future that a restored backup does not have.
    fn after(&self, from: Revision) -> Option<Changes> {
        let is_past = from <= self.catalogue.snapshot().revision;
        is_past.then(|| self.catalogue.watch(from).ok()).flatten()
    }

    /// Tells everything there is.
    async fn anew(&mut self) -> Result<Changes, Gone> {
        loop {
            let snapshot = self.catalogue.snapshot();
            let revision = snapshot.revision;
            let Ok(changes) = self.catalogue.watch(revision) else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            self.say(&json!({ "action": "reset", "revision": revision })).await?;
            for record in snapshot.records.values() {
                self.say(&put(&snapshot, record)).await?;
            }
            self.say(&json!({ "action": "synced", "revision": revision })).await?;
            self.told = Some(snapshot);
            return Ok(changes);
        }
    }

    /// Tells of a change and of those right behind it.
    async fn say_changes(&mut self, first: &Change, changes: &mut Changes) -> Result<(), Gone> {
        let snapshot = self.published(first.revision).await;
        let mut keys = BTreeSet::new();
        collect(&mut keys, first);
        let mut seen = first.revision;
        while seen < snapshot.revision {
            let Some(change) = changes.next().await else { break };
            collect(&mut keys, &change);
            seen = change.revision;
        }
        for id in keys {
            let line = match (snapshot.get(&id), self.told.as_ref().and_then(|told| told.get(&id))) {
                (Some(record), Some(former)) if Arc::ptr_eq(record, former) => continue,
                (Some(record), _) => put(&snapshot, record),
                (None, former) => {
                    let id = former.map_or(&id, |former| &former.id);
                    json!({ "action": "delete", "revision": snapshot.revision, "id": id.to_string() })
                }
            };
            self.say(&line).await?;
        }
        self.told = Some(snapshot);
        Ok(())
    }

    /// Everything as of a revision or later. The store has a write a moment before it is published.
    async fn published(&self, revision: Revision) -> Arc<Snapshot> {
        let mut published = self.catalogue.subscribe();
        match published.wait_for(|snapshot| snapshot.revision >= revision).await {
            Ok(snapshot) => Arc::clone(&snapshot),
            Err(_) => self.catalogue.snapshot(),
        }
    }

    async fn say(&self, line: &Value) -> Result<(), Gone> {
        let line = Bytes::from(format!("{line}\n"));
        match timeout(PATIENCE, self.lines.send(line)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }
}

/// The resources that a change is about.
fn collect(keys: &mut BTreeSet<ResourceId>, change: &Change) {
    let written = change.puts.iter().map(|put| &put.key).chain(&change.deletes);
    keys.extend(written.filter_map(|key| ResourceId::parse(key)).map(|(id, _)| id));
}

fn put(snapshot: &Snapshot, record: &Record) -> Value {
    json!({
        "action": "put",
        "revision": snapshot.revision,
        "id": record.id.to_string(),
        "etag": record.etag(&[]),
        "document": snapshot.shown(record),
    })
}
