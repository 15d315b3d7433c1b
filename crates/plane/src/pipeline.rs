//! The pipeline, as a sentence.

use crate::choose::choose;
use crate::flow::{Flow, address_places, key_places};
use crate::frame::Frame;
use crate::parse::{self, Packet, Segment};
use crate::row::{
    Address, AddressRow, Key, LINK_PLACES, LINK_TRIES, LinkRow, MemberRow, Path, Plan, RULE_PLACES, Role,
    RuleRow,
};
use crate::verdict::{Drop, Pass, Sent, Stop, Verdict};
use crate::world::World;
use crate::{Tick, answer, masquerade, rewrite, way_back};

/// What becomes of a frame, at the moment `now`.
#[inline(always)]
pub fn process<F: Frame, W: World>(frame: &mut F, world: &W, now: Tick) -> Verdict {
    match follow(frame, world, now) {
        Ok(verdict) => verdict,
        Err(stop) => stop.into(),
    }
}

#[inline(always)]
fn follow<F: Frame, W: World>(frame: &mut F, world: &W, now: Tick) -> Result<Verdict, Stop> {
    let ethertype = u16::from_be_bytes(frame.load::<2>(12).ok_or(Pass::NotIp)?);
    let packet = match ethertype {
        parse::ETHERTYPE_IPV4 => parse::ipv4(frame).ok_or(Pass::NotOurs)?,
        parse::ETHERTYPE_IPV6 => parse::ipv6(frame).ok_or(Pass::NotOurs)?,
        parse::ETHERTYPE_ARP => return answer::arp(frame, world),
        _ => return Err(Pass::NotIp.into()),
    };
    if packet.protocol == parse::ICMPV6
        && !packet.v4
        && let Some(answered) = answer::solicitation(frame, world, &packet)
    {
        return answered;
    }
    let Some(destination) = find_address(world, packet.destination) else {
        return way_back::through_this_host(frame, world, &packet);
    };
    match destination.role() {
        Some(Role::Frontend) => {
            let link = addressed_to(frame, world)?;
            let forwarded = forward(frame, world, &packet, destination.number(), link, now);
            if let Err(Drop::NoRule | Drop::Icmp | Drop::Protocol | Drop::Fragment | Drop::Malformed) =
                forwarded
            {
                world.count_unmatched(destination.number());
            }
            Ok(forwarded?)
        }
        Some(Role::Own) => masquerade::back(frame, world, &packet, now),
        Some(Role::Member) | None => way_back::through_this_host(frame, world, &packet),
    }
}

/// A client's packet, to a member.
#[inline(always)]
fn forward<F: Frame, W: World>(
    frame: &mut F,
    world: &W,
    packet: &Packet,
    frontend: u32,
    link: LinkRow,
    now: Tick,
) -> Result<Verdict, Drop> {
    let Segment { flow, start } = parse::transport(frame, packet)?;
    let rule =
        find_rule(world, Key::new(frontend, flow.protocol, flow.destination_port)).ok_or(Drop::NoRule)?;
    if rule.is_busy() {
        return Err(Drop::Changing);
    }
    let plan = rule.plan();
    // Ring 0 is nobody's, also not those whom somebody was chosen for before (FLOW-2).
    if plan.ring == 0 {
        return Err(Drop::NoMember);
    }
    let masquerades = match plan.path {
        Path::Masquerade => true,
        // A member would answer another one, or itself, without the balancer.
        Path::Gateway => plan.hairpin && is_member(world, packet.source),
        Path::Floating | Path::FloatingGateway => false,
    };
    let (number, started, out) = if masquerades {
        masquerade::out(frame, world, packet, &flow, start, &rule, link, now)?
    } else {
        let (number, started) = choose(world, &flow, start, plan, now)?;
        let member = reachable(world, number)?;
        not_itself(&flow, &member, plan)?;
        let hop = member.hop().ok_or(Drop::Unresolved)?;
        match plan.path {
            Path::Gateway => {
                let mut inside = flow;
                inside.destination = member.address();
                inside.destination_port = plan.backend_port;
                rewrite::endpoints(frame, packet, &flow, &inside)?;
            }
            Path::Floating | Path::FloatingGateway | Path::Masquerade => {
                if !hop.adjacent {
                    return Err(Drop::NotAdjacent);
                }
                rewrite::destination_port(frame, packet, &flow, plan.backend_port)?;
            }
        }
        rewrite::stations(frame, hop.destination, hop.source)?;
        (number, started, hop.link)
    };
    let bytes = frame.len();
    world.count_rule(rule.number(), bytes, started);
    world.count_member(number, bytes, started);
    Ok(Verdict::Send(out, Sent::Forwarded))
}

/// HAIR-1: a member that calls a frontend and is chosen itself would answer itself, and never hear of it.
#[inline(always)]
pub(crate) fn not_itself(flow: &Flow, member: &MemberRow, plan: Plan) -> Result<(), Drop> {
    if member.address() == flow.source && !plan.hairpin { Err(Drop::Hairpin) } else { Ok(()) }
}

#[inline(always)]
fn is_member<W: World>(world: &W, address: Address) -> bool {
    match find_address(world, address) {
        Some(row) => row.role() == Some(Role::Member),
        None => false,
    }
}

/// The member with this number, unless it is being rewritten.
#[inline(always)]
pub(crate) fn reachable<W: World>(world: &W, number: u32) -> Result<MemberRow, Drop> {
    let member = world.member(number).ok_or(Drop::NoMember)?;
    if !member.is_live() {
        return Err(Drop::NoMember);
    }
    if member.is_busy() {
        return Err(Drop::Changing);
    }
    Ok(member)
}

/// The link a frame came in by, where the frame is meant for this host.
#[inline(always)]
pub(crate) fn addressed_to<F: Frame, W: World>(frame: &F, world: &W) -> Result<LinkRow, Stop> {
    let link = ingress_link(world).ok_or(Drop::UnknownLink)?;
    let station = rewrite::load_mac(frame, 0).ok_or(Pass::NotIp)?;
    if station != link.mac() {
        return Err(Pass::OtherHost.into());
    }
    Ok(link)
}

/// The link a frame came in by.
#[inline(always)]
pub(crate) fn ingress_link<W: World>(world: &W) -> Option<LinkRow> {
    let index = world.ingress();
    let mut tries = 0;
    while tries < LINK_TRIES {
        let link = world.link(index.wrapping_add(tries) & (LINK_PLACES - 1))?;
        if link.index() == index {
            return Some(link);
        }
        tries += 1;
    }
    None
}

/// What the balancer knows about an address.
#[inline(always)]
pub(crate) fn find_address<W: World>(world: &W, address: Address) -> Option<AddressRow> {
    let [first, second] = address_places(address);
    let row = world.address(first)?;
    if row.address() == address && row.role().is_some() {
        return Some(row);
    }
    let row = world.address(second)?;
    if row.address() == address && row.role().is_some() {
        return Some(row);
    }
    None
}

#[inline(always)]
fn find_rule<W: World>(world: &W, key: Key) -> Option<RuleRow> {
    let [first, second] = key_places(key, RULE_PLACES - 1);
    let row = world.rule(first)?;
    if row.key() == Some(key) {
        return Some(row);
    }
    let row = world.rule(second)?;
    if row.key() == Some(key) {
        return Some(row);
    }
    None
}
