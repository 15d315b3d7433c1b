//! Answers of members on their way through this host: the frontend's address and port are put back (FIP-3).

use crate::flow::{Flow, key_places};
use crate::frame::Frame;
use crate::parse::Packet;
use crate::pipeline::{addressed_to, find_address};
use crate::report::Quoted;
use crate::row::{Address, AddressRow, Key, RETURN_PLACES, ReturnRow, Role};
use crate::stage::Parcel;
use crate::verdict::{Drop, Pass, Sent, Stop, Verdict};
use crate::world::World;
use crate::{Tick, masquerade, memory, rewrite};

/// A packet to an address that is no frontend's: an answer, or the host's.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn back<F: Frame, W: World>(frame: &mut F, world: &W, now: Tick) -> Result<Verdict, Stop> {
    let parcel = Parcel::take(world);
    match find_address(world, parcel.packet.destination).and_then(|row| row.role()) {
        Some(Role::Own) => masquerade::back(frame, world, &parcel, now),
        Some(Role::Frontend | Role::Member | Role::Station) | None => {
            through_this_host(frame, world, &parcel, now)
        }
    }
}

/// An answer of a `gateway` member.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn through_this_host<F: Frame, W: World>(
    frame: &mut F,
    world: &W,
    parcel: &Parcel,
    now: Tick,
) -> Result<Verdict, Stop> {
    let (packet, flow) = (&parcel.packet, parcel.flow());
    let source = find_address(world, packet.source).ok_or(Pass::NotOurs)?;
    let row = find(frame, world, source, flow.protocol, flow.source_port).ok_or(Pass::NotOurs)?;
    addressed_to(frame, world)?;
    if row.is_busy() {
        return Err(Drop::Changing.into());
    }
    let outside = outside(&row, &flow);
    // Whatever a member does by itself may look like an answer under a rule for everything.
    if row.is_for_all() && memory::find(world, outside.reversed().identity(), now).remembered.is_none() {
        return Err(Pass::NotOurs.into());
    }
    rewrite::endpoints(frame, world, packet, &flow, &outside)?;
    world.count_rule(row.rule(), frame.len(), false);
    Ok(Verdict::Route(Sent::Returned))
}

/// What a member sends, as the client is to see it.
#[inline(always)]
fn outside(row: &ReturnRow, inside: &Flow) -> Flow {
    let port = if row.is_for_all() { inside.source_port } else { row.port() };
    Flow { source: row.frontend(), source_port: port, ..*inside }
}

/// An ICMP error to an address that is no frontend's: one about what a client sent to a `gateway` member goes to the client.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn report<F: Frame, W: World>(
    frame: &mut F,
    world: &W,
    packet: &Packet,
    quoted: &Quoted,
) -> Result<Verdict, Stop> {
    let answer = quoted.flow.reversed();
    let member = find_address(world, answer.source).ok_or(Pass::NotOurs)?;
    let row = find(frame, world, member, answer.protocol, answer.source_port).ok_or(Pass::NotOurs)?;
    if answer.destination != packet.destination {
        return Err(Pass::NotOurs.into());
    }
    if row.is_busy() {
        return Err(Drop::Changing.into());
    }
    let sent = outside(&row, &answer).reversed();
    // What the member says the client takes for the frontend's word; what a router says is the router's.
    let source = if packet.source == answer.source { sent.destination } else { packet.source };
    rewrite::reported(frame, packet, quoted, &sent, (source, packet.destination))?;
    Ok(Verdict::Route(Sent::Reported))
}

/// The rule by which answers from a port of an address come back.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn find<F: Frame, W: World>(
    frame: &F,
    world: &W,
    source: AddressRow,
    protocol: u8,
    port: u16,
) -> Option<ReturnRow> {
    let number = source.number();
    if let Some(row) = find_row(world, Key::new(number, protocol, port)) {
        return Some(row);
    }
    if source.role() != Some(Role::Frontend) {
        return find_row(world, Key::all(number));
    }
    // Members of several rules send from this port of the frontend's address. Each is at a station of its own.
    let station = rewrite::load_mac(frame, 6)?;
    let station = find_address(world, Address::of_station(station))?;
    find_row(world, Key::of_station(station.number(), number, protocol, port))
}

#[cfg_attr(target_arch = "bpf", inline(always))]
fn find_row<W: World>(world: &W, key: Key) -> Option<ReturnRow> {
    let [first, second] = key_places(key, RETURN_PLACES - 1);
    let row = world.way_back(first)?;
    if row.key() == Some(key) {
        return Some(row);
    }
    let row = world.way_back(second)?;
    if row.key() == Some(key) {
        return Some(row);
    }
    None
}
