//! Changing the frame. Checksums are updated, not recomputed: a packet that was damaged on its way stays recognisable as such.

use crate::checksum::Delta;
use crate::flow::Flow;
use crate::frame::Frame;
use crate::parse::{ETHERNET, Packet};
use crate::report::Quoted;
use crate::row::{Address, Mac, protocol};
use crate::verdict::Drop;
use crate::world::World;

/// The station the frame goes to next, and the one it comes from.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn stations<F: Frame>(frame: &mut F, destination: Mac, source: Mac) -> Result<(), Drop> {
    let first = (destination.bits() << 16 | source.bits() >> 32).to_be_bytes();
    let second = (source.bits() as u32).to_be_bytes();
    frame.store::<8>(0, first).ok_or(Drop::Malformed)?;
    frame.store::<4>(8, second).ok_or(Drop::Malformed)
}

/// The link-layer address at offset `at`; six bytes at once would not be aligned on the kernel's stack.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn load_mac<F: Frame>(frame: &F, at: usize) -> Option<Mac> {
    Some(Mac::from_bits(u64::from_be_bytes(frame.load::<8>(at)?) >> 16))
}

/// Puts a link-layer address at offset `at`.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn store_mac<F: Frame>(frame: &mut F, at: usize, mac: Mac) -> Option<()> {
    frame.store::<4>(at, ((mac.bits() >> 16) as u32).to_be_bytes())?;
    frame.store::<2>(at + 4, (mac.bits() as u16).to_be_bytes())
}

/// Another destination port, nothing else.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn destination_port<F: Frame, W: World>(
    frame: &mut F,
    world: &W,
    packet: &Packet,
    flow: &Flow,
    port: u16,
) -> Result<(), Drop> {
    if port == flow.destination_port || packet.headless {
        return Ok(());
    }
    let delta = Delta::NONE.field(flow.destination_port as u32, port as u32);
    let ports = flow.destination_port as u32 ^ port as u32;
    transport_checksum(frame, world, packet, delta, ports)?;
    frame.store::<2>(packet.transport + 2, port.to_be_bytes()).ok_or(Drop::Malformed)
}

/// Other addresses and ports. The packet is routed by this: its hop limit goes down by one.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn endpoints<F: Frame, W: World>(
    frame: &mut F,
    world: &W,
    packet: &Packet,
    old: &Flow,
    new: &Flow,
) -> Result<(), Drop> {
    if packet.hop_limit <= 1 {
        return Err(Drop::HopLimit);
    }
    changed(frame, world, packet, (old, new), (packet.hop_limit, packet.hop_limit - 1))
}

/// Takes back what [`endpoints`] made of a packet, which is `new` now and was `old`.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn taken_back<F: Frame, W: World>(
    frame: &mut F,
    world: &W,
    packet: &Packet,
    old: &Flow,
    new: &Flow,
) -> Result<(), Drop> {
    changed(frame, world, packet, (new, old), (packet.hop_limit - 1, packet.hop_limit))
}

/// Other addresses and ports, and another hop limit, with all checksums: each from the first to the second.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn changed<F: Frame, W: World>(
    frame: &mut F,
    world: &W,
    packet: &Packet,
    (old, new): (&Flow, &Flow),
    limits: (u8, u8),
) -> Result<(), Drop> {
    let delta = addresses(packet, (old.source, old.destination), (new.source, new.destination));
    // Only its first piece has ports.
    if !packet.headless {
        let (old, new) = (old.ports(), new.ports());
        transport_checksum(frame, world, packet, delta.field(old, new), old ^ new)?;
        frame.store::<4>(packet.transport, new.to_be_bytes()).ok_or(Drop::Malformed)?;
    }
    network(frame, packet, delta, limits, (new.source, new.destination))
}

/// What other addresses make of a checksum.
#[inline(always)]
fn addresses(packet: &Packet, old: (Address, Address), new: (Address, Address)) -> Delta {
    if packet.v4 {
        Delta::NONE.field(old.0.v4_value(), new.0.v4_value()).field(old.1.v4_value(), new.1.v4_value())
    } else {
        Delta::NONE
            .wide(old.0.high, new.0.high)
            .wide(old.0.low, new.0.low)
            .wide(old.1.high, new.1.high)
            .wide(old.1.low, new.1.low)
    }
}

/// The network header with other addresses, of which `delta` is made, and another hop limit: each from the old to the new one.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn network<F: Frame>(
    frame: &mut F,
    packet: &Packet,
    delta: Delta,
    (old_limit, limit): (u8, u8),
    (source, destination): (Address, Address),
) -> Result<(), Drop> {
    if packet.v4 {
        let delta = delta.field((old_limit as u32) << 8, (limit as u32) << 8);
        let checksum = u16::from_be_bytes(frame.load::<2>(ETHERNET + 10).ok_or(Drop::Malformed)?);
        let addresses = (source.low << 32) | destination.v4_value() as u64;
        frame.store::<1>(ETHERNET + 8, [limit]).ok_or(Drop::Malformed)?;
        frame.store::<2>(ETHERNET + 10, delta.apply(checksum).to_be_bytes()).ok_or(Drop::Malformed)?;
        frame.store::<8>(ETHERNET + 12, addresses.to_be_bytes()).ok_or(Drop::Malformed)
    } else {
        frame.store::<1>(ETHERNET + 7, [limit]).ok_or(Drop::Malformed)?;
        store_address(frame, ETHERNET + 8, source)?;
        store_address(frame, ETHERNET + 24, destination)
    }
}

/// The network header of an answer: the addresses change places, and the hop limit is a new one.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn turned<F: Frame>(frame: &mut F, packet: &Packet, hop_limit: u8) -> Result<(), Drop> {
    network(frame, packet, Delta::NONE, (packet.hop_limit, hop_limit), (packet.destination, packet.source))
}

#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn store_address<F: Frame>(frame: &mut F, at: usize, address: Address) -> Result<(), Drop> {
    frame.store::<8>(at, address.high.to_be_bytes()).ok_or(Drop::Malformed)?;
    frame.store::<8>(at + 8, address.low.to_be_bytes()).ok_or(Drop::Malformed)
}

/// An ICMP error with another quotation and other addresses around it: `around` are its source and destination. The packet is routed
/// by this: its hop limit goes down by one.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn reported<F: Frame>(
    frame: &mut F,
    packet: &Packet,
    old: &Quoted,
    new: &Flow,
    around: (Address, Address),
) -> Result<(), Drop> {
    if packet.hop_limit <= 1 {
        return Err(Drop::HopLimit);
    }
    let delta = addresses(packet, (packet.source, packet.destination), around);
    // Around ICMPv6 there is a pseudo header, around ICMP none.
    if !packet.v4 {
        icmp_checksum(frame, packet, delta)?;
    }
    network(frame, packet, delta, (packet.hop_limit, packet.hop_limit - 1), around)?;
    quoted(frame, packet, old, new)
}

/// Another quotation in an ICMP error. A checksum of the quoted transport header stays: mostly it is not quoted, and nobody looks.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn quoted<F: Frame>(frame: &mut F, packet: &Packet, old: &Quoted, new: &Flow) -> Result<(), Drop> {
    let network = old.network;
    let delta = addresses(packet, (old.flow.source, old.flow.destination), (new.source, new.destination));
    if packet.v4 {
        // The quoted header's own checksum makes up for its addresses.
        let checksum = u16::from_be_bytes(frame.load::<2>(network + 10).ok_or(Drop::Malformed)?);
        let addresses = (new.source.low << 32) | new.destination.v4_value() as u64;
        frame.store::<2>(network + 10, delta.apply(checksum).to_be_bytes()).ok_or(Drop::Malformed)?;
        frame.store::<8>(network + 12, addresses.to_be_bytes()).ok_or(Drop::Malformed)?;
    } else {
        icmp_checksum(frame, packet, delta)?;
        store_address(frame, network + 8, new.source)?;
        store_address(frame, network + 24, new.destination)?;
    }
    icmp_checksum(frame, packet, Delta::NONE.field(old.flow.ports(), new.ports()))?;
    frame.store::<4>(old.transport, new.ports().to_be_bytes()).ok_or(Drop::Malformed)
}

#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn icmp_checksum<F: Frame>(frame: &mut F, packet: &Packet, delta: Delta) -> Result<(), Drop> {
    let at = packet.transport + 2;
    let checksum = u16::from_be_bytes(frame.load::<2>(at).ok_or(Drop::Malformed)?);
    frame.store::<2>(at, delta.apply(checksum).to_be_bytes()).ok_or(Drop::Malformed)
}

/// The transport header's checksum, after the addresses and ports that `delta` is made of changed; `ports`: the bits of both ports that
/// did.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn transport_checksum<F: Frame, W: World>(
    frame: &mut F,
    world: &W,
    packet: &Packet,
    delta: Delta,
    ports: u32,
) -> Result<(), Drop> {
    if packet.protocol == protocol::TCP {
        let at = packet.transport + 16;
        let checksum = u16::from_be_bytes(frame.load::<2>(at).ok_or(Drop::Malformed)?);
        return frame.store::<2>(at, delta.apply(checksum).to_be_bytes()).ok_or(Drop::Malformed);
    }
    if packet.protocol == protocol::SCTP {
        if ports == 0 {
            return Ok(());
        }
        // How much a changed byte counts depends on how many follow, and not all of them are here.
        if packet.fragment {
            return Err(Drop::Fragment);
        }
        let at = packet.transport + 8;
        let checksum = u32::from_le_bytes(frame.load::<4>(at).ok_or(Drop::Malformed)?);
        let checksum = checksum ^ world.crc(ports.swap_bytes(), packet.payload);
        return frame.store::<4>(at, checksum.to_le_bytes()).ok_or(Drop::Malformed);
    }
    let at = packet.transport + 6;
    let checksum = u16::from_be_bytes(frame.load::<2>(at).ok_or(Drop::Malformed)?);
    // A datagram over IPv4 may come without a checksum, written as zero; one that sums to zero is written as its complement.
    if checksum == 0 && packet.v4 {
        return Ok(());
    }
    let checksum = match delta.apply(checksum) {
        0 => 0xffff,
        checksum => checksum,
    };
    frame.store::<2>(at, checksum.to_be_bytes()).ok_or(Drop::Malformed)
}
