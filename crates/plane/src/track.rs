//! Connections that are kept in mind, with all that it takes to reset both ends: of rules that announce the end of an idle time, or are
//! strict about it (FLOW-5), and of pools whose members keep their connections for a while when they leave (FLOW-3).
//!
//! The entry in the memory of flows is the index, and all that a sweep reads. What else is known stands in the row of the same place,
//! one cache line:
//!
//! | word | what |
//! |---|---|
//! | 0–1 | the client's address |
//! | 2–3 | the frontend's address |
//! | 4 | the ports of both, the link that the client's frames come in by |
//! | 5 | the station that they come from, [`CLOSED`], [`ANSWERED`] |
//! | 6 | the client's next sequence number, and the one that it expects next |
//! | 7 | the tag of the entry, the moment of the last packet |
//!
//! Only the client's direction is seen of connections whose members answer directly, and it is enough: when all is quiet, what the
//! client sent last is what the member expects next to follow, and what it acknowledged last is what it expects next itself.

use crate::Tick;
use crate::choose::{from_slot, is_down, is_elsewhere, is_leaving, slot_for_new, sole};
use crate::flow::Flow;
use crate::frame::Frame;
use crate::memory::{self, Remembered, Why};
use crate::pipeline::{deliver, masquerades, reachable};
use crate::rewrite;
use crate::row::{Address, Mac, Plan, Strict, TRACK_WORDS, protocol};
use crate::stage::{Parcel, Stage};
use crate::verdict::{Drop, Stop, Verdict};
use crate::world::{Track, Word, World};

/// The client said that it sends no more, or that it has broken off.
const CLOSED: u64 = 1;
/// The client has acknowledged something.
const ANSWERED: u64 = 2;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// How long a connection is kept in mind that is half open, in ticks: long enough for the first repeats of a SYN.
const HALF_OPEN: u16 = 20;
/// How long one is that the client has closed, from its last packet: what Linux gives the other end to close as well.
const CLOSING: u16 = 120;
/// The largest window that TCP knows: a sequence number that is further ahead is none of this connection.
const WINDOW: u32 = 1 << 30;

/// A client's packet of a connection that is kept in mind.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn track<F: Frame, W: World>(frame: &mut F, world: &W, now: Tick) -> Result<Verdict, Stop> {
    let parcel = Parcel::take(world);
    let flow = &parcel.flow();
    let rule = parcel.place.rule(world, flow)?;
    let plan = rule.plan();
    let masquerades = masquerades(world, plan, parcel.packet.source);
    let packet = Seen::of(frame, &parcel)?;
    let masked = if masquerades { MASQUERADES } else { 0 };
    let time = (world.ingress() as u64) << 32 | now.0 as u64;
    let kept =
        world.keep_in_mind(plan.word(), packet.numbers(), packet.rest() | masked, packet.station, time);
    let (number, started) = Kept(kept).read()?;
    if masquerades {
        return Err(Stop::Then(Stage::Masquerade));
    }
    deliver::<F, W, true>(frame, world, &parcel, &rule, number, started)
}

/// Among the flags of a packet that is on its way to be masqueraded.
const MASQUERADES: u64 = 1 << 8;

/// The answer of [`outline::keep_in_mind`](crate::outline::keep_in_mind), in one word: the member's number, whether a connection begins,
/// or why the packet is dropped.
struct Kept(u64);

impl Kept {
    const STARTED: u64 = 1 << 32;

    #[inline(always)]
    fn read(self) -> Result<(u32, bool), Drop> {
        match (self.0 >> 40) as u8 {
            0 => Ok((self.0 as u32, self.0 & Self::STARTED != 0)),
            1 => Err(Drop::Forgotten),
            2 => Err(Drop::TableFull),
            3 => Err(Drop::NoMember),
            _ => Err(Drop::Changing),
        }
    }

    #[inline(always)]
    fn of(kept: Result<(u32, bool), Drop>) -> u64 {
        match kept {
            Ok((number, started)) => number as u64 | if started { Self::STARTED } else { 0 },
            Err(Drop::Forgotten) => 1 << 40,
            Err(Drop::TableFull) => 2 << 40,
            Err(Drop::NoMember) => 3 << 40,
            Err(_) => 4 << 40,
        }
    }
}

/// [`outline::keep_in_mind`](crate::outline::keep_in_mind).
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn in_mind<W: World>(
    world: &W,
    plan: u64,
    numbers: u64,
    rest: u64,
    station: u64,
    (ingress, now): (u32, Tick),
) -> u64 {
    let flow = Parcel::take(world).flow();
    let packet = Seen {
        sequence: (numbers >> 32) as u32,
        ack: numbers as u32,
        end: (rest >> 32) as u32,
        flags: rest as u32 & 0xff,
        station,
        ingress,
    };
    Kept::of(keep(world, &flow, Plan::from_word(plan), rest & MASQUERADES != 0, packet, now))
}

/// What a packet tells of its connection.
#[derive(Clone, Copy)]
struct Seen {
    /// Its first sequence number, and the one after its last.
    sequence: u32,
    end: u32,
    /// What it acknowledges.
    ack: u32,
    /// Its flags; 0 in a piece without them.
    flags: u32,
    station: u64,
    /// Interface index of the link that it came in by.
    ingress: u32,
}

impl Seen {
    #[cfg_attr(target_arch = "bpf", inline(always))]
    fn of<F: Frame>(frame: &F, parcel: &Parcel) -> Result<Self, Drop> {
        let packet = &parcel.packet;
        let Some(station) = rewrite::load_mac(frame, 6) else { return Err(Drop::Malformed) };
        let station = station.bits();
        if packet.headless {
            return Ok(Self { sequence: 0, end: 0, ack: 0, flags: 0, station, ingress: 0 });
        }
        let Some(numbers) = frame.load::<8>(packet.transport + 4) else { return Err(Drop::Malformed) };
        let Some([offset, flags]) = frame.load::<2>(packet.transport + 12) else {
            return Err(Drop::Malformed);
        };
        let numbers = u64::from_be_bytes(numbers);
        let header = (offset >> 4) as u32 * 4;
        let data = packet.payload.saturating_sub(header);
        let sequence = (numbers >> 32) as u32;
        let of_flags = (flags & SYN != 0) as u32 + (flags & FIN != 0) as u32;
        Ok(Self {
            sequence,
            end: sequence.wrapping_add(data).wrapping_add(of_flags),
            ack: numbers as u32,
            flags: flags as u32,
            station,
            ingress: 0,
        })
    }

    #[inline(always)]
    const fn numbers(self) -> u64 {
        (self.sequence as u64) << 32 | self.ack as u64
    }

    #[inline(always)]
    const fn rest(self) -> u64 {
        (self.end as u64) << 32 | self.flags as u64
    }

    #[inline(always)]
    const fn has(self, flag: u8) -> bool {
        self.flags & flag as u32 != 0
    }

    /// It asks for a connection.
    #[inline(always)]
    const fn starts(self) -> bool {
        self.flags & (FIN | SYN | RST | ACK) as u32 == SYN as u32
    }
}

/// The member, and whether a connection begins with this packet; where the flow is masqueraded, nobody: that stage knows.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn keep<W: World>(
    world: &W,
    flow: &Flow,
    plan: Plan,
    masquerades: bool,
    packet: Seen,
    now: Tick,
) -> Result<(u32, bool), Drop> {
    let start = packet.starts();
    let found = memory::find(world, flow.identity(), now);
    let place = found.place(world);
    let Some(row) = world.track(place) else { return Err(Drop::Changing) };
    let before = if found.remembered.is_some() { row[5].get() } else { CLOSED };
    let begins = start && before & CLOSED != 0;
    if let Some(known) = found.remembered
        && !begins
    {
        let number = if masquerades { 0 } else { stays(world, plan, known, start)? };
        if number != 0 || masquerades {
            // A SYN that is sent again, or that somebody else sent, says nothing about a connection that is there.
            if !(start && known.is_confirmed()) {
                let flags = renew::<W>(world, row, packet);
                let known = known.pinned(!masquerades && is_elsewhere(world, flow, plan, number));
                found.refresh(world, known, !start, idle(plan, !start, flags), now);
            }
            return Ok((number, false));
        }
    }
    if !start && found.remembered.is_none() && plan.strict == Strict::Yes {
        return Err(Drop::Forgotten);
    }
    if start && found.is_full() && plan.strict != Strict::No {
        return Err(Drop::TableFull);
    }
    let number = if masquerades {
        0
    } else if plan.direct {
        sole(world, plan, start)?
    } else if start {
        slot_for_new(world, flow, plan, found.is_full())?
    } else {
        from_slot(world, flow, plan)?
    };
    if !found.is_full() {
        let flags = begin::<W>(world, row, flow, packet);
        let pinned = !masquerades && is_elsewhere(world, flow, plan, number);
        let why = Why { pinned, confirmed: !start, tracked: true };
        found.remember(world, number, why, idle(plan, !start, flags), now);
    }
    Ok((number, start))
}

/// The member of a connection that is kept in mind; 0 where it leaves it (FLOW-1).
#[cfg_attr(target_arch = "bpf", inline(always))]
fn stays<W: World>(world: &W, plan: Plan, known: Remembered, start: bool) -> Result<u32, Drop> {
    let number = known.member();
    if plan.direct {
        // FLOW-3: whoever has left has its connections, also where the port is another one's by now.
        return Ok(match is_leaving(world, number) {
            true if start => 0,
            true => number,
            false => plan.ring as u32,
        });
    }
    match reachable(world, number) {
        Ok(member) => {
            let down = (start || plan.resets) && is_down(world, plan, number);
            if down || start && member.is_leaving() { Ok(0) } else { Ok(number) }
        }
        Err(Drop::Changing) => Err(Drop::Changing),
        Err(_) => Ok(0),
    }
}

#[inline(always)]
const fn idle(plan: Plan, confirmed: bool, flags: u64) -> u16 {
    let most = if !confirmed {
        HALF_OPEN
    } else if flags & CLOSED != 0 {
        CLOSING
    } else {
        plan.idle
    };
    if plan.idle < most { plan.idle } else { most }
}

/// Keeps all that is known of a connection, in a row that nobody believes yet, and gives its flags.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn begin<W: World>(world: &W, row: &Track<W>, flow: &Flow, packet: Seen) -> u64 {
    let answered = packet.has(ACK);
    let ack = if answered { packet.ack } else { 0 };
    let flags = if answered { ANSWERED } else { 0 } | if packet.has(FIN | RST) { CLOSED } else { 0 };
    row[0].set(flow.source.high);
    row[1].set(flow.source.low);
    row[2].set(flow.destination.high);
    row[3].set(flow.destination.low);
    row[4].set((flow.ports() as u64) << 32 | packet.ingress as u64);
    row[5].set(packet.station << 16 | flags);
    row[6].set((packet.end as u64) << 32 | ack as u64);
    row[7].set(flow.identity() >> 32 << 32 | world.moment() as u64);
    flags
}

/// Keeps what is new in this packet, and gives the connection's flags. What is the same is not written again.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn renew<W: World>(world: &W, row: &Track<W>, packet: Seen) -> u64 {
    let (state, numbers, seen) = (row[5].get(), row[6].get(), row[7].get());
    let (old_next, old_ack) = ((numbers >> 32) as u32, numbers as u32);
    let mut flags = state & (CLOSED | ANSWERED);
    if packet.flags != 0 {
        let (mut next, mut ack) = (old_next, old_ack);
        if is_ahead(packet.end, old_next) {
            next = packet.end;
            flags &= !CLOSED;
        }
        let ends = packet.has(FIN) && packet.end == next || packet.has(RST) && packet.sequence == old_next;
        if ends {
            flags |= CLOSED;
        }
        if packet.has(ACK) {
            if flags & ANSWERED == 0 || is_ahead(packet.ack, old_ack) {
                ack = packet.ack;
            }
            flags |= ANSWERED;
        }
        write(&row[6], numbers, (next as u64) << 32 | ack as u64);
    }
    write(&row[5], state, packet.station << 16 | flags);
    let ports = row[4].get();
    write(&row[4], ports, ports >> 32 << 32 | packet.ingress as u64);
    write(&row[7], seen, seen >> 32 << 32 | world.moment() as u64);
    flags
}

/// Whether a sequence number lies ahead of another one, as far as a window reaches.
#[inline(always)]
const fn is_ahead(number: u32, of: u32) -> bool {
    number.wrapping_sub(of).wrapping_sub(1) < WINDOW
}

#[inline(always)]
fn write<W: Word>(word: &W, old: u64, new: u64) {
    if new != old {
        word.set(new);
    }
}

/// A connection that is kept in mind, for whoever resets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// Who speaks to whom, as the client sees it.
    pub flow: Flow,
    /// Interface index of the link that the client's frames come in by.
    pub link: u32,
    /// The station that they come from.
    pub station: Mac,
    /// The client's next sequence number: what its member expects next.
    pub next: u32,
    /// What the client expects next; `None` where it has acknowledged nothing.
    pub expected: Option<u32>,
    /// The client said that it sends no more, or broke off.
    pub closed: bool,
    /// The moment of its last packet.
    pub seen: u32,
}

impl Tracked {
    /// From an entry's word and the row of the same place; `None` where they do not belong together.
    pub fn of(word: u64, row: [u64; TRACK_WORDS]) -> Option<Self> {
        let [client_high, client_low, high, low, ports, state, numbers, tag] = row;
        if !Remembered::is_tracked(word) || !Remembered::is_of(word, tag) {
            return None;
        }
        Some(Self {
            flow: Flow {
                source: Address { high: client_high, low: client_low },
                destination: Address { high, low },
                source_port: (ports >> 48) as u16,
                destination_port: (ports >> 32) as u16,
                protocol: protocol::TCP,
            },
            link: ports as u32,
            station: Mac::from_bits(state >> 16),
            next: (numbers >> 32) as u32,
            expected: (state & ANSWERED != 0).then_some(numbers as u32),
            closed: state & CLOSED != 0,
            seen: tag as u32,
        })
    }
}
