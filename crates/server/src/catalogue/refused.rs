//! Why a write is refused. What each dialect and HTTP make of it is decided elsewhere.

use model::{Problem, Use};

use crate::store::{Revision, StoreError};

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Documents with these problems, all of them.
    #[error("{} problem{}", .0.len(), if .0.len() == 1 { "" } else { "s" })]
    Invalid(Vec<Problem>),
    /// A request that says something impossible, in words of its dialect.
    #[error("{0}")]
    Wrong(Fault),
    /// What is asked contradicts what there is, in words of its dialect.
    #[error("{0}")]
    Conflict(Fault),
    /// The resource is not in the state that was named.
    #[error("{}", precondition(id, wanted, found.as_deref()))]
    Precondition {
        /// Which resource or child.
        id: String,
        /// The etag that was named; `*` for any, and `none` for no resource at all.
        wanted: String,
        /// The etag it has, if it is there.
        found: Option<String>,
    },
    /// Everything is at another revision than the one that was named.
    #[error("the store is at revision {found}, and not at {wanted}: read what changed, and write again")]
    Revision {
        /// The revision that was named.
        wanted: Revision,
        /// The revision it is at.
        found: Revision,
    },
    /// Something that is to be removed is referred to.
    #[error("{id} is in use by {}: change that first", in_words(users))]
    InUse {
        /// Which resource or child.
        id: String,
        /// Who refers to it.
        users: Vec<Use>,
    },
    /// There is no such resource or child.
    #[error("there is no {id}")]
    NotFound {
        /// Its id.
        id: String,
    },
    /// There is no resource that this could be a child of.
    #[error("there is no {id}, which this would be a part of: write that first")]
    ParentNotFound {
        /// The id of the parent.
        id: String,
    },
    /// One resource is written twice at once.
    #[error("{id} is written twice at once: write it once")]
    Twice {
        /// Its id.
        id: String,
    },
    /// The store did not write.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is wrong with a request, with a code of its dialect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// As clients of the dialect know it.
    pub code: &'static str,
    /// What is wrong, and how to mend it.
    pub message: String,
    /// Where; empty when it is the request as a whole.
    pub target: String,
}

impl Fault {
    /// A fault of the request as a whole.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), target: String::new() }
    }

    /// The same fault, at a place.
    #[must_use]
    pub fn at(self, target: impl Into<String>) -> Self {
        Self { target: target.into(), ..self }
    }
}

fn precondition(id: &str, wanted: &str, found: Option<&str>) -> String {
    match (wanted, found) {
        ("none", _) => format!("{id} is there already: leave If-None-Match out to replace it"),
        (_, None) => format!("there is no {id}: leave If-Match out to make it"),
        (wanted, Some(found)) => format!(
            "the etag of {id} is {found}, and not {wanted}: somebody else wrote; read it, and write again"
        ),
    }
}

/// The first few users, in words.
fn in_words(users: &[Use]) -> String {
    const SHOWN: usize = 5;
    let mut words: Vec<String> = users.iter().take(SHOWN).map(|user| user.by.clone()).collect();
    if users.len() > SHOWN {
        words.push(format!("{} more", users.len() - SHOWN));
    }
    words.join(", ")
}
