//! Questions to the kernel: which links, which way, which neighbours; and the request to resolve one.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use nix::errno::Errno;
use plane::row::Mac;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_MULTIPART, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR,
    NetlinkBuffer, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType, RouteVia};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, TokioSocket};
use tokio::time::timeout;

use super::WatchError;

/// An interface of this host.
#[derive(Debug)]
pub(super) struct Interface {
    pub(super) index: u32,
    pub(super) name: String,
    /// `None` where it carries no Ethernet frames.
    pub(super) mac: Option<Mac>,
    /// Bytes of the largest packet that it carries.
    pub(super) mtu: u16,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) up: bool,
}

/// Which way an address is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Local,
    Through(Station),
    None,
}

/// Somebody on a link, by address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Station {
    pub(super) link: u32,
    pub(super) address: IpAddr,
}

/// What the kernel knows about a station.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Neighbour {
    /// Where it is, if it has answered and not fallen silent since.
    pub(super) mac: Option<Mac>,
    /// Somebody wrote it down for good.
    pub(super) fixed: bool,
    /// It was asked whether it is still there, and has not answered yet.
    pub(super) unconfirmed: bool,
}

pub(super) type Neighbours = BTreeMap<Station, Neighbour>;

/// A socket for questions.
pub(super) struct Netlink {
    socket: TokioSocket,
    sequence: u32,
    buffer: Vec<u8>,
}

/// How long the kernel may take for an answer, which it gives at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// Questions asked at once: their answers must fit in the socket's buffer.
const AT_ONCE: usize = 16;
/// The longest datagram that the kernel sends is half of this.
pub(super) const LONGEST: usize = 64 * 1024;

impl Netlink {
    pub(super) fn open() -> Result<Self, WatchError> {
        let socket = TokioSocket::new(NETLINK_ROUTE).map_err(|cause| WatchError::Open { cause })?;
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(LONGEST) })
    }

    /// All interfaces with their addresses.
    pub(super) async fn interfaces(&mut self) -> Result<Vec<Interface>, WatchError> {
        let links = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let mut interfaces = Vec::new();
        for message in self.dump("list the interfaces", links).await? {
            if let RouteNetlinkMessage::NewLink(link) = message {
                interfaces.extend(interface(link));
            }
        }
        let addresses = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        for message in self.dump("list the addresses", addresses).await? {
            let RouteNetlinkMessage::NewAddress(address) = message else { continue };
            let index = address.header.index;
            if let Some(interface) = interfaces.iter_mut().find(|interface| interface.index == index) {
                interface.addresses.extend(usable_address(&address));
            }
        }
        Ok(interfaces)
    }

    /// What the kernel knows about the stations of all links.
    pub(super) async fn neighbours(&mut self) -> Result<Neighbours, WatchError> {
        let mut neighbours = Neighbours::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut all = NeighbourMessage::default();
            all.header.family = family;
            for message in self.dump("list the neighbours", RouteNetlinkMessage::GetNeighbour(all)).await? {
                if let RouteNetlinkMessage::NewNeighbour(message) = message {
                    neighbours.extend(neighbour(&message));
                }
            }
        }
        Ok(neighbours)
    }

    /// Which way these addresses are.
    pub(super) async fn routes(&mut self, addresses: &[IpAddr]) -> Result<Vec<(IpAddr, Route)>, WatchError> {
        let mut routes = Vec::with_capacity(addresses.len());
        for addresses in addresses.chunks(AT_ONCE) {
            let questions = addresses.iter().map(|address| (NLM_F_REQUEST, which_way(*address))).collect();
            let answers = self.exchange("look up a route", questions).await?;
            routes.extend(
                addresses.iter().zip(answers).map(|(address, answer)| (*address, route(*address, answer))),
            );
        }
        Ok(routes)
    }

    /// Has the kernel resolve these stations, or verify them if it has not lately. Returns those that it has no room for.
    pub(super) async fn resolve(&mut self, stations: &[Station]) -> Result<Vec<Station>, WatchError> {
        const FLAGS: u16 = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_ACK;
        let mut refused = Vec::new();
        for stations in stations.chunks(AT_ONCE) {
            let questions = stations.iter().map(|station| (FLAGS, use_of(*station))).collect();
            let answers = self.exchange("have a neighbour resolved", questions).await?;
            let full = |answer: &Answer| {
                answer.refusal.as_ref().is_some_and(|e| e.raw_os_error() == Some(Errno::ENOBUFS as i32))
            };
            refused.extend(
                stations.iter().zip(&answers).filter(|(_, answer)| full(answer)).map(|(station, _)| *station),
            );
        }
        Ok(refused)
    }

    /// Has the kernel ask these stations at once whether they are still there. One that it does not know any more is not asked.
    pub(super) async fn verify(&mut self, stations: &[Station]) -> Result<(), WatchError> {
        const FLAGS: u16 = NLM_F_REQUEST | NLM_F_ACK;
        for stations in stations.chunks(AT_ONCE) {
            let questions = stations.iter().map(|station| (FLAGS, doubt_of(*station))).collect();
            self.exchange("have a neighbour verified", questions).await?;
        }
        Ok(())
    }

    async fn dump(
        &mut self,
        operation: &'static str,
        question: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, WatchError> {
        let answers = self.exchange(operation, vec![(NLM_F_REQUEST | NLM_F_DUMP, question)]).await?;
        let mut messages = Vec::new();
        for answer in answers {
            match answer.refusal {
                Some(cause) => return Err(WatchError::Ask { operation, cause }),
                None => messages.extend(answer.messages),
            }
        }
        Ok(messages)
    }

    /// Asks several questions at once; the answers come in their order.
    async fn exchange(
        &mut self,
        operation: &'static str,
        questions: Vec<(u16, RouteNetlinkMessage)>,
    ) -> Result<Vec<Answer>, WatchError> {
        let answers = async {
            let (first, count) = self.send(questions).await?;
            self.receive(first, count).await
        };
        match timeout(PATIENCE, answers).await {
            Ok(Ok(answers)) => Ok(answers),
            Ok(Err(cause)) => Err(WatchError::Ask { operation, cause }),
            Err(_) => Err(WatchError::Ask { operation, cause: io::ErrorKind::TimedOut.into() }),
        }
    }

    /// Returns the first question's number, and how many there are.
    async fn send(&mut self, questions: Vec<(u16, RouteNetlinkMessage)>) -> io::Result<(u32, usize)> {
        let (first, count) = (self.sequence.wrapping_add(1), questions.len());
        let mut datagram = Vec::new();
        for (flags, question) in questions {
            self.sequence = self.sequence.wrapping_add(1);
            let mut message = NetlinkMessage::from(question);
            message.header.flags = flags;
            message.header.sequence_number = self.sequence;
            message.finalize();
            let start = datagram.len();
            datagram.resize(start + aligned(message.buffer_len()), 0);
            message.serialize(&mut datagram[start..]);
        }
        self.socket.send(&datagram).await?;
        Ok((first, count))
    }

    async fn receive(&mut self, first: u32, count: usize) -> io::Result<Vec<Answer>> {
        let mut answers: Vec<Answer> = (0..count).map(|_| Answer::default()).collect();
        while answers.iter().any(|answer| !answer.complete) {
            self.buffer.clear();
            self.socket.recv(&mut self.buffer).await?;
            for bytes in messages(&self.buffer) {
                let place = NetlinkBuffer::new(bytes).sequence_number().wrapping_sub(first);
                // Any other is the late answer to a question that was given up.
                if let Some(answer) = answers.get_mut(place as usize) {
                    answer.add(bytes);
                }
            }
        }
        Ok(answers)
    }
}

#[derive(Default)]
struct Answer {
    messages: Vec<RouteNetlinkMessage>,
    refusal: Option<io::Error>,
    complete: bool,
}

impl Answer {
    fn add(&mut self, bytes: &[u8]) {
        let header = NetlinkBuffer::new(bytes);
        self.complete |= header.flags() & NLM_F_MULTIPART == 0
            || header.message_type() == NLMSG_DONE
            || header.message_type() == NLMSG_ERROR;
        match NetlinkMessage::deserialize(bytes).map(|message| message.payload) {
            Ok(NetlinkPayload::InnerMessage(message)) => self.messages.push(message),
            Ok(NetlinkPayload::Error(error)) if error.code.is_some() => self.refusal = Some(error.to_io()),
            Ok(_) => {}
            // A newer kernel may say what this program cannot read; the rest of its answer still counts.
            Err(error) => tracing::debug!(%error, "skipped a netlink message that could not be read"),
        }
    }
}

/// The messages of a datagram, each with its header.
pub(super) fn messages(datagram: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = NetlinkBuffer::new_checked(rest).ok()?.length() as usize;
        let message = rest.get(..length)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some(message)
    })
}

/// Messages begin at multiples of four bytes.
const fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn interface(message: LinkMessage) -> Option<Interface> {
    let (mut name, mut bytes, mut mtu) = (None, None, None);
    for attribute in message.attributes {
        if let LinkAttribute::IfName(text) = attribute {
            name = Some(text);
        } else if let LinkAttribute::Mtu(most) = attribute {
            mtu = Some(most);
        } else if let LinkAttribute::Address(address) = attribute {
            bytes = Some(address);
        }
    }
    let ethernet = message.header.link_layer_type == LinkLayerType::Ether;
    Some(Interface {
        index: message.header.index,
        name: name?,
        mac: bytes.filter(|_| ethernet).and_then(|bytes| mac(&bytes)),
        // No packet is larger than its length says, which has sixteen bits.
        mtu: mtu.map_or(u16::MAX, |mtu| u16::try_from(mtu).unwrap_or(u16::MAX)),
        addresses: Vec::new(),
        up: message.header.flags.contains(LinkFlags::Up | LinkFlags::Running),
    })
}

/// The address, unless others may still object to it, or have.
fn usable_address(message: &AddressMessage) -> Option<IpAddr> {
    let (mut own, mut either) = (None, None);
    for attribute in &message.attributes {
        if let AddressAttribute::Flags(flags) = attribute {
            let waiting =
                flags.contains(AddressFlags::Tentative) && !flags.contains(AddressFlags::Optimistic);
            if waiting || flags.contains(AddressFlags::Dadfailed) {
                return None;
            }
        } else if let AddressAttribute::Local(address) = attribute {
            own = Some(*address);
        } else if let AddressAttribute::Address(address) = attribute {
            // On a point-to-point link this is the other end's, and `Local` is ours.
            either = Some(*address);
        }
    }
    own.or(either)
}

/// Reads what the kernel knows of a station, from an answer or an event.
pub(super) fn neighbour(message: &NeighbourMessage) -> Option<(Station, Neighbour)> {
    /// In these states a neighbour is used as it is: NUD_REACHABLE, STALE, DELAY, PROBE, NOARP, PERMANENT.
    const USED: u16 = 0x02 | 0x04 | 0x08 | 0x10 | FIXED;
    const FIXED: u16 = 0x40 | 0x80;
    const PROBE: u16 = 0x10;
    let (mut address, mut station) = (None, None);
    for attribute in &message.attributes {
        if let NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) = attribute {
            address = Some(IpAddr::V4(*v4));
        } else if let NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) = attribute {
            address = Some(IpAddr::V6(*v6));
        } else if let NeighbourAttribute::LinkLayerAddress(bytes) = attribute {
            station = mac(bytes);
        }
    }
    let state = u16::from(message.header.state);
    let neighbour = Neighbour {
        mac: station.filter(|_| state & USED != 0),
        fixed: state & FIXED != 0,
        unconfirmed: state & PROBE != 0,
    };
    Some((Station { link: message.header.ifindex, address: address? }, neighbour))
}

fn mac(bytes: &[u8]) -> Option<Mac> {
    bytes.try_into().ok().map(Mac::new)
}

fn which_way(address: IpAddr) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    (message.header.address_family, message.header.destination_prefix_length) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    message.attributes.push(RouteAttribute::Destination(address.into()));
    RouteNetlinkMessage::GetRoute(message)
}

fn route(address: IpAddr, answer: Answer) -> Route {
    let message = answer.messages.into_iter().find_map(|message| {
        if let RouteNetlinkMessage::NewRoute(route) = message { Some(route) } else { None }
    });
    // Where there is no way, the kernel refuses the question.
    let Some(message) = message else { return Route::None };
    let kind = message.header.kind;
    if kind == RouteType::Local || kind == RouteType::Anycast {
        Route::Local
    } else if kind == RouteType::Unicast {
        through(address, &message.attributes).map_or(Route::None, Route::Through)
    } else {
        Route::None
    }
}

fn through(address: IpAddr, attributes: &[RouteAttribute]) -> Option<Station> {
    let (mut link, mut router) = (None, None);
    for attribute in attributes {
        if let RouteAttribute::Oif(index) = attribute {
            link = Some(*index);
        } else if let RouteAttribute::Gateway(gateway) = attribute {
            router = ip(gateway);
        } else if let RouteAttribute::Via(RouteVia::Inet6(v6)) = attribute {
            router = Some(IpAddr::V6(*v6));
        } else if let RouteAttribute::Via(RouteVia::Inet(v4)) = attribute {
            router = Some(IpAddr::V4(*v4));
        }
    }
    Some(Station { link: link?, address: router.unwrap_or(address) })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    if let RouteAddress::Inet(v4) = address {
        Some(Ipv4Addr::into(*v4))
    } else if let RouteAddress::Inet6(v6) = address {
        Some(Ipv6Addr::into(*v6))
    } else {
        None
    }
}

/// "This neighbour is in use": the kernel resolves it if it does not know it, and verifies it if it has not lately.
fn use_of(station: Station) -> RouteNetlinkMessage {
    about(station, NeighbourState::None, NeighbourFlags::Use)
}

/// "This neighbour may be gone": the kernel asks it at once, at the address that it knows.
fn doubt_of(station: Station) -> RouteNetlinkMessage {
    about(station, NeighbourState::Probe, NeighbourFlags::empty())
}

fn about(station: Station, state: NeighbourState, flags: NeighbourFlags) -> RouteNetlinkMessage {
    let mut message = NeighbourMessage::default();
    message.header.family =
        if station.address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.ifindex = station.link;
    message.header.state = state;
    message.header.flags = flags;
    message.attributes.push(NeighbourAttribute::Destination(station.address.into()));
    RouteNetlinkMessage::NewNeighbour(message)
}
