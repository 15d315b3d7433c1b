//! Reading the headers, no further than the next question needs.

use crate::flow::Flow;
use crate::frame::Frame;
use crate::row::{Address, protocol};
use crate::verdict::Drop;

pub(crate) const ETHERNET: usize = 14;
pub(crate) const IPV6_HEADER: usize = 40;

pub(crate) const ETHERTYPE_IPV4: u16 = 0x0800;
pub(crate) const ETHERTYPE_ARP: u16 = 0x0806;
pub(crate) const ETHERTYPE_IPV6: u16 = 0x86dd;

const HOP_BY_HOP: u8 = 0;
pub(crate) const ROUTING: u8 = 43;
pub(crate) const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
pub(crate) const ICMP: u8 = 1;
pub(crate) const ICMPV6: u8 = 58;

/// The network layer of a packet.
#[derive(Clone, Copy)]
pub(crate) struct Packet {
    pub(crate) source: Address,
    pub(crate) destination: Address,
    pub(crate) protocol: u8,
    pub(crate) hop_limit: u8,
    /// A piece of a packet that was cut.
    pub(crate) fragment: bool,
    /// It has no transport header: it is not the first piece.
    pub(crate) headless: bool,
    pub(crate) v4: bool,
    /// Where the transport header begins, in the frame.
    pub(crate) transport: usize,
    /// Bytes that the packet says it has from there on.
    pub(crate) payload: u32,
}

/// IPv4, options included. `None`: not a packet.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn ipv4<F: Frame>(frame: &F) -> Option<Packet> {
    let [first, _, total_high, total_low] = frame.load::<4>(ETHERNET)?;
    let [flags, offset, hop_limit, protocol] = frame.load::<4>(ETHERNET + 6)?;
    let addresses = u64::from_be_bytes(frame.load::<8>(ETHERNET + 12)?);
    let header = ((first & 0x0f) as usize) * 4;
    let total = u16::from_be_bytes([total_high, total_low]) as u32;
    if first >> 4 != 4 || header < 20 || total < header as u32 || total + ETHERNET as u32 > frame.len() {
        return None;
    }
    Some(Packet {
        source: Address::v4((addresses >> 32) as u32),
        destination: Address::v4(addresses as u32),
        protocol,
        hop_limit,
        // More fragments follow, or this is not the first one.
        fragment: u16::from_be_bytes([flags, offset]) & 0x3fff != 0,
        headless: false,
        v4: true,
        transport: ETHERNET + header,
        payload: total - header as u32,
    })
}

/// IPv6 as far as its first header: with an extension header, the protocol is that one's number. `None`: not a packet.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn ipv6<F: Frame>(frame: &F) -> Option<Packet> {
    let [first, ..] = frame.load::<1>(ETHERNET)?;
    let [length_high, length_low, protocol, hop_limit] = frame.load::<4>(ETHERNET + 4)?;
    let source = address(frame, ETHERNET + 8)?;
    let destination = address(frame, ETHERNET + 24)?;
    let payload = u16::from_be_bytes([length_high, length_low]) as u32;
    if first >> 4 != 6 || payload + (ETHERNET + IPV6_HEADER) as u32 > frame.len() {
        return None;
    }
    // IPv4 addresses in mapped form stand for IPv4 in the tables; on a wire they mean nothing (RFC 4291).
    if source.is_v4() || destination.is_v4() {
        return None;
    }
    Some(Packet {
        source,
        destination,
        protocol,
        hop_limit,
        fragment: false,
        headless: false,
        v4: false,
        transport: ETHERNET + IPV6_HEADER,
        payload,
    })
}

#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn address<F: Frame>(frame: &F, at: usize) -> Option<Address> {
    let high = u64::from_be_bytes(frame.load::<8>(at)?);
    let low = u64::from_be_bytes(frame.load::<8>(at + 8)?);
    Some(Address::v6(high, low))
}

impl Packet {
    /// Whether its transport header is not where it mostly is: the packet is a piece, or has extension headers.
    #[inline(always)]
    pub(crate) const fn is_tangled(&self) -> bool {
        self.fragment || !self.v4 && is_extension(self.protocol)
    }

    /// Whether it is ICMP of its family.
    #[inline(always)]
    pub(crate) const fn is_icmp(&self) -> bool {
        self.protocol == if self.v4 { ICMP } else { ICMPV6 }
    }
}

/// What the transport header says.
#[derive(Clone, Copy)]
pub(crate) struct Segment {
    /// Both ports: the source's in the upper half.
    pub(crate) ports: u32,
    /// The packet begins its flow: a TCP SYN, an SCTP INIT. Datagrams do not show where a flow begins.
    pub(crate) start: bool,
}

impl Segment {
    /// Who speaks to whom.
    #[inline(always)]
    pub(crate) const fn flow(&self, packet: &Packet) -> Flow {
        Flow {
            source: packet.source,
            destination: packet.destination,
            source_port: (self.ports >> 16) as u16,
            destination_port: self.ports as u16,
            protocol: packet.protocol,
        }
    }
}

/// Whether this is the number of an extension header of IPv6 that is followed.
#[inline(always)]
pub(crate) const fn is_extension(protocol: u8) -> bool {
    matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS)
}

/// Whether the protocol's header begins with two ports, and a rule can be for it.
#[inline(always)]
pub(crate) const fn has_ports(protocol: u8) -> bool {
    matches!(protocol, protocol::TCP | protocol::UDP | protocol::SCTP)
}

/// The first chunk of an SCTP association.
const INIT: u8 = 1;

/// The transport header.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn transport<F: Frame>(frame: &F, packet: &Packet) -> Result<Segment, Drop> {
    let start = match packet.protocol {
        protocol::TCP => {
            if packet.payload < 20 {
                return Err(Drop::Malformed);
            }
            let Some([flags]) = frame.load::<1>(packet.transport + 13) else { return Err(Drop::Malformed) };
            // SYN without ACK, RST or FIN.
            flags & 0x17 == 0x02
        }
        protocol::UDP => {
            if packet.payload < 8 {
                return Err(Drop::Malformed);
            }
            false
        }
        protocol::SCTP => {
            if packet.payload < 16 {
                return Err(Drop::Malformed);
            }
            let Some([chunk]) = frame.load::<1>(packet.transport + 12) else { return Err(Drop::Malformed) };
            chunk == INIT
        }
        _ => return Err(Drop::Protocol),
    };
    let Some(ports) = frame.load::<4>(packet.transport) else { return Err(Drop::Malformed) };
    Ok(Segment { ports: u32::from_be_bytes(ports), start })
}
