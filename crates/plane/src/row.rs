//! What the tables hold. A row is words; a word is the unit that changes at once; meaning is a method.
//!
//! The tables are shared with running programs, so a reader may see a row while it is being rewritten. Rows of several words
//! therefore have one word that publishes them (named below): it is zero while the row is empty, carries [`BUSY`] while the
//! others are being replaced, and is written last.

use core::fmt;

/// The row is being rewritten: believe nothing of it.
pub const BUSY: u64 = 2;
/// The row is there.
pub const LIVE: u64 = 1;

/// Slots of a ring: a power of two, so that the choice is a shift.
pub const RING_SLOTS: u32 = 1 << 16;
/// Words that hold a ring's slots, two a word.
pub const RING_WORDS: u32 = RING_SLOTS / 2;
/// Members of all pools together; 0 is nobody.
pub const MAX_MEMBERS: u32 = 1 << 15;
/// Places for addresses: four for each address that may be in use.
pub const ADDRESS_PLACES: u32 = 1 << 16;
/// Frontend, member and own addresses together.
pub const MAX_ADDRESSES: u32 = ADDRESS_PLACES / 4;
/// Places for rules: four for each rule that may be in use.
pub const RULE_PLACES: u32 = 1 << 16;
/// Load-balancing rules of all balancers together.
pub const MAX_RULES: u32 = RULE_PLACES / 4;
/// Places for rules of the way back.
pub const RETURN_PLACES: u32 = 1 << 17;
/// Rules of the way back: one for each member and rule of a `gateway` pool.
pub const MAX_RETURNS: u32 = RETURN_PLACES / 4;
/// Places for links; a link is looked for in [`LINK_TRIES`] of them.
pub const LINK_PLACES: u32 = 64;
/// Places looked at for a link.
pub const LINK_TRIES: u32 = 4;
/// Ways of a bucket of remembered flows.
pub const BUCKET_WAYS: usize = 8;
/// Words of an entry for a masqueraded flow.
pub const ENTRY_WORDS: usize = 8;
/// Places in which a masqueraded flow may be kept, by its client's side.
pub const OUTWARD_WAYS: u32 = 4;
/// First of the own address's ports that masquerading uses. They lie below the ports that Linux gives to local sockets.
pub const MASQUERADE_FIRST_PORT: u16 = 1_024;
/// How many ports masquerading uses towards one member and port.
pub const MASQUERADE_PORTS: u16 = 31_744;

/// An IPv6 address, or an IPv4 address in the mapped form `::ffff:a.b.c.d`: its upper and lower eight bytes, read as
/// big-endian numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Address {
    /// The first eight bytes.
    pub high: u64,
    /// The last eight bytes.
    pub low: u64,
}

const MAPPED: u64 = 0x0000_ffff_0000_0000;

impl Address {
    /// The IPv4 address with this value in network order.
    #[inline(always)]
    pub const fn v4(value: u32) -> Self {
        Self { high: 0, low: MAPPED | value as u64 }
    }

    /// The IPv6 address with these bytes.
    #[inline(always)]
    pub const fn v6(high: u64, low: u64) -> Self {
        Self { high, low }
    }

    /// Whether this is an IPv4 address in mapped form.
    #[inline(always)]
    pub const fn is_v4(self) -> bool {
        self.high == 0 && self.low >> 32 == MAPPED >> 32
    }

    /// The IPv4 address's value; only meaningful where [`Self::is_v4`].
    #[inline(always)]
    pub const fn v4_value(self) -> u32 {
        self.low as u32
    }
}

impl From<core::net::IpAddr> for Address {
    fn from(address: core::net::IpAddr) -> Self {
        match address {
            core::net::IpAddr::V4(v4) => Self::v4(v4.to_bits()),
            core::net::IpAddr::V6(v6) => Self::v6((v6.to_bits() >> 64) as u64, v6.to_bits() as u64),
        }
    }
}

impl From<Address> for core::net::IpAddr {
    fn from(address: Address) -> Self {
        if address.is_v4() {
            core::net::Ipv4Addr::from_bits(address.v4_value()).into()
        } else {
            core::net::Ipv6Addr::from_bits(u128::from(address.high) << 64 | u128::from(address.low)).into()
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        core::net::IpAddr::from(*self).fmt(f)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        core::net::IpAddr::from(*self).fmt(f)
    }
}

/// A link-layer address, in the low 48 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mac(u64);

impl Mac {
    /// From its six bytes.
    #[inline(always)]
    pub const fn new(bytes: [u8; 6]) -> Self {
        Self(u64::from_be_bytes([0, 0, bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5]]))
    }

    /// From the low 48 bits of a word.
    #[inline(always)]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits & 0xffff_ffff_ffff)
    }

    /// The low 48 bits.
    #[inline(always)]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Its six bytes.
    #[inline(always)]
    pub const fn bytes(self) -> [u8; 6] {
        let [_, _, a, b, c, d, e, f] = self.0.to_be_bytes();
        [a, b, c, d, e, f]
    }

    /// Whether frames to it reach several stations.
    #[inline(always)]
    pub const fn is_group(self) -> bool {
        self.0 & 0x0100_0000_0000 != 0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.bytes();
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Transport protocols that can be balanced.
pub mod protocol {
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
}

/// What holds for the whole balancer. Each word stands for itself, but the own IPv6 address takes two: while the first of them is
/// zero there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct ConfigRow(pub [u64; 4]);

impl ConfigRow {
    /// `flow_bits` and `masquerade_bits`: sizes of the memories as powers of two; `tick_shift`: a tick is `2^tick_shift`
    /// jiffies; `gateway`: some rule's answers come back through this host.
    pub const fn new(
        flow_bits: u8,
        masquerade_bits: u8,
        tick_shift: u8,
        gateway: bool,
        v4: Option<Address>,
        v6: Option<Address>,
    ) -> Self {
        let sizes = flow_bits as u64
            | (masquerade_bits as u64) << 8
            | (tick_shift as u64) << 16
            | (gateway as u64) << 24;
        let low = match v4 {
            Some(address) => address.low,
            None => 0,
        };
        match v6 {
            Some(address) => Self([sizes, low, address.high, address.low]),
            None => Self([sizes, low, 0, 0]),
        }
    }

    /// Buckets of remembered flows: `2^flow_bits`.
    #[inline(always)]
    pub const fn flow_bits(self) -> u8 {
        self.0[0] as u8
    }

    /// Masqueraded flows: `2^masquerade_bits`.
    #[inline(always)]
    pub const fn masquerade_bits(self) -> u8 {
        (self.0[0] >> 8) as u8
    }

    /// A tick is `2^tick_shift` jiffies.
    #[inline(always)]
    pub const fn tick_shift(self) -> u8 {
        (self.0[0] >> 16) as u8
    }

    /// Whether answers of some rule come back through this host.
    #[inline(always)]
    pub const fn gateway(self) -> bool {
        self.0[0] >> 24 & 1 != 0
    }

    /// The balancer's own address of this family.
    #[inline(always)]
    pub const fn own(self, v4: bool) -> Option<Address> {
        if v4 {
            if self.0[1] != 0 { Some(Address { high: 0, low: self.0[1] }) } else { None }
        } else if self.0[2] != 0 {
            Some(Address { high: self.0[2], low: self.0[3] })
        } else {
            None
        }
    }
}

/// A link that the balancer is attached to. Published by word 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct LinkRow(pub [u64; 2]);

impl LinkRow {
    /// The interface with this index and link-layer address.
    pub const fn new(index: u32, mac: Mac) -> Self {
        Self([mac.bits(), index as u64])
    }

    /// The interface's index; 0 in an empty row.
    #[inline(always)]
    pub const fn index(self) -> u32 {
        self.0[1] as u32
    }

    /// Its link-layer address.
    #[inline(always)]
    pub const fn mac(self) -> Mac {
        Mac::from_bits(self.0[0])
    }
}

/// What an address is to the balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A frontend's.
    Frontend,
    /// The balancer's own.
    Own,
    /// A member's.
    Member,
}

/// An address that matters to the balancer, and its number. Published by word 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct AddressRow(pub [u64; 3]);

impl AddressRow {
    /// `number` below [`MAX_ADDRESSES`], and not 0.
    pub const fn new(address: Address, number: u32, role: Role) -> Self {
        let role = match role {
            Role::Frontend => 1,
            Role::Own => 2,
            Role::Member => 3,
        };
        Self([(number as u64) << 32 | role << 8 | LIVE, address.high, address.low])
    }

    /// The address; meaningless in an empty row.
    #[inline(always)]
    pub const fn address(self) -> Address {
        Address { high: self.0[1], low: self.0[2] }
    }

    /// The address's number: half of the key of rules and of the way back.
    #[inline(always)]
    pub const fn number(self) -> u32 {
        (self.0[0] >> 32) as u32
    }

    /// What the address is; `None` in an empty row.
    #[inline(always)]
    pub const fn role(self) -> Option<Role> {
        match (self.0[0] >> 8) as u8 {
            1 => Some(Role::Frontend),
            2 => Some(Role::Own),
            3 => Some(Role::Member),
            _ => None,
        }
    }
}

/// Address number, protocol and port in one word, without the bits [`LIVE`] and [`BUSY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(u64);

impl Key {
    /// The key of `port` of `protocol` at the address with this number.
    #[inline(always)]
    pub const fn new(number: u32, protocol: u8, port: u16) -> Self {
        Self((number as u64) << 32 | (port as u64) << 16 | (protocol as u64) << 8)
    }

    /// The key in a row's publishing word; `None` in an empty row.
    #[inline(always)]
    pub const fn of(word: u64) -> Option<Self> {
        if word & LIVE != 0 { Some(Self(word & !(LIVE | BUSY))) } else { None }
    }

    /// The address's number.
    pub const fn number(self) -> u32 {
        (self.0 >> 32) as u32
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
    /// The port at the member.
    pub backend_port: u16,
    /// The ring of the rule's pool.
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
    /// Ticks without a packet after which a flow is forgotten: at most [`MAX_IDLE_TICKS`].
    pub idle: u16,
}

/// The longest idle time in ticks; what a memory entry can tell from one that ran out.
pub const MAX_IDLE_TICKS: u16 = 12_000;

impl Plan {
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
            idle: (word >> 48) as u16,
        }
    }
}

/// A rule: what happens to a protocol and port of a frontend. Published by word 0; word 1 is the [`Plan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct RuleRow(pub [u64; 3]);

impl RuleRow {
    /// `number` below [`MAX_RULES`]: the rule's row in the table of counters.
    pub const fn new(key: Key, plan: Plan, number: u32) -> Self {
        Self([key.bits() | LIVE, plan.word(), number as u64])
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

    /// Its row in the table of counters.
    #[inline(always)]
    pub const fn number(self) -> u32 {
        self.0[2] as u32
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

    /// The frontend's port.
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

/// A slot of a ring: who takes new flows, and who took them before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Slot(u32);

const SETTLED: u32 = 0x8000;
const NUMBER: u32 = 0x7fff;

impl Slot {
    /// Nothing is changing: `member` (0 for nobody) takes every flow, and none need be remembered.
    pub const fn steady(member: u32) -> Self {
        Self(member & NUMBER | (member & NUMBER) << 16)
    }

    /// Flows that start go to `current`; flows that are neither starting nor remembered belong to `former`.
    pub const fn changing(current: u32, former: u32) -> Self {
        Self(current & NUMBER | (former & NUMBER) << 16)
    }

    /// Flows that are not remembered belong to `current`; some that are remembered may still be with `former`.
    pub const fn settled(current: u32, former: u32) -> Self {
        Self(current & NUMBER | SETTLED | (former & NUMBER) << 16)
    }

    /// The slot at `index` of a ring whose slots come two a word.
    #[inline(always)]
    pub const fn of_pair(word: u64, index: u32) -> Self {
        Self((word >> ((index & 1) * 32)) as u32)
    }

    /// The word that holds an even slot and the next one.
    pub const fn pair(even: Self, odd: Self) -> u64 {
        even.0 as u64 | (odd.0 as u64) << 32
    }

    /// Who takes new flows; 0 is nobody.
    #[inline(always)]
    pub const fn current(self) -> u32 {
        self.0 & NUMBER
    }

    /// Who took them before the change; the same as [`Self::current`] where there was none.
    #[inline(always)]
    pub const fn former(self) -> u32 {
        self.0 >> 16 & NUMBER
    }

    /// Whether no memory needs to be asked.
    #[inline(always)]
    pub const fn is_steady(self) -> bool {
        self.current() == self.former()
    }

    /// Whether the change is over, though some flows may live on with the former member.
    #[inline(always)]
    pub const fn is_settled(self) -> bool {
        self.0 & SETTLED != 0
    }

    /// Who has flows that are under way and not remembered.
    #[inline(always)]
    pub const fn stable(self) -> u32 {
        if self.is_settled() { self.current() } else { self.former() }
    }
}

/// A member of a pool, and how frames reach it. Published by word 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct MemberRow(pub [u64; 8]);

/// How frames reach a member: out of this link, to this station.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hop {
    /// Interface index of the link.
    pub link: u32,
    /// The link's own link-layer address.
    pub source: Mac,
    /// The member's link-layer address, or that of the router towards it.
    pub destination: Mac,
    /// Whether the member itself is on the link.
    pub adjacent: bool,
}

const ADJACENT: u64 = 1 << 50;
const RESOLVED: u64 = 1 << 51;
const MEMBER_LIVE: u64 = 1 << 48;
const MEMBER_BUSY: u64 = 1 << 49;
const DOWN: u64 = 1 << 52;

impl MemberRow {
    /// The member with this address, whose address has this number; `hop` is `None` until it is resolved. `pool` is the identity
    /// of its pool and `ring` the pool's ring: the pipeline does not read them, the next start of the control plane does.
    pub const fn new(address: Address, number: u32, pool: u64, ring: u32, hop: Option<Hop>) -> Self {
        let (publish, source, link) = match hop {
            Some(hop) => (
                hop.destination.bits() | RESOLVED | if hop.adjacent { ADJACENT } else { 0 },
                hop.source.bits(),
                hop.link,
            ),
            None => (0, 0, 0),
        };
        Self([
            publish | MEMBER_LIVE,
            address.high,
            address.low,
            source,
            (number as u64) << 32 | link as u64,
            pool,
            ring as u64,
            0,
        ])
    }

    /// The same member, found down or up: flows without connection leave one that is down (FLOW-1).
    pub const fn found(self, down: bool) -> Self {
        let [publish, a, b, c, d, e, f, g] = self.0;
        Self([publish & !DOWN | if down { DOWN } else { 0 }, a, b, c, d, e, f, g])
    }

    /// The word that closes a row with this publishing word while it is rewritten.
    pub const fn closed(word: u64) -> u64 {
        word | MEMBER_BUSY
    }

    /// Whether there is a member in the row.
    #[inline(always)]
    pub const fn is_live(self) -> bool {
        self.0[0] & MEMBER_LIVE != 0
    }

    /// Whether the row is being rewritten.
    #[inline(always)]
    pub const fn is_busy(self) -> bool {
        self.0[0] & MEMBER_BUSY != 0
    }

    /// Whether it is found down. New flows are kept away from it by the slots.
    #[inline(always)]
    pub const fn is_down(self) -> bool {
        self.0[0] & DOWN != 0
    }

    /// Its own address.
    #[inline(always)]
    pub const fn address(self) -> Address {
        Address { high: self.0[1], low: self.0[2] }
    }

    /// The number of its own address.
    #[inline(always)]
    pub const fn number(self) -> u32 {
        (self.0[4] >> 32) as u32
    }

    /// The identity of the pool that it is a member of.
    pub const fn pool(self) -> u64 {
        self.0[5]
    }

    /// The ring of its pool and address family.
    pub const fn ring(self) -> u32 {
        self.0[6] as u32
    }

    /// How frames reach it, where that is known.
    #[inline(always)]
    pub const fn hop(self) -> Option<Hop> {
        if self.0[0] & RESOLVED == 0 {
            return None;
        }
        Some(Hop {
            link: self.0[4] as u32,
            source: Mac::from_bits(self.0[3]),
            destination: Mac::from_bits(self.0[0]),
            adjacent: self.0[0] & ADJACENT != 0,
        })
    }
}
