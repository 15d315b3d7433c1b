//! Every change as it happens, one JSON object a line.
//!
//! Lines that carry one revision show everything as of it; what was overwritten meanwhile is left out, so that a slow
//! reader catches up instead of falling behind. An `alive` line behind them says that there are no
//! more of this revision. Who asks for events, too, hears what happens to members and rules from then on.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures::stream;
use model::ResourceId;
use node::health::{Event, Happening};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, interval_at, timeout};

use crate::api::query::parameter;
use crate::api::{Refusal, State, status};
use crate::catalogue::{Catalogue, Fault, Record, Refused};
use crate::stamp::rfc3339;
use crate::store::{Change, Changes, Revision};
use crate::{Realised, Snapshot};

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
    let ears = match parameter(query, "events").as_deref() {
        None | Some("" | "false") => None,
        Some("true") => Some(Ears::of(state.realised.clone())),
        Some(other) => {
            let message = format!("events is `{other}`: write true or false");
            return Err(Refused::Wrong(Fault::new("InvalidRequestContent", message).at("events")).into());
        }
    };
    let (lines, read) = mpsc::channel(LINES);
    let State { catalogue, stopping, .. } = state;
    tokio::spawn(tell(Teller { catalogue, lines, told: None }, from, ears, stopping));
    let body = Body::from_stream(stream::unfold(read, |mut read| async {
        let line: Bytes = read.recv().await?;
        Some((Ok::<_, Infallible>(line), read))
    }));
    let mut response = (status::ANSWERED, body).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

async fn tell(
    mut teller: Teller,
    from: Option<Revision>,
    ears: Option<Ears>,
    mut stopping: watch::Receiver<bool>,
) {
    let gone = teller.lines.clone();
    tokio::select! {
        _ = teller.go_on(from, ears) => {}
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
    async fn go_on(&mut self, from: Option<Revision>, mut ears: Option<Ears>) -> Result<(), Gone> {
        let mut changes = match from.and_then(|from| self.after(from)) {
            Some(changes) => changes,
            None => self.anew().await?,
        };
        let mut at = from.unwrap_or_default();
        let mut alive = interval_at(Instant::now() + ALIVE, ALIVE);
        loop {
            let next = tokio::select! {
                next = changes.next() => next,
                news = news(&mut ears) => {
                    for event in news {
                        self.say(&happened(&event, self.catalogue.snapshot().revision)).await?;
                    }
                    continue;
                }
                _ = alive.tick() => {
                    at = self.told.as_ref().map_or(at, |told| told.revision);
                    self.say(&whole(at)).await?;
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
        let revision = snapshot.revision;
        self.told = Some(snapshot);
        self.say(&whole(revision)).await
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

/// Hears what happens to members and rules.
struct Ears {
    realised: watch::Receiver<Realised>,
    /// The number of the newest event that was told.
    heard: u64,
}

impl Ears {
    /// Hears what happens from now on.
    fn of(realised: watch::Receiver<Realised>) -> Self {
        let heard = realised.borrow().events.last();
        Self { realised, heard }
    }

    /// What is new, as soon as anything is. Nothing is lost when it is not waited for to the end.
    async fn news(&mut self) -> Vec<Arc<Event>> {
        let heard = self.heard;
        let news = self.realised.wait_for(|realised| realised.events.last() > heard).await;
        let news = news.ok().map(|realised| Arc::clone(&realised.events));
        // Nobody says anything any more.
        let Some(events) = news else { return pending().await };
        self.heard = events.last();
        events.after(heard).cloned().collect()
    }
}

async fn news(ears: &mut Option<Ears>) -> Vec<Arc<Event>> {
    match ears {
        Some(ears) => ears.news().await,
        None => pending().await,
    }
}

fn happened(event: &Event, revision: Revision) -> Value {
    let mut line = json!({
        "action": "event",
        "revision": revision,
        "event": event.happening.name(),
        "number": event.number,
        "at": rfc3339(event.at),
        "message": event.happening.to_string(),
    });
    let about = match &event.happening {
        Happening::MemberUp { probe, member } => json!({ "probe": probe, "member": member }),
        Happening::MemberDown { probe, member, why } => {
            json!({ "probe": probe, "member": member, "because": why })
        }
        Happening::Flapping { probe, member, why, caution } => {
            json!({ "probe": probe, "member": member, "because": why, "caution": caution })
        }
        Happening::Avoided { member, why } => json!({ "member": member, "because": why }),
        Happening::AvoidedNoMore { member } => json!({ "member": member }),
        Happening::NobodyUp { rule } | Happening::SomebodyUp { rule } => json!({ "rule": rule }),
    };
    if let (Some(line), Value::Object(about)) = (line.as_object_mut(), about) {
        line.extend(about);
    }
    line
}

/// The resources that a change is about.
fn collect(keys: &mut BTreeSet<ResourceId>, change: &Change) {
    let written = change.puts.iter().map(|put| &put.key).chain(&change.deletes);
    keys.extend(written.filter_map(|key| ResourceId::parse(key)).map(|(id, _)| id));
}

/// Everything up to a revision was told.
fn whole(revision: Revision) -> Value {
    json!({ "action": "alive", "revision": revision })
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
