//! Stories: texts that say what happens, and are tests.
//!
//! ```text
//! # A client's connections are shared out; each stays where it is.          DIST-2, DIST-4
//! > pool web 10.0.0.4 10.0.0.5
//! > frontend 203.0.113.10:443 -> web:8443
//! > open 198.51.100.7:5000 -> 203.0.113.10:443
//! → 10.0.0.5 sees the balancer call 10.0.0.5:8443
//! ```
//!
//! A story plays in a [`Town`](crate::Town). Its first line says what is promised, with the promises' numbers; further lines that
//! begin with `#` explain, `>` acts, and `→` says what is seen then. What can be done:
//!
//! | action | what happens | what is seen |
//! |---|---|---|
//! | `pool web 10.0.0.4 10.0.0.5` | a pool with these members, perhaps none | |
//! | `pool web 10.0.0.4, gateway` | whose answers go back through the balancer | |
//! | `frontend 203.0.113.10` | a frontend without a rule | |
//! | `frontend 203.0.113.10:443 -> web:8443` | a rule; after commas `floating`, `by SourceIP`, `idle 5 min`; for UDP `:443/udp` | |
//! | `frontend 203.0.113.10:443 by SourceIP` | another distribution | |
//! | `no frontend 203.0.113.10:443` | the rule is taken away | |
//! | `member 10.0.0.6 joins web`, `leaves web` | the pool changes; `, killed halfway` kills the control plane after half of its changes | |
//! | `member 10.0.0.6 of web is found down`, `up` | what a probe would find | |
//! | `host 10.0.0.6 goes silent`, `is back` | its power is cut | |
//! | `open 198.51.100.7:5000 -> 203.0.113.10:443` | a session, and a question | who answers, and what it sees |
//! | `open 100 from 198.51.100.7 -> 203.0.113.10:443` | sessions from one port after another | how many each member answers |
//! | `ask 198.51.100.7:5000` | a question on an open session | who answers, and what it sees |
//! | `ask everyone` | a question on every open session | how many are answered as before |
//! | `send 198.51.100.7:5000 -> 203.0.113.10:443 syn` | one packet: `syn`, `ack` or `fin`, or nothing for UDP | where it ends |
//! | `wait 10 s`, `wait 5 min` | time passes | |
//! | `lose 20 in 1000` | that many frames from now on | |
//! | `kill the control plane` | as `kill -9` does it | |
//! | `start the control plane` | on what the data plane has | how much it changed |
//! | `count NoRule`, `count 203.0.113.10` | | packets with this verdict; packets to this frontend without a rule |
//! | `flows remembered` | | how many, because of a change or of the rule |
//!
//! A document that is refused is seen as `refused` with the problems.

mod parse;
mod play;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::frame::Transport;
use crate::town::Rule;

pub use play::{Mismatch, Played};

/// A story, read.
#[derive(Clone, Debug)]
pub struct Story {
    file: String,
    lines: Vec<String>,
    promises: Vec<String>,
    acts: Vec<Act>,
}

/// An action and what is to be seen then.
#[derive(Clone, Debug)]
struct Act {
    /// The number of its line, from 1.
    line: usize,
    action: Action,
    expected: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    Pool { name: String, members: Vec<IpAddr>, gateway: bool },
    Frontend(IpAddr),
    Rule { at: SocketAddr, transport: Transport, rule: Rule },
    Distribute { at: SocketAddr, transport: Transport, by: String },
    NoRule { at: SocketAddr, transport: Transport },
    Member { pool: String, member: IpAddr, joins: bool, killed: bool },
    Found { pool: String, member: IpAddr, up: bool },
    Silence { host: IpAddr, silent: bool },
    Open { from: SocketAddr, to: SocketAddr, transport: Transport },
    OpenMany { count: u16, from: IpAddr, to: SocketAddr, transport: Transport },
    Ask(SocketAddr),
    AskEveryone,
    Send { from: SocketAddr, to: SocketAddr, transport: Transport, flags: u8 },
    Wait(Duration),
    Lose(u64),
    Kill,
    Start,
    CountReason(String),
    CountUnmatched(IpAddr),
    Remembered,
}

/// A line that is not the language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    file: String,
    line: usize,
    what: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

impl Story {
    /// Reads a story; `file` is what errors call it.
    ///
    /// # Errors
    /// The first line that is not understood.
    pub fn read(file: &str, text: &str) -> Result<Self, Unreadable> {
        parse::story(file, text)
    }

    /// The numbers of the promises it is about.
    pub fn promises(&self) -> &[String] {
        &self.promises
    }

    /// Plays it in a town of this seed.
    pub fn play(&self, seed: u64) -> Played {
        play::play(self, seed)
    }
}
