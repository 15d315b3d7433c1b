//! Rules, and rules of the way back.

use super::{Address, BUSY, LIVE, MAX_ADDRESSES};

/// Address number, protocol and port in one word, without the bits [`LIVE`] and [`BUSY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(u64);

/// Bits that the number of an address has.
const NUMBER_BITS: u32 = MAX_ADDRESSES.ilog2();
/// Where the number is that of a station and of an address.
const STATION: u32 = 1 << 31;
const _: () = assert!(MAX_ADDRESSES.is_power_of_two() && 2 * NUMBER_BITS < 31);

impl Key {
    /// The key of `port` of `protocol` at the address with this number.
    #[inline(always)]
    pub const fn new(number: u32, protocol: u8, port: u16) -> Self {
        Self((number as u64) << 32 | (port as u64) << 16 | (protocol as u64) << 8)
    }

    /// The key of all protocols and ports at the address with this number (HA-1).
    #[inline(always)]
    pub const fn all(number: u32) -> Self {
        Self::new(number, 0, 0)
    }

    /// The key of what the station with this number sends from `port` of `protocol` of the address with that one (FIP-3).
    #[inline(always)]
    pub const fn of_station(station: u32, number: u32, protocol: u8, port: u16) -> Self {
        Self::new(STATION | station << NUMBER_BITS | number, protocol, port)
    }

    /// The key in a row's publishing word; `None` in an empty row.
    #[inline(always)]
    pub const fn of(word: u64) -> Option<Self> {
        if word & LIVE != 0 { Some(Self(word & !(LIVE | BUSY))) } else { None }
    }

    /// The address's number.
    pub const fn number(self) -> u32 {
        let number = (self.0 >> 32) as u32;
        if number & STATION != 0 { number & (MAX_ADDRESSES - 1) } else { number }
    }

    /// The number of the station that the key is about; `None` where it is about all of them.
    pub const fn station(self) -> Option<u32> {
        let number = (self.0 >> 32) as u32;
        if number & STATION != 0 { Some((number & !STATION) >> NUMBER_BITS) } else { None }
    }

    /// The transport protocol.
    pub const fn protocol(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// The port.
    pub const fn port(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// The key as a number without status bits.
    #[inline(always)]
    pub const fn bits(self) -> u64 {
        self.0
    }
}

/// `loadDistribution`: which fields are hashed (DIST-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Distribution {
    /// Both addresses, both ports, protocol.
    FiveTuple,
    /// Both addresses.
    SourceIp,
    /// Both addresses and the protocol.
    SourceIpProtocol,
}

impl Distribution {
    #[inline(always)]
    const fn bits(self) -> u64 {
        match self {
            Self::FiveTuple => 0,
            Self::SourceIp => 1,
            Self::SourceIpProtocol => 2,
        }
    }

    #[inline(always)]
    const fn from_bits(bits: u64) -> Self {
        match bits & 3 {
            1 => Self::SourceIp,
            2 => Self::SourceIpProtocol,
            _ => Self::FiveTuple,
        }
    }
}

/// How a rule's packets reach a member and its answers the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Path {
    /// Floating IP on: the destination address stays, the member answers the client itself.
    Floating,
    /// Floating IP on with another backend port: the answers come back through this host.
    FloatingGateway,
    /// Floating IP off; the member's default route is this host.
    Gateway,
    /// Floating IP off; the balancer's own address stands in for the client's.
    Masquerade,
}

/// All that a packet needs to know of its rule, in one word, so that it changes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Plan {
    /// The port at the member; 0 where it is the one that was called (HA-1).
    pub backend_port: u16,
    /// The ring of the rule's pool; where the rule is `direct`, the number of its one member.
    pub ring: u16,
    /// Which fields choose the slot.
    pub distribution: Distribution,
    /// Which fields chose it before (DIST-8): a flow that is neither new nor remembered was chosen by these.
    pub former: Distribution,
    /// The change from `former` is over; what it moved is in the memory of flows.
    pub settled: bool,
    /// How packets travel.
    pub path: Path,
    /// Every flow is remembered: its packets do not show where it starts.
    pub remembers: bool,
    /// Connections leave a member that is down, and are reset by another one (CLUS-1).
    pub resets: bool,
    /// A member that calls the frontend may be led to itself (HAIR-1).
    pub hairpin: bool,
    /// NAT-1: there is one member, and nothing to choose.
    pub direct: bool,
    /// Connections are kept in mind, with all that a reset of both ends takes (FLOW-3, FLOW-5).
    pub tracks: bool,
    /// Both ends of a connection that was silent for the idle time are reset (FLOW-5).
    pub announces: bool,
    /// What becomes of a connection under way that is not kept in mind (FLOW-5).
    pub strict: Strict,
    /// Ticks without a packet after which a flow is forgotten: at most [`MAX_IDLE_TICKS`].
    pub idle: u16,
}

/// Whether a connection under way is dropped that is not kept in mind, instead of being chosen afresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strict {
    /// It is chosen afresh.
    No,
    /// It is chosen afresh until every connection that began before is kept in mind, or has been silent for the idle time.
    Soon,
    /// It is dropped.
    Yes,
}

impl Strict {
    #[inline(always)]
    const fn bits(self) -> u64 {
        match self {
            Self::No => 0,
            Self::Soon => 1,
            Self::Yes => 2,
        }
    }

    #[inline(always)]
    const fn from_bits(bits: u64) -> Self {
        match bits & 3 {
            0 => Self::No,
            1 => Self::Soon,
            _ => Self::Yes,
        }
    }
}

/// The longest idle time in ticks; what a memory entry can tell from one that ran out.
pub const MAX_IDLE_TICKS: u16 = 12_000;

impl Plan {
    /// The port at the member of a packet that called this one.
    #[inline(always)]
    pub const fn port(&self, called: u16) -> u16 {
        if self.backend_port == 0 { called } else { self.backend_port }
    }

    /// As the word of a row.
    pub const fn word(self) -> u64 {
        let path = match self.path {
            Path::Floating => 0,
            Path::FloatingGateway => 1,
            Path::Gateway => 2,
            Path::Masquerade => 3,
        };
        self.backend_port as u64
            | (self.ring as u64) << 16
            | self.distribution.bits() << 32
            | self.former.bits() << 34
            | (self.settled as u64) << 36
            | path << 37
            | (self.remembers as u64) << 39
            | (self.resets as u64) << 40
            | (self.hairpin as u64) << 41
            | (self.direct as u64) << 42
            | (self.tracks as u64) << 43
            | (self.announces as u64) << 44
            | self.strict.bits() << 45
            | (self.idle as u64) << 48
    }

    /// From the word of a row.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self {
            backend_port: word as u16,
            ring: (word >> 16) as u16,
            distribution: Distribution::from_bits(word >> 32),
            former: Distribution::from_bits(word >> 34),
            settled: word >> 36 & 1 != 0,
            path: match word >> 37 & 3 {
                0 => Path::Floating,
                1 => Path::FloatingGateway,
                2 => Path::Gateway,
                _ => Path::Masquerade,
            },
            remembers: word >> 39 & 1 != 0,
            resets: word >> 40 & 1 != 0,
            hairpin: word >> 41 & 1 != 0,
            direct: word >> 42 & 1 != 0,
            tracks: word >> 43 & 1 != 0,
            announces: word >> 44 & 1 != 0,
            strict: Strict::from_bits(word >> 45),
            idle: (word >> 48) as u16,
        }
    }
}

/// A rule: what happens to a protocol and port of a frontend. Published by word 0; word 1 is the [`Plan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct RuleRow(pub [u64; 4]);

/// What rules have in common that use one ring: the members, and who of them is up. Identities, as they stand in the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct View {
    /// The pool.
    pub pool: u64,
    /// The probe; 0 without one.
    pub probe: u32,
}

/// Where a rule's word 2 names its list.
const LIST: u64 = 0xffff << 16;

impl RuleRow {
    /// `number` below `MAX_RULES`: the rule's row in the table of counters. The pipeline does not read the view, the next start of the
    /// control plane does.
    pub const fn new(key: Key, plan: Plan, number: u32, view: View) -> Self {
        Self([key.bits() | LIVE, plan.word(), (view.probe as u64) << 32 | number as u64, view.pool])
    }

    /// The same rule, which asks a list whom it admits (ACL-1); 0 is everybody. The list's number changes at once.
    pub const fn asking(self, list: u32) -> Self {
        let [key, plan, number, pool] = self.0;
        Self([key, plan, number & !LIST | (list as u64 & 0xffff) << 16, pool])
    }

    /// The list that it asks; 0 where everybody is admitted.
    #[inline(always)]
    pub const fn list(self) -> u32 {
        (self.0[2] >> 16) as u32 & 0xffff
    }

    /// The same rule with another plan.
    pub const fn with(self, plan: Plan) -> Self {
        let [key, _, number, pool] = self.0;
        Self([key, plan.word(), number, pool])
    }

    /// Whose slots its ring has.
    pub const fn view(self) -> View {
        View { pool: self.0[3], probe: (self.0[2] >> 32) as u32 }
    }

    /// Its frontend, protocol and port; `None` in an empty row.
    #[inline(always)]
    pub const fn key(self) -> Option<Key> {
        Key::of(self.0[0])
    }

    /// Whether the row is being rewritten.
    #[inline(always)]
    pub const fn is_busy(self) -> bool {
        self.0[0] & BUSY != 0
    }

    /// What its packets need to know.
    #[inline(always)]
    pub const fn plan(self) -> Plan {
        Plan::from_word(self.0[1])
    }

    /// The ring that its plan names; 0 where it names none.
    pub const fn ring(self) -> u32 {
        let plan = self.plan();
        if plan.direct { 0 } else { plan.ring as u32 }
    }

    /// Its row in the table of counters.
    #[inline(always)]
    pub const fn number(self) -> u32 {
        self.0[2] as u32 & 0xffff
    }
}

/// The way back through this host: answers from an address and port get the frontend's. Published by word 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct ReturnRow(pub [u64; 4]);

impl ReturnRow {
    /// Answers from `key` leave as `frontend`:`port`, counted with rule `rule`.
    pub const fn new(key: Key, frontend: Address, port: u16, rule: u32) -> Self {
        Self([key.bits() | LIVE, frontend.high, frontend.low, (rule as u64) << 32 | port as u64])
    }

    /// Where the answers come from; `None` in an empty row.
    #[inline(always)]
    pub const fn key(self) -> Option<Key> {
        Key::of(self.0[0])
    }

    /// Whether the row is being rewritten.
    #[inline(always)]
    pub const fn is_busy(self) -> bool {
        self.0[0] & BUSY != 0
    }

    /// The frontend's address.
    #[inline(always)]
    pub const fn frontend(self) -> Address {
        Address { high: self.0[1], low: self.0[2] }
    }

    /// Whether it is for all protocols and ports (HA-1).
    #[inline(always)]
    pub const fn is_for_all(self) -> bool {
        match self.key() {
            Some(key) => key.protocol() == 0,
            None => false,
        }
    }

    /// The frontend's port; meaningless where it [is for all](Self::is_for_all).
    #[inline(always)]
    pub const fn port(self) -> u16 {
        self.0[3] as u16
    }

    /// The rule that is counted.
    #[inline(always)]
    pub const fn rule(self) -> u32 {
        (self.0[3] >> 32) as u32
    }
}
