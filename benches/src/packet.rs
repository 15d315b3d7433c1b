//! Packets as they arrive.

use std::net::IpAddr;

use plane::row::Mac;

/// The balancer's link.
pub const LINK: Mac = Mac::new([2, 0, 0, 0, 0, 1]);
/// What the link carries, in bytes: one that is not configured otherwise carries as much.
pub const MTU: u16 = 1_500;
/// Where clients' frames come from.
pub const ROUTER: Mac = Mac::new([2, 0, 0, 0, 1, 1]);

/// What is in a packet above the addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first packet of a TCP connection.
    Syn,
    /// A packet of a TCP connection that is under way.
    Ack,
    /// A datagram.
    Datagram,
}

/// A packet of the smallest size.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    pub kind: Kind,
    /// Address and port.
    pub source: (IpAddr, u16),
    /// Address and port.
    pub destination: (IpAddr, u16),
}

impl Packet {
    /// The frame that brings it to the balancer: 64 bytes with IPv4, 80 with IPv6.
    pub fn frame(&self) -> Vec<u8> {
        let mut frame = [LINK.bytes(), ROUTER.bytes()].concat();
        let pseudo = match (self.source.0, self.destination.0) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let addresses = [source.octets(), destination.octets()].concat();
                let mut header = vec![0x45, 0, 0, 50, 0x12, 0x34, 0x40, 0, 64, self.protocol(), 0, 0];
                header.extend(&addresses);
                let checksum = !sum(&header);
                set(&mut header, 10, checksum);
                frame.extend([8, 0]);
                frame.append(&mut header);
                addresses
            }
            (source, destination) => {
                let addresses = [octets(source), octets(destination)].concat();
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 26, self.protocol(), 64]);
                frame.extend(&addresses);
                addresses
            }
        };
        let whole = if self.source.0.is_ipv4() { 64 } else { 80 };
        frame.extend(self.transport(&pseudo, whole - frame.len()));
        frame
    }

    fn protocol(&self) -> u8 {
        match self.kind {
            Kind::Syn | Kind::Ack => plane::row::protocol::TCP,
            Kind::Datagram => plane::row::protocol::UDP,
        }
    }

    fn transport(&self, addresses: &[u8], length: usize) -> Vec<u8> {
        let mut segment = [self.source.1.to_be_bytes(), self.destination.1.to_be_bytes()].concat();
        let checksum = match self.kind {
            Kind::Syn | Kind::Ack => {
                let flags = if self.kind == Kind::Syn { 0x02 } else { 0x10 };
                segment.extend([0, 0, 0x10, 0, 0, 0, 0x20, 0, 0x50, flags, 0xff, 0xff]);
                16
            }
            Kind::Datagram => {
                segment.extend((length as u16).to_be_bytes());
                6
            }
        };
        segment.resize(length, 0);
        let pseudo = [addresses, &[0, self.protocol()], &(length as u16).to_be_bytes(), &segment].concat();
        set(&mut segment, checksum, !sum(&pseudo));
        segment
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The sum of big-endian words, with the carries put back in.
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn set(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(place) = bytes.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}
