//! What an attempt to reach a member came to, in words people read (PROBE-7).

use std::fmt;
use std::time::Duration;

use super::State;

/// What an attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The answer that was asked for.
    Good,
    /// Another one, or none.
    Bad(Reason),
}

impl Outcome {
    /// The state it speaks for, if it says anything about the member.
    #[must_use]
    pub fn says(&self) -> Option<State> {
        match self {
            Self::Good => Some(State::Up),
            Self::Bad(reason) if reason.is_ours() => None,
            Self::Bad(_) => Some(State::Down),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good => out.write_str("answers well"),
            Self::Bad(reason) => reason.fmt(out),
        }
    }
}

/// Why an attempt was not good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nobody listens at the port.
    Refused,
    /// There is no way to it.
    Unreachable(Target),
    /// A firewall or a route on the way forbids it.
    Prohibited,
    /// The time was over.
    TimedOut {
        /// How long was waited, from the start of the attempt.
        after: Duration,
        /// How far it had come.
        stage: Stage,
    },
    /// The connection was closed or reset before there was an answer.
    Reset,
    /// An HTTP status other than 200.
    Status(u16),
    /// Something else than HTTP, told by how it began or what is wrong with it.
    NotHttp(String),
    /// There was no TLS connection, for this reason.
    Tls(String),
    /// The balancer has no address of the member's family to ask from.
    NoAddress,
    /// The balancer itself stood still during the attempt: its machine was suspended, its process stopped.
    StoodStill,
    /// The balancer could not ask, for want of something of its own.
    Local(String),
}

/// What there is no way to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The member itself: no route, or nobody answers for its address.
    Host,
    /// Its network.
    Net,
}

/// How far an attempt had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The connection was not there yet.
    Connect,
    /// It was, TLS was not.
    Tls,
    /// What was asked for had not been answered in full.
    Answer,
}

impl Reason {
    /// Whether it is the balancer's own trouble, and says nothing about the member.
    #[must_use]
    pub const fn is_ours(&self) -> bool {
        matches!(self, Self::NoAddress | Self::StoodStill | Self::Local(_))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => out.write_str("connection refused"),
            Self::Unreachable(Target::Host) => out.write_str("no route to host"),
            Self::Unreachable(Target::Net) => out.write_str("network is unreachable"),
            Self::Prohibited => out.write_str("forbidden on the way: firewall?"),
            Self::TimedOut { after, stage: Stage::Connect } => {
                write!(out, "no answer in {}: firewall?", Words(*after))
            }
            Self::TimedOut { after, stage: Stage::Tls } => {
                write!(out, "connected, but no TLS handshake in {}", Words(*after))
            }
            Self::TimedOut { after, stage: Stage::Answer } => {
                write!(out, "connected, but no whole answer in {}", Words(*after))
            }
            Self::Reset => out.write_str("closed without an answer"),
            Self::Status(status @ 400..) => write!(out, "HTTP {status}"),
            Self::Status(status) => write!(out, "HTTP {status} (only 200 counts)"),
            Self::NotHttp(what) => write!(out, "not HTTP: {what}"),
            Self::Tls(what) => write!(out, "no TLS: {what}"),
            Self::NoAddress => {
                out.write_str("not asked: the balancer has no address of this family of its own")
            }
            Self::StoodStill => out.write_str("not asked: the balancer itself stood still meanwhile"),
            Self::Local(what) => write!(out, "not asked: {what}"),
        }
    }
}

/// A time as people say it: `5 s`, `2.5 s`, `300 ms`.
struct Words(Duration);

impl fmt::Display for Words {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.0;
        match (time.as_secs(), time.subsec_millis()) {
            (0, millis) => write!(out, "{millis} ms"),
            (seconds, 0) => write!(out, "{seconds} s"),
            _ => write!(out, "{:.1} s", time.as_secs_f64()),
        }
    }
}
