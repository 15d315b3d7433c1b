//! ICMP errors about flows reach the end of the flow that they are about, which knows it by other addresses and ports (ICMP-1).
//!
//! An error quotes the packet that it is about. One that comes to a frontend quotes a member's answer as the client was to see it; one
//! that comes from a member quotes a client's packet as the member saw it. What is quoted, and the addresses around it, become what the
//! one who gets the error knows.

use crate::choose::known;
use crate::flow::Flow;
use crate::frame::Frame;
use crate::masquerade::StandIn;
use crate::parse::{self, Packet};
use crate::pipeline::{addressed_to, find_address, reachable, rule_of};
use crate::row::{Address, Path, Role};
use crate::stage::{Parcel, Stage};
use crate::verdict::{Drop, Pass, Sent, Stop, Verdict};
use crate::world::World;
use crate::{Tick, masquerade, rewrite, way_back};

/// Bytes of an ICMP error before the packet that it quotes.
const HEADER: usize = 8;

/// A packet that an error quotes: its addresses and ports, and where they are.
#[derive(Clone, Copy)]
pub(crate) struct Quoted {
    pub(crate) flow: Flow,
    pub(crate) network: usize,
    pub(crate) transport: usize,
}

/// An ICMP packet.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn report<F: Frame, W: World>(frame: &mut F, world: &W, now: Tick) -> Result<Verdict, Stop> {
    let packet = Parcel::take(world).packet;
    // A row of zeros where there is none: what is half undefined the verifier refuses to see moved.
    let destination = find_address(world, packet.destination).unwrap_or_default();
    let role = destination.role();
    let otherwise = match role {
        Some(Role::Frontend) => Drop::Icmp.into(),
        Some(Role::Own) => Pass::OwnAddress.into(),
        Some(Role::Member | Role::Station) | None => Pass::NotOurs.into(),
    };
    let Some([kind]) = frame.load::<1>(packet.transport) else { return Err(otherwise) };
    if role == Some(Role::Frontend) && is_echo_request(&packet, kind) {
        return Err(Parcel::new(packet).hand(world, Stage::Answer));
    }
    let quoted = if is_error(&packet, kind) { quoted(frame, &packet) } else { None };
    let Some(quoted) = quoted else {
        if role == Some(Role::Frontend) {
            world.count_unmatched(destination.number());
        }
        return Err(otherwise);
    };
    addressed_to(frame, world)?;
    match role {
        Some(Role::Frontend) => {
            let sent = to_member(frame, world, &packet, &quoted, destination.number(), now);
            if let Err(Stop::Drop(Drop::Icmp | Drop::NoRule)) = sent {
                world.count_unmatched(destination.number());
            }
            sent
        }
        Some(Role::Own) => masquerade::report(frame, world, &packet, &quoted, now),
        Some(Role::Member | Role::Station) | None => way_back::report(frame, world, &packet, &quoted),
    }
}

/// Whether somebody asks for an echo.
#[inline(always)]
pub(crate) const fn is_echo_request(packet: &Packet, kind: u8) -> bool {
    kind == if packet.v4 { 8 } else { 128 }
}

#[inline(always)]
const fn is_error(packet: &Packet, kind: u8) -> bool {
    // Unreachable, time exceeded, parameter problem; packet too big in IPv6.
    if packet.v4 { matches!(kind, 3 | 11 | 12) } else { matches!(kind, 1..=4) }
}

#[cfg_attr(target_arch = "bpf", inline(always))]
fn quoted<F: Frame>(frame: &F, packet: &Packet) -> Option<Quoted> {
    let network = packet.transport + HEADER;
    let [first] = frame.load::<1>(network)?;
    let (source, destination, protocol, transport) = if packet.v4 {
        let [flags, offset, _, protocol] = frame.load::<4>(network + 6)?;
        let addresses = u64::from_be_bytes(frame.load::<8>(network + 12)?);
        let header = ((first & 0x0f) as usize) * 4;
        // A later piece has no ports.
        if first >> 4 != 4 || header < 20 || u16::from_be_bytes([flags, offset]) & 0x1fff != 0 {
            return None;
        }
        let source = Address::v4((addresses >> 32) as u32);
        (source, Address::v4(addresses as u32), protocol, network + header)
    } else {
        let [protocol] = frame.load::<1>(network + 6)?;
        if first >> 4 != 6 {
            return None;
        }
        let source = parse::address(frame, network + 8)?;
        (source, parse::address(frame, network + 24)?, protocol, network + parse::IPV6_HEADER)
    };
    if !parse::has_ports(protocol) {
        return None;
    }
    let ports = u32::from_be_bytes(frame.load::<4>(transport)?);
    let flow = Flow {
        source,
        destination,
        source_port: (ports >> 16) as u16,
        destination_port: ports as u16,
        protocol,
    };
    Some(Quoted { flow, network, transport })
}

/// An error about a member's answer.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn to_member<F: Frame, W: World>(
    frame: &mut F,
    world: &W,
    packet: &Packet,
    quoted: &Quoted,
    frontend: u32,
    now: Tick,
) -> Result<Verdict, Stop> {
    let flow = quoted.flow.reversed();
    if flow.destination != packet.destination {
        return Err(Drop::Icmp.into());
    }
    let rule = rule_of(world, frontend, &flow)?;
    let plan = rule.plan();
    // What the member sent, and from where.
    let port = plan.port(flow.destination_port);
    let (member, seen) = match plan.path {
        Path::Floating | Path::FloatingGateway => {
            let member = reachable(world, known(world, &flow, plan, now)?)?;
            (member, Flow { source_port: port, ..quoted.flow })
        }
        Path::Gateway | Path::Masquerade => {
            let stand_in = StandIn::of(world, &flow, now);
            let masquerades = stand_in.port() != 0;
            if plan.path == Path::Masquerade && !masquerades {
                return Err(Drop::Icmp.into());
            }
            let number = if masquerades { stand_in.member() } else { known(world, &flow, plan, now)? };
            let member = reachable(world, number)?;
            let mut seen = Flow { source: member.address(), source_port: port, ..quoted.flow };
            if masquerades {
                seen.destination = world.config().own(packet.v4).ok_or(Drop::NoOwnAddress)?;
                seen.destination_port = stand_in.port();
            }
            (member, seen)
        }
    };
    let hop = member.hop().ok_or(Drop::Unresolved)?;
    match plan.path {
        Path::Floating | Path::FloatingGateway => {
            if !hop.adjacent {
                return Err(Drop::NotAdjacent.into());
            }
            rewrite::quoted(frame, packet, quoted, &seen)?;
        }
        Path::Gateway | Path::Masquerade => {
            let inside = (packet.source, member.address());
            rewrite::reported(frame, packet, quoted, &seen, inside)?;
        }
    }
    rewrite::stations(frame, hop.destination, hop.source)?;
    Ok(Verdict::Send(hop.link, Sent::Reported))
}
