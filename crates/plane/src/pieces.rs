//! Packets whose transport header is not where it mostly is: behind extension headers, or only in the first piece of a packet that
//! was cut (HA-1).
//!
//! The first piece of a packet tells the ports to those that follow, in whatever order. They are kept in buckets of four, one cache
//! line each:
//!
//! | word | what |
//! |---|---|
//! | even | bits of the packet's identity; 15: live; 0–14: the tick until which pieces are waited for |
//! | odd | both ports |

use crate::Tick;
use crate::flow::mix;
use crate::frame::Frame;
use crate::outline::VACANT;
use crate::parse::{self, ETHERNET, FRAGMENT, Packet, ROUTING, Segment};
use crate::pipeline::find_address;
use crate::row::{MAX_EXTENSIONS, MAX_TRANSPORT, PIECE_BUCKETS, PIECE_TICKS, PIECE_WAYS, Role};
use crate::stage::{Parcel, Stage};
use crate::verdict::{Drop, Pass, Stop, Verdict};
use crate::world::{Word, World};

const SEED: u64 = 0x8ebc_6af0_9c88_c6e3;
const TIME: u64 = 0x7fff;
const LIVE: u64 = 0x8000;

/// Finds the transport header, or the ports that another piece had, and goes on.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn untangle<F: Frame, W: World>(frame: &mut F, world: &W, now: Tick) -> Result<Verdict, Stop> {
    let mut packet = Parcel::take(world).packet;
    let (next, otherwise) = match find_address(world, packet.destination).and_then(|row| row.role()) {
        Some(Role::Frontend) => (Stage::Forward, None),
        Some(Role::Own) => (Stage::Return, Some(Pass::OwnAddress)),
        Some(Role::Member | Role::Station) | None => (Stage::Return, Some(Pass::NotOurs)),
    };
    let segment = match segment(frame, world, &mut packet, now) {
        Ok(segment) => segment,
        Err(why) => {
            return Err(match otherwise {
                Some(pass) => pass.into(),
                None => unmatched(world, &packet, why),
            });
        }
    };
    if packet.is_icmp() {
        return Err(Parcel::new(packet).hand(world, Stage::Report));
    }
    Err(Parcel::with(packet, segment).hand(world, next))
}

#[cfg_attr(target_arch = "bpf", inline(always))]
fn unmatched<W: World>(world: &W, packet: &Packet, why: Drop) -> Stop {
    if let Some(row) = find_address(world, packet.destination) {
        world.count_unmatched(row.number());
    }
    why.into()
}

/// What the transport header says, wherever it is.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn segment<F: Frame, W: World>(
    frame: &F,
    world: &W,
    packet: &mut Packet,
    now: Tick,
) -> Result<Segment, Drop> {
    let piece = if packet.v4 { piece_of_v4(frame)? } else { follow(frame, packet)? };
    let none = Segment { ports: 0, start: false };
    if packet.is_icmp() {
        return if piece.is_whole() { Ok(none) } else { Err(Drop::Fragment) };
    }
    packet.fragment = !piece.is_whole();
    if !packet.fragment {
        return parse::transport(frame, packet);
    }
    let protocol = if packet.v4 { packet.protocol } else { 0 };
    let identity = identity(packet, piece.id(), protocol);
    if !piece.is_first() {
        packet.headless = true;
        let ports = recall(world, identity, now).ok_or(Drop::Fragment)?;
        return Ok(Segment { ports, start: false });
    }
    let segment = parse::transport(frame, packet)?;
    // Packets between others on their way through this host are not our business.
    let ours = match find_address(world, packet.destination).and_then(|row| row.role()) {
        Some(Role::Frontend | Role::Own) => true,
        Some(Role::Member | Role::Station) | None => find_address(world, packet.source).is_some(),
    };
    if ours {
        keep(world, identity, segment.ports, now);
    }
    Ok(segment)
}

/// Which piece of which packet: the packet's number in the upper half, the piece's offset above the lowest bit, and in that whether
/// more follow. (Fields of their own would not be aligned on the kernel's stack.)
#[derive(Clone, Copy)]
struct Piece(u64);

impl Piece {
    const WHOLE: Self = Self(0);

    #[inline(always)]
    const fn new(id: u32, offset: u16, more: bool) -> Self {
        Self((id as u64) << 32 | (offset as u64) << 1 | more as u64)
    }

    #[inline(always)]
    const fn id(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline(always)]
    const fn is_first(self) -> bool {
        self.0 as u32 >> 1 == 0
    }

    #[inline(always)]
    const fn is_whole(self) -> bool {
        self.0 as u32 == 0
    }
}

#[cfg_attr(target_arch = "bpf", inline(always))]
fn piece_of_v4<F: Frame>(frame: &F) -> Result<Piece, Drop> {
    let Some(word) = frame.load::<4>(ETHERNET + 4) else { return Err(Drop::Malformed) };
    let word = u32::from_be_bytes(word);
    Ok(Piece::new(word >> 16, word as u16 & 0x1fff, word & 0x2000 != 0))
}

/// Follows the extension headers to the transport header.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn follow<F: Frame>(frame: &F, packet: &mut Packet) -> Result<Piece, Drop> {
    let mut piece = Piece::WHOLE;
    let (mut protocol, mut transport, mut payload) = (packet.protocol, packet.transport, packet.payload);
    let mut header = 0;
    // What follows in a piece that is not the first is not a header.
    while parse::is_extension(protocol) && piece.is_first() {
        if header == MAX_EXTENSIONS || transport > MAX_TRANSPORT {
            return Err(Drop::Extensions);
        }
        // As one number: single bytes would not be aligned on the kernel's stack.
        let Some(word) = frame.load::<8>(transport) else { return Err(Drop::Malformed) };
        let word = u64::from_be_bytes(word);
        let length = if protocol == FRAGMENT {
            let offset = (word >> 32) as u16;
            piece = Piece::new(word as u32, offset >> 3, offset & 1 != 0);
            8
        } else {
            // There is another place that the packet wants to be at first.
            if protocol == ROUTING && (word >> 32) as u8 != 0 {
                return Err(Drop::Extensions);
            }
            ((word >> 48) as u32 & 0xff) * 8 + 8
        };
        if length > payload {
            return Err(Drop::Malformed);
        }
        protocol = (word >> 56) as u8;
        transport += length as usize;
        payload -= length;
        header += 1;
    }
    if transport > MAX_TRANSPORT {
        return Err(Drop::Extensions);
    }
    *packet = Packet { protocol, transport, payload, ..*packet };
    Ok(piece)
}

/// The packet that a piece belongs to.
#[inline(always)]
fn identity(packet: &Packet, id: u32, protocol: u8) -> u64 {
    let source = mix(mix(SEED, packet.source.high), packet.source.low);
    let both = mix(mix(source, packet.destination.high), packet.destination.low);
    let hash = mix(both, (id as u64) << 8 | protocol as u64);
    hash ^ hash >> 32
}

#[inline(always)]
const fn bucket_place(identity: u64) -> u32 {
    identity as u32 & (PIECE_BUCKETS - 1)
}

#[inline(always)]
const fn tag(identity: u64) -> u64 {
    identity >> 16 << 16 | LIVE
}

#[cfg_attr(target_arch = "bpf", inline(always))]
fn keep<W: World>(world: &W, identity: u64, ports: u32, now: Tick) {
    let Some(bucket) = world.pieces(bucket_place(identity)) else { return };
    let way = (world.piece_way(identity, now.0) & (PIECE_WAYS - 1)) as usize;
    if let (Some(head), Some(rest)) = (bucket.get(2 * way), bucket.get(2 * way + 1)) {
        // Nobody must find another packet's ports under this identity.
        head.set(0);
        rest.set(ports as u64);
        head.set(tag(identity) | (now.0 as u64 + PIECE_TICKS as u64) & TIME);
    }
}

#[cfg_attr(target_arch = "bpf", inline(always))]
fn recall<W: World>(world: &W, identity: u64, now: Tick) -> Option<u32> {
    let bucket = world.pieces(bucket_place(identity))?;
    let way = world.piece_way(identity, now.0);
    if way >= VACANT {
        return None;
    }
    let way = (way & (PIECE_WAYS - 1)) as usize;
    let (head, rest) = (bucket.get(2 * way)?, bucket.get(2 * way + 1)?);
    let before = head.get();
    let ports = rest.get() as u32;
    let same = before & !TIME == tag(identity) && head.get() == before && !has_run_out(before, now);
    same.then_some(ports)
}

#[inline(always)]
fn has_run_out(word: u64, now: Tick) -> bool {
    (word & TIME).wrapping_sub(now.0 as u64) & TIME > PIECE_TICKS as u64
}

/// The way of its bucket in which the packet with this identity is kept, or with [`VACANT`] the one that it may take.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(crate) fn way<W: World>(world: &W, identity: u64, now: u32) -> u32 {
    let Some(bucket) = world.pieces(bucket_place(identity)) else { return VACANT };
    let mut victim = VACANT;
    let mut vacancy = 0;
    let mut way = 0;
    while way < PIECE_WAYS {
        let word = match bucket.get(2 * way as usize) {
            Some(word) => word.get(),
            None => 0,
        };
        if word & !TIME == tag(identity) {
            return way;
        }
        // The longer ago a first piece was seen, the better a victim it is.
        let age = if word == 0 || has_run_out(word, Tick(now)) {
            u64::MAX
        } else {
            1 + PIECE_TICKS as u64 - ((word & TIME).wrapping_sub(now as u64) & TIME)
        };
        if age > vacancy {
            vacancy = age;
            victim = VACANT | way;
        }
        way += 1;
    }
    victim
}
