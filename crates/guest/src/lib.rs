//! The guest's part of floating IP: what a member's host needs, so that it takes and answers what the balancer sends.
//!
//! ```text
//! observe ──▶ Host ─┬─ plan(Wanted, Host) ──▶ Changes ──▶ apply ──▶ the journal, from which undo restores
//!                   └─ check(Wanted, Host) ──▶ Findings
//! ```
//!
//! A [`Step`] is a command for a shell: what is printed for people is what is run. The two deciding functions are pure and see
//! the host only as a [`Host`] that somebody has observed; [`act`] and [`observe()`] do the rest.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod act;
mod check;
mod firewall;
mod host;
mod observe;
mod persist;
mod plan;
mod step;
mod wanted;
mod windows;

#[cfg(test)]
mod tests;

pub use check::{Finding, Mistake, check};
pub use firewall::{Chain, Opinion, Ruleset, Ufw, UfwRule};
pub use host::{Address, Host, Interface, Kind, Listener, Networkd};
pub use observe::{ObserveError, observe};
pub use persist::path;
pub use plan::{Change, plan};
pub use step::{Step, script};
pub use wanted::{BadDestination, BadWanted, Destination, Protocol, Wanted};
pub use windows::script as windows;
