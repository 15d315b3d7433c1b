//! Forebay's HTTP interface, typed: what the command line and the Kubernetes controller talk through.
//!
//! ```text
//! Settings::find ──▶ Client::new ──▶ get · list · put · delete      one resource at its ARM path
//!                                    transaction                    many, all or nothing
//!                                    everything · watch             all there is, and every change from then on
//! ```
//!
//! What the server refuses comes back as a [`Refusal`] with each problem and its path. What keeps it from being asked at all
//! is another [`Error`], which says what to do.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod client;
mod error;
mod exchange;
mod secret;
pub mod settings;
mod transaction;
mod trust;
mod watch;

pub use client::{Client, Health, Precondition, Realised, Resource, Scope, Status, Stored};
pub use error::{Detail, Error, Refusal};
pub use secret::Token;
pub use settings::{Overrides, Settings, SettingsError};
pub use transaction::{Action, Change, Outcome, Transaction};
pub use watch::{Event, Everything, Happened, Watch};
