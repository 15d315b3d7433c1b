//! Who sends a packet that the link ahead does not carry is told how large it may be (MTU-1), as any router would: the frame becomes an
//! ICMP error that quotes it, and goes back. Its source is the address that the packet was for, so nothing needs to be configured, and
//! who looks only at the quotation, as hosts do, finds what it sent.
//!
//! Packets that may be cut on their way (IPv4 without "do not fragment") are told of as well: a sender of today then cuts them itself.

use crate::checksum::fold;
use crate::flow::Flow;
use crate::frame::Frame;
use crate::parse::{self, ETHERNET, ETHERTYPE_IPV4, ICMP, ICMPV6, IPV6_HEADER, Packet};
use crate::pipeline::ingress_link;
use crate::rewrite::{self, load_mac, stations, store_address};
use crate::row::Address;
use crate::stage::{Parcel, Stage};
use crate::verdict::{Drop, Sent, Stop, Verdict};
use crate::world::{Word, World};

/// Bytes of the packet that are quoted: any headers up to the ports and numbers behind them.
const QUOTED: usize = 128;
const IPV4_HEADER: usize = 20;
const ICMP_HEADER: usize = 8;
const HOP_LIMIT: u8 = 64;
/// Senders that one processor tells in a moment, an eighth of a tick: some eight thousand a second.
const MOST_TOLD: u32 = 1024;

/// The packet is of the first stage, which keeps no parcel for one that usually goes on.
const UNKEPT: u64 = 1 << 16;

/// Goes on where the link by which the packet is to leave carries it: the one by which it came always does. `mtu`: 0 is that of any.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn fits<F: Frame, W: World, const KEPT: bool>(
    frame: &F,
    world: &W,
    link: u32,
    mtu: u16,
) -> Result<(), Stop> {
    if link != world.ingress() && mtu != 0 && frame.len() > mtu as u32 + ETHERNET as u32 {
        limit(world, mtu as u64 | if KEPT { 0 } else { UNKEPT });
        return Err(Stop::Then(Stage::TooBig));
    }
    Ok(())
}

/// Says how large the packet at hand may be.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn limit<W: World>(world: &W, limit: u64) {
    if let Some(told) = world.told() {
        told[1].set(limit);
    }
}

/// Turns the frame into the error.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn tell<F: Frame, W: World>(frame: &mut F, world: &W) -> Result<Verdict, Stop> {
    let limit = world.told().map_or(0, |told| told[1].get());
    if limit & UNKEPT != 0 {
        parsed(frame)?.keep(world);
    }
    let limit = limit as u16;
    let parcel = Parcel::take(world);
    let packet = &parcel.packet;
    let sender = load_mac(frame, 6).ok_or(Drop::Malformed)?;
    if packet.headless || sender.is_group() || !is_host(packet.source, packet.v4) || !may_tell(world) {
        return Err(Drop::TooBig.into());
    }
    let link = ingress_link(world).ok_or(Drop::UnknownLink)?;
    as_it_came(frame, world, &parcel)?;
    if packet.v4 {
        let sum = quote::<F, { IPV4_HEADER + ICMP_HEADER }>(frame)?;
        report_v4(frame, packet, limit, sum)?;
    } else {
        let sum = quote::<F, { IPV6_HEADER + ICMP_HEADER }>(frame)?;
        report_v6(frame, packet, limit, sum)?;
    }
    stations(frame, sender, link.mac())?;
    Ok(Verdict::Send(link.index(), Sent::SizeTold))
}

/// What the first stage knew of the packet.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn parsed<F: Frame>(frame: &F) -> Result<Parcel, Stop> {
    let ethertype = u16::from_be_bytes(frame.load::<2>(ETHERNET - 2).ok_or(Drop::Malformed)?);
    let packet = if ethertype == ETHERTYPE_IPV4 { parse::ipv4(frame) } else { parse::ipv6(frame) };
    let packet = packet.ok_or(Drop::Malformed)?;
    let segment = parse::transport(frame, &packet)?;
    Ok(Parcel::with(packet, segment))
}

/// Whether an address is one host's: nobody else gets an error (RFC 1122, 3.2.2; RFC 4443, 2.4).
#[inline(always)]
const fn is_host(address: Address, v4: bool) -> bool {
    if v4 {
        let first = (address.low >> 24) as u8;
        first != 0 && first != 127 && first < 224
    } else {
        address.high >> 56 != 0xff && (address.high | address.low) != 0
    }
}

/// Whether there is room for one more at this moment (RFC 4443, 2.4 (f)).
#[cfg_attr(target_arch = "bpf", inline(always))]
fn may_tell<W: World>(world: &W) -> bool {
    let Some(told) = world.told() else { return false };
    let (moment, word) = (world.moment(), told[0].get());
    let count = if (word >> 32) as u32 == moment { word as u32 } else { 0 };
    if count >= MOST_TOLD {
        return false;
    }
    told[0].set((moment as u64) << 32 | (count + 1) as u64);
    true
}

/// A packet that was on its way to a route already has the address and port that its receiver is to see.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn as_it_came<F: Frame, W: World>(frame: &mut F, world: &W, parcel: &Parcel) -> Result<(), Drop> {
    let packet = &parcel.packet;
    let (source, destination) = if packet.v4 {
        let addresses = u64::from_be_bytes(frame.load::<8>(ETHERNET + 12).ok_or(Drop::Malformed)?);
        (Address::v4((addresses >> 32) as u32), Address::v4(addresses as u32))
    } else {
        let source = parse::address(frame, ETHERNET + 8).ok_or(Drop::Malformed)?;
        (source, parse::address(frame, ETHERNET + 24).ok_or(Drop::Malformed)?)
    };
    let sent = parcel.flow();
    let ports = u32::from_be_bytes(frame.load::<4>(packet.transport).ok_or(Drop::Malformed)?);
    let now = Flow {
        source,
        destination,
        source_port: (ports >> 16) as u16,
        destination_port: ports as u16,
        protocol: packet.protocol,
    };
    if source == sent.source && destination == sent.destination && now.ports() == sent.ports() {
        return Ok(());
    }
    rewrite::taken_back(frame, world, packet, &sent, &now)
}

/// Makes room for `HEAD` bytes of headers in front of the first bytes of the packet, and drops the rest of it. Gives the sum of what is
/// quoted.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn quote<F: Frame, const HEAD: usize>(frame: &mut F) -> Result<u64, Drop> {
    frame.cut((ETHERNET + HEAD + QUOTED) as u32).ok_or(Drop::TooBig)?;
    let mut sum = 0;
    let mut at = ETHERNET + QUOTED;
    while at > ETHERNET {
        at -= 8;
        let word = frame.load::<8>(at).ok_or(Drop::Malformed)?;
        frame.store::<8>(at + HEAD, word).ok_or(Drop::Malformed)?;
        sum += halves(u64::from_be_bytes(word));
    }
    Ok(sum)
}

/// Both halves of a word, to be summed.
#[inline(always)]
const fn halves(word: u64) -> u64 {
    (word >> 32) + (word & 0xffff_ffff)
}

/// Destination unreachable: fragmentation needed (RFC 1191).
#[cfg_attr(target_arch = "bpf", inline(always))]
fn report_v4<F: Frame>(frame: &mut F, packet: &Packet, limit: u16, sum: u64) -> Result<(), Drop> {
    const KIND: u64 = 0x0304 << 48;
    const TOTAL: u64 = (IPV4_HEADER + ICMP_HEADER + QUOTED) as u64;
    let addresses = packet.destination.low << 32 | packet.source.v4_value() as u64;
    let first = 0x45 << 56 | TOTAL << 32 | 0x4000;
    let second = (HOP_LIMIT as u64) << 24 | (ICMP as u64) << 16;
    let checksum = !fold(halves(first) + second + halves(addresses));
    let icmp = KIND | limit as u64;
    let icmp = icmp | (!fold(sum + halves(icmp)) as u64) << 32;
    frame.store::<8>(ETHERNET, first.to_be_bytes()).ok_or(Drop::Malformed)?;
    frame.store::<4>(ETHERNET + 8, (second as u32 | checksum as u32).to_be_bytes()).ok_or(Drop::Malformed)?;
    frame.store::<8>(ETHERNET + 12, addresses.to_be_bytes()).ok_or(Drop::Malformed)?;
    frame.store::<8>(ETHERNET + IPV4_HEADER, icmp.to_be_bytes()).ok_or(Drop::Malformed)
}

/// Packet too big (RFC 4443, 3.2).
#[cfg_attr(target_arch = "bpf", inline(always))]
fn report_v6<F: Frame>(frame: &mut F, packet: &Packet, limit: u16, sum: u64) -> Result<(), Drop> {
    const KIND: u64 = 0x0200 << 48;
    const PAYLOAD: u64 = (ICMP_HEADER + QUOTED) as u64;
    let icmp = KIND | limit as u64;
    let (from, to) = (packet.destination, packet.source);
    let addresses = halves(from.high) + halves(from.low) + halves(to.high) + halves(to.low);
    let icmp = icmp | (!fold(sum + halves(icmp) + addresses + PAYLOAD + ICMPV6 as u64) as u64) << 32;
    let first = 6 << 60 | PAYLOAD << 16 | (ICMPV6 as u64) << 8 | HOP_LIMIT as u64;
    frame.store::<8>(ETHERNET, first.to_be_bytes()).ok_or(Drop::Malformed)?;
    store_address(frame, ETHERNET + 8, from)?;
    store_address(frame, ETHERNET + 24, to)?;
    frame.store::<8>(ETHERNET + IPV6_HEADER, icmp.to_be_bytes()).ok_or(Drop::Malformed)
}
