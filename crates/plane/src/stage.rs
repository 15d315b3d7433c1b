//! The parts of the pipeline. The verifier looks at one part at a time, and each has the whole stack: in the kernel every stage is a
//! program, and one follows another by a tail call; elsewhere they follow one another in a loop ([`process`]).

use crate::flow::Flow;
use crate::frame::Frame;
use crate::parse::{Packet, Segment};
use crate::pipeline::RulePlace;
use crate::row::{Address, MAX_TRANSPORT};
use crate::verdict::{Drop, Stop, Verdict};
use crate::world::World;
use crate::{Tick, answer, masquerade, pieces, pipeline, report, too_big, track, way_back};

/// A part of the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Every frame begins here, and those of most flows end here.
    Enter = 0,
    /// A client's packet under a rule that masquerades.
    Masquerade = 1,
    /// An answer of a member, on its way through this host.
    Return = 2,
    /// Who asks for a frontend's link-layer address, or for an echo, gets it.
    Answer = 3,
    /// A packet in pieces, or with extension headers.
    Untangle = 4,
    /// A client's packet that was untangled, or that no rule of its port takes at once: there may be one for everything, or a list
    /// that says whom the rule admits.
    Forward = 5,
    /// An ICMP packet.
    Report = 6,
    /// A client's packet of a connection that is kept in mind.
    Track = 7,
    /// A packet that the link does not carry by which it would leave.
    TooBig = 8,
}

/// What follows a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: the packet ended.
    Done(Verdict),
    /// Another stage.
    Then(Stage),
}

impl Stage {
    /// Every stage, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Enter,
        Self::Masquerade,
        Self::Return,
        Self::Answer,
        Self::Untangle,
        Self::Forward,
        Self::Report,
        Self::Track,
        Self::TooBig,
    ];

    /// The name of its program.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Enter => "forebay",
            Self::Masquerade => "forebay_masquerade",
            Self::Return => "forebay_return",
            Self::Answer => "forebay_answer",
            Self::Untangle => "forebay_untangle",
            Self::Forward => "forebay_forward",
            Self::Report => "forebay_report",
            Self::Track => "forebay_track",
            Self::TooBig => "forebay_too_big",
        }
    }

    /// Runs it on a frame, at the moment `now`.
    #[cfg_attr(target_arch = "bpf", inline(always))]
    pub fn run<F: Frame, W: World>(self, frame: &mut F, world: &W, now: Tick) -> Step {
        match self {
            Self::Enter => enter(frame, world, now),
            Self::Masquerade => masquerade(frame, world, now),
            Self::Return => back(frame, world, now),
            Self::Answer => answer(frame, world),
            Self::Untangle => untangle(frame, world, now),
            Self::Forward => forward(frame, world, now),
            Self::Report => report(frame, world, now),
            Self::Track => track(frame, world, now),
            Self::TooBig => too_big(frame, world),
        }
    }
}

/// What becomes of a frame, at the moment `now`.
pub fn process<F: Frame, W: World>(frame: &mut F, world: &W, now: Tick) -> Verdict {
    let mut stage = Stage::Enter;
    // No stage leads back to one that was there before.
    for _ in Stage::ALL {
        match stage.run(frame, world, now) {
            Step::Done(verdict) => return verdict,
            Step::Then(next) => stage = next,
        }
    }
    Verdict::Drop(Drop::Changing)
}

/// [`Stage::Enter`].
#[cfg_attr(target_arch = "bpf", inline(always))]
pub fn enter<F: Frame, W: World>(frame: &mut F, world: &W, now: Tick) -> Step {
    pipeline::enter(frame, world, now).into()
}

/// [`Stage::Masquerade`].
#[cfg_attr(target_arch = "bpf", inline(always))]
pub fn masquerade<F: Frame, W: World>(frame: &mut F, world: &W, now: Tick) -> Step {
    masquerade::out(frame, world, now).into()
}

/// [`Stage::Return`].
#[cfg_attr(target_arch = "bpf", inline(always))]
pub fn back<F: Frame, W: World>(frame: &mut F, world: &W, now: Tick) -> Step {
    way_back::back(frame, world, now).into()
}

/// [`Stage::Answer`].
#[cfg_attr(target_arch = "bpf", inline(always))]
pub fn answer<F: Frame, W: World>(frame: &mut F, world: &W) -> Step {
    answer::answer(frame, world).into()
}

/// [`Stage::Untangle`].
#[cfg_attr(target_arch = "bpf", inline(always))]
pub fn untangle<F: Frame, W: World>(frame: &mut F, world: &W, now: Tick) -> Step {
    pieces::untangle(frame, world, now).into()
}

/// [`Stage::Forward`].
#[cfg_attr(target_arch = "bpf", inline(always))]
pub fn forward<F: Frame, W: World>(frame: &mut F, world: &W, now: Tick) -> Step {
    pipeline::untangled(frame, world, now).into()
}

/// [`Stage::Report`].
#[cfg_attr(target_arch = "bpf", inline(always))]
pub fn report<F: Frame, W: World>(frame: &mut F, world: &W, now: Tick) -> Step {
    report::report(frame, world, now).into()
}

/// [`Stage::Track`].
#[cfg_attr(target_arch = "bpf", inline(always))]
pub fn track<F: Frame, W: World>(frame: &mut F, world: &W, now: Tick) -> Step {
    track::track(frame, world, now).into()
}

/// [`Stage::TooBig`].
#[cfg_attr(target_arch = "bpf", inline(always))]
pub fn too_big<F: Frame, W: World>(frame: &mut F, world: &W) -> Step {
    too_big::tell(frame, world).into()
}

/// The packet that the stage before sent towards a route turned out to be larger than `mtu`, the bytes that the route carries:
/// [`Stage::TooBig`] follows.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub fn limit<W: World>(world: &W, mtu: u16) {
    too_big::limit(world, mtu as u64);
}

impl From<Result<Verdict, Stop>> for Step {
    #[inline(always)]
    fn from(result: Result<Verdict, Stop>) -> Self {
        match result {
            Ok(verdict) => Self::Done(verdict),
            Err(Stop::Pass(why)) => Self::Done(Verdict::Pass(why)),
            Err(Stop::Drop(why)) => Self::Done(Verdict::Drop(why)),
            Err(Stop::Then(stage)) => Self::Then(stage),
        }
    }
}

/// Words about packets that are too big.
pub const TOLD_WORDS: usize = 2;

/// Words of a parcel.
pub const PARCEL_WORDS: usize = 7;

/// What one stage tells the next about a packet, so that it is parsed once.
#[derive(Clone, Copy)]
pub(crate) struct Parcel {
    pub(crate) packet: Packet,
    pub(crate) segment: Segment,
    /// Where its rule is, for stages that begin where one was found.
    pub(crate) place: RulePlace,
}

const V4: u64 = 1 << 16;
const FRAGMENT: u64 = 1 << 17;
const START: u64 = 1 << 18;
const HEADLESS: u64 = 1 << 19;

impl Parcel {
    /// A packet without ports.
    #[inline(always)]
    pub(crate) const fn new(packet: Packet) -> Self {
        Self::with(packet, Segment { ports: 0, start: false })
    }

    /// A packet with ports.
    #[inline(always)]
    pub(crate) const fn with(packet: Packet, segment: Segment) -> Self {
        Self { packet, segment, place: RulePlace::NOWHERE }
    }

    /// A packet of which the rule is known.
    #[inline(always)]
    pub(crate) const fn under(self, place: RulePlace) -> Self {
        Self { place, ..self }
    }

    /// Who speaks to whom.
    #[inline(always)]
    pub(crate) const fn flow(&self) -> Flow {
        self.segment.flow(&self.packet)
    }

    /// Hands it to a stage.
    #[cfg_attr(target_arch = "bpf", inline(always))]
    pub(crate) fn hand<W: World>(&self, world: &W, to: Stage) -> Stop {
        self.keep(world);
        Stop::Then(to)
    }

    /// The same parcel, of which the verifier knows nothing: it then follows what comes next once, not once for each way that leads there.
    /// What it cannot know are bits of a table that are never set.
    #[cfg_attr(target_arch = "bpf", inline(always))]
    pub(crate) fn through<W: World>(&self, world: &W) -> Self {
        let unset = world.config().unset();
        let packet = &self.packet;
        let address = |it: Address| Address { high: it.high ^ unset, low: it.low ^ unset };
        let flag = |it: bool| (it as u64 ^ unset) & 1 != 0;
        Self {
            packet: Packet {
                source: address(packet.source),
                destination: address(packet.destination),
                protocol: packet.protocol ^ unset as u8,
                v4: flag(packet.v4),
                transport: (packet.transport ^ unset as usize) & MAX_TRANSPORT,
                ..*packet
            },
            segment: Segment { start: flag(self.segment.start), ..self.segment },
            place: self.place,
        }
    }

    #[cfg_attr(target_arch = "bpf", inline(always))]
    pub(crate) fn keep<W: World>(&self, world: &W) {
        let packet = &self.packet;
        let flags = if packet.v4 { V4 } else { 0 }
            | if packet.fragment { FRAGMENT } else { 0 }
            | if self.segment.start { START } else { 0 }
            | if packet.headless { HEADLESS } else { 0 };
        world.keep([
            packet.source.high,
            packet.source.low,
            packet.destination.high,
            packet.destination.low,
            packet.protocol as u64
                | (packet.hop_limit as u64) << 8
                | flags
                | ((packet.transport & MAX_TRANSPORT) as u64) << 24
                | (packet.payload as u64) << 40,
            self.segment.ports as u64,
            (self.place.frontend as u64) << 32 | self.place.place as u64,
        ]);
    }

    /// Takes what the stage before handed over.
    #[cfg_attr(target_arch = "bpf", inline(always))]
    pub(crate) fn take<W: World>(world: &W) -> Self {
        let [source_high, source_low, high, low, rest, ports, place] = world.kept();
        let packet = Packet {
            source: Address { high: source_high, low: source_low },
            destination: Address { high, low },
            protocol: rest as u8,
            hop_limit: (rest >> 8) as u8,
            fragment: rest & FRAGMENT != 0,
            v4: rest & V4 != 0,
            headless: rest & HEADLESS != 0,
            transport: (rest >> 24) as usize & MAX_TRANSPORT,
            payload: (rest >> 40) as u32,
        };
        Self {
            packet,
            segment: Segment { ports: ports as u32, start: rest & START != 0 },
            place: RulePlace { frontend: (place >> 32) as u32, place: place as u32 },
        }
    }
}
