//! What a host is to be a member for.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// As `ip`, `nft` and `ufw` call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// What packets of a floating rule are addressed to when they reach a member: the frontend's address, the backend port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Destination {
    /// The frontend's address.
    pub address: IpAddr,
    /// The backend port: 1 to 65535.
    pub port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

impl fmt::Display for Destination {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", SocketAddr::new(self.address, self.port), self.protocol.name())
    }
}

impl Destination {
    /// Reads what its `Display` has written.
    pub(crate) fn shown(text: &str) -> Option<Self> {
        parse(text)
    }
}

/// What was typed is no destination.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{typed}` is no frontend: write ADDRESS:PORT/tcp or /udp, and =PORT behind it where the backend port is another, as in \
        203.0.113.10:443/tcp=8443 or [2001:db8::10]:53/udp"
)]
pub struct BadDestination {
    typed: String,
}

impl FromStr for Destination {
    type Err = BadDestination;

    fn from_str(typed: &str) -> Result<Self, BadDestination> {
        parse(typed).ok_or_else(|| BadDestination { typed: typed.to_owned() })
    }
}

/// `203.0.113.10:443/tcp=8443`: a frontend with its port and protocol, and the backend port if that is another.
fn parse(typed: &str) -> Option<Destination> {
    let (frontend, rest) = typed.split_once('/')?;
    let (protocol, backend) = match rest.split_once('=') {
        Some((protocol, port)) => (protocol, Some(port.parse::<u16>().ok()?)),
        None => (rest, None),
    };
    let frontend: SocketAddr = frontend.parse().ok()?;
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    let port = backend.unwrap_or(frontend.port());
    (port > 0 && frontend.port() > 0).then_some(Destination { address: frontend.ip(), port, protocol })
}

/// What a host is to be a member for. It can be a member for all of it at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wanted {
    destinations: BTreeSet<Destination>,
    members: BTreeSet<IpAddr>,
    probes: BTreeSet<u16>,
}

/// What cannot be wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadWanted {
    /// Nothing is wanted.
    #[error("there is no frontend: name one with --frontend ADDRESS:PORT/tcp")]
    Nothing,
    /// An address nobody can have as a frontend.
    #[error("{0} cannot be a frontend's address: it is a multicast, loopback, link-local or unspecified one")]
    Unusable(IpAddr),
    /// One address cannot be both.
    #[error(
        "{0} is a frontend's address and cannot be a member's own: name this host's address on its network interface with --member"
    )]
    Both(IpAddr),
}

impl Wanted {
    /// What packets are addressed to, this host's own addresses as a member (none, where they are not known), and the
    /// ports at which probes ask it.
    ///
    /// # Errors
    /// When there is no destination, or an address cannot be what it is said to be.
    pub fn new(
        destinations: impl IntoIterator<Item = Destination>,
        members: impl IntoIterator<Item = IpAddr>,
        probes: impl IntoIterator<Item = u16>,
    ) -> Result<Self, BadWanted> {
        let wanted = Self {
            destinations: destinations.into_iter().collect(),
            members: members.into_iter().collect(),
            probes: probes.into_iter().collect(),
        };
        if wanted.destinations.is_empty() {
            return Err(BadWanted::Nothing);
        }
        for address in wanted.addresses() {
            if is_unusable(address) {
                return Err(BadWanted::Unusable(address));
            }
            if wanted.members.contains(&address) {
                return Err(BadWanted::Both(address));
            }
        }
        Ok(wanted)
    }

    /// What packets are addressed to; at least one.
    #[must_use]
    pub fn destinations(&self) -> &BTreeSet<Destination> {
        &self.destinations
    }

    /// This host's own addresses as a member; none where they are not known.
    #[must_use]
    pub fn members(&self) -> &BTreeSet<IpAddr> {
        &self.members
    }

    /// The ports at which probes ask this host's own address.
    #[must_use]
    pub fn probes(&self) -> &BTreeSet<u16> {
        &self.probes
    }

    /// The frontends' addresses.
    #[must_use]
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        self.destinations.iter().map(|it| it.address).collect()
    }

    /// Whether there is an IPv4 frontend, for which ARP matters.
    #[must_use]
    pub fn speaks_arp(&self) -> bool {
        self.destinations.iter().any(|it| it.address.is_ipv4())
    }
}

fn is_unusable(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    address.is_multicast() || address.is_loopback() || address.is_unspecified() || link_local
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frontend_is_typed_with_its_port_and_protocol() {
        for (typed, wanted) in [
            ("203.0.113.10:443/tcp", "203.0.113.10:443/tcp"),
            ("203.0.113.10:443/TCP=8443", "203.0.113.10:8443/tcp"),
            ("[2001:db8::10]:53/udp", "[2001:db8::10]:53/udp"),
        ] {
            assert_eq!(typed.parse::<Destination>().unwrap().to_string(), wanted);
        }
        for typed in [
            "",
            "203.0.113.10",
            "203.0.113.10:443",
            "203.0.113.10/tcp",
            "203.0.113.10:0/tcp",
            "x:1/tcp",
            "1.2.3.4:1/icmp",
            "1.2.3.4:1/tcp=0",
            "1.2.3.4:1/tcp=",
            "2001:db8::1:53/udp",
        ] {
            let error = typed.parse::<Destination>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{typed}` is no frontend")), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let destination = |text: &str| text.parse::<Destination>().unwrap();
        assert_eq!(Wanted::new([], [], []), Err(BadWanted::Nothing));
        for address in ["224.0.0.1", "127.0.0.1", "0.0.0.0", "169.254.1.1"] {
            let wanted = Wanted::new([destination(&format!("{address}:1/tcp"))], [], []);
            assert_eq!(wanted, Err(BadWanted::Unusable(address.parse().unwrap())));
        }
        let own = "10.0.0.4".parse().unwrap();
        assert_eq!(Wanted::new([destination("10.0.0.4:1/tcp")], [own], []), Err(BadWanted::Both(own)));
    }
}
