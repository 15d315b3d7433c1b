//! Frames as a line that people read, and back: `eth client > balancer / ip4 192.0.2.7 > 10.0.0.100 / tcp 40000 > 80 syn / "abc"`.
//!
//! What a line does not say has its usual value: lengths and checksums are right, hop limits are 64. A layer says what differs
//! (`ttl 1`, `sum 0x1234`, `length 9`), so that every frame has a line and every line one frame. Nothing here is the data path's:
//! lengths and checksums are counted anew, the simplest way.

use std::fmt::Write;
use std::iter::Peekable;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::SplitWhitespace;

/// The frame of a line.
pub fn build(line: &str) -> Vec<u8> {
    let layers = layers(line);
    let tail = layers.iter().position(|layer| first_word(layer) == "padding").unwrap_or(layers.len());
    let mut frame = encode(&layers[..tail], &Around::Nothing);
    for layer in &layers[tail..] {
        let mut words = Words::of(layer);
        match words.next() {
            "padding" => frame.resize(frame.len() + words.number(), 0),
            "cut" => frame.truncate(words.number()),
            other => panic!("`{other}` cannot follow padding"),
        }
        words.end();
    }
    frame
}

/// The line of a frame.
pub fn describe(frame: &[u8]) -> String {
    if frame.len() < 14 {
        return payload(frame).concat();
    }
    let (header, rest) = frame.split_at(14);
    let kind = u16::from_be_bytes([header[12], header[13]]);
    let mut ethernet = format!("eth {} > {}", station(&header[6..12]), station(&header[..6]));
    let inner = described(&mut ethernet, kind, rest);
    [vec![ethernet], inner].concat().join(" / ")
}

/// Names of the stations of the scenes; others are written in hexadecimal digits.
const STATIONS: [(&str, [u8; 6]); 6] = [
    ("balancer", [2, 0, 0, 0, 1, 1]),
    ("balancer-2", [2, 0, 0, 0, 1, 2]),
    ("client", [2, 0, 0, 0, 3, 1]),
    ("router", [2, 0, 0, 0, 2, 254]),
    ("stranger", [2, 0, 0, 0, 9, 9]),
    ("everyone", [255; 6]),
];
/// Where members' stations begin: `member-4` is the station of every member whose address ends with 4.
const MEMBERS: [u8; 5] = [2, 0, 0, 0, 2];

const IP4: u16 = 0x0800;
const IP6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
const VLAN: u16 = 0x8100;
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
const ICMP4: u8 = 1;
const ICMP6: u8 = 58;
const FLAGS: [&str; 8] = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"];
const EXTENSIONS: [(&str, u8); 5] =
    [("hop-by-hop", 0), ("routing", 43), ("fragment", 44), ("authentication", 51), ("destination", 60)];
const MESSAGES: [(&str, u8, u8); 12] = [
    ("echo", ICMP4, 8),
    ("reply", ICMP4, 0),
    ("unreachable", ICMP4, 3),
    ("exceeded", ICMP4, 11),
    ("problem", ICMP4, 12),
    ("echo", ICMP6, 128),
    ("reply", ICMP6, 129),
    ("unreachable", ICMP6, 1),
    ("too-big", ICMP6, 2),
    ("exceeded", ICMP6, 3),
    ("solicitation", ICMP6, 135),
    ("advertisement", ICMP6, 136),
];

/// The network header around a transport header.
enum Around {
    Nothing,
    V4([u8; 8]),
    V6([u8; 32]),
}

impl Around {
    fn pseudo_header(&self, protocol: u8, length: usize) -> Vec<u8> {
        match self {
            Self::Nothing => Vec::new(),
            Self::V4(addresses) => [&addresses[..], &[0, protocol], &(length as u16).to_be_bytes()].concat(),
            Self::V6(addresses) => {
                [&addresses[..], &(length as u32).to_be_bytes(), &[0, 0, 0, protocol]].concat()
            }
        }
    }
}

/// The words of a layer, in their order.
struct Words<'a>(&'a str, Peekable<SplitWhitespace<'a>>);

impl<'a> Words<'a> {
    fn of(layer: &'a str) -> Self {
        Self(layer, layer.split_whitespace().peekable())
    }

    fn next(&mut self) -> &'a str {
        self.1.next().unwrap_or_else(|| panic!("`{}` says too little", self.0))
    }

    fn number(&mut self) -> usize {
        let word = self.next();
        let number = match word.strip_prefix("0x") {
            Some(digits) => usize::from_str_radix(digits, 16).ok(),
            None => word.parse().ok(),
        };
        number.unwrap_or_else(|| panic!("`{word}` in `{}` is no number", self.0))
    }

    /// Whether this word is next; it is then taken.
    fn flag(&mut self, word: &str) -> bool {
        self.1.next_if_eq(&word).is_some()
    }

    /// The number behind this word, or another one.
    fn or(&mut self, word: &str, otherwise: usize) -> usize {
        if self.flag(word) { self.number() } else { otherwise }
    }

    /// The checksum that is written.
    fn sum(&mut self, right: u32, mask: u32) -> u32 {
        if !self.flag("sum") {
            return right;
        }
        if self.flag("bad") {
            return (right ^ 0x5555_5555) & mask;
        }
        self.number() as u32
    }

    fn pair(&mut self) -> (&'a str, &'a str) {
        let first = self.next();
        assert_eq!(self.next(), ">", "in `{}`", self.0);
        (first, self.next())
    }

    fn end(mut self) {
        assert_eq!(self.1.next(), None, "in `{}`: unknown, or not in its place", self.0);
    }
}

fn layers(line: &str) -> Vec<&str> {
    line.split(" / ").map(str::trim).filter(|layer| !layer.is_empty()).collect()
}

fn first_word(layer: &str) -> &str {
    layer.split_whitespace().next().unwrap_or("")
}

fn encode(layers: &[&str], around: &Around) -> Vec<u8> {
    let Some((layer, inner)) = layers.split_first() else { return Vec::new() };
    let mut words = Words::of(layer);
    let next = inner.first().map_or("", |layer| first_word(layer));
    let bytes = match words.next() {
        "eth" => {
            let (from, to) = words.pair();
            let kind = words.or("kind", ethertype(next).into()) as u16;
            [&bytes_of(to)[..], &bytes_of(from), &kind.to_be_bytes(), &encode(inner, around)].concat()
        }
        "vlan" => {
            let tag = words.number() as u16;
            let kind = words.or("kind", ethertype(next).into()) as u16;
            [&tag.to_be_bytes()[..], &kind.to_be_bytes(), &encode(inner, around)].concat()
        }
        "arp" => arp(&mut words),
        "ip4" => ip4(&mut words, next, inner),
        "ip6" => ip6(&mut words, next, inner),
        name if EXTENSIONS.iter().any(|(other, _)| *other == name) => {
            extension(&mut words, name, next, &encode(inner, around))
        }
        "tcp" => tcp(&mut words, &encode(inner, around), around),
        "udp" => udp(&mut words, &encode(inner, around), around),
        "sctp" => sctp(&mut words, &encode(inner, around)),
        "icmp4" => icmp(&mut words, ICMP4, &encode(inner, &Around::Nothing), &Around::Nothing),
        "icmp6" => icmp(&mut words, ICMP6, &encode(inner, &Around::Nothing), around),
        "chunk" => {
            let (kind, inner) = (words.number() as u8, encode(inner, around));
            [&[kind, 0][..], &(4 + inner.len() as u16).to_be_bytes(), &inner].concat()
        }
        "about" => {
            let address: Ipv6Addr = words.next().parse().expect("an IPv6 address");
            [&address.octets()[..], &encode(inner, around)].concat()
        }
        "option" => {
            let kind = words.number() as u8;
            [&[kind, 1][..], &bytes_of(words.next()), &encode(inner, around)].concat()
        }
        "bytes" => (0..words.number()).map(|at| at as u8).collect(),
        "hex" => unhex(words.next()),
        text if text.starts_with('"') => {
            let text = layer.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            return text.expect("a text ends with quotation marks").into();
        }
        other => panic!("there is no layer `{other}`"),
    };
    words.end();
    bytes
}

fn arp(words: &mut Words<'_>) -> Vec<u8> {
    let kind = match words.next() {
        "request" => 1,
        "reply" => 2,
        other => panic!("`{other}` is no ARP packet"),
    };
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, kind];
    for _ in 0..2 {
        packet.extend(bytes_of(words.next()));
        packet.extend(words.next().parse::<Ipv4Addr>().expect("an IPv4 address").octets());
        words.flag(">");
    }
    packet
}

fn ip4(words: &mut Words<'_>, next: &str, inner: &[&str]) -> Vec<u8> {
    let (from, to) = words.pair();
    let octets = |text: &str| text.parse::<Ipv4Addr>().expect("an IPv4 address").octets();
    let addresses = [octets(from), octets(to)].concat();
    let ttl = words.or("ttl", 64) as u8;
    let id = words.or("id", 0) as u16;
    let flags = (u16::from(words.flag("df")) << 14) | (u16::from(words.flag("mf")) << 13);
    let offset = words.or("offset", 0) as u16;
    let options = words.or("options", 0);
    let protocol = words.or("protocol", protocol(next).into()) as u8;
    let around = Around::V4(addresses.clone().try_into().expect("two addresses"));
    let payload = encode(inner, &around);
    let length = words.or("length", 20 + options + payload.len()) as u16;
    let mut header = vec![0x45 + (options / 4) as u8, 0];
    header.extend([length.to_be_bytes(), id.to_be_bytes(), (flags | offset).to_be_bytes()].concat());
    header.extend([ttl, protocol, 0, 0]);
    header.extend(addresses);
    header.resize(20 + options, 1);
    let sum = words.sum(internet_checksum(&[&header]).into(), 0xffff) as u16;
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    [header, payload].concat()
}

fn ip6(words: &mut Words<'_>, next: &str, inner: &[&str]) -> Vec<u8> {
    let (from, to) = words.pair();
    let octets = |text: &str| text.parse::<Ipv6Addr>().expect("an IPv6 address").octets();
    let addresses = [octets(from), octets(to)].concat();
    let hops = words.or("hops", 64) as u8;
    let next = words.or("next", protocol(next).into()) as u8;
    let around = Around::V6(addresses.clone().try_into().expect("two addresses"));
    let payload = encode(inner, &around);
    let length = words.or("length", payload.len()) as u16;
    [&[0x60, 0, 0, 0][..], &length.to_be_bytes(), &[next, hops], &addresses, &payload].concat()
}

fn extension(words: &mut Words<'_>, name: &str, next: &str, inner: &[u8]) -> Vec<u8> {
    let header = match name {
        "fragment" => {
            let id = words.number() as u32;
            let offset = words.or("offset", 0) as u16;
            let more = u16::from(words.flag("more"));
            [&[0, 0][..], &(offset << 3 | more).to_be_bytes(), &id.to_be_bytes()].concat()
        }
        "routing" => vec![0, 0, 4, words.number() as u8, 0, 0, 0, 0],
        _ => {
            let more = words.or("more", 0);
            let mut header = vec![0, more as u8, 1, 4];
            header.resize(8 + 8 * more, 0);
            header
        }
    };
    let next = words.or("next", protocol(next).into()) as u8;
    [&[next][..], &header[1..], inner].concat()
}

fn tcp(words: &mut Words<'_>, inner: &[u8], around: &Around) -> Vec<u8> {
    let mut segment = ports(words);
    let flags = words.next();
    let flag = |name| 1u8 << FLAGS.iter().position(|flag| *flag == name).expect("a flag of TCP");
    let flags = if flags == "none" { 0 } else { flags.split('+').map(flag).sum() };
    let (seq, ack) = (words.or("seq", 0) as u32, words.or("ack", 0) as u32);
    let window = words.or("window", 65_535) as u16;
    let options = if words.flag("options") { unhex(words.next()) } else { Vec::new() };
    segment.extend([seq.to_be_bytes(), ack.to_be_bytes()].concat());
    segment.extend([(5 + options.len() as u8 / 4) << 4, flags]);
    segment.extend(window.to_be_bytes());
    segment.extend([0; 4]);
    segment.extend(options);
    segment.extend(inner);
    let sum = internet_checksum(&[&around.pseudo_header(TCP, segment.len()), &segment]);
    let sum = words.sum(sum.into(), 0xffff) as u16;
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    segment
}

fn udp(words: &mut Words<'_>, inner: &[u8], around: &Around) -> Vec<u8> {
    let mut datagram = ports(words);
    let length = words.or("length", 8 + inner.len()) as u16;
    datagram.extend(length.to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(inner);
    let sum = datagram_checksum(&datagram, around);
    let sum = words.sum(sum.into(), 0xffff) as u16;
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    datagram
}

fn datagram_checksum(datagram: &[u8], around: &Around) -> u16 {
    match internet_checksum(&[&around.pseudo_header(UDP, datagram.len()), datagram]) {
        0 => 0xffff,
        sum => sum,
    }
}

fn sctp(words: &mut Words<'_>, inner: &[u8]) -> Vec<u8> {
    let mut packet = ports(words);
    packet.extend((words.or("tag", 0) as u32).to_be_bytes());
    packet.extend([0; 4]);
    packet.extend(inner);
    let sum = words.sum(crc32c(&packet), !0);
    packet[8..12].copy_from_slice(&sum.to_le_bytes());
    packet
}

fn icmp(words: &mut Words<'_>, protocol: u8, inner: &[u8], around: &Around) -> Vec<u8> {
    let name = words.next();
    let of = MESSAGES.iter().find(|(other, of, _)| *other == name && *of == protocol);
    let kind = of.map_or_else(|| name.parse().expect("the number of a message"), |(_, _, kind)| *kind);
    let code = words.or("code", 0) as u8;
    let rest = words.or("rest", 0) as u32;
    let mut message = [&[kind, code, 0, 0][..], &rest.to_be_bytes(), inner].concat();
    let sum = internet_checksum(&[&around.pseudo_header(protocol, message.len()), &message]);
    let sum = words.sum(sum.into(), 0xffff) as u16;
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

fn ports(words: &mut Words<'_>) -> Vec<u8> {
    let (from, to) = words.pair();
    let port = |text: &str| text.parse::<u16>().expect("a port").to_be_bytes();
    [port(from), port(to)].concat()
}

fn ethertype(next: &str) -> u16 {
    match next {
        "ip4" => IP4,
        "ip6" => IP6,
        "arp" => ARP,
        "vlan" => VLAN,
        _ => 0,
    }
}

fn protocol(next: &str) -> u8 {
    match next {
        "tcp" => TCP,
        "udp" => UDP,
        "sctp" => SCTP,
        "icmp4" => ICMP4,
        "icmp6" => ICMP6,
        _ => EXTENSIONS.iter().find(|(name, _)| *name == next).map_or(59, |(_, number)| *number),
    }
}

/// The layers behind a header that names what follows; what it names wrongly is added to its own words.
fn described(header: &mut String, kind: u16, bytes: &[u8]) -> Vec<String> {
    let layers = match kind {
        IP4 => describe_ip4(bytes),
        IP6 => describe_ip6(bytes),
        ARP => describe_arp(bytes),
        VLAN if bytes.len() >= 4 => {
            let mut tag = format!("vlan {}", u16::from_be_bytes([bytes[0], bytes[1]]));
            let inner = described(&mut tag, u16::from_be_bytes([bytes[2], bytes[3]]), &bytes[4..]);
            Some([vec![tag], inner].concat())
        }
        _ => None,
    };
    layers.unwrap_or_else(|| {
        write!(header, " kind 0x{kind:04x}").expect("a text");
        payload(bytes)
    })
}

fn describe_arp(bytes: &[u8]) -> Option<Vec<String>> {
    let (packet, rest) = bytes.split_at_checked(28)?;
    let kind = match packet[..8] {
        [0, 1, 8, 0, 6, 4, 0, 1] => "request",
        [0, 1, 8, 0, 6, 4, 0, 2] => "reply",
        _ => return None,
    };
    let ip = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).expect("four bytes"));
    let (sender, target) = (station(&packet[8..14]), station(&packet[18..24]));
    let mut layers = vec![format!("arp {kind} {sender} {} > {target} {}", ip(14), ip(24))];
    layers.extend(padding(rest)?);
    Some(layers)
}

fn describe_ip4(bytes: &[u8]) -> Option<Vec<String>> {
    let words = usize::from(*bytes.first()? & 0x0f);
    let (header, rest) = bytes.split_at_checked(words * 4)?;
    if bytes[0] >> 4 != 4 || words < 5 || header[1] != 0 || header[20..].iter().any(|byte| *byte != 1) {
        return None;
    }
    let half = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let ip = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&header[at..at + 4]).expect("four bytes"));
    let mut text = format!("ip4 {} > {}", ip(12), ip(16));
    let mut say = |word: &str, value: usize, usual: usize| {
        if value != usual {
            write!(text, " {word} {value}").expect("a text");
        }
    };
    say("ttl", header[8].into(), 64);
    say("id", half(4).into(), 0);
    let flags = half(6);
    if flags & 0x8000 != 0 {
        return None;
    }
    let offset = flags & 0x1fff;
    for (word, bit) in [("df", 0x4000), ("mf", 0x2000)] {
        if flags & bit != 0 {
            write!(text, " {word}").expect("a text");
        }
    }
    let mut say = |word: &str, value: usize, usual: usize| {
        if value != usual {
            write!(text, " {word} {value}").expect("a text");
        }
    };
    say("offset", offset.into(), 0);
    say("options", header.len() - 20, 0);
    let length = usize::from(half(2));
    let (inside, tail) = rest.split_at_checked(length.saturating_sub(header.len())).unwrap_or((rest, &[]));
    let around = Around::V4(header[12..20].try_into().expect("two addresses"));
    let inner = describe_inner(header[9], offset == 0, inside, &around);
    let named = inner.first().map_or(59, |layer| protocol(first_word(layer)));
    say("protocol", header[9].into(), named.into());
    say("length", length, header.len() + inside.len());
    let mut zeroed = header.to_vec();
    zeroed[10..12].fill(0);
    if half(10) != internet_checksum(&[&zeroed]) {
        write!(text, " sum 0x{:04x}", half(10)).expect("a text");
    }
    Some([vec![text], inner, padding(tail)?].concat())
}

fn describe_ip6(bytes: &[u8]) -> Option<Vec<String>> {
    let (header, rest) = bytes.split_at_checked(40)?;
    if header[..4] != [0x60, 0, 0, 0] {
        return None;
    }
    let ip = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&header[at..at + 16]).expect("16 bytes"));
    let mut text = format!("ip6 {} > {}", ip(8), ip(24));
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let (inside, tail) = rest.split_at_checked(length).unwrap_or((rest, &[]));
    let around = Around::V6(header[8..40].try_into().expect("two addresses"));
    let inner = describe_inner(header[6], true, inside, &around);
    let named = inner.first().map_or(59, |layer| protocol(first_word(layer)));
    let mut say = |word: &str, value: usize, usual: usize| {
        if value != usual {
            write!(text, " {word} {value}").expect("a text");
        }
    };
    say("hops", header[7].into(), 64);
    say("next", header[6].into(), named.into());
    say("length", length, inside.len());
    Some([vec![text], inner, padding(tail)?].concat())
}

/// What a network header carries: where it cannot be told in words, or is no header, its bytes.
fn describe_inner(protocol: u8, has_header: bool, bytes: &[u8], around: &Around) -> Vec<String> {
    let layers = match protocol {
        _ if !has_header => None,
        TCP => describe_tcp(bytes, around),
        UDP => describe_udp(bytes, around),
        SCTP => describe_sctp(bytes),
        ICMP4 => describe_icmp(bytes, ICMP4, &Around::Nothing),
        ICMP6 => describe_icmp(bytes, ICMP6, around),
        _ => describe_extension(protocol, bytes, around),
    };
    layers.unwrap_or_else(|| payload(bytes))
}

fn describe_extension(number: u8, bytes: &[u8], around: &Around) -> Option<Vec<String>> {
    let (name, _) = EXTENSIONS.iter().find(|(_, other)| *other == number)?;
    let first: &[u8; 8] = bytes.first_chunk()?;
    let (mut text, length, has_header) = match *name {
        "fragment" => {
            let word = u16::from_be_bytes([first[2], first[3]]);
            let id = u32::from_be_bytes([first[4], first[5], first[6], first[7]]);
            let offset = if word >> 3 == 0 { String::new() } else { format!(" offset {}", word >> 3) };
            let more = if word & 1 == 0 { "" } else { " more" };
            (format!("fragment {id}{offset}{more}"), 8, word >> 3 == 0)
        }
        "routing" => (format!("routing {}", first[3]), 8, true),
        _ => {
            let more = if first[1] == 0 { String::new() } else { format!(" more {}", first[1]) };
            (format!("{name}{more}"), 8 + 8 * usize::from(first[1]), true)
        }
    };
    let inner = describe_inner(first[0], has_header, bytes.get(length..)?, around);
    let named = inner.first().map_or(59, |layer| protocol(first_word(layer)));
    if first[0] != named {
        write!(text, " next {}", first[0]).expect("a text");
    }
    Some([vec![text], inner].concat())
}

fn describe_tcp(bytes: &[u8], around: &Around) -> Option<Vec<String>> {
    let length = usize::from(*bytes.get(12)? >> 4) * 4;
    let (header, rest) = bytes.split_at_checked(length)?;
    if length < 20 || header[12] & 0x0f != 0 || header[18..20] != [0, 0] {
        return None;
    }
    let half = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let word = |at: usize| u32::from(half(at)) << 16 | u32::from(half(at + 2));
    let set = FLAGS.iter().enumerate().filter(|(bit, _)| header[13] >> bit & 1 != 0);
    let flags: Vec<&str> = set.map(|(_, name)| *name).collect();
    let flags = if flags.is_empty() { "none".to_owned() } else { flags.join("+") };
    let mut text = format!("tcp {} > {} {flags}", half(0), half(2));
    for (name, value, usual) in
        [("seq", word(4), 0), ("ack", word(8), 0), ("window", half(14).into(), 65_535)]
    {
        if value != usual {
            write!(text, " {name} {value}").expect("a text");
        }
    }
    if length > 20 {
        write!(text, " options {}", hex(&header[20..])).expect("a text");
    }
    let mut zeroed = bytes.to_vec();
    zeroed[16..18].fill(0);
    let sum = internet_checksum(&[&around.pseudo_header(TCP, bytes.len()), &zeroed]);
    if half(16) != sum {
        write!(text, " sum 0x{:04x}", half(16)).expect("a text");
    }
    Some([vec![text], payload(rest)].concat())
}

fn describe_udp(bytes: &[u8], around: &Around) -> Option<Vec<String>> {
    let (header, rest) = bytes.split_at_checked(8)?;
    let half = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let mut text = format!("udp {} > {}", half(0), half(2));
    if usize::from(half(4)) != bytes.len() {
        write!(text, " length {}", half(4)).expect("a text");
    }
    let mut zeroed = bytes.to_vec();
    zeroed[6..8].fill(0);
    if half(6) != datagram_checksum(&zeroed, around) {
        write!(text, " sum 0x{:04x}", half(6)).expect("a text");
    }
    Some([vec![text], payload(rest)].concat())
}

fn describe_sctp(bytes: &[u8]) -> Option<Vec<String>> {
    let (header, rest) = bytes.split_at_checked(12)?;
    let half = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let tag = u32::from(half(4)) << 16 | u32::from(half(6));
    let mut text = format!("sctp {} > {}", half(0), half(2));
    if tag != 0 {
        write!(text, " tag {tag}").expect("a text");
    }
    let mut zeroed = bytes.to_vec();
    zeroed[8..12].fill(0);
    let sum = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    if sum != crc32c(&zeroed) {
        write!(text, " sum 0x{sum:08x}").expect("a text");
    }
    let inner = match *rest {
        [kind, 0, high, low, ref inner @ ..]
            if usize::from(u16::from_be_bytes([high, low])) == rest.len() =>
        {
            [vec![format!("chunk {kind}")], payload(inner)].concat()
        }
        _ => payload(rest),
    };
    Some([vec![text], inner].concat())
}

fn describe_icmp(bytes: &[u8], protocol: u8, around: &Around) -> Option<Vec<String>> {
    let (header, rest) = bytes.split_at_checked(8)?;
    let of = MESSAGES.iter().find(|(_, of, kind)| *of == protocol && *kind == header[0]);
    let name = of.map_or_else(|| header[0].to_string(), |(name, ..)| (*name).to_owned());
    let mut text = format!("{} {name}", if protocol == ICMP4 { "icmp4" } else { "icmp6" });
    if header[1] != 0 {
        write!(text, " code {}", header[1]).expect("a text");
    }
    let word = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    if word != 0 {
        write!(text, " rest 0x{word:x}").expect("a text");
    }
    let mut zeroed = bytes.to_vec();
    zeroed[2..4].fill(0);
    let sum = u16::from_be_bytes([header[2], header[3]]);
    if sum != internet_checksum(&[&around.pseudo_header(protocol, bytes.len()), &zeroed]) {
        write!(text, " sum 0x{sum:04x}").expect("a text");
    }
    let inner = match name.as_str() {
        "unreachable" | "exceeded" | "problem" | "too-big" => match protocol {
            ICMP4 => describe_ip4(rest),
            _ => describe_ip6(rest),
        },
        "solicitation" | "advertisement" => describe_neighbour(rest),
        _ => None,
    };
    Some([vec![text], inner.unwrap_or_else(|| payload(rest))].concat())
}

fn describe_neighbour(bytes: &[u8]) -> Option<Vec<String>> {
    let (target, mut rest) = bytes.split_first_chunk::<16>()?;
    let mut layers = vec![format!("about {}", Ipv6Addr::from(*target))];
    while let Some((option, more)) = rest.split_first_chunk::<8>() {
        if option[1] != 1 {
            break;
        }
        layers.push(format!("option {} {}", option[0], station(&option[2..])));
        rest = more;
    }
    layers.extend(payload(rest));
    Some(layers)
}

fn payload(bytes: &[u8]) -> Vec<String> {
    let counted = |bytes: &[u8]| bytes.iter().enumerate().all(|(at, byte)| *byte == at as u8);
    let plain = |byte: &u8| (byte.is_ascii_graphic() && !b"\"/".contains(byte)) || *byte == b' ';
    match bytes {
        [] => Vec::new(),
        _ if counted(bytes) => vec![format!("bytes {}", bytes.len())],
        _ if bytes.iter().all(plain) => vec![format!("\"{}\"", String::from_utf8_lossy(bytes))],
        _ => vec![format!("hex {}", hex(bytes))],
    }
}

/// What stands behind a packet that says where it ends.
fn padding(bytes: &[u8]) -> Option<Vec<String>> {
    match bytes {
        [] => Some(Vec::new()),
        _ if bytes.iter().all(|byte| *byte == 0) => Some(vec![format!("padding {}", bytes.len())]),
        _ => None,
    }
}

fn station(bytes: &[u8]) -> String {
    if let Some((name, _)) = STATIONS.iter().find(|(_, other)| other == bytes) {
        return (*name).to_owned();
    }
    match bytes.strip_prefix(&MEMBERS) {
        Some([number]) => format!("member-{number}"),
        _ => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"),
    }
}

fn bytes_of(station: &str) -> [u8; 6] {
    if let Some((_, bytes)) = STATIONS.iter().find(|(name, _)| *name == station) {
        return *bytes;
    }
    if let Some(number) = station.strip_prefix("member-") {
        let number = [number.parse().expect("a member's number")];
        return [&MEMBERS[..], &number].concat().try_into().expect("six bytes");
    }
    unhex(&station.replace(':', "")).try_into().unwrap_or_else(|_| panic!("who is `{station}`?"))
}

/// Hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of hexadecimal digits.
pub fn unhex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.map(|pair| byte(pair).unwrap_or_else(|| panic!("`{digits}` are no digits"))).collect()
}

fn internet_checksum(parts: &[&[u8]]) -> u16 {
    let pairs = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum: u32 =
        pairs.map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn crc32c(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _| if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0x82f6_3b78 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
}
