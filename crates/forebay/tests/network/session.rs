//! Sessions of clients: a TCP connection or a UDP socket.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use forebay::lab::{Error, Host, HttpConnection, PATIENCE, Whoami, dial, udp_ask, udp_socket};
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};

use crate::document::{Rule, Wire};
use crate::net::Net;

/// How long a first packet waits for an answer that shall not come: less than a second, after which TCP sends it again.
const KNOCK: Duration = Duration::from_millis(400);
/// What a machine that is busy with other tests may add to a time that is promised.
pub const LATE: Duration = Duration::from_secs(3);

/// An open session.
#[derive(Debug)]
pub enum Session {
    Tcp(HttpConnection),
    Udp(UdpSocket, SocketAddr),
}

impl Session {
    /// From an address, and any port where that is nought.
    pub fn open(host: &Host, from: SocketAddr, rule: &Rule) -> Result<Self, Error> {
        match rule.wire {
            Wire::Tcp => HttpConnection::open(host, Some(from), rule.frontend).map(Self::Tcp),
            Wire::Udp => udp_socket(host, from).map(|socket| Self::Udp(socket, rule.frontend)),
        }
    }

    /// From the first client, and any port.
    pub fn new(net: &Net, rule: &Rule) -> Self {
        Self::open(net.client(), net.client_address(0, rule.v4()), rule).unwrap()
    }

    /// Asks who answers. Only an answer from the address and port that was asked is one (FIP-3).
    pub fn ask(&mut self) -> Result<Whoami, Error> {
        self.ask_within(PATIENCE)
    }

    pub fn ask_within(&mut self, patience: Duration) -> Result<Whoami, Error> {
        match self {
            Self::Tcp(connection) => {
                connection.set_patience(patience)?;
                connection.whoami()
            }
            Self::Udp(socket, to) => udp_ask(socket, *to, patience),
        }
    }

    /// The member that answers.
    pub fn member(&mut self) -> String {
        self.ask().unwrap().member
    }

    pub fn local(&self) -> SocketAddr {
        match self {
            Self::Tcp(connection) => connection.local(),
            Self::Udp(socket, _) => socket.local_addr().unwrap(),
        }
    }
}

/// Opens so many sessions, asks each once and gives them with their members.
pub fn open(net: &Net, rule: &Rule, number: usize) -> Vec<(Session, String)> {
    let mut sessions: Vec<Session> = (0..number).map(|_| Session::new(net, rule)).collect();
    sessions
        .drain(..)
        .map(|mut session| (session.member(), session))
        .map(|(member, it)| (it, member))
        .collect()
}

/// How many of these sessions each member has.
pub fn shares(sessions: &[(Session, String)]) -> BTreeMap<&str, usize> {
    let mut shares = BTreeMap::new();
    for (_, member) in sessions {
        *shares.entry(member.as_str()).or_default() += 1;
    }
    shares
}

/// Every session is still with its member.
pub fn all_stay(sessions: &mut [(Session, String)], when: &str) {
    for (session, member) in sessions {
        let answer = session.ask();
        let now = answer.as_ref().map(|whoami| whoami.member.as_str());
        assert!(now.is_ok_and(|now| now == member), "{when}: {} of {member}: {answer:?}", session.local());
    }
}

/// The members that new flows from these ports of the first client reach. The ports can be used again afterwards.
pub fn choices(net: &Net, rule: &Rule, ports: impl Iterator<Item = u16>) -> BTreeMap<u16, String> {
    ports
        .map(|port| {
            let mut from = net.client_address(0, rule.v4());
            from.set_port(port);
            let member = match rule.wire {
                Wire::Tcp => {
                    let stream =
                        net.client().within(|| dial(Some(from), rule.frontend, PATIENCE)).unwrap().unwrap();
                    // The end is a reset, so that nothing of the connection is left.
                    let end = libc::linger { l_onoff: 1, l_linger: 0 };
                    setsockopt(&stream, sockopt::Linger, &end).unwrap();
                    HttpConnection::over(stream).unwrap().whoami().unwrap().member
                }
                Wire::Udp => Session::open(net.client(), from, rule).unwrap().member(),
            };
            (port, member)
        })
        .collect()
}

/// What came back after a first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knock {
    Answered,
    /// A reset, or an ICMP error.
    Refused,
    Silence,
}

/// A first packet to a rule's frontend ends so. An answer that shall come may take its time.
pub fn expect(host: &Host, rule: &Rule, wanted: Knock) {
    let patience = if wanted == Knock::Answered { PATIENCE } else { KNOCK };
    assert_eq!(knock_within(host, rule.wire, rule.frontend, patience), wanted, "{}", rule.name);
}

/// Sends a first packet to a place where there may be nobody.
pub fn knock(host: &Host, wire: Wire, to: SocketAddr) -> Knock {
    knock_within(host, wire, to, KNOCK)
}

fn knock_within(host: &Host, wire: Wire, to: SocketAddr, patience: Duration) -> Knock {
    let unnamed = SocketAddr::new(if to.is_ipv4() { [0, 0, 0, 0].into() } else { [0; 16].into() }, 0);
    let heard = host
        .within(|| match wire {
            Wire::Tcp => dial(None, to, patience).map(drop),
            Wire::Udp => {
                let failed = |cause: std::io::Error| Error::socket(format!("ask {to}/udp"), cause);
                let socket = UdpSocket::bind(unnamed).map_err(failed)?;
                // Connected, so that ICMP errors are reported.
                socket.connect(to).map_err(failed)?;
                socket.set_read_timeout(Some(patience)).map_err(failed)?;
                socket.send(b"is anybody there?").map_err(failed)?;
                socket.recv(&mut [0; 2048]).map(drop).map_err(failed)
            }
        })
        .unwrap();
    match heard {
        Ok(()) => Knock::Answered,
        Err(error) if error.is_silence() => Knock::Silence,
        Err(error) if error.is_refusal() => Knock::Refused,
        Err(error) => panic!("{error}"),
    }
}

/// Knocks until this comes back.
pub fn knock_until(host: &Host, rule: &Rule, wanted: Knock) {
    eventually(Duration::from_secs(10), || {
        let heard = knock(host, rule.wire, rule.frontend);
        if heard == wanted { Ok(()) } else { Err(heard) }
    });
}

/// Waits until something is so; says what it was otherwise.
pub fn eventually<T: std::fmt::Debug>(patience: Duration, mut look: impl FnMut() -> Result<(), T>) {
    let deadline = Instant::now() + patience;
    loop {
        match look() {
            Ok(()) => return,
            Err(now) if Instant::now() > deadline => panic!("after {patience:?} still {now:?}"),
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// All different.
pub fn distinct<'a>(members: impl IntoIterator<Item = &'a String>) -> BTreeSet<&'a str> {
    members.into_iter().map(String::as_str).collect()
}
