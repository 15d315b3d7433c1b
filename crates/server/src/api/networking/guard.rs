//! What a Network Controller refuses when it compares a resource with what it was, or with what else there is, and the
//! canonical check does not know.

use serde_json::Value;

use super::translate::finding::Finding;
use super::translate::reference::Home;
use crate::catalogue::Snapshot;
use model::ResourceId;

/// What is wrong with a resource as it shall be.
pub fn check(
    _snapshot: &Snapshot,
    _id: &ResourceId,
    _former: Option<&Value>,
    _now: &Value,
    _strict: bool,
    _home: &Home,
) -> Vec<Finding> {
    Vec::new()
}
