//! The commands that ask a server: the real binary, against a real server with TLS and tokens.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod apply;
mod backup;
mod chosen;
mod delete;
mod get;
mod page;
mod port;
mod serve;
mod service;
mod trouble;
mod watch;
