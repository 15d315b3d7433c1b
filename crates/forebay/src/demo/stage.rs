//! Where the scenario plays: what it can do there and what it can see.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

use super::setting::Member;

/// A world with a client, a balancer and its members.
///
/// Time is the stage's own: on real hosts it passes, in a simulator it is counted.
pub trait Stage {
    /// One line: what this world is made of.
    fn made_of(&self) -> String;
    /// Time since the world began.
    fn now(&self) -> Duration;
    fn pass(&mut self, time: Duration) -> Result<(), Trouble>;

    /// Changes the pool to these members and waits until the balancer has applied it. Gives what the balancer said.
    fn apply(&mut self, members: &[Member]) -> Result<String, Trouble>;
    /// Kills the balancer's process as `kill -9` does; its data path stays.
    fn kill_balancer(&mut self) -> Result<(), Trouble>;
    /// Starts the balancer's process without waiting for it.
    fn start_balancer(&mut self) -> Result<(), Trouble>;
    /// Has the process that was started taken over?
    fn balancer_is_ready(&mut self) -> Result<bool, Trouble>;

    /// Opens a session from the client, from a port not used before: a TCP connection, or a UDP socket.
    fn open(&mut self, transport: Transport, to: SocketAddr) -> Result<Session, Trouble>;
    /// Asks over a session who answers. Only an answer from the address and port that was asked is one.
    fn ask(&mut self, session: Session) -> Result<Answer, Trouble>;
    /// Downloads over a TCP session and gives the number of bytes that came.
    fn download(&mut self, session: Session, bytes: u64) -> Result<u64, Trouble>;
    fn close(&mut self, session: Session);
    /// Sends a first packet and waits a moment for what comes back.
    fn knock(&mut self, transport: Transport, to: SocketAddr) -> Result<Knock, Trouble>;

    /// What the balancer's interface has carried so far.
    fn carried(&mut self) -> Result<Carried, Trouble>;
    /// What the balancer counts.
    fn stats(&mut self) -> Result<Stats, Trouble>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    Tcp,
    Udp,
}

/// A session of the client, as the stage names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Session(pub u64);

/// Who answered, and how the request looked there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub member: String,
    pub instance: String,
    /// The client's own address and port.
    pub client: SocketAddr,
    /// The client's address and port as the member saw it.
    pub client_seen: SocketAddr,
    /// The destination as the member saw it.
    pub destination_seen: SocketAddr,
}

/// What came back after a first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knock {
    Silence,
    /// A reset, or an ICMP error.
    Refused,
    Answered,
}

/// Bytes an interface has received and sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    pub received: u64,
    pub sent: u64,
}

/// What `forebay show stats --json` prints, as far as the demo reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Stats {
    #[serde(default)]
    pub interfaces: Vec<InterfaceStats>,
    #[serde(default)]
    pub frontends: Vec<FrontendStats>,
    #[serde(default)]
    pub members: Vec<MemberStats>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct InterfaceStats {
    pub name: String,
    /// `native` or `generic`.
    pub mode: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct FrontendStats {
    pub address: String,
    /// Packets to this address that no rule matched.
    pub unmatched: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct MemberStats {
    pub member: String,
    pub address: String,
    pub state: String,
    pub packets: u64,
    /// Flows started so far.
    pub flows: u64,
}

/// Why something could not be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    #[error("interrupted")]
    Interrupted,
    #[error("no answer: {0}")]
    Silence(String),
    #[error("{0}")]
    Failed(String),
}
