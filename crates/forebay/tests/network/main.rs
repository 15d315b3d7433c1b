//! Forebay on hosts in network namespaces: real clients, real servers, the ordinary `forebay serve`, and what is on the wire.
//!
//! Each test has a lab of its own, so they run beside each other. They need root (or sudo), `ip` and `tcpdump`; some use `curl`,
//! `nginx`, `dnsmasq`, `dig`, `iperf3`, `ping` and `arping` where those are installed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod availability;
mod balancer;
mod clock;
mod cluster;
mod command_line;
mod control;
mod crowd;
mod distribution;
mod document;
mod drops;
mod endings;
mod flapping;
mod floating;
mod flows;
mod guest;
mod health;
mod hints;
mod interfaces;
mod kinds;
mod liar;
mod lies;
mod members;
mod mistakes;
mod net;
mod page;
mod patient;
mod programs;
mod ranges;
mod rules;
mod services;
mod session;
mod sizes;
mod wire;
