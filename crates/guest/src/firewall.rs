//! What the host's firewall would do with a new client's first packet to a frontend.
//!
//! The rules are followed with what is known of that packet. What is not known, as its source, makes a rule that asks for it a
//! matter of opinion: then the firewall *may* drop the packet, and that is said and no more.

mod nft;
mod ufw;

pub use nft::Ruleset;
pub use ufw::{Ufw, UfwRule};

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::wanted::{Destination, Wanted};

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opinion {
    /// It gets through, whoever has sent it.
    Accepts,
    /// It is dropped, whoever has sent it.
    Drops,
    /// That depends on what is not known here.
    MayDrop,
}

/// A chain of nftables. It prints as `nft` names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Chain {
    /// `inet`, `ip`, `ip6`.
    pub family: String,
    /// The table.
    pub table: String,
    /// Its name in the table.
    pub name: String,
}

impl fmt::Display for Chain {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} {}", self.family, self.table, self.name)
    }
}

/// Who drops a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// ufw's rules.
    Ufw,
    /// A chain of nftables at which packets to this host arrive.
    Nft(Chain),
}

impl fmt::Display for Guard {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ufw => out.write_str("ufw"),
            Self::Nft(chain) => write!(out, "the chain `{chain}` of nftables"),
        }
    }
}

/// Everybody in the firewall who drops, or may drop, what clients send to a destination. A packet must get past all of them:
/// an accepting rule elsewhere does not help against one that drops.
pub(crate) fn obstacles(host: &Host, wanted: &Wanted, destination: Destination) -> Vec<(Guard, Opinion)> {
    let facing = host.facing(wanted);
    let packet = Packet { destination, interfaces: &facing };
    let ufw = host.ufw.as_ref().map(|ufw| (Guard::Ufw, ufw.opinion(&packet)));
    let is_ufws = |chain: &Chain| host.ufw.is_some() && chain.table == "filter" && chain.family != "inet";
    let chains = host.nft.opinions(&packet).into_iter().filter(|(chain, _)| !is_ufws(chain));
    let all = ufw.into_iter().chain(chains.map(|(chain, opinion)| (Guard::Nft(chain), opinion)));
    all.filter(|(_, opinion)| *opinion != Opinion::Accepts).collect()
}

/// A new client's first packet. Its source is not known.
pub(crate) struct Packet<'a> {
    pub destination: Destination,
    pub interfaces: &'a [&'a str],
}

/// Whether a rule is about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fits {
    No,
    Perhaps,
    Yes,
}

impl Fits {
    fn of(it: bool) -> Self {
        if it { Self::Yes } else { Self::No }
    }

    fn not(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Perhaps => Self::Perhaps,
            Self::Yes => Self::No,
        }
    }

    /// Any of these is the case, and it is not known which.
    fn any_of_all(these: impl IntoIterator<Item = bool>) -> Self {
        let these: Vec<bool> = these.into_iter().collect();
        match these.iter().filter(|it| **it).count() {
            0 => Self::No,
            number if number == these.len() => Self::Yes,
            _ => Self::Perhaps,
        }
    }

    /// All of these must fit.
    fn all(these: impl IntoIterator<Item = Self>) -> Self {
        these.into_iter().min().unwrap_or(Self::Yes)
    }

    /// One of these must fit.
    fn any(these: impl IntoIterator<Item = Self>) -> Self {
        these.into_iter().max().unwrap_or(Self::No)
    }
}

/// The rule that lets packets to a destination in, as `nft` writes it.
pub(crate) fn accept_rule(destination: Destination) -> String {
    let Destination { address, port, protocol } = destination;
    let ip = if address.is_ipv4() { "ip" } else { "ip6" };
    format!("{ip} daddr {address} {} dport {port} accept", protocol.name())
}

/// By what our rules are found again.
pub(crate) fn comment(destination: Destination) -> String {
    format!("{COMMENT}{destination}")
}

const COMMENT: &str = "forebay-guest ";
