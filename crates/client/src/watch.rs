//! Everything there is, and every change from then on.
//!
//! The server sends one JSON object a line. A connection that breaks is made again and goes on after the last revision of which
//! everything was seen; writes of a revision that was seen in part come again.

use std::time::Duration;

use futures::Stream;
use model::ResourceId;
use reqwest::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep_until, timeout};

use crate::client::Resource;
use crate::error::{Cause, Error};
use crate::exchange::Exchange;

#[cfg(test)]
mod tests;

/// The server says at least every fifteen seconds that it is there; after three times that it is not.
const SILENCE: Duration = Duration::from_secs(45);
/// The first pause before a connection is made again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest of them.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// No document is longer than this.
const MAX_LINE: usize = 64 << 20;

/// What a watch tells.
#[derive(Debug)]
pub enum Event {
    /// A resource is there, or is another now.
    Put {
        /// As of when.
        revision: u64,
        /// As it is.
        resource: Resource,
    },
    /// A resource is gone.
    Delete {
        /// As of when.
        revision: u64,
        /// Which.
        id: ResourceId,
    },
    /// What was told before counts no more: all that is there follows, up to `Synced`.
    Reset {
        /// As of when.
        revision: u64,
    },
    /// From here on there are only changes.
    Synced {
        /// As of when.
        revision: u64,
    },
    /// Everything up to this revision was told.
    Alive {
        /// As of when.
        revision: u64,
    },
    /// Something happened to a member or a rule. Only those who want events are told.
    Happened(Happened),
    /// The connection broke, and will be made again.
    Interrupted {
        /// Why.
        why: Error,
        /// After which pause.
        pause: Duration,
    },
}

/// What happened to a member or a rule.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Happened {
    /// What, in one word for programs: `memberUp`, `memberDown`, `memberFlapping`, `memberAvoided`, `memberAvoidedNoMore`,
    /// `noHealthyMembers`, `healthyMembersAgain`.
    pub event: String,
    /// When, in RFC 3339.
    pub at: String,
    /// What, in words.
    pub message: String,
    /// To whom, and everything else the server says.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Changes, as they happen.
#[derive(Debug)]
pub struct Watch {
    exchange: Exchange,
    events: bool,
    place: Place,
    lines: Option<Lines>,
    failures: u32,
    pause_until: Option<Instant>,
    ended: bool,
}

impl Watch {
    pub(crate) fn new(exchange: Exchange, from: Option<u64>) -> Self {
        Self {
            exchange,
            events: false,
            place: Place::after(from),
            lines: None,
            failures: 0,
            pause_until: None,
            ended: false,
        }
    }

    /// The same, with what happens to members and rules. Nothing is told of what happened while the server could not be asked.
    #[must_use]
    pub fn with_events(self) -> Self {
        Self { events: true, ..self }
    }

    /// The next event. An error is the last one: asking again would not help. Nothing is lost when this is dropped while it waits.
    pub async fn next(&mut self) -> Option<Result<Event, Error>> {
        while !self.ended {
            match self.line().await {
                Ok(line) => {
                    self.failures = 0;
                    self.place.follow(&line);
                    if let Some(event) = line.event() {
                        return Some(Ok(event));
                    }
                }
                Err(why) if why.is_passing() => return Some(Ok(self.interrupted(why))),
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }

    /// The same as a stream.
    pub fn stream(self) -> impl Stream<Item = Result<Event, Error>> {
        futures::stream::unfold(self, |mut watch| async move { Some((watch.next().await?, watch)) })
    }

    async fn line(&mut self) -> Result<Line, Error> {
        if let Some(until) = self.pause_until {
            sleep_until(until).await;
            self.pause_until = None;
        }
        let lines = match &mut self.lines {
            Some(lines) => lines,
            none => none.insert(Lines::open(&self.exchange, self.place.complete, self.events).await?),
        };
        lines.next(&self.exchange).await
    }

    fn interrupted(&mut self, why: Error) -> Event {
        self.lines = None;
        self.place.interrupted();
        let pause = LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.saturating_pow(self.failures));
        self.failures = (self.failures + 1).min(16);
        self.pause_until = Some(Instant::now() + pause);
        Event::Interrupted { why, pause }
    }
}

/// All there is, at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Everything {
    /// As of when.
    pub revision: u64,
    /// In the order of their ids.
    pub resources: Vec<Resource>,
}

impl Everything {
    pub(crate) async fn read(exchange: &Exchange) -> Result<Self, Error> {
        let mut lines = Lines::open(exchange, None, false).await?;
        let mut resources = Vec::new();
        loop {
            match lines.next(exchange).await? {
                Line::Put { etag, document, .. } => resources.extend(resource(etag, document)),
                Line::Reset { .. } => resources.clear(),
                Line::Synced { revision } => {
                    resources.sort_by(|one, other| one.id.cmp(&other.id));
                    return Ok(Self { revision, resources });
                }
                Line::Delete { .. } | Line::Alive { .. } | Line::Event(_) | Line::Unknown => {}
            }
        }
    }
}

/// Up to where everything was seen.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// All of this revision was seen; `None` while the first list is not complete.
    complete: Option<u64>,
    /// Some of this one was.
    newest: Option<u64>,
}

impl Place {
    fn after(from: Option<u64>) -> Self {
        Self { complete: from, newest: from }
    }

    fn follow(&mut self, line: &Line) {
        match *line {
            Line::Reset { .. } => *self = Self::after(None),
            Line::Synced { revision } => *self = Self::after(Some(revision)),
            Line::Alive { revision } if self.complete.is_some() => *self = Self::after(Some(revision)),
            // A write may put several resources: only the next revision shows that there are no more of this one.
            Line::Put { revision, .. } | Line::Delete { revision, .. } if self.complete.is_some() => {
                if self.newest.is_some_and(|newest| revision > newest) {
                    self.complete = self.newest;
                    self.newest = Some(revision);
                }
            }
            Line::Alive { .. } | Line::Put { .. } | Line::Delete { .. } | Line::Event(_) | Line::Unknown => {}
        }
    }

    /// What was seen in part comes again.
    fn interrupted(&mut self) {
        self.newest = self.complete;
    }
}

/// One line, as it comes.
#[derive(Debug, Deserialize)]
#[serde(tag = "action", rename_all = "camelCase")]
enum Line {
    Put {
        revision: u64,
        #[serde(default)]
        etag: String,
        document: Value,
    },
    Delete {
        revision: u64,
        id: String,
    },
    Reset {
        revision: u64,
    },
    Synced {
        revision: u64,
    },
    Alive {
        revision: u64,
    },
    Event(Happened),
    /// A newer server may say more.
    #[serde(other)]
    Unknown,
}

impl Line {
    fn event(self) -> Option<Event> {
        Some(match self {
            Self::Put { revision, etag, document } => {
                Event::Put { revision, resource: resource(etag, document)? }
            }
            Self::Delete { revision, id } => Event::Delete { revision, id: ResourceId::parse(&id)?.0 },
            Self::Reset { revision } => Event::Reset { revision },
            Self::Synced { revision } => Event::Synced { revision },
            Self::Alive { revision } => Event::Alive { revision },
            Self::Event(happened) => Event::Happened(happened),
            Self::Unknown => return None,
        })
    }
}

/// A resource of a kind that is not known here is not told.
fn resource(etag: String, document: Value) -> Option<Resource> {
    let resource = Resource::of(document)?;
    Some(if etag.is_empty() { resource } else { Resource { etag, ..resource } })
}

/// An answer, line by line.
#[derive(Debug)]
struct Lines {
    response: Response,
    buffer: Vec<u8>,
    /// Up to here there is no end of a line.
    searched: usize,
}

impl Lines {
    async fn open(exchange: &Exchange, from: Option<u64>, events: bool) -> Result<Self, Error> {
        let path = match (from, events) {
            (None, false) => "/forebay/v1/watch".to_owned(),
            (None, true) => "/forebay/v1/watch?events=true".to_owned(),
            (Some(revision), false) => format!("/forebay/v1/watch?from={revision}"),
            (Some(revision), true) => format!("/forebay/v1/watch?from={revision}&events=true"),
        };
        Ok(Self { response: exchange.open(&path).await?, buffer: Vec::new(), searched: 0 })
    }

    async fn next(&mut self, exchange: &Exchange) -> Result<Line, Error> {
        loop {
            if let Some(length) = self.buffer[self.searched..].iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=self.searched + length).collect();
                self.searched = 0;
                let text = String::from_utf8_lossy(&line);
                if !text.trim().is_empty() {
                    return exchange.read(&text);
                }
                continue;
            }
            self.searched = self.buffer.len();
            if self.searched > MAX_LINE {
                return Err(exchange.strange(format!("it sent a line of more than {MAX_LINE} bytes")));
            }
            let server = || exchange.server().to_owned();
            match timeout(SILENCE, self.response.chunk()).await {
                Err(_) => return Err(Error::TimedOut { server: server(), after: SILENCE }),
                Ok(Err(error)) => return Err(exchange.failed(error)),
                Ok(Ok(Some(bytes))) => self.buffer.extend_from_slice(&bytes),
                Ok(Ok(None)) => {
                    return Err(Error::Broken { server: server(), cause: Cause::new("the server ended it") });
                }
            }
        }
    }
}
