//! What another parser says of a frame (etherparse), and checksums counted the simplest way: nothing here is the data path's.

use std::net::IpAddr;

use etherparse::{LaxNetSlice, LaxSlicedPacket, NetSlice, SlicedPacket};

const ICMP4: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP6: u8 = 58;
const SCTP: u8 = 132;

/// An IP packet, as another parser reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Who sent it, and to whom.
    pub ends: (IpAddr, IpAddr),
    /// What its last header says it carries.
    pub protocol: u8,
    /// It is whole, and not a piece.
    pub whole: bool,
    /// What it carries: transport header and data.
    pub transport: Vec<u8>,
    /// Its checksums by name, and whether each is right. One that is not written is not here.
    pub sums: Vec<(&'static str, bool)>,
}

impl Reading {
    /// The checksums that are wrong.
    pub fn wrong(&self) -> Vec<&'static str> {
        self.sums.iter().filter(|(_, right)| !right).map(|(name, _)| *name).collect()
    }
}

/// Reads a frame; `None` where it is none of IP, and why where it says so and contradicts itself.
pub fn read(frame: &[u8]) -> Result<Option<Reading>, String> {
    let packet = SlicedPacket::from_ethernet(frame).map_err(|why| why.to_string())?;
    let Some(net) = packet.net else { return Ok(None) };
    let (ends, header_sum) = match &net {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            let ends = (header.source_addr().into(), header.destination_addr().into());
            (ends, Some(complement_sum(&[header.slice()]) == 0))
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            ((header.source_addr().into(), header.destination_addr().into()), None)
        }
        NetSlice::Arp(_) => return Ok(None),
    };
    let Some(inside) = net.ip_payload_ref() else { return Ok(None) };
    let (protocol, whole, transport) = (inside.ip_number.0, !inside.fragmented, inside.payload.to_vec());
    let mut sums: Vec<(&'static str, bool)> =
        header_sum.map(|right| ("IPv4 header", right)).into_iter().collect();
    if whole {
        sums.extend(transport_sum(ends, protocol, &transport));
        sums.extend(quoted_sum(protocol, &transport));
    }
    Ok(Some(Reading { ends, protocol, whole, transport, sums }))
}

/// Whether the checksum of a transport header is right; `None` where there is none.
fn transport_sum(ends: (IpAddr, IpAddr), protocol: u8, bytes: &[u8]) -> Option<(&'static str, bool)> {
    let around = pseudo_header(ends, protocol, bytes.len());
    match protocol {
        TCP if bytes.len() >= 20 => Some(("TCP", complement_sum(&[&around, bytes]) == 0)),
        UDP if bytes.len() >= 8 => {
            // A datagram that says it is shorter than its packet has its sum over that much.
            let length = usize::from(u16::from_be_bytes([bytes[4], bytes[5]]));
            let datagram = bytes.get(..length).filter(|datagram| datagram.len() >= 8)?;
            let around = pseudo_header(ends, protocol, length);
            match (bytes[6], bytes[7], ends.0) {
                (0, 0, IpAddr::V4(_)) => None,
                (0, 0, IpAddr::V6(_)) => Some(("UDP", false)),
                _ => Some(("UDP", complement_sum(&[&around, datagram]) == 0)),
            }
        }
        SCTP if bytes.len() >= 12 => {
            let mut zeroed = bytes.to_vec();
            zeroed[8..12].fill(0);
            Some(("SCTP", bytes[8..12] == crc32c(&zeroed).to_le_bytes()))
        }
        ICMP4 if bytes.len() >= 8 => Some(("ICMP", complement_sum(&[bytes]) == 0)),
        ICMP6 if bytes.len() >= 8 => Some(("ICMPv6", complement_sum(&[&around, bytes]) == 0)),
        _ => None,
    }
}

/// Whether the header of the IPv4 packet is right that an error quotes.
fn quoted_sum(protocol: u8, bytes: &[u8]) -> Option<(&'static str, bool)> {
    if protocol != ICMP4 || !matches!(bytes.first()?, 3 | 11 | 12) {
        return None;
    }
    let quoted = LaxSlicedPacket::from_ip(bytes.get(8..)?).ok()?;
    match quoted.net? {
        LaxNetSlice::Ipv4(ip) => Some(("quoted IPv4 header", complement_sum(&[ip.header().slice()]) == 0)),
        LaxNetSlice::Ipv6(_) | LaxNetSlice::Arp(_) => None,
    }
}

fn pseudo_header((from, to): (IpAddr, IpAddr), protocol: u8, length: usize) -> Vec<u8> {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    [octets(from), octets(to), (length as u32).to_be_bytes().to_vec(), vec![0, 0, 0, protocol]].concat()
}

/// The ones' complement of the ones' complement sum: zero over everything that has a right checksum.
fn complement_sum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u64;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u64::from(pair[0]) * 256 + u64::from(pair.get(1).copied().unwrap_or_default());
        }
    }
    // A sum of words of 16 bits is zero modulo 0xffff where the complement is; no part here sums to nothing.
    if sum.is_multiple_of(0xffff) { 0 } else { !((sum % 0xffff) as u16) }
}

/// Bit by bit, as RFC 9260 has it.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0x82f6_3b78 };
        }
    }
    !crc
}

/// What any frame that is sent on owes to the one that came in: it can be read, its length stayed, and no checksum is wrong that was
/// right.
pub fn compare(before: &[u8], after: &[u8]) -> Result<(), String> {
    if before.len() != after.len() {
        return Err(format!("{} bytes became {}", before.len(), after.len()));
    }
    let Ok(came) = read(before) else {
        // The data path may take a packet for good that another parser, which reads further, does not.
        return Ok(());
    };
    let left = read(after)?;
    let (Some(came), Some(left)) = (&came, &left) else {
        return if came.is_some() == left.is_some() {
            Ok(())
        } else {
            Err("it is another protocol's".into())
        };
    };
    if came.sums.len() != left.sums.len() {
        return Err(format!("checksums were {:?} and are {:?}", came.sums, left.sums));
    }
    for ((name, was), (_, is)) in came.sums.iter().zip(&left.sums) {
        if was != is {
            return Err(format!("the checksum of {name} was {} and is {}", word(*was), word(*is)));
        }
    }
    if came.protocol != left.protocol
        || came.whole != left.whole
        || came.transport.len() != left.transport.len()
    {
        return Err("it carries something else".into());
    }
    Ok(())
}

/// What a sender owes who is told that its packet is too big: an error with right checksums, between the same two, that quotes what was
/// sent.
pub fn told(before: &[u8], after: &[u8]) -> Result<(), String> {
    let error = read(after)?.ok_or("it is no packet")?;
    if ![ICMP4, ICMP6].contains(&error.protocol) || !error.whole {
        return Err(format!("it is no error: {error:?}"));
    }
    let quoted = error.transport.get(8..).unwrap_or_default();
    if quoted.len() < 128 || !before.get(14..).is_some_and(|sent| sent.starts_with(quoted)) {
        return Err("it quotes something else".into());
    }
    if error.sums.iter().any(|(name, right)| name.starts_with("ICMP") && !right) {
        return Err(format!("its checksums are {:?}", error.sums));
    }
    match read(before) {
        Ok(Some(sent)) if error.ends != (sent.ends.1, sent.ends.0) => {
            Err(format!("{:?} is told what {:?} sent", error.ends, sent.ends))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

fn word(right: bool) -> &'static str {
    if right { "right" } else { "wrong" }
}
