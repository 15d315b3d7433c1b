//! Frames as bytes: what the simulated hosts send and understand, with every checksum.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use plane::row::Mac;

/// TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// What a station sends to another, or to all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The station it is for.
    pub destination: Mac,
    /// The station it comes from.
    pub source: Mac,
    /// What is in it.
    pub content: Content,
}

/// What is in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Who has an IPv4 address.
    Arp(Arp),
    /// Who has an IPv6 address.
    Neighbour(Neighbour),
    /// TCP or UDP.
    Packet(Packet),
}

/// An ARP request or its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arp {
    /// A request; else an answer.
    pub request: bool,
    /// Who sends it.
    pub sender: (Mac, Ipv4Addr),
    /// Who is asked for, or whom the answer is for.
    pub target: (Mac, Ipv4Addr),
}

/// A neighbour solicitation or advertisement, with the link-layer address option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// A solicitation; else an advertisement.
    pub solicitation: bool,
    /// The addresses of the packet.
    pub source: Ipv6Addr,
    /// The addresses of the packet.
    pub destination: Ipv6Addr,
    /// The address that is asked for, or whose station is named.
    pub target: Ipv6Addr,
    /// The station that asks, or that has the address.
    pub station: Mac,
}

/// A TCP segment or UDP datagram with its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Who sends it.
    pub source: SocketAddr,
    /// Whom it is for.
    pub destination: SocketAddr,
    /// Routers it may still pass.
    pub hop_limit: u8,
    /// What it carries.
    pub segment: Segment,
}

/// What a packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// A TCP segment.
    Tcp(Tcp),
    /// A datagram's data.
    Udp(Vec<u8>),
}

/// A TCP segment without its ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tcp {
    /// Of [`flag`].
    pub flags: u8,
    /// The number of its first byte.
    pub sequence: u32,
    /// The number of the byte that is awaited.
    pub awaited: u32,
    /// What it carries.
    pub data: Vec<u8>,
}

/// TCP's flags.
pub mod flag {
    /// No more data comes.
    pub const FIN: u8 = 1;
    /// A connection begins.
    pub const SYN: u8 = 2;
    /// There is no such connection.
    pub const RST: u8 = 4;
    /// The other side's data is acknowledged.
    pub const ACK: u8 = 16;
}

/// Why bytes are not a frame that hosts understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It ends too early, or lengths contradict each other.
    Cut,
    /// Something that no simulated host speaks.
    Foreign,
    /// The checksum of this header is wrong.
    Checksum(&'static str),
}

/// Hop limit of new packets.
pub const HOP_LIMIT: u8 = 64;
/// To every station.
pub const EVERYBODY: Mac = Mac::new([0xff; 6]);

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

impl Packet {
    /// A packet at the beginning of its way.
    pub fn new(source: SocketAddr, destination: SocketAddr, segment: Segment) -> Self {
        Self { source, destination, hop_limit: HOP_LIMIT, segment }
    }

    /// TCP or UDP.
    pub fn transport(&self) -> Transport {
        match self.segment {
            Segment::Tcp(_) => Transport::Tcp,
            Segment::Udp(_) => Transport::Udp,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let (protocol, mut payload) = match &self.segment {
            Segment::Tcp(tcp) => (TCP, self.tcp_bytes(tcp)),
            Segment::Udp(data) => (UDP, self.udp_bytes(data)),
        };
        let (source, destination) = (self.source.ip(), self.destination.ip());
        let sum = transport_sum(source, destination, protocol, &payload);
        let (at, sum) = if protocol == TCP { (16, sum) } else { (6, if sum == 0 { 0xffff } else { sum }) };
        put(&mut payload, at, &sum.to_be_bytes());
        ip_bytes(source, destination, protocol, self.hop_limit, &payload)
    }

    fn tcp_bytes(&self, tcp: &Tcp) -> Vec<u8> {
        let mut out = Vec::with_capacity(20 + tcp.data.len());
        out.extend(self.source.port().to_be_bytes());
        out.extend(self.destination.port().to_be_bytes());
        out.extend(tcp.sequence.to_be_bytes());
        out.extend(tcp.awaited.to_be_bytes());
        out.extend([0x50, tcp.flags, 0xff, 0xff, 0, 0, 0, 0]);
        out.extend(&tcp.data);
        out
    }

    fn udp_bytes(&self, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + data.len());
        out.extend(self.source.port().to_be_bytes());
        out.extend(self.destination.port().to_be_bytes());
        out.extend(((8 + data.len()) as u16).to_be_bytes());
        out.extend([0, 0]);
        out.extend(data);
        out
    }
}

impl Frame {
    /// The frame as it travels.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(80);
        out.extend(self.destination.bytes());
        out.extend(self.source.bytes());
        match &self.content {
            Content::Arp(arp) => {
                out.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, if arp.request { 1 } else { 2 }]);
                for (mac, address) in [arp.sender, arp.target] {
                    out.extend(mac.bytes());
                    out.extend(address.octets());
                }
            }
            Content::Neighbour(neighbour) => {
                out.extend([0x86, 0xdd]);
                out.extend(neighbour.bytes());
            }
            Content::Packet(packet) => {
                out.extend(if packet.source.is_ipv4() { [0x08, 0x00] } else { [0x86, 0xdd] });
                out.extend(packet.bytes());
            }
        }
        out
    }

    /// The frame in these bytes.
    ///
    /// # Errors
    /// They are not one, or a checksum is wrong.
    pub fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        let (destination, source) = (mac(bytes, 0)?, mac(bytes, 6)?);
        let rest = bytes.get(14..).ok_or(Unreadable::Cut)?;
        let content = match take::<2>(bytes, 12)? {
            [0x08, 0x06] => Content::Arp(Arp::read(rest)?),
            [0x08, 0x00] => Content::Packet(read_v4(rest)?),
            [0x86, 0xdd] => read_v6(rest)?,
            _ => return Err(Unreadable::Foreign),
        };
        Ok(Self { destination, source, content })
    }
}

impl Arp {
    fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        let request = match take::<8>(bytes, 0)? {
            [0, 1, 8, 0, 6, 4, 0, 1] => true,
            [0, 1, 8, 0, 6, 4, 0, 2] => false,
            _ => return Err(Unreadable::Foreign),
        };
        let side = |at| Ok((mac(bytes, at)?, Ipv4Addr::from(take::<4>(bytes, at + 6)?)));
        Ok(Self { request, sender: side(8)?, target: side(18)? })
    }
}

impl Neighbour {
    fn bytes(&self) -> Vec<u8> {
        let (kind, flags, option) =
            if self.solicitation { (SOLICITATION, 0, 1) } else { (ADVERTISEMENT, 0x60, 2) };
        let mut payload = vec![kind, 0, 0, 0, flags, 0, 0, 0];
        payload.extend(self.target.octets());
        payload.extend([option, 1]);
        payload.extend(self.station.bytes());
        let (source, destination) = (self.source.into(), self.destination.into());
        let sum = transport_sum(source, destination, ICMPV6, &payload);
        put(&mut payload, 2, &sum.to_be_bytes());
        ip_bytes(source, destination, ICMPV6, 255, &payload)
    }

    fn read(source: Ipv6Addr, destination: Ipv6Addr, payload: &[u8]) -> Result<Self, Unreadable> {
        let solicitation = match take::<2>(payload, 0)? {
            [SOLICITATION, 0] => true,
            [ADVERTISEMENT, 0] => false,
            _ => return Err(Unreadable::Foreign),
        };
        let target = Ipv6Addr::from(take::<16>(payload, 8)?);
        Ok(Self { solicitation, source, destination, target, station: mac(payload, 26)? })
    }
}

fn ip_bytes(source: IpAddr, destination: IpAddr, protocol: u8, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(40 + payload.len());
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            out.extend([0x45, 0]);
            out.extend(((20 + payload.len()) as u16).to_be_bytes());
            out.extend([0, 0, 0x40, 0, hop_limit, protocol, 0, 0]);
            out.extend(source.octets());
            out.extend(destination.octets());
            let sum = !fold(sum(&out));
            put(&mut out, 10, &sum.to_be_bytes());
        }
        (source, destination) => {
            out.extend([0x60, 0, 0, 0]);
            out.extend((payload.len() as u16).to_be_bytes());
            out.extend([protocol, hop_limit]);
            out.extend(octets(source));
            out.extend(octets(destination));
        }
    }
    out.extend(payload);
    out
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn read_v4(bytes: &[u8]) -> Result<Packet, Unreadable> {
    let [first, _, high, low] = take::<4>(bytes, 0)?;
    let [_, _, hop_limit, protocol] = take::<4>(bytes, 6)?;
    let header = usize::from(first & 15) * 4;
    let payload = bytes.get(header..usize::from(u16::from_be_bytes([high, low]))).ok_or(Unreadable::Cut)?;
    if fold(sum(bytes.get(..header).ok_or(Unreadable::Cut)?)) != 0xffff {
        return Err(Unreadable::Checksum("IPv4"));
    }
    let source = Ipv4Addr::from(take::<4>(bytes, 12)?);
    let destination = Ipv4Addr::from(take::<4>(bytes, 16)?);
    read_packet(source.into(), destination.into(), hop_limit, protocol, payload)
}

fn read_v6(bytes: &[u8]) -> Result<Content, Unreadable> {
    let [high, low, protocol, hop_limit] = take::<4>(bytes, 4)?;
    let source = Ipv6Addr::from(take::<16>(bytes, 8)?);
    let destination = Ipv6Addr::from(take::<16>(bytes, 24)?);
    let length = usize::from(u16::from_be_bytes([high, low]));
    let payload = bytes.get(40..40 + length).ok_or(Unreadable::Cut)?;
    if protocol != ICMPV6 {
        return read_packet(source.into(), destination.into(), hop_limit, protocol, payload)
            .map(Content::Packet);
    }
    if transport_sum(source.into(), destination.into(), ICMPV6, payload) != 0 {
        return Err(Unreadable::Checksum("ICMPv6"));
    }
    Neighbour::read(source, destination, payload).map(Content::Neighbour)
}

fn read_packet(
    source: IpAddr,
    destination: IpAddr,
    hop_limit: u8,
    protocol: u8,
    payload: &[u8],
) -> Result<Packet, Unreadable> {
    let wrong = transport_sum(source, destination, protocol, payload) != 0;
    let port = |at| Ok(u16::from_be_bytes(take::<2>(payload, at)?));
    let segment = match protocol {
        TCP if wrong => return Err(Unreadable::Checksum("TCP")),
        UDP if wrong => return Err(Unreadable::Checksum("UDP")),
        TCP => {
            let [offset, flags] = take::<2>(payload, 12)?;
            Segment::Tcp(Tcp {
                flags,
                sequence: u32::from_be_bytes(take::<4>(payload, 4)?),
                awaited: u32::from_be_bytes(take::<4>(payload, 8)?),
                data: payload.get(usize::from(offset >> 4) * 4..).ok_or(Unreadable::Cut)?.to_vec(),
            })
        }
        UDP => Segment::Udp(payload.get(8..).ok_or(Unreadable::Cut)?.to_vec()),
        _ => return Err(Unreadable::Foreign),
    };
    let source = SocketAddr::new(source, port(0)?);
    let destination = SocketAddr::new(destination, port(2)?);
    Ok(Packet { source, destination, hop_limit, segment })
}

/// The checksum over the pseudo-header and the payload: what to write where it is zero, zero where it is right.
fn transport_sum(source: IpAddr, destination: IpAddr, protocol: u8, payload: &[u8]) -> u16 {
    let ends = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => sum(&source.octets()) + sum(&destination.octets()),
        (source, destination) => sum(&octets(source)) + sum(&octets(destination)),
    };
    !fold(ends + u64::from(protocol) + payload.len() as u64 + sum(payload))
}

fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut last = [0; 4];
    put(&mut last, 0, rest);
    words.iter().chain([&last]).map(|word| u64::from(u32::from_be_bytes(*word))).sum()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = out.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Unreadable> {
    bytes.get(at..at + N).and_then(|bytes| bytes.try_into().ok()).ok_or(Unreadable::Cut)
}

fn mac(bytes: &[u8], at: usize) -> Result<Mac, Unreadable> {
    take::<6>(bytes, at).map(Mac::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for (source, destination) in
            [("10.0.0.1:5000", "10.0.0.2:80"), ("[fd00::1]:5000", "[fd00::2]:80")].map(addresses)
        {
            let tcp = Tcp { flags: flag::ACK, sequence: 7, awaited: u32::MAX, data: b"odd".to_vec() };
            for segment in [Segment::Tcp(tcp), Segment::Udp(b"four".to_vec()), Segment::Udp(Vec::new())] {
                check(Content::Packet(Packet::new(source, destination, segment)));
            }
        }
        let (one, other) = (Mac::new([2, 0, 0, 0, 0, 1]), Mac::new([2, 0, 0, 0, 0, 2]));
        check(Content::Arp(Arp {
            request: true,
            sender: (one, Ipv4Addr::new(10, 0, 0, 1)),
            target: (other, Ipv4Addr::new(10, 0, 0, 2)),
        }));
        let (source, target) = ("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap());
        for solicitation in [true, false] {
            check(Content::Neighbour(Neighbour {
                solicitation,
                source,
                destination: target,
                target,
                station: one,
            }));
        }
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let (source, destination) = addresses(("10.0.0.1:5000", "10.0.0.2:80"));
        let packet = Packet::new(source, destination, Segment::Udp(b"data".to_vec()));
        let frame =
            Frame { destination: EVERYBODY, source: Mac::default(), content: Content::Packet(packet) };
        let read_with = |at: usize, flip: u8| {
            let mut bytes = frame.bytes();
            bytes[at] ^= flip;
            Frame::read(&bytes)
        };
        assert_eq!(read_with(29, 1), Err(Unreadable::Checksum("IPv4")));
        assert_eq!(read_with(43, 1), Err(Unreadable::Checksum("UDP")));
        assert_eq!(read_with(35, 1), Err(Unreadable::Checksum("UDP")));
        assert_eq!(Frame::read(&frame.bytes()[..30]), Err(Unreadable::Cut));
    }

    fn check(content: Content) {
        let frame = Frame { destination: EVERYBODY, source: Mac::new([2, 0, 0, 0, 0, 9]), content };
        assert_eq!(Frame::read(&frame.bytes()).unwrap(), frame);
    }

    fn addresses((one, other): (&str, &str)) -> (SocketAddr, SocketAddr) {
        (one.parse().unwrap(), other.parse().unwrap())
    }
}
