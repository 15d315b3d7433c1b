//! Load balancer documents, what is valid, and what is wanted.
//!
//! ```text
//! text ──parse──▶ Document ──check_documents──▶ Desired    (or every Problem)
//! ```
//!
//! A [`document`] has the shape of the Azure resource and may say anything. [`Desired`] says only what is
//! valid: names are resolved, defaults filled in, numbers within their ranges. It comes from [`check()`] and
//! [`judge`] and from nowhere else, so whoever holds one need not check again. [`check()`] is for files, which say
//! themselves which addresses there are; [`judge`] is for an [`Inventory`] of everything there is.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod allocate;
mod check;
mod desired;
pub mod document;
mod id;
mod inventory;
mod kind;
pub mod limits;
mod nat_ports;
mod net;
mod problem;
mod resource_id;
mod terms;
#[cfg(test)]
mod testing;
mod units;

pub use allocate::allocate;
pub use check::{Judgement, check, check_after, check_documents, judge, judge_after, merge};
pub use desired::{
    AfterIdle, Ask, Desired, Frontend, ListedRule, Member, NatRange, Pool, PoolIndex, Probe, ProbeIndex,
    Protocol, Rule, SecurityList, WhenDown,
};
pub use document::words::{AdminState, Distribution, NoHealthyBackendsBehavior, ReturnPath};
pub use document::{Document, Source, parse};
pub use inventory::{Inventory, NatMapping, Use};
pub use kind::{Collection, Kind, PROVIDER};
pub use limits::Limits;
pub use nat_ports::NatPorts;
pub use net::{MacAddress, Prefix};
pub use problem::{Code, Problem};
pub use resource_id::{BadResourceId, ChildPath, ResourceId};
pub use terms::{BadServiceTag, ServiceTags, Terms};
pub use units::{IdleTimeout, IdleTimeoutOutOfRange, Port, PortOutOfRange, Weight, WeightOutOfRange};
