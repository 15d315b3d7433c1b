//! Answers of `gateway` members, on their way through this host: the frontend's address and port are put back (FIP-3).

use crate::flow::{Flow, key_places};
use crate::frame::Frame;
use crate::parse::{self, Packet, Segment};
use crate::pipeline::{addressed_to, find_address};
use crate::rewrite;
use crate::row::{Key, RETURN_PLACES, ReturnRow};
use crate::verdict::{Drop, Pass, Sent, Stop, Verdict};
use crate::world::World;

/// A packet to an address that is no frontend's.
#[inline(always)]
pub(crate) fn through_this_host<F: Frame, W: World>(
    frame: &mut F,
    world: &W,
    packet: &Packet,
) -> Result<Verdict, Stop> {
    if !world.config().gateway() {
        return Err(Pass::NotOurs.into());
    }
    let source = find_address(world, packet.source).ok_or(Pass::NotOurs)?;
    let Ok(Segment { flow, .. }) = parse::transport(frame, packet) else { return Err(Pass::NotOurs.into()) };
    let key = Key::new(source.number(), flow.protocol, flow.source_port);
    let row = find(world, key).ok_or(Pass::NotOurs)?;
    addressed_to(frame, world)?;
    if row.is_busy() {
        return Err(Drop::Changing.into());
    }
    let outside = Flow { source: row.frontend(), source_port: row.port(), ..flow };
    rewrite::endpoints(frame, packet, &flow, &outside)?;
    world.count_rule(row.rule(), frame.len(), false);
    Ok(Verdict::Route(Sent::Returned))
}

#[inline(always)]
fn find<W: World>(world: &W, key: Key) -> Option<ReturnRow> {
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
