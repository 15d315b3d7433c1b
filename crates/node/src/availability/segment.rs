//! What comes back from a call.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use engine::packet::{ACK, RST, SYN, Tcp, WINDOW, Way, tcp_packet};
use plane::row::Mac;

/// A TCP segment that acknowledges a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    acknowledgement: u32,
    flags: u8,
}

impl Answer {
    /// From a packet that begins with its network layer; `None` where it accepts nothing and refuses nothing.
    pub(super) fn parse(packet: &[u8]) -> Option<Self> {
        let (source, destination, transport): (IpAddr, IpAddr, &[u8]) = match packet.first()? >> 4 {
            4 => {
                let length = usize::from(packet.first()? & 0xf) * 4;
                let address = |at: usize| Some(Ipv4Addr::from(*packet.get(at..)?.first_chunk::<4>()?));
                (address(12)?.into(), address(16)?.into(), packet.get(length..)?)
            }
            6 => {
                let address = |at: usize| Some(Ipv6Addr::from(*packet.get(at..)?.first_chunk::<16>()?));
                (address(8)?.into(), address(24)?.into(), packet.get(40..)?)
            }
            _ => return None,
        };
        let port = |at: usize| Some(u16::from_be_bytes(*transport.get(at..)?.first_chunk()?));
        let answer = Self {
            from: SocketAddr::new(source, port(0)?),
            to: SocketAddr::new(destination, port(2)?),
            acknowledgement: u32::from_be_bytes(*transport.get(8..)?.first_chunk()?),
            flags: *transport.get(13)?,
        };
        (answer.accepts() || answer.flags & RST != 0).then_some(answer)
    }

    /// The member takes the connection.
    pub(super) fn accepts(&self) -> bool {
        self.flags & (SYN | ACK | RST) == SYN | ACK
    }

    /// The call's number.
    pub(super) fn sequence(&self) -> u32 {
        self.acknowledgement.wrapping_sub(1)
    }

    /// Tells the member, through the station that brought its answer, that nobody wants the connection.
    pub(super) fn refusal(&self, source: Mac, station: Mac) -> Vec<u8> {
        let way = Way { destination: station, source, from: self.to, to: self.from };
        tcp_packet(
            way,
            Tcp { sequence: self.acknowledgement, acknowledgement: 0, flags: RST, window: WINDOW },
        )
    }
}

#[cfg(test)]
mod tests {
    use engine::packet::NOBODY;

    use super::*;

    #[test]
    fn an_answer_says_which_call_it_accepts_and_is_refused_by_the_way_it_came() {
        for (member, own) in [("65.52.0.1:80", "10.20.1.2:40000"), ("[fd00:65::1]:80", "[fd00:20::2]:40000")]
        {
            let (member, own): (SocketAddr, SocketAddr) = (member.parse().unwrap(), own.parse().unwrap());
            let sent = |flags| {
                let way = Way { destination: NOBODY, source: NOBODY, from: member, to: own };
                tcp_packet(way, Tcp { sequence: 9, acknowledgement: 0x1234_0007, flags, window: WINDOW })
            };
            let answer = Answer::parse(&sent(SYN | ACK)[14..]).unwrap();
            assert_eq!((answer.from, answer.to, answer.sequence()), (member, own, 0x1234_0006));
            assert!(answer.accepts());
            let refusal = answer.refusal(NOBODY, Mac::new([2, 0, 0, 0, 0, 7]));
            assert_eq!(refusal[..6], [2, 0, 0, 0, 0, 7]);
            let refusal = Answer::parse(&refusal[14..]).unwrap();
            assert_eq!((refusal.from, refusal.to, refusal.flags), (own, member, RST));
            assert!(!Answer::parse(&sent(RST | ACK)[14..]).unwrap().accepts());
            assert_eq!(Answer::parse(&sent(ACK)[14..]), None);
            for end in 0..sent(SYN).len() - 14 {
                // Whatever was cut off is no answer, and no panic.
                let _ = Answer::parse(&sent(SYN | ACK)[14..14 + end]);
            }
        }
    }
}
