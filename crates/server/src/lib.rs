//! The control plane: resources over HTTP, in two dialects, on one durable store.

#![warn(missing_docs)]

pub mod auth;
mod hex;
pub mod settings;
pub mod store;
pub mod tls;

pub use settings::Settings;
