//! The parts of the `forebay` binary that are used from elsewhere too.

pub mod demo;
pub mod lab;
