//! The frontend address is nobody's: the data plane answers for it.

use crate::checksum::{Delta, fold};
use crate::frame::Frame;
use crate::parse::{ETHERNET, ETHERTYPE_ARP, IPV6_HEADER, Packet, address};
use crate::pipeline::{find_address, ingress_link};
use crate::report::is_echo_request;
use crate::rewrite::{self, load_mac, stations, store_mac};
use crate::row::{Address, Mac, Role};
use crate::stage::Parcel;
use crate::verdict::{Drop, Pass, Sent, Stop, Verdict};
use crate::world::World;

/// Whoever asks for a frontend's link-layer address gets this balancer's.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn answer<F: Frame, W: World>(frame: &mut F, world: &W) -> Result<Verdict, Stop> {
    let ethertype = u16::from_be_bytes(frame.load::<2>(12).ok_or(Pass::NotIp)?);
    if ethertype == ETHERTYPE_ARP {
        return arp(frame, world);
    }
    let packet = Parcel::take(world).packet;
    let [kind] = frame.load::<1>(packet.transport).ok_or(Pass::NotOurs)?;
    if is_echo_request(&packet, kind) {
        return echo(frame, world, &packet);
    }
    solicitation(frame, world, &packet)
}

/// Hop limit of answers.
const HOP_LIMIT: u8 = 64;

/// ICMP-2: an echo request to a frontend that has somebody who serves becomes its answer.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn echo<F: Frame, W: World>(frame: &mut F, world: &W, packet: &Packet) -> Result<Verdict, Stop> {
    let frontend = find_address(world, packet.destination).ok_or(Drop::Changing)?;
    let asker = load_mac(frame, 6).ok_or(Drop::Malformed)?;
    if !frontend.echoes() || asker.is_group() {
        world.count_unmatched(frontend.number());
        return Err(Drop::Icmp.into());
    }
    let link = ingress_link(world).ok_or(Drop::UnknownLink)?;
    let (request, reply) = if packet.v4 { (0x0800, 0) } else { (0x8000, 0x8100) };
    rewrite::icmp_checksum(frame, packet, Delta::NONE.field(request, reply))?;
    frame.store::<1>(packet.transport, [(reply >> 8) as u8]).ok_or(Drop::Malformed)?;
    rewrite::turned(frame, packet, HOP_LIMIT)?;
    stations(frame, asker, link.mac())?;
    Ok(Verdict::Send(link.index(), Sent::Echoed))
}

/// An ARP packet: a request for a frontend is turned into its answer.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn arp<F: Frame, W: World>(frame: &mut F, world: &W) -> Result<Verdict, Stop> {
    let kind = frame.load::<8>(ETHERNET).ok_or(Pass::NotOurs)?;
    let sender_mac = load_mac(frame, ETHERNET + 8).ok_or(Pass::NotOurs)?;
    let sender = u32::from_be_bytes(frame.load::<4>(ETHERNET + 14).ok_or(Pass::NotOurs)?);
    let target = u32::from_be_bytes(frame.load::<4>(ETHERNET + 24).ok_or(Pass::NotOurs)?);
    // Ethernet, IPv4, and the lengths of their addresses; then request or reply.
    let kind = u64::from_be_bytes(kind);
    if kind >> 16 != 0x0001_0800_0604 {
        return Err(Pass::NotOurs.into());
    }
    if is_frontend(world, Address::v4(sender)) {
        return Err(Pass::AddressTaken.into());
    }
    if kind & 0xffff != 1 || !is_frontend(world, Address::v4(target)) {
        return Err(Pass::NotOurs.into());
    }
    let link = ingress_link(world).ok_or(Drop::UnknownLink)?;
    stations(frame, sender_mac, link.mac())?;
    frame.store::<2>(ETHERNET + 6, 2u16.to_be_bytes()).ok_or(Drop::Malformed)?;
    store_mac(frame, ETHERNET + 8, link.mac()).ok_or(Drop::Malformed)?;
    frame.store::<4>(ETHERNET + 14, target.to_be_bytes()).ok_or(Drop::Malformed)?;
    store_mac(frame, ETHERNET + 18, sender_mac).ok_or(Drop::Malformed)?;
    frame.store::<4>(ETHERNET + 24, sender.to_be_bytes()).ok_or(Drop::Malformed)?;
    Ok(Verdict::Send(link.index(), Sent::Answered))
}

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const ALL_NODES: Address = Address::v6(0xff02_0000_0000_0000, 1);
const ALL_NODES_MAC: Mac = Mac::new([0x33, 0x33, 0, 0, 0, 1]);
/// Options: the link-layer address of who is named, eight bytes of them.
const TARGET_LINK_ADDRESS: u16 = 0x0201;

/// Whether this is a neighbour solicitation.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn is_solicitation<F: Frame>(frame: &F, packet: &Packet) -> bool {
    let Some([kind, code]) = frame.load::<2>(ETHERNET + IPV6_HEADER) else { return false };
    kind == SOLICITATION && code == 0 && packet.payload >= 24 && packet.hop_limit == 255
}

/// A neighbour solicitation: one for a frontend is turned into the advertisement.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn solicitation<F: Frame, W: World>(frame: &mut F, world: &W, packet: &Packet) -> Result<Verdict, Stop> {
    let target = address(frame, ETHERNET + IPV6_HEADER + 8).ok_or(Pass::NotOurs)?;
    if is_frontend(world, target) {
        return advertise(frame, world, packet, target);
    }
    if is_frontend(world, packet.destination) { Err(Drop::Icmp.into()) } else { Err(Pass::NotOurs.into()) }
}

#[cfg_attr(target_arch = "bpf", inline(always))]
fn advertise<F: Frame, W: World>(
    frame: &mut F,
    world: &W,
    packet: &Packet,
    target: Address,
) -> Result<Verdict, Stop> {
    let icmp = ETHERNET + IPV6_HEADER;
    let link = ingress_link(world).ok_or(Drop::UnknownLink)?;
    let asker = load_mac(frame, 6).ok_or(Drop::Malformed)?;
    // A station that makes sure of its own address asks from the unspecified one: everybody hears the answer.
    let unnamed = packet.source == Address::v6(0, 0);
    let (to, to_mac, flags) = if unnamed {
        (ALL_NODES, ALL_NODES_MAC, 0x2000_0000u32)
    } else {
        (packet.source, asker, 0x6000_0000)
    };
    // The solicitation has room for our option where it carries the asker's.
    let option = packet.payload >= 32;
    let length: u32 = if option { 32 } else { 24 };

    stations(frame, to_mac, link.mac())?;
    frame.store::<2>(ETHERNET + 4, (length as u16).to_be_bytes()).ok_or(Drop::Malformed)?;
    frame.store::<8>(ETHERNET + 8, target.high.to_be_bytes()).ok_or(Drop::Malformed)?;
    frame.store::<8>(ETHERNET + 16, target.low.to_be_bytes()).ok_or(Drop::Malformed)?;
    frame.store::<8>(ETHERNET + 24, to.high.to_be_bytes()).ok_or(Drop::Malformed)?;
    frame.store::<8>(ETHERNET + 32, to.low.to_be_bytes()).ok_or(Drop::Malformed)?;
    frame.store::<4>(icmp + 4, flags.to_be_bytes()).ok_or(Drop::Malformed)?;
    let mut sum = words(target) + words(target) + words(to) + length as u64 + 58;
    sum += ((ADVERTISEMENT as u64) << 8) + (flags >> 16) as u64;
    if option {
        let mac = link.mac().bits();
        frame
            .store::<8>(icmp + 24, ((TARGET_LINK_ADDRESS as u64) << 48 | mac).to_be_bytes())
            .ok_or(Drop::Malformed)?;
        sum += TARGET_LINK_ADDRESS as u64 + (mac >> 32) + (mac & 0xffff_ffff);
    }
    let [high, low] = (!fold(sum)).to_be_bytes();
    frame.store::<4>(icmp, [ADVERTISEMENT, 0, high, low]).ok_or(Drop::Malformed)?;
    Ok(Verdict::Send(link.index(), Sent::Answered))
}

#[inline(always)]
fn words(address: Address) -> u64 {
    (address.high >> 32) + (address.high & 0xffff_ffff) + (address.low >> 32) + (address.low & 0xffff_ffff)
}

#[cfg_attr(target_arch = "bpf", inline(always))]
fn is_frontend<W: World>(world: &W, address: Address) -> bool {
    match find_address(world, address) {
        Some(row) => row.role() == Some(Role::Frontend),
        None => false,
    }
}
