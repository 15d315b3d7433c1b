//! The brain of Forebay: what is wanted and what is observed become tables, and the way from the tables in force to those.
//!
//! [`Compiler::compile`] is the one place where intent ([`model::Desired`]) meets observation ([`Health`], [`Surroundings`]). Its
//! [`Tables`] are what the data path forwards by, word for word; [`Changes`] lead there, and may stop after any of them. [`Replica`]
//! runs the pipeline on tables in ordinary memory: the simulator, the tests and `forebay trace` need no second model.
//!
//! There is no clock, no chance and no I/O in this crate.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod changes;
mod compile;
pub mod health;
pub mod packet;
mod place;
mod replica;
pub mod reset;
mod settle;
mod slots;
mod standing;
mod surroundings;
mod tables;
#[cfg(test)]
mod testing;
mod trace;

pub use changes::{Change, Changes, Name};
pub use compile::{Compiler, Full, identity};
pub use replica::{Counts, Memory, Replica};
pub use settle::{Settling, pinned};
pub use slots::fill as fill_slots;
pub use standing::{Health, in_force};
pub use surroundings::{Clock, Link, Sizes, Surroundings};
pub use tables::{Ring, Tables, protocol_name};
pub use trace::trace;
