//! One resource as it is kept: what clients said of it, and the etags and instances that the server gave.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Document, ResourceId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::tree;
use crate::store::{StoreError, Stored};

/// A resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What it goes by, spelled as when it was made.
    pub id: ResourceId,
    /// What clients said of it, without what only the server says.
    pub document: Arc<Document>,
    pub(super) etag: String,
    pub(super) instance: Uuid,
    /// What is in it, by [`tree::key`].
    pub(super) children: BTreeMap<String, Child>,
}

/// What the server gave a child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Child {
    /// `None`: that of the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) etag: Option<String>,
    pub(super) instance: Uuid,
}

impl Record {
    /// The etag of a child, or with an empty path its own.
    #[must_use]
    pub fn etag(&self, child: &[(String, String)]) -> &str {
        let own = || self.children.get(&tree::key(child))?.etag.as_deref();
        if child.is_empty() { &self.etag } else { own().unwrap_or(&self.etag) }
    }

    /// The instance of a child, or with an empty path its own: the same as long as it is there.
    #[must_use]
    pub fn instance(&self, child: &[(String, String)]) -> Uuid {
        self.children.get(&tree::key(child)).map_or(self.instance, |child| child.instance)
    }

    /// The same, by [`tree::key`].
    pub(crate) fn instance_of(&self, key: &str) -> Uuid {
        self.children.get(key).map_or(self.instance, |child| child.instance)
    }

    /// Everything in it, by [`tree::key`].
    pub(crate) fn child_keys(&self) -> impl Iterator<Item = &str> {
        self.children.keys().map(String::as_str)
    }

    /// Whether there is such a child.
    #[must_use]
    pub fn has(&self, child: &[(String, String)]) -> bool {
        child.is_empty() || self.children.contains_key(&tree::key(child))
    }

    /// Its document as canonical JSON, as clients said it.
    #[must_use]
    pub fn value(&self) -> Value {
        serde_json::to_value(&*self.document).unwrap_or_default()
    }

    pub(super) fn stored(&self) -> Stored {
        let form = Form {
            etag: Cow::Borrowed(&*self.etag),
            instance: self.instance,
            children: Cow::Borrowed(&self.children),
            document: &*self.document,
        };
        let value = serde_json::to_string(&form).unwrap_or_default();
        Stored { key: self.id.key().to_owned(), value: value.into() }
    }

    pub(super) fn read(stored: &Stored) -> Result<Self, StoreError> {
        let broken = |cause: Box<dyn std::error::Error + Send + Sync>| StoreError::Record {
            key: stored.key.clone(),
            cause,
        };
        let form: Form<'_, Value> =
            serde_json::from_str(&stored.value).map_err(|error| broken(error.into()))?;
        let document = Document::read(&form.document, &stored.key).map_err(|problems| {
            let words: Vec<String> = problems.iter().map(ToString::to_string).collect();
            broken(words.join("; ").into())
        })?;
        let id = document.resource_id().ok_or_else(|| broken("it has no id".into()))?;
        if id.key() != stored.key {
            return Err(broken(format!("it is {id}").into()));
        }
        let Form { etag, instance, children, .. } = form;
        let (etag, children) = (etag.into_owned(), children.into_owned());
        Ok(Self { id, document: Arc::new(document), etag, instance, children })
    }
}

/// How a record is written into the store.
#[derive(Serialize, Deserialize)]
struct Form<'a, D> {
    etag: Cow<'a, str>,
    instance: Uuid,
    #[serde(default, skip_serializing_if = "is_empty")]
    children: Cow<'a, BTreeMap<String, Child>>,
    document: D,
}

fn is_empty(children: &BTreeMap<String, Child>) -> bool {
    children.is_empty()
}
