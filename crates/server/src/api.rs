//! The interfaces over HTTP.

pub mod networking;
