//! Which connections are over, and what tells both ends (FLOW-3, FLOW-5).
//!
//! A sweep looks at the words of remembered flows only ([`may_be_over`]); what is known of a connection is read of those few whose idle
//! time is about to end ([`Endings::fate`]). Each end then gets a RST with the sequence number that it expects next, which is the only
//! one that it surely accepts (RFC 5961), in a frame as the pipeline would send it: to the client from the frontend, by the station that
//! its own frames came from, and to the member as the client's next packet would look there.

use std::net::SocketAddr;

use plane::row::{Address, Key, Mac, MemberRow, Path, Plan, RULE_PLACES, RuleRow, protocol};
use plane::{Flow, Remembered, Tick, Tracked, address_places, key_places};

use crate::packet::{ACK, RST, Tcp, Way, tcp_packet};
use crate::surroundings::Clock;
use crate::tables::Tables;

/// Ticks before the end of an entry's time from which on the idle time may be over: the one is rounded up to ticks, and one more.
const EARLY: u64 = 2;

/// What becomes of a connection that is kept in mind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on.
    Stays,
    /// It is over, and nobody needs to hear of it.
    Forgotten,
    /// It is over, and both ends are to hear of it.
    Reset,
}

/// Whether the time of the connection with this entry may be over.
#[inline]
#[must_use]
pub fn may_be_over(word: u64, now: Tick) -> bool {
    Remembered::is_tracked(word) && Remembered::of(word, now).is_none_or(|flow| flow.remaining(now) <= EARLY)
}

/// Who has a connection: its member, and the port of the own address that stands in for its client there; 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The member's number.
    pub member: u32,
    /// The port towards it.
    pub port: u16,
}

/// A frame, and the interface index of the link that it leaves by.
pub type Outgoing = (u32, Vec<u8>);

/// Judges connections by the tables in force.
#[derive(Clone, Copy, Debug)]
pub struct Endings<'a> {
    tables: &'a Tables,
    clock: Clock,
}

impl<'a> Endings<'a> {
    /// By these tables, on this clock.
    #[must_use]
    pub const fn new(tables: &'a Tables, clock: Clock) -> Self {
        Self { tables, clock }
    }

    /// Whether some rule keeps connections in mind: else there is nothing to sweep for.
    #[must_use]
    pub fn are_possible(&self) -> bool {
        self.tables.rules.values().any(|row| row.plan().tracks)
    }

    /// What becomes of the connection with this entry at this moment of this tick.
    #[must_use]
    pub fn fate(&self, word: u64, known: &Tracked, now: Tick, moment: u32) -> Fate {
        let has_run_out = Remembered::of(word, now).is_none();
        let is_open = Remembered::whenever(word).is_confirmed() && !known.closed;
        match self.plan(&known.flow) {
            // What its idle time is says the rule of now.
            Some(plan) if is_open && plan.tracks && plan.announces && known.expected.is_some() => {
                let silent = moment.wrapping_sub(known.seen);
                if silent >= self.clock.silence(plan.idle) { Fate::Reset } else { Fate::Stays }
            }
            Some(_) | None if has_run_out => Fate::Forgotten,
            Some(_) | None => Fate::Stays,
        }
    }

    /// Whether the flow is masqueraded as far as its rule knows: then who has it, the memory of masqueraded flows tells.
    #[must_use]
    pub fn may_be_masqueraded(&self, flow: &Flow) -> bool {
        self.plan(flow)
            .is_some_and(|plan| plan.path == Path::Masquerade || plan.path == Path::Gateway && plan.hairpin)
    }

    /// The resets for both ends, as far as they can be reached.
    #[must_use]
    pub fn resets(&self, known: &Tracked, holder: Option<Holder>) -> Vec<Outgoing> {
        let Some(expected) = known.expected else { return Vec::new() };
        let to_client = self.for_client(known, expected);
        let to_member = holder.and_then(|holder| self.for_member(known, expected, holder));
        to_client.into_iter().chain(to_member).collect()
    }

    fn for_client(&self, known: &Tracked, expected: u32) -> Option<Outgoing> {
        let link = self.tables.links.values().find(|row| row.index() == known.link)?;
        let flow = Flow {
            source: known.flow.destination,
            destination: known.flow.source,
            source_port: known.flow.destination_port,
            destination_port: known.flow.source_port,
            protocol: protocol::TCP,
        };
        Some((known.link, reset(known.station, link.mac(), &flow, expected, known.next)))
    }

    fn for_member(&self, known: &Tracked, expected: u32, holder: Holder) -> Option<Outgoing> {
        let plan = self.plan(&known.flow)?;
        let member = self.tables.members.get(&holder.member).filter(|row| row.is_live())?;
        let hop = member.hop()?;
        let flow = self.inside(&known.flow, plan, member, holder.port)?;
        Some((hop.link, reset(hop.destination, hop.source, &flow, known.next, expected)))
    }

    /// The flow as its member sees it.
    fn inside(&self, flow: &Flow, plan: Plan, member: &MemberRow, port: u16) -> Option<Flow> {
        let destination_port = plan.port(flow.destination_port);
        Some(match plan.path {
            Path::Floating | Path::FloatingGateway => Flow { destination_port, ..*flow },
            Path::Gateway | Path::Masquerade if port != 0 => Flow {
                source: self.tables.config.own(flow.destination.is_v4())?,
                source_port: port,
                destination: member.address(),
                destination_port,
                ..*flow
            },
            Path::Gateway => Flow { destination: member.address(), destination_port, ..*flow },
            Path::Masquerade => return None,
        })
    }

    fn plan(&self, flow: &Flow) -> Option<Plan> {
        let places = address_places(flow.destination);
        let mut rows = places.iter().filter_map(|place| self.tables.addresses.get(place));
        let number = rows.find(|row| row.address() == flow.destination)?.number();
        let rule = |key: Key| -> Option<&RuleRow> {
            let places = key_places(key, RULE_PLACES - 1);
            places.iter().filter_map(|place| self.tables.rules.get(place)).find(|row| row.key() == Some(key))
        };
        let row = rule(Key::new(number, flow.protocol, flow.destination_port))
            .or_else(|| rule(Key::all(number)))?;
        Some(row.plan())
    }
}

/// A RST in its frame.
fn reset(destination: Mac, source: Mac, flow: &Flow, sequence: u32, acknowledgement: u32) -> Vec<u8> {
    let end = |address: Address, port: u16| SocketAddr::new(address.into(), port);
    let (from, to) = (end(flow.source, flow.source_port), end(flow.destination, flow.destination_port));
    let way = Way { destination, source, from, to };
    tcp_packet(way, Tcp { sequence, acknowledgement, flags: RST | ACK, window: 0 })
}

#[cfg(test)]
mod tests;
