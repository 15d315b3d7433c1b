//! Many writes at once, all or nothing.

use model::Document;
use serde::{Deserialize, Serialize};

/// What shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Transaction {
    /// Only say what would change, and what is wrong.
    pub dry_run: bool,
    /// To be created or replaced; each must have its id.
    pub put: Vec<Document>,
    /// Ids of what is to be removed.
    pub delete: Vec<String>,
    /// The revision that this was made for: when there has been a write since, nothing is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub if_revision: Option<u64>,
}

/// What has become of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The revision after it.
    pub revision: u64,
    /// Whether nothing was really done.
    #[serde(default)]
    pub dry_run: bool,
    /// One for each resource that was written.
    pub changes: Vec<Change>,
}

/// What became of one resource.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Change {
    /// Which.
    pub id: String,
    /// What.
    pub action: Action,
}

/// What a write does to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// It was not there.
    Create,
    /// It was there, and is another now.
    Update,
    /// It is gone.
    Delete,
    /// It is as it was.
    Unchanged,
}
