//! The control plane: resources over HTTP, in two dialects, on one durable store.

#![warn(missing_docs)]

mod hex;
pub mod store;
