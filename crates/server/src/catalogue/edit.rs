//! What somebody wants to change, and what became of it.

use std::sync::Arc;

use model::{ChildPath, Document, Problem, ResourceId};

use super::Snapshot;
use crate::store::Revision;

/// One write: all of it or nothing.
#[derive(Clone, Debug, Default)]
pub struct Edit {
    /// Resources that shall be so.
    pub puts: Vec<Put>,
    /// Resources that shall be gone.
    pub deletes: Vec<ResourceId>,
    /// Whether only to say what would happen.
    pub dry_run: bool,
    /// Whether a document that is there already, word for word, is left alone and keeps its etag.
    pub keep_equal: bool,
    /// Whether network interfaces leave the pools and NAT rules that are removed, instead of keeping them from being removed.
    pub detach: bool,
    /// The revision that everything must be at.
    pub if_revision: Option<Revision>,
    /// What of it could not be read. It is then refused, with what is wrong with the rest (API-2).
    pub unread: Vec<Problem>,
}

/// A resource that shall be so.
#[derive(Clone, Debug)]
pub struct Put {
    /// Which one. When it is there, its name stays spelled as it is.
    pub id: ResourceId,
    /// What it shall say. What only the server says is taken out of it.
    pub document: Document,
    /// What the client wrote of it, which decides whose etags change.
    pub touched: Touched,
}

/// What of a resource was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touched {
    /// All of it: it and all in it get a new etag.
    Whole,
    /// A child, written or removed: it, what is in it, and what it is in get a new etag; the others keep theirs.
    Child(ChildPath),
}

/// What became of an edit.
#[derive(Clone, Debug)]
pub struct Written {
    /// Everything, after it.
    pub snapshot: Arc<Snapshot>,
    /// What happened to each resource of the edit, and to network interfaces that were detached.
    pub outcomes: Vec<(ResourceId, Action)>,
}

impl Written {
    /// What happened to one resource.
    #[must_use]
    pub fn action(&self, id: &ResourceId) -> Action {
        self.outcomes.iter().find(|(one, _)| one == id).map_or(Action::Unchanged, |(_, action)| *action)
    }
}

/// What happened to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is new.
    Created,
    /// It was replaced.
    Updated,
    /// It is as it was.
    Unchanged,
    /// It is gone.
    Deleted,
}

impl Edit {
    /// Writes one resource as a whole.
    #[must_use]
    pub fn put(id: ResourceId, document: Document) -> Self {
        Self { puts: vec![Put { id, document, touched: Touched::Whole }], ..Self::default() }
    }

    /// Writes or removes a child: `document` is the whole resource after it.
    #[must_use]
    pub fn put_child(id: ResourceId, document: Document, child: ChildPath) -> Self {
        Self { puts: vec![Put { id, document, touched: Touched::Child(child) }], ..Self::default() }
    }

    /// Removes one resource.
    #[must_use]
    pub fn delete(id: ResourceId) -> Self {
        Self { deletes: vec![id], ..Self::default() }
    }
}
