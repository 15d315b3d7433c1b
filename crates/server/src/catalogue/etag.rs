//! Whose etag changes when something is written: networking-rest.md 4.2.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::ChildPath;
use uuid::Uuid;

use super::record::Child;
use super::{Put, Record, Touched, tree};

/// The record after a write, with one new etag for all that it changes.
pub(super) fn written(former: Option<&Record>, put: Put, children: &[ChildPath]) -> Record {
    let Put { id, document, touched } = put;
    let etag = format!("W/\"{}\"", Uuid::new_v4());
    let child = |key: String| {
        let known = former.and_then(|former| former.children.get(&key));
        let changes = known.is_none() || is_changed(&key, &touched);
        let instance = known.map_or_else(Uuid::new_v4, |child| child.instance);
        // A sibling of what was written keeps the etag it had, though it was that of the resource.
        let kept = || {
            former.map(|former| {
                known.and_then(|child| child.etag.clone()).unwrap_or_else(|| former.etag.clone())
            })
        };
        (key, Child { etag: if changes { None } else { kept() }, instance })
    };
    let children: BTreeMap<String, Child> = children.iter().map(|path| child(tree::key(path))).collect();
    let instance = former.map_or_else(Uuid::new_v4, |former| former.instance);
    Record { id, document: Arc::new(document), etag, instance, children }
}

/// Whether a write to one place changes a child: the same, what is in it, and what it is in.
fn is_changed(key: &str, touched: &Touched) -> bool {
    match touched {
        Touched::Whole => true,
        Touched::Child(path) => {
            let written = tree::key(path);
            key == written || is_within(key, &written) || is_within(&written, key)
        }
    }
}

fn is_within(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'))
}
