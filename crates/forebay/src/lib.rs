//! The parts of the `forebay` binary that are used from elsewhere too.

pub mod args;
pub mod command;
mod control;
pub mod demo;
mod drops;
pub mod guest;
pub mod kubernetes;
pub mod lab;
pub mod remote;
mod serve;
mod show;
