//! Frames made by hand: for `forebay trace`, for calls to the balancer's own frontends, and for resets.

use std::net::{IpAddr, SocketAddr};

use plane::row::{Mac, protocol};

/// The first packet of a flow as it would come in: a TCP SYN, an SCTP INIT, or a datagram. Zeros make it up to `size` bytes, the network
/// header included, where that is more than its headers.
pub fn first_packet(destination: Mac, from: SocketAddr, to: SocketAddr, kind: u8, size: u16) -> Vec<u8> {
    let way = Way { destination, source: NOBODY, from, to };
    let network = if from.is_ipv4() { 20 } else { 40 };
    let length = |headers: u16| size.saturating_sub(network).max(headers);
    let mut transport = match kind {
        protocol::TCP => tcp(way, Tcp { sequence: 1, acknowledgement: 0, flags: SYN, window: WINDOW }),
        protocol::SCTP => {
            let [high, low] = (length(16) - 12).to_be_bytes();
            // One chunk; nobody looks at its checksum, of which only changes are computed.
            [ports(from, to), vec![0, 0, 0, 0, 0, 0, 0, 0, 1, 0, high, low]].concat()
        }
        _ => {
            let [high, low] = length(8).to_be_bytes();
            [ports(from, to), vec![high, low, 0, 0]].concat()
        }
    };
    let headers = transport.len() as u16;
    transport.resize(usize::from(length(headers)), 0);
    frame(way, kind, transport)
}

/// Whose frame it is, and whose packet.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// The station it goes to.
    pub destination: Mac,
    /// The station it comes from.
    pub source: Mac,
    /// Whose packet it is.
    pub from: SocketAddr,
    /// For whom.
    pub to: SocketAddr,
}

/// What a TCP segment without content says.
#[derive(Clone, Copy, Debug)]
pub struct Tcp {
    /// Its first sequence number.
    pub sequence: u32,
    /// What it expects next.
    pub acknowledgement: u32,
    /// [`SYN`], [`RST`], [`ACK`].
    pub flags: u8,
    /// How much it takes.
    pub window: u16,
}

/// It asks for a connection.
pub const SYN: u8 = 0x02;
/// It breaks off.
pub const RST: u8 = 0x04;
/// Its acknowledgement counts.
pub const ACK: u8 = 0x10;
/// As much as the other end may send without options.
pub const WINDOW: u16 = u16::MAX;
/// A station that there is nowhere: it is locally administered.
pub const NOBODY: Mac = Mac::new([0x02, 0, 0, 0, 0, 1]);

/// A TCP segment without options and content.
pub fn tcp_packet(way: Way, says: Tcp) -> Vec<u8> {
    frame(way, protocol::TCP, tcp(way, says))
}

fn tcp(way: Way, tcp: Tcp) -> Vec<u8> {
    let mut transport = ports(way.from, way.to);
    transport.extend(tcp.sequence.to_be_bytes());
    transport.extend(tcp.acknowledgement.to_be_bytes());
    transport.extend([5 << 4, tcp.flags]);
    transport.extend(tcp.window.to_be_bytes());
    transport.extend([0, 0, 0, 0]);
    transport
}

fn ports(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    [from.port().to_be_bytes(), to.port().to_be_bytes()].concat()
}

/// The transport's checksum is still zero.
fn frame(way: Way, kind: u8, mut transport: Vec<u8>) -> Vec<u8> {
    let Way { destination, source, from, to } = way;
    let mut frame = destination.bytes().to_vec();
    frame.extend(source.bytes());
    match (from.ip(), to.ip()) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            let mut header = vec![0x45, 0];
            header.extend((20 + transport.len() as u16).to_be_bytes());
            header.extend([0, 0, 0x40, 0, 64, kind, 0, 0]);
            header.extend(source.octets());
            header.extend(target.octets());
            let sum = checksum(&header);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            frame.extend([0x08, 0x00]);
            frame.extend(header);
        }
        (source, target) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend((transport.len() as u16).to_be_bytes());
            frame.extend([kind, 64]);
            frame.extend(octets(source));
            frame.extend(octets(target));
        }
    }
    let mut pseudo = Vec::new();
    pseudo.extend(octets(from.ip()));
    pseudo.extend(octets(to.ip()));
    pseudo.extend((transport.len() as u32).to_be_bytes());
    pseudo.extend([0, 0, 0, kind]);
    pseudo.extend(&transport);
    let sum = checksum(&pseudo).to_be_bytes();
    match kind {
        protocol::TCP => transport[16..18].copy_from_slice(&sum),
        protocol::UDP => transport[6..8].copy_from_slice(&sum),
        _ => {}
    }
    frame.extend(transport);
    frame
}

/// Sixteen bytes of either family; leading zeros do not change a sum.
fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()).to_be_bytes(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes
        .chunks(2)
        .map(|pair| {
            u32::from(u16::from_be_bytes([
                pair.first().copied().unwrap_or(0),
                pair.get(1).copied().unwrap_or(0),
            ]))
        })
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !(((sum & 0xffff) + (sum >> 16)) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syn_is_made_byte_for_byte() {
        let frame = first_packet(
            Mac::new([2, 0, 0, 0, 0, 9]),
            "198.51.100.7:5000".parse().unwrap(),
            "203.0.113.10:443".parse().unwrap(),
            protocol::TCP,
            0,
        );
        assert_eq!(frame.len(), 54);
        assert_eq!(frame[..14], [2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 8, 0]);
        assert_eq!(checksum(&frame[14..34]), 0, "the header's sum is right");
        assert_eq!(frame[34..38], [0x13, 0x88, 0x01, 0xbb]);
        assert_eq!(frame[47], 2, "SYN");
    }

    #[test]
    fn a_packet_has_the_size_that_was_asked_for() {
        for (from, to) in [("198.51.100.7:5000", "203.0.113.10:443"), ("[fd00::7]:5000", "[fd00::10]:443")] {
            let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
            for kind in [protocol::TCP, protocol::UDP, protocol::SCTP] {
                assert_eq!(first_packet(NOBODY, from, to, kind, 1_400).len(), 1_414);
                assert!(first_packet(NOBODY, from, to, kind, 0).len() < 80);
            }
        }
    }
}
