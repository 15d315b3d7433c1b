//! Hears that the kernel's tables change.

use std::collections::BTreeMap;
use std::io;

use nix::errno::Errno;
use plane::row::Mac;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{NetlinkBuffer, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};

use super::WatchError;
use super::netlink::{LONGEST, Station, messages, neighbour};

/// What has changed since it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stale {
    pub(super) links: bool,
    pub(super) routes: bool,
    pub(super) neighbours: bool,
}

impl Stale {
    pub(super) const ALL: Self = Self { links: true, routes: true, neighbours: true };

    pub(super) const fn any(self) -> bool {
        self.links || self.routes || self.neighbours
    }
}

/// A socket on which the kernel tells of changes. While nobody listens they wait in its buffer; what does not fit is
/// known to be lost, and then everything is stale.
pub(super) struct Events {
    socket: TokioSocket,
    buffer: Vec<u8>,
    /// What was last said of each station: a neighbour that is verified goes through several states, and only its
    /// link-layer address matters.
    said: BTreeMap<Station, Option<Mac>>,
}

const GROUPS: [MulticastGroup; 8] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv6Rule,
];
/// Stations of which it is kept what was last said.
const MAX_SAID: usize = 65_536;
/// What is asked for as the socket's buffer; the kernel gives what `net.core.rmem_max` allows.
const BUFFER: i32 = 4 << 20;

impl Events {
    pub(super) fn open() -> Result<Self, WatchError> {
        let socket = listen().map_err(|cause| WatchError::Open { cause })?;
        Ok(Self { socket, buffer: Vec::with_capacity(LONGEST), said: BTreeMap::new() })
    }

    /// Waits for some events, adds to `stale` what they make so, and gives the stations that have just answered. Nothing is lost when
    /// the future is dropped.
    pub(super) async fn hear(&mut self, stale: &mut Stale) -> Result<Vec<Station>, WatchError> {
        self.buffer.clear();
        match self.socket.recv(&mut self.buffer).await {
            Ok(()) => {}
            Err(cause) if cause.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                self.said.clear();
                *stale = Stale::ALL;
                return Ok(Vec::new());
            }
            Err(cause) => return Err(WatchError::Listen { cause }),
        }
        let mut answered = Vec::new();
        for message in messages(&self.buffer) {
            mark(message, stale, &mut self.said, &mut answered);
        }
        Ok(answered)
    }
}

fn listen() -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
    // More room is a favour; without it, more is lost and read again.
    let _less_room = socket.socket_ref().set_rx_buf_sz(BUFFER);
    let groups = GROUPS.iter().fold(0, |groups, group| groups | 1 << (*group as u32 - 1));
    socket.socket_mut().bind(&SocketAddr::new(0, groups))?;
    Ok(socket)
}

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const RTM_NEWRULE: u16 = 32;
const RTM_DELRULE: u16 = 33;

fn mark(
    message: &[u8],
    stale: &mut Stale,
    said: &mut BTreeMap<Station, Option<Mac>>,
    answered: &mut Vec<Station>,
) {
    match NetlinkBuffer::new(message).message_type() {
        // Routes that go away with a link or an address are not told of one by one.
        RTM_NEWLINK | RTM_DELLINK | RTM_NEWADDR | RTM_DELADDR => *stale = Stale::ALL,
        RTM_NEWROUTE | RTM_DELROUTE | RTM_NEWRULE | RTM_DELRULE => stale.routes = true,
        RTM_NEWNEIGH | RTM_DELNEIGH => stale.neighbours |= is_news(message, said, answered),
        _ => {}
    }
}

/// Whether an event says another link-layer address of its station than the last one did. A station that does not wait to be verified
/// has answered.
fn is_news(message: &[u8], said: &mut BTreeMap<Station, Option<Mac>>, answered: &mut Vec<Station>) -> bool {
    let (station, mac) = match NetlinkMessage::deserialize(message).map(|message| message.payload) {
        Ok(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(message))) => {
            match neighbour(&message) {
                Some((station, neighbour)) => {
                    if neighbour.mac.is_some() && !neighbour.unconfirmed {
                        answered.push(station);
                    }
                    (station, neighbour.mac)
                }
                None => return false,
            }
        }
        Ok(NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelNeighbour(message))) => {
            match neighbour(&message) {
                Some((station, _)) => (station, None),
                None => return false,
            }
        }
        _ => return true,
    };
    if said.len() >= MAX_SAID {
        said.clear();
    }
    said.insert(station, mac) != Some(mac)
}
