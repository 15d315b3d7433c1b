//! Changing the frame. Checksums are updated, not recomputed: a packet that was damaged on its way stays recognisable as such.

use crate::checksum::Delta;
use crate::flow::Flow;
use crate::frame::Frame;
use crate::parse::{ETHERNET, Packet};
use crate::row::{Mac, protocol};
use crate::verdict::Drop;

/// The station the frame goes to next, and the one it comes from.
#[inline(always)]
pub(crate) fn stations<F: Frame>(frame: &mut F, destination: Mac, source: Mac) -> Result<(), Drop> {
    let first = (destination.bits() << 16 | source.bits() >> 32).to_be_bytes();
    let second = (source.bits() as u32).to_be_bytes();
    frame.store::<8>(0, first).ok_or(Drop::Malformed)?;
    frame.store::<4>(8, second).ok_or(Drop::Malformed)
}

/// The link-layer address at offset `at`; six bytes at once would not be aligned on the kernel's stack.
#[inline(always)]
pub(crate) fn load_mac<F: Frame>(frame: &F, at: usize) -> Option<Mac> {
    Some(Mac::from_bits(u64::from_be_bytes(frame.load::<8>(at)?) >> 16))
}

/// Puts a link-layer address at offset `at`.
#[inline(always)]
pub(crate) fn store_mac<F: Frame>(frame: &mut F, at: usize, mac: Mac) -> Option<()> {
    frame.store::<4>(at, ((mac.bits() >> 16) as u32).to_be_bytes())?;
    frame.store::<2>(at + 4, (mac.bits() as u16).to_be_bytes())
}

/// Another destination port, nothing else.
#[inline(always)]
pub(crate) fn destination_port<F: Frame>(
    frame: &mut F,
    packet: &Packet,
    flow: &Flow,
    port: u16,
) -> Result<(), Drop> {
    if port == flow.destination_port {
        return Ok(());
    }
    let delta = Delta::NONE.field(flow.destination_port as u32, port as u32);
    transport_checksum(frame, packet, delta)?;
    frame.store::<2>(packet.transport + 2, port.to_be_bytes()).ok_or(Drop::Malformed)
}

/// Other addresses and ports. The packet is routed by this: its hop limit goes down by one.
#[inline(always)]
pub(crate) fn endpoints<F: Frame>(
    frame: &mut F,
    packet: &Packet,
    old: &Flow,
    new: &Flow,
) -> Result<(), Drop> {
    if packet.hop_limit <= 1 {
        return Err(Drop::HopLimit);
    }
    let addresses = if packet.v4 {
        Delta::NONE
            .field(old.source.v4_value(), new.source.v4_value())
            .field(old.destination.v4_value(), new.destination.v4_value())
    } else {
        Delta::NONE
            .wide(old.source.high, new.source.high)
            .wide(old.source.low, new.source.low)
            .wide(old.destination.high, new.destination.high)
            .wide(old.destination.low, new.destination.low)
    };
    let old_ports = (old.source_port as u32) << 16 | old.destination_port as u32;
    let new_ports = (new.source_port as u32) << 16 | new.destination_port as u32;
    transport_checksum(frame, packet, addresses.field(old_ports, new_ports))?;
    frame.store::<4>(packet.transport, new_ports.to_be_bytes()).ok_or(Drop::Malformed)?;
    if packet.v4 {
        let old_limit = (packet.hop_limit as u32) << 8;
        let delta = addresses.field(old_limit, old_limit - 0x100);
        let checksum = u16::from_be_bytes(frame.load::<2>(ETHERNET + 10).ok_or(Drop::Malformed)?);
        let new_addresses = (new.source.low << 32) | new.destination.v4_value() as u64;
        frame.store::<1>(ETHERNET + 8, [packet.hop_limit - 1]).ok_or(Drop::Malformed)?;
        frame.store::<2>(ETHERNET + 10, delta.apply(checksum).to_be_bytes()).ok_or(Drop::Malformed)?;
        frame.store::<8>(ETHERNET + 12, new_addresses.to_be_bytes()).ok_or(Drop::Malformed)
    } else {
        frame.store::<1>(ETHERNET + 7, [packet.hop_limit - 1]).ok_or(Drop::Malformed)?;
        frame.store::<8>(ETHERNET + 8, new.source.high.to_be_bytes()).ok_or(Drop::Malformed)?;
        frame.store::<8>(ETHERNET + 16, new.source.low.to_be_bytes()).ok_or(Drop::Malformed)?;
        frame.store::<8>(ETHERNET + 24, new.destination.high.to_be_bytes()).ok_or(Drop::Malformed)?;
        frame.store::<8>(ETHERNET + 32, new.destination.low.to_be_bytes()).ok_or(Drop::Malformed)
    }
}

#[inline(always)]
fn transport_checksum<F: Frame>(frame: &mut F, packet: &Packet, delta: Delta) -> Result<(), Drop> {
    if packet.protocol == protocol::TCP {
        let at = packet.transport + 16;
        let checksum = u16::from_be_bytes(frame.load::<2>(at).ok_or(Drop::Malformed)?);
        return frame.store::<2>(at, delta.apply(checksum).to_be_bytes()).ok_or(Drop::Malformed);
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
