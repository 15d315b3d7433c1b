//! The control plane: resources over HTTP, in two dialects, on one durable store.

#![warn(missing_docs)]

pub mod api;
pub mod auth;
pub mod catalogue;
mod hex;
pub mod realised;
pub mod settings;
pub mod store;
pub mod tls;

pub use catalogue::{Catalogue, Snapshot};
pub use settings::Settings;
