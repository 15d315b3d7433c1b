//! The controller of a cluster, as a process of its own between a server and an API server, from its start to its end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod apiserver;
mod away;
mod cluster;
mod kubectl;
mod life;
mod modes;
#[path = "../cli/port.rs"]
mod port;
mod real;
mod scale;
mod several;
mod traffic;
mod trouble;
mod world;
