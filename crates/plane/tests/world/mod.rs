//! A world of a few rows, and frames with right checksums.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use forebay_plane::row::{
    AccessRow, Address, AddressRow, BUCKET_WAYS, ConfigRow, Distribution, ENTRY_WORDS, Hop, Key, LinkRow,
    ListRow, Mac, MemberRow, PIECE_BUCKETS, Path, Plan, RETURN_PLACES, RULE_PLACES, ReturnRow, Role, RuleRow,
    Slot, Strict, TRACK_WORDS, View,
};
use forebay_plane::stage::{PARCEL_WORDS, TOLD_WORDS};
use forebay_plane::{Bucket, Entry, Tick, Track, Verdict, Word, World, address_places, key_places, process};

pub const NOW: Tick = Tick(1_000);
pub const LINK: u32 = 3;
pub const LINK_MAC: Mac = Mac::new([2, 0xb, 0, 0, 0, 3]);
pub const CLIENT_MAC: Mac = Mac::new([2, 0xc, 0, 0, 0, 1]);
pub const MEMBER_MAC: Mac = Mac::new([2, 0xd, 0, 0, 0, 4]);

#[derive(Debug, Default)]
pub struct Shared(AtomicU64);

impl Word for Shared {
    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, word: u64) {
        self.0.store(word, Ordering::Relaxed);
    }

    fn claim(&self, old: u64, new: u64) -> bool {
        self.0.compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// One member, who has every slot of every ring.
#[derive(Debug, Default)]
pub struct Bench {
    pub config: ConfigRow,
    pub links: BTreeMap<u32, LinkRow>,
    pub addresses: BTreeMap<u32, AddressRow>,
    pub rules: BTreeMap<u32, RuleRow>,
    pub returns: BTreeMap<u32, ReturnRow>,
    pub members: BTreeMap<u32, MemberRow>,
    pub slot: Slot,
    pub ingress: Cell<u32>,
    pub parcel: Cell<[u64; PARCEL_WORDS]>,
    pub told: [Shared; TOLD_WORDS],
    pub pieces: Vec<[Shared; BUCKET_WAYS]>,
    pub now: Cell<u32>,
    pub lists: BTreeMap<u32, ListRow>,
    pub access: BTreeMap<u32, AccessRow>,
    pub unmatched: RefCell<Vec<u32>>,
    pub security: RefCell<Vec<u32>>,
    pub flows: Vec<[Shared; BUCKET_WAYS]>,
    pub tracks: Vec<[Shared; TRACK_WORDS]>,
    pub moment: Cell<u32>,
    pub outward: Vec<[Shared; ENTRY_WORDS]>,
    pub inward: Vec<[Shared; ENTRY_WORDS]>,
}

impl Bench {
    pub fn new() -> Self {
        let own = |address: &str| Some(Address::from(ip(address)));
        let bench = Self {
            config: ConfigRow::new(3, 6, 8, true, own("10.0.0.2"), own("fd00::2")),
            slot: Slot::steady(1),
            pieces: (0..PIECE_BUCKETS).map(|_| Default::default()).collect(),
            now: Cell::new(NOW.0),
            flows: (0..8).map(|_| Default::default()).collect(),
            tracks: (0..64).map(|_| Default::default()).collect(),
            outward: (0..64).map(|_| Default::default()).collect(),
            inward: (0..64).map(|_| Default::default()).collect(),
            ..Self::default()
        };
        bench.ingress.set(LINK);
        bench
    }

    pub fn link(mut self) -> Self {
        self.links.insert(LINK, LinkRow::new(LINK, LINK_MAC, 1_500));
        self
    }

    pub fn address(mut self, address: &str, number: u32, role: Role) -> Self {
        let [first, second] = address_places(ip(address).into());
        let place = if self.addresses.contains_key(&first) { second } else { first };
        self.addresses.insert(place, AddressRow::new(ip(address).into(), number, role));
        self
    }

    pub fn rule(mut self, key: Key, plan: Plan) -> Self {
        let [first, second] = key_places(key, RULE_PLACES - 1);
        let place = if self.rules.contains_key(&first) { second } else { first };
        self.rules.insert(place, RuleRow::new(key, plan, 1, View::default()));
        self
    }

    pub fn way_back(mut self, key: Key, frontend: &str, port: u16) -> Self {
        let [first, second] = key_places(key, RETURN_PLACES - 1);
        let place = if self.returns.contains_key(&first) { second } else { first };
        self.returns.insert(place, ReturnRow::new(key, ip(frontend).into(), port, 1));
        self
    }

    pub fn member(mut self, address: &str, number: u32, hop: Option<Hop>) -> Self {
        self.members.insert(1, MemberRow::new(ip(address).into(), number, 0, hop));
        self
    }

    pub fn run(&self, frame: &mut [u8]) -> Verdict {
        process(&mut &mut *frame, self, Tick(self.now.get()))
    }
}

pub const FAMILIES: [Family; 2] = [
    Family { client: "192.0.2.1", frontend: "10.0.1.1", own: "10.0.0.2", member: "10.0.0.4" },
    Family { client: "2001:db8::1", frontend: "fd00:1::1", own: "fd00::2", member: "fd00::4" },
];

#[derive(Clone, Copy, Debug)]
pub struct Family {
    pub client: &'static str,
    pub frontend: &'static str,
    pub own: &'static str,
    pub member: &'static str,
}

impl Family {
    /// One rule, from the frontend's port 80, and one member.
    pub fn bench(self, path: Path, backend_port: u16) -> Bench {
        let plan = |protocol| Plan {
            remembers: protocol == UDP || path == Path::Masquerade,
            ..plan(path, backend_port)
        };
        let bench = Bench::new()
            .link()
            .address(self.own, 1, Role::Own)
            .address(self.frontend, 2, Role::Frontend)
            .address(self.member, 3, Role::Member)
            .member(self.member, 3, Some(hop()));
        [TCP, UDP, SCTP].into_iter().fold(bench, |bench, protocol| {
            let bench = bench.rule(Key::new(2, protocol, 80), plan(protocol));
            match path {
                Path::Gateway => bench.way_back(Key::new(3, protocol, backend_port), self.frontend, 80),
                Path::FloatingGateway => {
                    bench.way_back(Key::new(2, protocol, backend_port), self.frontend, 80)
                }
                Path::Floating | Path::Masquerade => bench,
            }
        })
    }
}

/// A rule's plan, without anything particular.
pub fn plan(path: Path, backend_port: u16) -> Plan {
    Plan {
        backend_port,
        ring: 1,
        distribution: Distribution::FiveTuple,
        former: Distribution::FiveTuple,
        settled: false,
        path,
        remembers: false,
        resets: false,
        hairpin: false,
        direct: false,
        tracks: false,
        announces: false,
        strict: Strict::No,
        idle: 236,
    }
}

pub fn ends(bench: &Bench, bytes: &[u8], verdict: Verdict) {
    let mut frame = bytes.to_vec();
    assert_eq!(bench.run(&mut frame), verdict, "{bytes:02x?}");
    assert_eq!(frame, bytes);
}

pub fn hop() -> Hop {
    Hop { link: LINK, source: LINK_MAC, destination: MEMBER_MAC, adjacent: true, mtu: 1_500 }
}

impl World for Bench {
    type Word = Shared;

    fn ingress(&self) -> u32 {
        self.ingress.get()
    }

    fn moment(&self) -> u32 {
        self.moment.get()
    }

    fn keep(&self, parcel: [u64; PARCEL_WORDS]) {
        self.parcel.set(parcel);
    }

    fn kept(&self) -> [u64; PARCEL_WORDS] {
        self.parcel.get()
    }

    fn told(&self) -> Option<&[Shared; TOLD_WORDS]> {
        Some(&self.told)
    }

    fn config(&self) -> ConfigRow {
        self.config
    }

    fn link(&self, place: u32) -> Option<LinkRow> {
        Some(self.links.get(&place).copied().unwrap_or_default())
    }

    fn address(&self, place: u32) -> Option<AddressRow> {
        Some(self.addresses.get(&place).copied().unwrap_or_default())
    }

    fn rule(&self, place: u32) -> Option<RuleRow> {
        Some(self.rules.get(&place).copied().unwrap_or_default())
    }

    fn way_back(&self, place: u32) -> Option<ReturnRow> {
        Some(self.returns.get(&place).copied().unwrap_or_default())
    }

    fn slot(&self, _: u32, _: u32) -> Option<Slot> {
        Some(self.slot)
    }

    fn down(&self, _: u32, _: u32) -> Option<u64> {
        Some(0)
    }

    fn member(&self, number: u32) -> Option<MemberRow> {
        Some(self.members.get(&number).copied().unwrap_or_default())
    }

    fn list(&self, number: u32) -> Option<ListRow> {
        Some(self.lists.get(&number).copied().unwrap_or_default())
    }

    fn access(&self, place: u32) -> Option<AccessRow> {
        Some(self.access.get(&place).copied().unwrap_or_default())
    }

    fn bucket(&self, place: u32) -> Option<&Bucket<Self>> {
        self.flows.get(place as usize)
    }

    fn track(&self, place: u32) -> Option<&Track<Self>> {
        self.tracks.get(place as usize)
    }

    fn outward(&self, place: u32) -> Option<&Entry<Self>> {
        self.outward.get(place as usize)
    }

    fn inward(&self, place: u32) -> Option<&Entry<Self>> {
        self.inward.get(place as usize)
    }

    fn pieces(&self, place: u32) -> Option<&Bucket<Self>> {
        self.pieces.get(place as usize)
    }

    fn count_rule(&self, _: u32, _: u32, _: bool) {}

    fn count_member(&self, _: u32, _: u32, _: bool) {}

    fn count_security(&self, rule: u32, _: u32) {
        self.security.borrow_mut().push(rule);
    }

    fn count_unmatched(&self, number: u32) {
        self.unmatched.borrow_mut().push(number);
    }
}

pub fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const SCTP: u8 = 132;

/// A packet, as the cases change it before it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet {
    pub to_mac: Mac,
    pub from_mac: Mac,
    pub from: (IpAddr, u16),
    pub to: (IpAddr, u16),
    pub protocol: u8,
    /// Those of TCP; the kind of the first chunk of SCTP.
    pub flags: u8,
    pub hop_limit: u8,
    /// Flags and offset of IPv4.
    pub fragment: u16,
    /// Options of IPv4.
    pub options: Vec<u8>,
    /// Extension headers of IPv6: their numbers, and what follows the first byte of each.
    pub extensions: Vec<(u8, Vec<u8>)>,
    pub payload: Vec<u8>,
}

pub fn packet(protocol: u8, from: (&str, u16), to: (&str, u16)) -> Packet {
    Packet {
        to_mac: LINK_MAC,
        from_mac: CLIENT_MAC,
        from: (ip(from.0), from.1),
        to: (ip(to.0), to.1),
        protocol,
        flags: 0x02,
        hop_limit: 64,
        fragment: 0x4000,
        options: Vec::new(),
        extensions: Vec::new(),
        payload: b"hello".to_vec(),
    }
}

impl Packet {
    pub fn bytes(&self) -> Vec<u8> {
        let segment = self.segment();
        let mut frame = Vec::new();
        frame.extend(self.to_mac.bytes());
        frame.extend(self.from_mac.bytes());
        match (self.from.0, self.to.0) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let header = 20 + self.options.len();
                frame.extend([8, 0, 0x40 | (header / 4) as u8, 0]);
                frame.extend((header as u16 + segment.len() as u16).to_be_bytes());
                frame.extend([0, 7]);
                frame.extend(self.fragment.to_be_bytes());
                frame.extend([self.hop_limit, self.protocol, 0, 0]);
                frame.extend(from.octets());
                frame.extend(to.octets());
                frame.extend(&self.options);
                let checksum = internet_checksum(&frame[14..14 + header]);
                frame[24..26].copy_from_slice(&checksum.to_be_bytes());
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let mut headers = Vec::new();
                let mut next = self.protocol;
                for (number, rest) in self.extensions.iter().rev() {
                    headers.splice(..0, [&[next][..], rest].concat());
                    next = *number;
                }
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                frame.extend((headers.len() as u16 + segment.len() as u16).to_be_bytes());
                frame.extend([next, self.hop_limit]);
                frame.extend(from.octets());
                frame.extend(to.octets());
                frame.extend(headers);
            }
            _ => panic!("{self:?} is of two families"),
        }
        frame.extend(segment);
        frame
    }

    /// The transport header and what it carries.
    pub fn segment(&self) -> Vec<u8> {
        let mut segment = [self.from.1.to_be_bytes(), self.to.1.to_be_bytes()].concat();
        match self.protocol {
            UDP => segment.extend([(8 + self.payload.len() as u16).to_be_bytes(), [0, 0]].concat()),
            SCTP => {
                let [high, low] = (4 + self.payload.len() as u16).to_be_bytes();
                segment.extend([0, 0, 0, 9, 0, 0, 0, 0, self.flags, 0, high, low]);
            }
            _ => segment.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, self.flags, 0x20, 0, 0, 0, 0, 0]),
        }
        segment.extend(&self.payload);
        if let Some(at) = checksum_at(self.protocol) {
            let checksum = match transport_checksum(self.from.0, self.to.0, self.protocol, &segment) {
                0 if self.protocol == UDP => 0xffff,
                checksum => checksum,
            };
            segment[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
        }
        if self.protocol == SCTP {
            let checksum = crc32c(&segment);
            segment[8..12].copy_from_slice(&checksum.to_le_bytes());
        }
        segment
    }
}

/// The checksum of SCTP, bit by bit (RFC 9260, appendix A): an oracle for the one that is kept true by differences.
pub fn crc32c(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _| if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0x82f6_3b78 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
}

pub fn checksum_at(protocol: u8) -> Option<usize> {
    match protocol {
        TCP => Some(16),
        UDP => Some(6),
        _ => None,
    }
}

/// The Internet checksum of bytes, summed up in full: an oracle for the checksums that are kept true by differences.
pub fn internet_checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

pub fn transport_checksum(from: IpAddr, to: IpAddr, protocol: u8, segment: &[u8]) -> u16 {
    let mut pseudo = Vec::new();
    for address in [from, to] {
        match address {
            IpAddr::V4(v4) => pseudo.extend(v4.octets()),
            IpAddr::V6(v6) => pseudo.extend(v6.octets()),
        }
    }
    pseudo.extend((segment.len() as u32).to_be_bytes());
    pseudo.extend([0, 0, 0, protocol]);
    pseudo.extend(segment);
    internet_checksum(&pseudo)
}
