//! A host's network stack: addresses, routes, neighbours.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use plane::row::Mac;

use crate::frame::{Arp, Content, EVERYBODY, Frame, Neighbour, Packet};
use crate::programs::Programs;
use crate::simulation::SegmentId;

/// Packets that wait for the answer to who has an address.
const MAX_WAITING: usize = 32;

/// A link to a segment. Its interface index is its position, counted from 2: 1 is the loopback's.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) segment: SegmentId,
    pub(crate) mac: Mac,
    /// Bytes that came in and went out.
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

/// Where packets for some addresses go.
#[derive(Clone, Copy, Debug)]
struct Route {
    to: IpAddr,
    length: u8,
    link: u32,
    /// A router; without one the addresses are on the segment.
    via: Option<IpAddr>,
}

/// A host, or a router.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) links: Vec<Link>,
    addresses: BTreeMap<IpAddr, u32>,
    loopback: BTreeSet<IpAddr>,
    routes: Vec<Route>,
    neighbours: BTreeMap<IpAddr, Mac>,
    waiting: BTreeMap<IpAddr, Vec<(u32, Packet)>>,
    /// Packets for others are passed on.
    pub(crate) forwards: bool,
    /// It hears and says nothing.
    pub(crate) silent: bool,
    pub(crate) programs: Programs,
}

/// A frame that leaves by the link with this index.
pub(crate) type Leaving = (u32, Frame);

impl Host {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            links: Vec::new(),
            addresses: BTreeMap::new(),
            loopback: BTreeSet::new(),
            routes: Vec::new(),
            neighbours: BTreeMap::new(),
            waiting: BTreeMap::new(),
            forwards: false,
            silent: false,
            programs: Programs::default(),
        }
    }

    pub(crate) fn link(&self, index: u32) -> Option<&Link> {
        self.links.get((index as usize).checked_sub(2)?)
    }

    pub(crate) fn link_mut(&mut self, index: u32) -> Option<&mut Link> {
        self.links.get_mut((index as usize).checked_sub(2)?)
    }

    /// Its links by interface index. They carry packets of any size.
    pub(crate) fn ports(&self) -> BTreeMap<u32, engine::Link> {
        (2..).zip(&self.links).map(|(index, link)| (index, engine::Link { mac: link.mac, mtu: 0 })).collect()
    }

    pub(crate) fn add_address(&mut self, link: u32, address: IpAddr, length: u8) {
        self.addresses.insert(address, link);
        self.routes.push(Route { to: address, length, link, via: None });
    }

    pub(crate) fn add_loopback(&mut self, address: IpAddr) {
        self.loopback.insert(address);
    }

    /// `via`: a router; without one the addresses are on the link's segment.
    pub(crate) fn add_route(&mut self, to: IpAddr, length: u8, link: u32, via: Option<IpAddr>) {
        self.routes.retain(|route| (route.to, route.length) != (to, length));
        self.routes.push(Route { to, length, link, via });
    }

    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.addresses.contains_key(&address) || self.loopback.contains(&address)
    }

    /// The link, and the station's address on it, that packets for an address go to.
    pub(crate) fn way(&self, to: IpAddr) -> Option<(u32, IpAddr)> {
        let best = self
            .routes
            .iter()
            .filter(|route| shares(route.to, to, route.length))
            .max_by_key(|route| route.length)?;
        Some((best.link, best.via.unwrap_or(to)))
    }

    pub(crate) fn neighbour(&self, address: IpAddr) -> Option<Mac> {
        self.neighbours.get(&address).copied()
    }

    /// Sends a packet, or asks who has the next address on its way.
    pub(crate) fn send(&mut self, packet: Packet) -> Vec<Leaving> {
        let Some((link, next)) = self.way(packet.destination.ip()) else { return Vec::new() };
        match self.neighbour(next) {
            Some(station) => self.frame(link, station, Content::Packet(packet)).into_iter().collect(),
            None => {
                let waiting = self.waiting.entry(next).or_default();
                if waiting.len() < MAX_WAITING {
                    waiting.push((link, packet));
                }
                self.ask(link, next)
            }
        }
    }

    /// Asks who has an address.
    pub(crate) fn ask(&self, link: u32, target: IpAddr) -> Vec<Leaving> {
        let own = |v4: bool| {
            self.addresses
                .iter()
                .find(|(address, on)| **on == link && address.is_ipv4() == v4)
                .map(|it| *it.0)
        };
        let Some(mac) = self.link(link).map(|link| link.mac) else { return Vec::new() };
        let asked = match (own(target.is_ipv4()), target) {
            (Some(IpAddr::V4(own)), IpAddr::V4(target)) => {
                let arp = Arp { request: true, sender: (mac, own), target: (Mac::default(), target) };
                self.frame(link, EVERYBODY, Content::Arp(arp))
            }
            (Some(IpAddr::V6(own)), IpAddr::V6(target)) => {
                let (destination, station) = group_of(target);
                let content =
                    Neighbour { solicitation: true, source: own, destination, target, station: mac };
                self.frame(link, station, Content::Neighbour(content))
            }
            _ => None,
        };
        asked.into_iter().collect()
    }

    /// Takes a frame in. What leaves because of it is the answer.
    pub(crate) fn receive(&mut self, link: u32, frame: Frame) -> Vec<Leaving> {
        let Some(mac) = self.link(link).map(|link| link.mac) else { return Vec::new() };
        if self.silent || (frame.destination != mac && !frame.destination.is_group()) {
            return Vec::new();
        }
        match frame.content {
            Content::Arp(arp) => self.hear_arp(link, mac, &arp),
            Content::Neighbour(neighbour) => self.hear_neighbour(link, mac, &neighbour),
            Content::Packet(packet) => self.take(packet),
        }
    }

    fn hear_arp(&mut self, link: u32, mac: Mac, arp: &Arp) -> Vec<Leaving> {
        // An address on the loopback is not announced (GUEST-1).
        if self.addresses.get(&arp.target.1.into()) != Some(&link) {
            return Vec::new();
        }
        let mut out = self.learn(arp.sender.1.into(), arp.sender.0);
        if arp.request {
            let answer = Arp { request: false, sender: (mac, arp.target.1), target: arp.sender };
            out.extend(self.frame(link, arp.sender.0, Content::Arp(answer)));
        }
        out
    }

    fn hear_neighbour(&mut self, link: u32, mac: Mac, heard: &Neighbour) -> Vec<Leaving> {
        if !heard.solicitation {
            return self.learn(heard.target.into(), heard.station);
        }
        if self.addresses.get(&heard.target.into()) != Some(&link) {
            return Vec::new();
        }
        let mut out = self.learn(heard.source.into(), heard.station);
        let answer = Neighbour {
            solicitation: false,
            source: heard.target,
            destination: heard.source,
            target: heard.target,
            station: mac,
        };
        out.extend(self.frame(link, heard.station, Content::Neighbour(answer)));
        out
    }

    /// Remembers a neighbour and sends what has waited for it.
    fn learn(&mut self, address: IpAddr, station: Mac) -> Vec<Leaving> {
        self.neighbours.insert(address, station);
        let waiting = self.waiting.remove(&address).unwrap_or_default();
        waiting
            .into_iter()
            .filter_map(|(link, packet)| self.frame(link, station, Content::Packet(packet)))
            .collect()
    }

    fn take(&mut self, mut packet: Packet) -> Vec<Leaving> {
        if self.has(packet.destination.ip()) {
            let answers = self.programs.receive(&self.name, packet);
            return answers.into_iter().flat_map(|answer| self.send(answer)).collect();
        }
        if !self.forwards || packet.hop_limit <= 1 {
            return Vec::new();
        }
        packet.hop_limit -= 1;
        self.send(packet)
    }

    fn frame(&self, link: u32, destination: Mac, content: Content) -> Option<Leaving> {
        let source = self.link(link)?.mac;
        Some((link, Frame { destination, source, content }))
    }
}

/// Whether two addresses agree in their first bits.
fn shares(one: IpAddr, other: IpAddr, length: u8) -> bool {
    let (one, other, bits) = match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (u128::from(one.to_bits()), u128::from(other.to_bits()), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits(), other.to_bits(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    let rest = bits - u32::from(length).min(bits);
    one.checked_shr(rest).unwrap_or(0) == other.checked_shr(rest).unwrap_or(0)
}

/// The group that a solicitation for an address goes to, and its station.
fn group_of(target: Ipv6Addr) -> (Ipv6Addr, Mac) {
    let low = target.to_bits() & 0x00ff_ffff;
    let [.., a, b, c] = target.octets();
    let group = 0xff02_0000_0000_0000_0000_0001_ff00_0000 | low;
    (Ipv6Addr::from_bits(group), Mac::new([0x33, 0x33, 0xff, a, b, c]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_route_wins() {
        let mut host = Host::new("h");
        host.add_address(2, ip("10.0.0.2"), 24);
        host.add_route(ip("0.0.0.0"), 0, 2, Some(ip("10.0.0.1")));
        host.add_route(ip("203.0.113.0"), 24, 3, None);
        host.add_address(2, ip("fd00::2"), 64);
        for (to, way) in [
            ("10.0.0.9", Some((2, "10.0.0.9"))),
            ("203.0.113.9", Some((3, "203.0.113.9"))),
            ("192.0.2.1", Some((2, "10.0.0.1"))),
            ("fd00::9", Some((2, "fd00::9"))),
            ("fd01::9", None),
        ] {
            assert_eq!(host.way(ip(to)), way.map(|(link, next)| (link, ip(next))), "{to}");
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }
}
