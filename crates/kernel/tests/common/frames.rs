//! Frames: valid ones of every kind that the pipeline tells apart, the same corrupted and cut off, and noise.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use plane::row::Mac;
use plane::row::protocol::{SCTP, TCP, UDP};

use crate::random::Random;
use crate::scene::{LINKS, PORTS, Scene, frontends, mac_of_link};

const ARP: u16 = 0x0806;
const VLAN: u16 = 0x8100;

/// Whom packets may go to, and come from: addresses, ports and protocols.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Frontends' rules.
    pub called: Vec<(IpAddr, u16, u8)>,
    /// Members' sides of masqueraded flows: the member's address and port, our port, the protocol.
    pub masqueraded: Vec<(IpAddr, u16, u16, u8)>,
    /// Answers of members whose gateway is the balancer.
    pub through: Vec<(IpAddr, u16, u8)>,
    /// All members.
    pub members: Vec<IpAddr>,
    /// The stations by which they are reached.
    pub stations: Vec<Mac>,
}

/// A frame of at least an Ethernet header, and the link it comes in by.
pub fn frame(random: &mut Random, scene: &Scene, known: &Known) -> (Vec<u8>, u32) {
    let link = match random.below(100) {
        0..=84 => LINKS[0],
        85..=96 => LINKS[1],
        // It is there, and the balancer is not on it.
        _ => 3,
    };
    let mut frame = if random.chance(4) { noise(random) } else { valid(random, scene, known, link) };
    match random.below(100) {
        0..=69 => {}
        70..=79 => flip(random, &mut frame),
        80..=89 => corrupt(random, &mut frame),
        90..=95 => frame.truncate(random.below(frame.len() + 1)),
        _ => {
            let more = random.below(40);
            frame.extend(random.bytes(more));
        }
    }
    if frame.len() < 14 {
        frame.resize(14, 0);
    }
    (frame, link)
}

fn noise(random: &mut Random) -> Vec<u8> {
    let most = if random.chance(5) { 1_486 } else { 120 };
    let length = 14 + random.below(most);
    let mut frame = random.bytes(length);
    if random.chance(70) {
        frame[..6].copy_from_slice(&mac_of_link(1).bytes());
        let kind = random.pick(&[0x0800, 0x0800, 0x86dd, 0x86dd, ARP]);
        frame[12..14].copy_from_slice(&u16::to_be_bytes(kind));
        if frame.len() > 14 && random.chance(80) {
            frame[14] = if kind == 0x0800 { 0x45 } else { 0x60 };
        }
    }
    frame
}

fn flip(random: &mut Random, frame: &mut [u8]) {
    for _ in 0..=random.below(6) {
        // Headers are hit more often than what they carry.
        let end = if random.chance(80) { frame.len().min(74) } else { frame.len() };
        frame[random.below(end)] ^= 1 << random.below(8);
    }
}

/// Another value in a field that somebody looks at.
fn corrupt(random: &mut Random, frame: &mut [u8]) {
    const FIELDS: [(usize, usize); 24] = [
        (0, 6),
        (6, 6),
        (12, 2),
        (14, 1),
        (16, 2),
        (18, 2),
        (20, 2),
        (20, 1),
        (22, 1),
        (23, 1),
        (26, 4),
        (30, 4),
        (34, 2),
        (36, 2),
        (38, 16),
        (47, 1),
        (50, 2),
        (54, 1),
        (55, 1),
        (56, 2),
        (62, 8),
        (67, 1),
        (70, 2),
        (40, 2),
    ];
    const VALUES: [u8; 12] = [0, 1, 2, 4, 5, 6, 15, 17, 44, 58, 127, 255];
    let (at, width) = random.pick(&FIELDS);
    for byte in frame.iter_mut().skip(at).take(width) {
        *byte = if random.chance(50) { random.pick(&VALUES) } else { random.next() as u8 };
    }
}

fn valid(random: &mut Random, scene: &Scene, known: &Known, link: u32) -> Vec<u8> {
    let mut frame = match random.below(100) {
        0..=53 => from_client(random, known, link),
        54..=59 => report(random, scene, known, link),
        60..=69 => masqueraded_answer(random, scene, known, link),
        70..=78 => gateway_answer(random, known, link),
        79..=84 => arp(random, scene, known),
        85..=89 => solicitation(random),
        90..=92 => {
            let frontend = random.pick(&frontends());
            echo(random, frontend, link)
        }
        93..=94 => {
            let other = random.pick(&[13u8, 41, 47, 50, 51]);
            let frontend = random.pick(&frontends());
            let (client, payload) = (client(random, frontend.is_ipv4()), random.bytes(24));
            packet(random, link, client, frontend, other, &payload)
        }
        95 => {
            let length = 46 + random.below(20);
            let mut frame = ethernet(random, link, 0x88cc);
            frame.extend(random.bytes(length));
            frame
        }
        _ => {
            let to = random.pick(
                &[known.members.clone(), owns(scene), vec![Ipv4Addr::new(192, 0, 2, 9).into()]].concat(),
            );
            let from = client(random, to.is_ipv4());
            let (port, protocol) = (random.pick(&PORTS), random.pick(&[TCP, UDP, SCTP]));
            segment(random, link, (from, 40_000), (to, port), protocol)
        }
    };
    if random.chance(2) {
        frame.splice(12..12, [(VLAN >> 8) as u8, VLAN as u8, 0, 7]);
    }
    if frame.len() < 60 && random.chance(50) {
        frame.resize(60, 0);
    }
    frame
}

fn owns(scene: &Scene) -> Vec<IpAddr> {
    scene.own_v4.map(IpAddr::from).into_iter().chain(scene.own_v6.map(IpAddr::from)).collect()
}

/// Few enough that flows go on, and many enough that they fill the memories.
fn client(random: &mut Random, v4: bool) -> IpAddr {
    let number = random.below(64) as u16;
    if v4 {
        Ipv4Addr::new(198, 51, 100, number as u8).into()
    } else {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number).into()
    }
}

fn from_client(random: &mut Random, known: &Known, link: u32) -> Vec<u8> {
    let (to, port, protocol) = if known.called.is_empty() || random.chance(10) {
        (random.pick(&frontends()), random.pick(&PORTS), random.pick(&[TCP, UDP, SCTP]))
    } else {
        random.pick(&known.called)
    };
    // Members call frontends as well (HAIR-1).
    let members: Vec<IpAddr> =
        known.members.iter().copied().filter(|member| member.is_ipv4() == to.is_ipv4()).collect();
    let address = match members.is_empty() || random.chance(85) {
        true => client(random, to.is_ipv4()),
        false => random.pick(&members),
    };
    let from = (address, client_port(random));
    segment(random, link, from, (to, port), protocol)
}

fn client_port(random: &mut Random) -> u16 {
    40_000 + random.below(16) as u16
}

fn masqueraded_answer(random: &mut Random, scene: &Scene, known: &Known, link: u32) -> Vec<u8> {
    if known.masqueraded.is_empty() {
        return gateway_answer(random, known, link);
    }
    let (member, port, ours, protocol) = random.pick(&known.masqueraded);
    let own = own_of(scene, member);
    let ours = if random.chance(95) { ours } else { ours.wrapping_add(1) };
    segment(random, link, (member, port), (own, ours), protocol)
}

/// The balancer's own address, as this member sees it.
fn own_of(scene: &Scene, member: IpAddr) -> IpAddr {
    let own = if member.is_ipv4() { scene.own_v4.map(IpAddr::from) } else { scene.own_v6.map(IpAddr::from) };
    own.unwrap_or(member)
}

fn gateway_answer(random: &mut Random, known: &Known, link: u32) -> Vec<u8> {
    if known.through.is_empty() {
        return from_client(random, known, link);
    }
    let (from, port, protocol) = random.pick(&known.through);
    let to = (client(random, from.is_ipv4()), client_port(random));
    let answer = segment(random, link, (from, port), to, protocol);
    from_station(random, known, answer)
}

/// Most often from the station of a member.
fn from_station(random: &mut Random, known: &Known, mut frame: Vec<u8>) -> Vec<u8> {
    if !known.stations.is_empty() && random.chance(80) {
        frame[6..12].copy_from_slice(&random.pick(&known.stations).bytes());
    }
    frame
}

/// A TCP segment with any flags, a datagram, or a packet of an association with any chunk.
fn segment(random: &mut Random, link: u32, from: (IpAddr, u16), to: (IpAddr, u16), protocol: u8) -> Vec<u8> {
    let length = if random.chance(2) { 1_200 } else { random.below(40) };
    let mut bytes = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
    let checksum_at = if protocol == TCP {
        let flags = match random.below(10) {
            0..=3 => 0x02,
            4..=7 => 0x10,
            _ => random.next() as u8,
        };
        let words: u8 = if random.chance(20) { 6 } else { 5 };
        bytes.extend(random.bytes(8));
        bytes.extend([words << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        bytes.resize(usize::from(words) * 4, 1);
        16
    } else if protocol == SCTP {
        let chunk = if random.chance(40) { 1 } else { random.below(16) as u8 };
        let more = random.bytes(length);
        bytes.extend([&[0, 0, 0, 7, 0, 0, 0, 0, chunk, 0, 0, 4][..], &more].concat());
        let sum = crc32c(&bytes);
        bytes[8..12].copy_from_slice(&sum.to_le_bytes());
        return packet(random, link, from.0, to.0, protocol, &bytes);
    } else {
        bytes.extend(((8 + length) as u16).to_be_bytes());
        bytes.extend([0, 0]);
        6
    };
    bytes.extend(random.bytes(length));
    let zero = protocol == UDP && random.chance(20);
    if !zero {
        let sum = checksum(&[&pseudo_header(from.0, to.0, protocol, bytes.len()), &bytes]);
        let sum = if sum == 0 { 0xffff } else { sum };
        bytes[checksum_at..checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    packet(random, link, from.0, to.0, protocol, &bytes)
}

fn crc32c(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _| if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0x82f6_3b78 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
}

/// An ICMP error about a flow: to a frontend about its answer, to the own address about what it sent for a client, or to a client.
fn report(random: &mut Random, scene: &Scene, known: &Known, link: u32) -> Vec<u8> {
    let (about, to) = match random.below(3) {
        0 if !known.called.is_empty() => {
            let (frontend, port, protocol) = random.pick(&known.called);
            let to = (client(random, frontend.is_ipv4()), client_port(random));
            (segment(random, link, (frontend, port), to, protocol), frontend)
        }
        1 if !known.masqueraded.is_empty() => {
            let (member, port, ours, protocol) = random.pick(&known.masqueraded);
            let own = own_of(scene, member);
            (segment(random, link, (own, ours), (member, port), protocol), own)
        }
        _ if !known.through.is_empty() => {
            let (member, port, protocol) = random.pick(&known.through);
            let from = (client(random, member.is_ipv4()), client_port(random));
            (segment(random, link, from, (member, port), protocol), from.0)
        }
        _ => return from_client(random, known, link),
    };
    let of_members = known.members.iter().filter(|member| member.is_ipv4() == to.is_ipv4());
    let of_members: Vec<IpAddr> = of_members.copied().collect();
    let from = match of_members.is_empty() || random.chance(50) {
        true => client(random, to.is_ipv4()),
        false => random.pick(&of_members),
    };
    let kinds: &[u8] = if to.is_ipv4() { &[3, 3, 11, 12, 4, 0] } else { &[1, 2, 2, 3, 4, 5] };
    let mut message = vec![random.pick(kinds), random.below(5) as u8, 0, 0];
    message.extend(random.bytes(4));
    let quoted = &about[14..];
    let least = if to.is_ipv4() { 28 } else { 48 };
    let length = if random.chance(80) { least + random.below(40) } else { random.below(80) };
    message.extend(&quoted[..length.min(quoted.len())]);
    let protocol = if to.is_ipv4() { 1 } else { 58 };
    let sum = match to {
        IpAddr::V4(_) => checksum(&[&message]),
        IpAddr::V6(_) => checksum(&[&pseudo_header(from, to, 58, message.len()), &message]),
    };
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let report = packet(random, link, from, to, protocol, &message);
    from_station(random, known, report)
}

fn echo(random: &mut Random, to: IpAddr, link: u32) -> Vec<u8> {
    let from = client(random, to.is_ipv4());
    let (protocol, kind) =
        if to.is_ipv4() { (1, random.pick(&[8, 3])) } else { (58, random.pick(&[128, 1, 2, 135])) };
    let mut message = vec![kind, 0, 0, 0];
    message.extend(random.bytes(32));
    packet(random, link, from, to, protocol, &message)
}

fn packet(random: &mut Random, link: u32, from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let hops = if random.chance(4) { random.below(3) as u8 } else { 64 };
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let options = if random.chance(10) { random.below(11) * 4 } else { 0 };
            let fragment = match random.below(100) {
                0 => random.next() as u16 & 0x3fff,
                1..=5 => 0x2000,
                6..=10 => random.pick(&[0x2001, 0x2002, 3]),
                11..=60 => 0x4000,
                _ => 0,
            };
            let mut header = vec![0x45 + (options / 4) as u8, 0];
            header.extend(((20 + options + payload.len()) as u16).to_be_bytes());
            header.extend([0, random.below(4) as u8]);
            header.extend(fragment.to_be_bytes());
            header.extend([hops, protocol, 0, 0]);
            header.extend(from.octets());
            header.extend(to.octets());
            header.resize(20 + options, 1);
            let sum = checksum(&[&header]);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            let mut frame = ethernet(random, link, 0x0800);
            frame.extend(header);
            frame.extend(payload);
            frame
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut next = protocol;
            let mut extension = Vec::new();
            if random.chance(15) {
                let most = if random.chance(5) { 12 } else { 3 };
                for _ in 0..=random.below(most) {
                    // Fragment, hop by hop, routing, destination options, and one that nobody follows.
                    let number = random.pick(&[44, 44, 44, 44, 0, 43, 60, 60, 51]);
                    let header = match number {
                        44 => {
                            let offset = random.pick(&[0, 1, 1, 1, 8, 9, 17, 24]);
                            vec![next, 0, 0, offset, 0, 0, 0, random.below(4) as u8]
                        }
                        43 => vec![next, 0, 4, random.below(5) as u8 / 4, 0, 0, 0, 0],
                        _ => {
                            let long = random.below(3);
                            let mut header = vec![next, long as u8, 1, 4];
                            header.resize(8 + 8 * long, 0);
                            header
                        }
                    };
                    extension.splice(..0, header);
                    next = number;
                }
            }
            let mut frame = ethernet(random, link, 0x86dd);
            frame.extend([0x60, 0, 0, 0]);
            frame.extend(((extension.len() + payload.len()) as u16).to_be_bytes());
            frame.extend([next, hops]);
            frame.extend(from.octets());
            frame.extend(to.octets());
            frame.extend(extension);
            frame.extend(payload);
            frame
        }
        _ => noise(random),
    }
}

fn ethernet(random: &mut Random, link: u32, kind: u16) -> Vec<u8> {
    let to = if random.chance(95) { mac_of_link(link) } else { Mac::from_bits(random.next()) };
    let from = Mac::new([2, 0, 0, 0, 3, random.below(4) as u8]);
    [&to.bytes()[..], &from.bytes(), &kind.to_be_bytes()].concat()
}

fn arp(random: &mut Random, scene: &Scene, known: &Known) -> Vec<u8> {
    let addresses: Vec<Ipv4Addr> = [frontends(), known.members.clone(), owns(scene)]
        .concat()
        .into_iter()
        .filter_map(|address| if let IpAddr::V4(v4) = address { Some(v4) } else { None })
        .collect();
    let target = random.pick(&addresses);
    let sender = match random.below(10) {
        0 => target,
        1 => Ipv4Addr::UNSPECIFIED,
        2 => random.pick(&addresses),
        _ => Ipv4Addr::new(198, 51, 100, random.below(64) as u8),
    };
    let mac = Mac::new([2, 0, 0, 0, 3, 1]).bytes();
    let mut frame = [&[0xff; 6][..], &mac, &ARP.to_be_bytes(), &[0, 1, 8, 0, 6, 4, 0]].concat();
    frame.push(if random.chance(80) { 1 } else { 2 });
    frame.extend(mac);
    frame.extend(sender.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame
}

fn solicitation(random: &mut Random) -> Vec<u8> {
    let targets: Vec<Ipv6Addr> =
        (0xff..0x105).map(|last| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last)).collect();
    let target = random.pick(&targets);
    let unnamed = random.chance(20);
    let from = if unnamed { Ipv6Addr::UNSPECIFIED } else { Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x20) };
    let [.., a, b, c] = target.octets();
    let to = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from(b) << 8 | u16::from(c));
    let mac = Mac::new([2, 0, 0, 0, 3, 1]).bytes();
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    // Without the option that names the asker; with it; with it and another one.
    let options = random.below(3).min(usize::from(!unnamed) * 2);
    if options > 0 {
        message.extend([&[1, 1][..], &mac].concat());
    }
    if options > 1 {
        message.extend([14, 1, 1, 2, 3, 4, 5, 6]);
    }
    let sum = checksum(&[&pseudo_header(from.into(), to.into(), 58, message.len()), &message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = [&[0x33, 0x33, 0xff, a, b, c][..], &mac, &[0x86, 0xdd, 0x60, 0, 0, 0]].concat();
    frame.extend((message.len() as u16).to_be_bytes());
    frame.extend([58, if random.chance(95) { 255 } else { 64 }]);
    frame.extend(from.octets());
    frame.extend(to.octets());
    frame.extend(message);
    frame
}

fn pseudo_header(from: IpAddr, to: IpAddr, protocol: u8, length: usize) -> Vec<u8> {
    let octets = |address| match address {
        IpAddr::V4(v4) => Ipv4Addr::octets(&v4).to_vec(),
        IpAddr::V6(v6) => Ipv6Addr::octets(&v6).to_vec(),
    };
    [octets(from), octets(to), vec![0, protocol], (length as u16).to_be_bytes().to_vec()].concat()
}

fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u32 = 0;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or_default());
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
