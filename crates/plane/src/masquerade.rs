//! Flows for which the balancer's own address stands in for the client's. Both sides are kept, one cache line each.
//!
//! | word | outward: found by the client's side | inward: found by the member's side |
//! |---|---|---|
//! | 0 | tag of the flow, [`LIVE`] or [`BUSY`] | the member's address number, its port, our port, the protocol, [`LIVE`] or [`BUSY`] |
//! | 1–2 | the client's address | the client's address |
//! | 3–4 | the frontend's address | the frontend's address |
//! | 5 | the ports of both, the protocol | the ports of both, the tick until which the flow is kept |
//! | 6 | the member's number, our port, the tick until which the flow is kept | the station the client's frames come from, idle ticks |
//! | 7 | the place of the other side, [`ONCE`] | the place of the other side, the rule, the place of the client's link |
//!
//! A flow of which only the first packet was seen may lose its places to another one's where there are no others: a flood of first packets
//! then takes them from itself (FLOW-6).
//!
//! An answer leaves by the link, and to the station, that the client's frames came from: no route is needed on the balancer.

use core::ops::Range;

use crate::Tick;
use crate::choose::{is_down, sole};
use crate::flow::{Flow, inward_place};
use crate::frame::Frame;
use crate::outline::{NOWHERE, VACANT};
use crate::parse::Packet;
use crate::pipeline::{addressed_to, find_address, forwarded, ingress_link, not_itself, reachable};
use crate::report::Quoted;
use crate::rewrite;
use crate::row::{
    Address, BUSY, ConfigRow, ENTRY_WORDS, LINK_PLACES, LIVE, LinkRow, Mac, MemberRow, OUTWARD_WAYS, Plan,
    Role, RuleRow, protocol,
};
use crate::stage::Parcel;
use crate::too_big::fits;
use crate::verdict::{Drop, Pass, Sent, Stop, Verdict};
use crate::world::{Entry, Word, World};

/// Nothing of the flow was seen but its first packet, and that packet again.
const ONCE: u64 = 1 << 63;

/// How long half-open TCP flows are kept, in ticks: long enough for the first repeats of a SYN.
const HALF_OPEN: u16 = 20;

/// A client's packet, to a member.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn out<F: Frame, W: World>(frame: &mut F, world: &W, now: Tick) -> Result<Verdict, Stop> {
    let parcel = Parcel::take(world);
    let (packet, start) = (&parcel.packet, parcel.segment.start);
    let flow = &parcel.flow();
    let link = ingress_link(world).ok_or(Drop::UnknownLink)?;
    let rule = &parcel.place.rule(world, flow)?;
    let plan = rule.plan();
    let own = world.config().own(packet.v4).ok_or(Drop::NoOwnAddress)?;
    let client = rewrite::load_mac(frame, 6).ok_or(Drop::Malformed)?;
    let tag = flow.identity() & !(LIVE | BUSY);
    let found = find_outward(world, flow, tag, now);
    let idle = if start && plan.idle > HALF_OPEN { HALF_OPEN } else { plan.idle };
    let until = now.0.wrapping_add(idle as u32);

    let known = match found.place {
        Some(place) if found.known => known(world, place, plan, start, client, link, until)?,
        _ => None,
    };
    let (number, member, port, started) = match known {
        Some((number, member, port)) => (number, member, port, false),
        None => {
            let place = found.place.ok_or(Drop::TableFull)?;
            let number = newcomer(world, flow, plan)?;
            let member = reachable(world, number)?;
            not_itself(flow, &member, plan)?;
            let place = Place { outward: place, tag, client, link: link_place(world, link), until };
            let port = begin(world, flow, rule, &member, number, &place, now)?;
            (number, member, port, true)
        }
    };
    let hop = member.hop().ok_or(Drop::Unresolved)?;
    fits::<F, W, true>(frame, world, hop.link, hop.mtu)?;
    let inside = Flow {
        source: own,
        destination: member.address(),
        source_port: port,
        destination_port: plan.port(flow.destination_port),
        protocol: flow.protocol,
    };
    rewrite::endpoints(frame, world, packet, flow, &inside)?;
    rewrite::stations(frame, hop.destination, hop.source)?;
    Ok(forwarded(frame, world, rule, number, started, hop.link))
}

/// Who takes a flow that begins.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn newcomer<W: World>(world: &W, flow: &Flow, plan: Plan) -> Result<u32, Drop> {
    if plan.direct {
        return sole(world, plan, true);
    }
    let slot = world.slot(plan.ring as u32, flow.slot(plan.distribution)).ok_or(Drop::NoMember)?;
    Ok(slot.current())
}

/// Who stands in for a client: the member of its flow, and the port of the own address towards that member; 0 is no port, and no such
/// flow. (An `Option` of both would be half undefined without one, and the verifier refuses to see that moved.)
#[derive(Clone, Copy)]
pub(crate) struct StandIn(u64);

impl StandIn {
    #[cfg_attr(target_arch = "bpf", inline(always))]
    pub(crate) fn of<W: World>(world: &W, flow: &Flow, now: Tick) -> Self {
        let found = find_outward(world, flow, flow.identity() & !(LIVE | BUSY), now);
        let entry = found.place.filter(|_| found.known).and_then(|place| world.outward(place));
        Self(match entry {
            Some(entry) => read::<W>(entry, 6),
            None => 0,
        })
    }

    #[inline(always)]
    pub(crate) const fn member(self) -> u32 {
        (self.0 >> 48) as u32
    }

    #[inline(always)]
    pub(crate) const fn port(self) -> u16 {
        (self.0 >> 32) as u16
    }
}

struct FoundOutward {
    /// The flow's place, or one that a new flow may take.
    place: Option<u32>,
    known: bool,
}

#[cfg_attr(target_arch = "bpf", inline(always))]
fn find_outward<W: World>(world: &W, flow: &Flow, tag: u64, now: Tick) -> FoundOutward {
    let way = world.outward_way(tag, now.0);
    if way == NOWHERE {
        return FoundOutward { place: None, known: false };
    }
    let place = first_place(world, tag) | way & (OUTWARD_WAYS - 1);
    if way >= VACANT {
        return FoundOutward { place: Some(place), known: false };
    }
    // Where only the tags are equal, the place is another flow's.
    match world.outward(place) {
        Some(entry) if same_sides::<W>(entry, flow) => FoundOutward { place: Some(place), known: true },
        _ => FoundOutward { place: None, known: false },
    }
}

/// The first of the places in which a flow with this tag may be kept by its client's side.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn first_place<W: World>(world: &W, tag: u64) -> u32 {
    place_of(tag, world.config())
}

#[inline(always)]
fn place_of(tag: u64, config: ConfigRow) -> u32 {
    let mask = ((1u64 << (config.masquerade_bits() & 31)) - 1) as u32;
    (tag >> 16) as u32 & mask & !(OUTWARD_WAYS - 1)
}

#[cfg_attr(target_arch = "bpf", inline(always))]
fn same_sides<W: World>(entry: &Entry<W>, flow: &Flow) -> bool {
    read::<W>(entry, 1) == flow.source.high
        && read::<W>(entry, 2) == flow.source.low
        && read::<W>(entry, 3) == flow.destination.high
        && read::<W>(entry, 4) == flow.destination.low
        && read::<W>(entry, 5) == sides(flow)
}

#[inline(always)]
fn sides(flow: &Flow) -> u64 {
    ports(flow) << 32 | flow.protocol as u64
}

#[inline(always)]
fn ports(flow: &Flow) -> u64 {
    (flow.source_port as u64) << 16 | flow.destination_port as u64
}

/// A flow that is kept: refreshed once a tick, together with its other side. `None` where its member is gone or may take no new
/// flows (FLOW-1) and this is one, or the member's side went to another flow.
#[allow(clippy::too_many_arguments, reason = "one call site; a struct would live on the 512 bytes of stack")]
#[cfg_attr(target_arch = "bpf", inline(always))]
fn known<W: World>(
    world: &W,
    place: u32,
    plan: Plan,
    start: bool,
    client: Mac,
    link: LinkRow,
    until: u32,
) -> Result<Option<(u32, MemberRow, u16)>, Drop> {
    let Some(entry) = world.outward(place) else { return Ok(None) };
    let word = read::<W>(entry, 6);
    let (number, port) = ((word >> 48) as u32, (word >> 32) as u16);
    let member = match reachable(world, number) {
        Ok(member) => member,
        // The member is still there in a moment.
        Err(Drop::Changing) => return Err(Drop::Changing),
        Err(_) => return Ok(None),
    };
    let sides = read::<W>(entry, 5);
    let (protocol, called) = (sides as u8, (sides >> 32) as u16);
    if (start || protocol == protocol::UDP || plan.resets) && is_down(world, plan, number) {
        return Ok(None);
    }
    // FLOW-3
    if (start || protocol == protocol::UDP) && member.is_leaving() {
        return Ok(None);
    }
    let place = read::<W>(entry, 7);
    if word as u32 != until || place & ONCE != 0 {
        let Some(other) = world.inward(place as u32) else { return Ok(None) };
        if read::<W>(other, 0) != inward_key(member.number(), plan.port(called), port, protocol) | LIVE
            || read::<W>(other, 5) >> 32 != read::<W>(entry, 5) >> 32
            || read::<W>(other, 1) != read::<W>(entry, 1)
            || read::<W>(other, 2) != read::<W>(entry, 2)
        {
            return Ok(None);
        }
        // A SYN that is sent again must not shorten what is kept.
        if (until.wrapping_sub(word as u32) as i32) > 0 {
            write::<W>(entry, 6, word >> 32 << 32 | until as u64);
            write::<W>(other, 5, read::<W>(other, 5) >> 32 << 32 | until as u64);
        }
        write::<W>(other, 6, client.bits() << 16 | plan.idle as u64);
        write::<W>(other, 7, read::<W>(other, 7) & !0xffff | link_place(world, link) as u64);
        if !start {
            write::<W>(entry, 7, place & !ONCE);
        }
    }
    Ok(Some((number, member, port)))
}

/// Where a new flow is kept, and what the answer's way is.
struct Place {
    outward: u32,
    tag: u64,
    client: Mac,
    link: u32,
    until: u32,
}

/// Keeps a new flow and gives it a port of the own address towards its member.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn begin<W: World>(
    world: &W,
    flow: &Flow,
    rule: &RuleRow,
    member: &MemberRow,
    number: u32,
    place: &Place,
    now: Tick,
) -> Result<u16, Drop> {
    let plan = rule.plan();
    let outward = world.outward(place.outward).ok_or(Drop::TableFull)?;
    let old = read::<W>(outward, 0);
    if old & BUSY != 0 || !claim::<W>(outward, old, place.tag | BUSY) {
        return Err(Drop::Changing);
    }
    let seed = (place.tag >> 32) as u32 & 0x3fff_ffff;
    let key = inward_key(member.number(), plan.port(flow.destination_port), 0, flow.protocol);
    let taken = world.take_port(key, seed, now.0);
    let (at, port) = ((taken >> 32) as u32, taken as u16);
    let (Some(inward), true) = (world.inward(at), port != 0) else {
        write::<W>(outward, 0, 0);
        return Err(Drop::TableFull);
    };
    for entry in [outward, inward] {
        write::<W>(entry, 1, flow.source.high);
        write::<W>(entry, 2, flow.source.low);
        write::<W>(entry, 3, flow.destination.high);
        write::<W>(entry, 4, flow.destination.low);
    }
    write::<W>(outward, 5, sides(flow));
    write::<W>(outward, 6, (number as u64) << 48 | (port as u64) << 32 | place.until as u64);
    write::<W>(outward, 7, at as u64 | ONCE);
    write::<W>(inward, 5, ports(flow) << 32 | place.until as u64);
    write::<W>(inward, 6, place.client.bits() << 16 | plan.idle as u64);
    write::<W>(
        inward,
        7,
        (place.outward as u64) << 32 | (rule.number() as u64 & 0xffff) << 16 | place.link as u64,
    );
    write::<W>(inward, 0, key | (port as u64) << 8 | LIVE);
    write::<W>(outward, 0, place.tag | LIVE);
    Ok(port)
}

/// A packet to the balancer's own address: a member's answer goes to the client, everything else is the host's.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn back<F: Frame, W: World>(
    frame: &mut F,
    world: &W,
    parcel: &Parcel,
    now: Tick,
) -> Result<Verdict, Stop> {
    let (packet, start, flow) = (&parcel.packet, parcel.segment.start, parcel.flow());
    let member = find_address(world, flow.source).ok_or(Pass::OwnAddress)?;
    if member.role() != Some(Role::Member) {
        return Err(Pass::OwnAddress.into());
    }
    let key = inward_key(member.number(), flow.source_port, flow.destination_port, flow.protocol);
    let entry = world.inward(inward_place(key, world.config().masquerade_bits())).ok_or(Pass::OwnAddress)?;
    let kept = read::<W>(entry, 5);
    if read::<W>(entry, 0) != key | LIVE || expired(kept as u32, now) || start {
        return Err(Pass::OwnAddress.into());
    }
    addressed_to(frame, world)?;
    let (route, way) = (read::<W>(entry, 6), read::<W>(entry, 7));
    let link = world.link(way as u32 & 0xffff).ok_or(Drop::UnknownLink)?;
    if link.index() == 0 {
        return Err(Drop::UnknownLink.into());
    }
    fits::<F, W, true>(frame, world, link.index(), link.mtu())?;
    let until = now.0.wrapping_add(route as u16 as u32);
    if kept as u32 != until && flow.protocol != protocol::TCP {
        // TCP is kept alive by the client's acknowledgements; datagrams may flow one way only.
        if let Some(outward) = world.outward((way >> 32) as u32) {
            write::<W>(outward, 6, read::<W>(outward, 6) >> 32 << 32 | until as u64);
        }
        write::<W>(entry, 5, kept >> 32 << 32 | until as u64);
    }
    let outside = Flow {
        source: Address { high: read::<W>(entry, 3), low: read::<W>(entry, 4) },
        destination: Address { high: read::<W>(entry, 1), low: read::<W>(entry, 2) },
        source_port: (kept >> 32) as u16,
        destination_port: (kept >> 48) as u16,
        protocol: flow.protocol,
    };
    rewrite::endpoints(frame, world, packet, &flow, &outside)?;
    rewrite::stations(frame, Mac::from_bits(route >> 16), link.mac())?;
    world.count_rule((way >> 16) as u32 & 0xffff, frame.len(), false);
    Ok(Verdict::Send(link.index(), Sent::Returned))
}

/// An ICMP error to the own address: one about a flow that is kept goes to its client, everything else is the host's.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn report<F: Frame, W: World>(
    frame: &mut F,
    world: &W,
    packet: &Packet,
    quoted: &Quoted,
    now: Tick,
) -> Result<Verdict, Stop> {
    let flow = quoted.flow;
    let member = find_address(world, flow.destination).ok_or(Pass::OwnAddress)?;
    let key = inward_key(member.number(), flow.destination_port, flow.source_port, flow.protocol);
    let entry = world.inward(inward_place(key, world.config().masquerade_bits())).ok_or(Pass::OwnAddress)?;
    let kept = read::<W>(entry, 5);
    if flow.source != packet.destination || read::<W>(entry, 0) != key | LIVE || expired(kept as u32, now) {
        return Err(Pass::OwnAddress.into());
    }
    let (route, way) = (read::<W>(entry, 6), read::<W>(entry, 7));
    let link = world.link(way as u32 & 0xffff).ok_or(Drop::UnknownLink)?;
    if link.index() == 0 {
        return Err(Drop::UnknownLink.into());
    }
    let sent = Flow {
        source: Address { high: read::<W>(entry, 1), low: read::<W>(entry, 2) },
        destination: Address { high: read::<W>(entry, 3), low: read::<W>(entry, 4) },
        source_port: (kept >> 48) as u16,
        destination_port: (kept >> 32) as u16,
        protocol: flow.protocol,
    };
    // What the member says the client takes for the frontend's word; what a router says is the router's.
    let source = if packet.source == flow.destination { sent.destination } else { packet.source };
    rewrite::reported(frame, packet, quoted, &sent, (source, sent.source))?;
    rewrite::stations(frame, Mac::from_bits(route >> 16), link.mac())?;
    Ok(Verdict::Send(link.index(), Sent::Reported))
}

/// Five bits of a protocol's number tell TCP, UDP and SCTP apart.
#[inline(always)]
fn inward_key(number: u32, member_port: u16, own_port: u16, protocol: u8) -> u64 {
    (number as u64) << 40
        | (member_port as u64) << 24
        | (own_port as u64) << 8
        | (protocol as u64 & 0x1f) << 2
}

/// The place of a link that is known to be in the table.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn link_place<W: World>(world: &W, link: LinkRow) -> u32 {
    let mut tries = 0;
    while tries < crate::row::LINK_TRIES {
        let place = link.index().wrapping_add(tries) & (LINK_PLACES - 1);
        if let Some(row) = world.link(place)
            && row.index() == link.index()
        {
            return place;
        }
        tries += 1;
    }
    0
}

#[inline(always)]
pub(crate) fn expired(until: u32, now: Tick) -> bool {
    (now.0.wrapping_sub(until) as i32) > 0
}

#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn read<W: World>(entry: &Entry<W>, word: usize) -> u64 {
    match entry.get(word) {
        Some(word) => word.get(),
        None => 0,
    }
}

#[cfg_attr(target_arch = "bpf", inline(always))]
fn write<W: World>(entry: &Entry<W>, word: usize, value: u64) {
    if let Some(word) = entry.get(word) {
        word.set(value);
    }
}

/// Whether an outward entry is of a flow that was seen only once.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn is_once<W: World>(entry: &Entry<W>) -> bool {
    read::<W>(entry, 7) & ONCE != 0
}

/// Whether the flow that has this place by its member's side was seen only once, or has lost its other side to another flow.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn may_yield<W: World>(world: &W, entry: &Entry<W>, place: u32) -> bool {
    match world.outward((read::<W>(entry, 7) >> 32) as u32) {
        Some(other) => is_once::<W>(other) || read::<W>(other, 7) as u32 != place,
        None => true,
    }
}

/// Takes an entry for a new flow, unless another processor was faster.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn claim<W: World>(entry: &Entry<W>, old: u64, new: u64) -> bool {
    match entry.first() {
        Some(word) => word.claim(old, new),
        None => false,
    }
}

/// A masqueraded flow, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Masqueraded {
    /// The flow as the client sees it.
    pub flow: Flow,
    /// The member's number.
    pub member: u32,
    /// The own address's port towards the member.
    pub port: u16,
    /// Ticks for which it is still kept.
    pub remaining: u32,
}

/// The places in which a flow may be kept by its client's side.
pub fn places(flow: &Flow, config: ConfigRow) -> Range<u32> {
    let first = place_of(flow.identity(), config);
    first..first + OUTWARD_WAYS
}

/// The flow in an outward entry's words; `None` where there is none, or it has run out at `now`.
pub fn entry(words: [u64; ENTRY_WORDS], now: Tick) -> Option<Masqueraded> {
    let [state, client_high, client_low, high, low, sides, kept, _] = words;
    if state & LIVE == 0 || expired(kept as u32, now) {
        return None;
    }
    Some(Masqueraded {
        flow: Flow {
            source: Address { high: client_high, low: client_low },
            destination: Address { high, low },
            source_port: (sides >> 48) as u16,
            destination_port: (sides >> 32) as u16,
            protocol: sides as u8,
        },
        member: (kept >> 48) as u32,
        port: (kept >> 32) as u16,
        remaining: (kept as u32).wrapping_sub(now.0),
    })
}
