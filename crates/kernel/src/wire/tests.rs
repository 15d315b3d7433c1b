//! The frames of a crowd, byte for byte.

use super::*;

use engine::packet::ACK;
use plane::row::Mac;

#[test]
fn every_frame_has_right_checksums_and_its_mark() {
    check("198.18.0.1:1024", "203.0.113.10:80", 64);
    check("[2001:db8:c::1]:1024", "[2001:db8::10]:80", 80);
}

#[test]
fn connections_differ() {
    let crowd = crowd("198.18.0.1:1024", "203.0.113.10:80");
    let mut frames: Vec<Vec<u8>> = (0..1 << 16).map(|number| crowd.frame(number)).collect();
    frames.sort();
    frames.dedup();
    assert_eq!(frames.len(), 1 << 16);
    assert_eq!(crowd.frame(1 << 16), crowd.frame(0), "and begin anew");
}

fn crowd(from: &str, to: &str) -> Crowd {
    let (destination, source) = (Mac::new([2, 0, 0, 0, 0, 1]), Mac::new([2, 0, 0, 0, 0, 2]));
    Crowd::new(Way { destination, source, from: from.parse().unwrap(), to: to.parse().unwrap() }, ACK, 0xffff)
}

fn check(from: &str, to: &str, length: usize) {
    let crowd = crowd(from, to);
    for number in [0, 1, 2, 77, 40_000] {
        let frame = crowd.frame(number);
        assert_eq!((frame.len(), &frame[length - 6..]), (length, &b"wire!!"[..]));
        let packet = etherparse::SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(etherparse::TransportSlice::Tcp(tcp)) = packet.transport else { panic!("no TCP") };
        let wanted = match packet.net {
            Some(etherparse::NetSlice::Ipv4(ip)) => {
                assert_eq!(ip.header().header_checksum(), ip.header().to_header().calc_header_checksum());
                let header = ip.header();
                tcp.calc_checksum_ipv4(header.source(), header.destination()).unwrap()
            }
            Some(etherparse::NetSlice::Ipv6(ip)) => {
                tcp.calc_checksum_ipv6(ip.header().source(), ip.header().destination()).unwrap()
            }
            _ => panic!("no IP"),
        };
        assert_eq!(tcp.checksum(), wanted, "{number}");
    }
}
