//! The pipeline, as a sentence: whose packet it is, its rule, a member, the way there.

use crate::choose::choose;
use crate::flow::{Flow, address_places, key_places};
use crate::frame::Frame;
use crate::parse;
use crate::row::{
    Address, AddressRow, Key, LINK_PLACES, LINK_TRIES, LinkRow, MemberRow, Path, Plan, RULE_PLACES, Role,
    RuleRow, protocol,
};
use crate::stage::{Parcel, Stage};
use crate::verdict::{Drop, Pass, Sent, Stop, Verdict};
use crate::world::World;
use crate::{Tick, access, answer, rewrite, too_big};

/// Where every frame begins.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn enter<F: Frame, W: World>(frame: &mut F, world: &W, now: Tick) -> Result<Verdict, Stop> {
    let ethertype = u16::from_be_bytes(frame.load::<2>(12).ok_or(Pass::NotIp)?);
    let packet = match ethertype {
        parse::ETHERTYPE_IPV4 => parse::ipv4(frame).ok_or(Pass::NotOurs)?,
        parse::ETHERTYPE_IPV6 => parse::ipv6(frame).ok_or(Pass::NotOurs)?,
        parse::ETHERTYPE_ARP => return Err(Stop::Then(Stage::Answer)),
        _ => return Err(Pass::NotIp.into()),
    };
    if !packet.v4 && packet.protocol == parse::ICMPV6 && answer::is_solicitation(frame, &packet) {
        return Err(Parcel::new(packet).hand(world, Stage::Answer));
    }
    let destination = find_address(world, packet.destination);
    let role = destination.and_then(|row| row.role());
    let otherwise = match role {
        Some(Role::Frontend) => None,
        Some(Role::Own) => Some(Pass::OwnAddress),
        Some(Role::Member | Role::Station) | None if world.config().gateway() => Some(Pass::NotOurs),
        Some(Role::Member | Role::Station) | None => return Err(Pass::NotOurs.into()),
    };
    if role == Some(Role::Frontend) {
        addressed_to(frame, world)?;
    }
    if packet.is_tangled() {
        return Err(Parcel::new(packet).hand(world, Stage::Untangle));
    }
    if packet.is_icmp() {
        return Err(Parcel::new(packet).hand(world, Stage::Report));
    }
    let segment = parse::transport(frame, &packet);
    match (segment, otherwise) {
        (Ok(segment), None) => {
            let parcel = Parcel::with(packet, segment).through(world);
            at_frontend::<F, W, false>(frame, world, parcel, destination, now)
        }
        (Ok(segment), Some(_)) => Err(Parcel::with(packet, segment).hand(world, Stage::Return)),
        (Err(why), None) => {
            world.count_unmatched(destination.map_or(0, |row| row.number()));
            Err(why.into())
        }
        (Err(_), Some(pass)) => Err(pass.into()),
    }
}

/// A client's packet that was untangled, or that a list is asked about.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn untangled<F: Frame, W: World>(frame: &mut F, world: &W, now: Tick) -> Result<Verdict, Stop> {
    let parcel = Parcel::take(world);
    let destination = find_address(world, parcel.packet.destination);
    at_frontend::<F, W, true>(frame, world, parcel, destination, now)
}

/// `THOROUGH`: whether rules for everything and lists are asked here, or by the stage that does that. Most packets need neither.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn at_frontend<F: Frame, W: World, const THOROUGH: bool>(
    frame: &mut F,
    world: &W,
    parcel: Parcel,
    destination: Option<AddressRow>,
    now: Tick,
) -> Result<Verdict, Stop> {
    let frontend = destination.map_or(0, |row| row.number());
    let forwarded = forward::<F, W, THOROUGH>(frame, world, parcel, frontend, now);
    if let Err(Stop::Drop(Drop::NoRule)) = forwarded {
        world.count_unmatched(frontend);
    }
    forwarded
}

/// A client's packet, to a member.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn forward<F: Frame, W: World, const THOROUGH: bool>(
    frame: &mut F,
    world: &W,
    parcel: Parcel,
    frontend: u32,
    now: Tick,
) -> Result<Verdict, Stop> {
    let (packet, segment, flow) = (parcel.packet, parcel.segment, parcel.flow());
    let (rule, place) = if THOROUGH {
        let (rule, place) = found_rule(world, frontend, &flow)?;
        access::admit(world, &rule, packet.source, frame.len())?;
        (rule, place)
    } else {
        match find_rule(world, Key::new(frontend, flow.protocol, flow.destination_port)) {
            Some((rule, place)) if rule.list() == 0 => (usable(rule)?, place),
            _ => return Err(parcel.hand(world, Stage::Forward)),
        }
    };
    let plan = rule.plan();
    let place = RulePlace { frontend, place };
    if plan.tracks && flow.protocol == protocol::TCP {
        return Err(parcel.under(place).hand(world, Stage::Track));
    }
    if masquerades(world, plan, packet.source) {
        return Err(parcel.under(place).hand(world, Stage::Masquerade));
    }
    let (number, started) = choose(world, &flow, segment.start, plan, now)?;
    // Who is thorough has the parcel from another stage.
    deliver::<F, W, THOROUGH>(frame, world, &parcel, &rule, number, started)
}

/// Whether the balancer's own address stands in for a client's under this plan.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn masquerades<W: World>(world: &W, plan: Plan, client: Address) -> bool {
    match plan.path {
        Path::Masquerade => true,
        // A member would answer another one, or itself, without the balancer.
        Path::Gateway => plan.hairpin && is_member(world, client),
        Path::Floating | Path::FloatingGateway => false,
    }
}

/// A client's packet, as the member with this number is to see it, on its way there. `KEPT`: whether the parcel came from another stage.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn deliver<F: Frame, W: World, const KEPT: bool>(
    frame: &mut F,
    world: &W,
    parcel: &Parcel,
    rule: &RuleRow,
    number: u32,
    started: bool,
) -> Result<Verdict, Stop> {
    let (packet, flow, plan) = (&parcel.packet, parcel.flow(), rule.plan());
    let member = reachable(world, number)?;
    not_itself(&flow, &member, plan)?;
    let hop = member.hop().ok_or(Drop::Unresolved)?;
    too_big::fits::<F, W, KEPT>(frame, world, hop.link, hop.mtu)?;
    let port = plan.port(flow.destination_port);
    match plan.path {
        Path::Gateway => {
            let inside = Flow { destination: member.address(), destination_port: port, ..flow };
            rewrite::endpoints(frame, world, packet, &flow, &inside)?;
        }
        Path::Floating | Path::FloatingGateway | Path::Masquerade => {
            if !hop.adjacent {
                return Err(Drop::NotAdjacent.into());
            }
            rewrite::destination_port(frame, world, packet, &flow, port)?;
        }
    }
    rewrite::stations(frame, hop.destination, hop.source)?;
    Ok(forwarded(frame, world, rule, number, started, hop.link))
}

/// A packet that leaves to a member is counted.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn forwarded<F: Frame, W: World>(
    frame: &F,
    world: &W,
    rule: &RuleRow,
    member: u32,
    started: bool,
    out: u32,
) -> Verdict {
    let bytes = frame.len();
    world.count_rule(rule.number(), bytes, started);
    world.count_member(member, bytes, started);
    Verdict::Send(out, Sent::Forwarded)
}

/// The rule of a packet to the frontend with this number.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn rule_of<W: World>(world: &W, frontend: u32, flow: &Flow) -> Result<RuleRow, Drop> {
    let (rule, _) = found_rule(world, frontend, flow)?;
    Ok(rule)
}

/// The same, with its place.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn found_rule<W: World>(world: &W, frontend: u32, flow: &Flow) -> Result<(RuleRow, u32), Drop> {
    let (rule, place) = match find_rule(world, Key::new(frontend, flow.protocol, flow.destination_port)) {
        Some(found) => found,
        // HA-1: the rule for everything stands behind those for something.
        None => find_rule(world, Key::all(frontend)).ok_or(Drop::NoRule)?,
    };
    Ok((usable(rule)?, place))
}

/// Where a stage found the rule of a packet, so that the next one need not look for it.
#[derive(Clone, Copy)]
pub(crate) struct RulePlace {
    pub(crate) frontend: u32,
    pub(crate) place: u32,
}

impl RulePlace {
    /// Nobody has looked for it.
    pub(crate) const NOWHERE: Self = Self { frontend: 0, place: 0 };

    /// The rule of this flow, unless it went somewhere else in between.
    #[cfg_attr(target_arch = "bpf", inline(always))]
    pub(crate) fn rule<W: World>(self, world: &W, flow: &Flow) -> Result<RuleRow, Drop> {
        let rule = world.rule(self.place & (RULE_PLACES - 1)).ok_or(Drop::Changing)?;
        let key = rule.key();
        if key == Some(Key::new(self.frontend, flow.protocol, flow.destination_port))
            || key == Some(Key::all(self.frontend))
        {
            return usable(rule);
        }
        Err(Drop::Changing)
    }
}

/// The rule, unless nothing can be done by it now.
#[inline(always)]
fn usable(rule: RuleRow) -> Result<RuleRow, Drop> {
    if rule.is_busy() {
        return Err(Drop::Changing);
    }
    // Ring 0 is nobody's, also not those whom somebody was chosen for before (FLOW-2).
    if rule.plan().ring == 0 {
        return Err(Drop::NoMember);
    }
    Ok(rule)
}

/// HAIR-1: a member that calls a frontend and is chosen itself would answer itself, and never hear of it.
#[inline(always)]
pub(crate) fn not_itself(flow: &Flow, member: &MemberRow, plan: Plan) -> Result<(), Drop> {
    if member.address() == flow.source && !plan.hairpin { Err(Drop::Hairpin) } else { Ok(()) }
}

#[cfg_attr(target_arch = "bpf", inline(always))]
fn is_member<W: World>(world: &W, address: Address) -> bool {
    match find_address(world, address) {
        Some(row) => row.role() == Some(Role::Member),
        None => false,
    }
}

/// The member with this number, unless it is being rewritten.
#[cfg_attr(target_arch = "bpf", inline(always))]
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
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn addressed_to<F: Frame, W: World>(frame: &F, world: &W) -> Result<LinkRow, Stop> {
    let link = ingress_link(world).ok_or(Drop::UnknownLink)?;
    let station = rewrite::load_mac(frame, 0).ok_or(Pass::NotIp)?;
    if station != link.mac() {
        return Err(Pass::OtherHost.into());
    }
    Ok(link)
}

/// The link a frame came in by.
#[cfg_attr(target_arch = "bpf", inline(always))]
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
#[cfg_attr(target_arch = "bpf", inline(always))]
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

#[cfg_attr(target_arch = "bpf", inline(always))]
fn find_rule<W: World>(world: &W, key: Key) -> Option<(RuleRow, u32)> {
    let [first, second] = key_places(key, RULE_PLACES - 1);
    let row = world.rule(first)?;
    if row.key() == Some(key) {
        return Some((row, first));
    }
    let row = world.rule(second)?;
    if row.key() == Some(key) {
        return Some((row, second));
    }
    None
}
