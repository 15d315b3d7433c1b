//! One resource after another, at their ARM paths.

use std::collections::BTreeMap;

use model::{Document, Kind, Problem, ResourceId};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::exchange::{Answer, Exchange};
use crate::settings::Settings;
use crate::transaction::{Outcome, Transaction};
use crate::watch::{Everything, Watch};

/// The version of the ARM interface that is spoken.
const API_VERSION: &str = "2025-05-01";

/// A server, and the right to ask it. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    exchange: Exchange,
}

/// A resource as the server shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its id.
    pub id: ResourceId,
    /// What a precondition compares.
    pub etag: String,
    /// The document, with everything the server says; a newer server may say more than is known here.
    pub value: Value,
}

impl Resource {
    /// The document, as far as it is known here.
    ///
    /// # Errors
    /// Every field that is not known here.
    pub fn document(&self) -> Result<Document, Vec<Problem>> {
        Document::read(&self.value, self.id.name())
    }
}

/// Where a list is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All resource groups of a subscription.
    Subscription(String),
    /// A resource group of a subscription.
    Group(String, String),
}

/// In which state a resource must be, so that something is done to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    /// Any.
    #[default]
    None,
    /// The one with this etag.
    Is(String),
    /// It is there, in whatever state.
    Exists,
    /// It is not there.
    Absent,
}

/// What became of a PUT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Whether it was not there before.
    pub created: bool,
    /// What is there now.
    pub resource: Resource,
}

/// How the server is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The server's version.
    pub version: String,
    /// The balancer's name.
    pub name: String,
    /// How many writes there have been.
    pub revision: u64,
    /// What has become of them in the data path.
    #[serde(default)]
    pub realised: Option<Realised>,
    /// How many members do well; `None` of a server that does not say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// How many there are of each kind.
    #[serde(default)]
    pub counts: BTreeMap<String, Value>,
    /// How many things were accepted that the data path cannot do yet.
    #[serde(default)]
    pub shortfalls: u64,
    /// Where resources are that say nothing else.
    pub subscription: String,
    /// The resource group, likewise.
    pub resource_group: String,
    /// What this credential may do.
    #[serde(default)]
    pub role: Option<String>,
}

/// Members that probes watch. One that two probes ask counts twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Health {
    /// Found up.
    pub up: u64,
    /// Found down.
    pub down: u64,
    /// Not asked yet.
    pub unknown: u64,
}

/// What the data path has made of what was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Realised {
    /// The revision that is in force.
    pub revision: u64,
    /// `Success`, `InProgress`, `Warning` or `Failure`.
    pub state: String,
    /// Why it is not `Success`.
    #[serde(default)]
    pub message: String,
    /// Since when.
    #[serde(default)]
    pub since: Option<String>,
}

impl Realised {
    /// Whether the data path has not begun, so that there is nothing to wait for.
    #[must_use]
    pub fn has_not_begun(&self) -> bool {
        self.state == "Uninitialized"
    }
}

impl Client {
    /// Gets ready to ask; nobody is asked yet.
    ///
    /// # Errors
    /// When the settings cannot be followed.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        Ok(Self { exchange: Exchange::new(settings)? })
    }

    /// Who is asked.
    #[must_use]
    pub fn server(&self) -> &str {
        self.exchange.server()
    }

    /// One resource; `None` when it is not there.
    ///
    /// # Errors
    /// When the server refuses, or cannot be asked.
    pub async fn get(&self, id: &ResourceId) -> Result<Option<Resource>, Error> {
        let found = self.get_at(&id.to_string()).await?;
        // The server knows how it is spelled.
        Ok(found.map(|(etag, value)| {
            let shown = Resource::of(value.clone());
            Resource { id: shown.map_or_else(|| id.clone(), |it| it.id), etag, value }
        }))
    }

    /// What is at an id, be it a resource, a child or a collection of children, with its etag.
    ///
    /// # Errors
    /// When the server refuses, or cannot be asked.
    pub async fn get_at(&self, id: &str) -> Result<Option<(String, Value)>, Error> {
        match self.exchange.ask(Method::GET, &arm(id), &Precondition::None, None).await {
            Ok(answer) => self.shown(&answer).map(Some),
            Err(Error::Refused(refusal)) if refusal.is_absence() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All resources of a kind.
    ///
    /// # Errors
    /// When the server refuses, or cannot be asked.
    pub async fn list(&self, kind: Kind, scope: &Scope) -> Result<Vec<Resource>, Error> {
        #[derive(Deserialize)]
        struct List {
            value: Vec<Value>,
        }
        let within = match scope {
            Scope::Subscription(subscription) => format!("/subscriptions/{subscription}"),
            Scope::Group(subscription, group) => {
                format!("/subscriptions/{subscription}/resourceGroups/{group}")
            }
        };
        let path = format!("{within}/providers/Microsoft.Network/{}", kind.segment());
        let answer = self.exchange.ask(Method::GET, &arm(&path), &Precondition::None, None).await?;
        let List { value } = self.exchange.read(&answer.body)?;
        value.into_iter().map(|value| self.resource(value)).collect()
    }

    /// Creates or replaces one resource, which must have its id.
    ///
    /// # Errors
    /// When the server refuses, with every problem, or cannot be asked.
    pub async fn put(&self, document: &Document, precondition: &Precondition) -> Result<Stored, Error> {
        let id = document.id().unwrap_or_default();
        let value = serde_json::to_value(document).unwrap_or_default();
        let answer = self.exchange.ask(Method::PUT, &arm(id), precondition, Some(&value)).await?;
        let resource = self.resource(self.shown(&answer)?.1)?;
        Ok(Stored { created: answer.status == 201, resource })
    }

    /// Removes what has this id, a resource or a child, and says whether it was there.
    ///
    /// # Errors
    /// When the server refuses, or cannot be asked.
    pub async fn delete(&self, id: &str, precondition: &Precondition) -> Result<bool, Error> {
        match self.exchange.ask(Method::DELETE, &arm(id), precondition, None).await {
            Ok(answer) => Ok(answer.status != 204),
            Err(Error::Refused(refusal)) if refusal.is_absence() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Many writes, all or nothing.
    ///
    /// # Errors
    /// When the server refuses, with every problem, or cannot be asked.
    pub async fn transaction(&self, transaction: &Transaction) -> Result<Outcome, Error> {
        let body = serde_json::to_value(transaction).unwrap_or_default();
        let path = "/forebay/v1/transaction";
        let answer = self.exchange.ask(Method::POST, path, &Precondition::None, Some(&body)).await?;
        self.exchange.read(&answer.body)
    }

    /// How the server is.
    ///
    /// # Errors
    /// When the server refuses, or cannot be asked.
    pub async fn status(&self) -> Result<Status, Error> {
        let answer = self.exchange.ask(Method::GET, "/forebay/v1/status", &Precondition::None, None).await?;
        self.exchange.read(&answer.body)
    }

    /// A copy of everything, as a file that a store takes: what `forebay restore` reads.
    ///
    /// # Errors
    /// When the server refuses, or cannot be asked.
    pub async fn backup(&self) -> Result<String, Error> {
        Ok(self.exchange.ask(Method::GET, "/forebay/v1/backup", &Precondition::None, None).await?.body)
    }

    /// Everything there is, all at one revision.
    ///
    /// # Errors
    /// When the server refuses, or cannot be asked.
    pub async fn everything(&self) -> Result<Everything, Error> {
        Everything::read(&self.exchange).await
    }

    /// Every change after revision `from`; without it, first everything there is. It does not end: a connection that breaks is
    /// made again, and goes on where it was.
    #[must_use]
    pub fn watch(&self, from: Option<u64>) -> Watch {
        Watch::new(self.exchange.clone(), from)
    }

    fn shown(&self, answer: &Answer) -> Result<(String, Value), Error> {
        let value: Value = self.exchange.read(&answer.body)?;
        let inside = value.get("etag").and_then(Value::as_str).map(str::to_owned);
        Ok((answer.etag.clone().or(inside).unwrap_or_default(), value))
    }

    fn resource(&self, value: Value) -> Result<Resource, Error> {
        Resource::of(value).ok_or_else(|| self.exchange.strange("it shows a resource without an id".into()))
    }
}

impl Resource {
    pub(crate) fn of(value: Value) -> Option<Self> {
        let text = |field: &str| value.get(field).and_then(Value::as_str);
        let (id, children) = ResourceId::parse(text("id")?)?;
        let etag = text("etag").unwrap_or_default().to_owned();
        children.is_empty().then_some(Self { id, etag, value })
    }
}

fn arm(id: &str) -> String {
    format!("{id}?api-version={API_VERSION}")
}
