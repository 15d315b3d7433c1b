//! The control plane: resources over HTTP, in two dialects, on one durable store.

#![warn(missing_docs)]

pub mod api;
pub mod auth;
pub mod catalogue;
mod hex;
mod listen;
pub mod metrics;
pub mod openapi;
pub mod realised;
mod server;
pub mod settings;
pub use node::stamp;
pub mod store;
pub mod tls;

pub use catalogue::{Catalogue, Snapshot};
pub use realised::Realised;
pub use server::{STORE_FILE, Server, StartError};
pub use settings::Settings;
