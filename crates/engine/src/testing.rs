//! What tests of several rooms share: documents, surroundings, frames, and a data path with its clock.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use model::{Desired, NatPorts, Problem, ServiceTags, Source};
use plane::row::{Hop, Mac, Plan};
use plane::{Drop, Sent, Tick, Verdict};

use crate::health::Hint;
use crate::{
    Change, Compiler, Full, Health, Link, Memory, Replica, Settling, Sizes, Surroundings, Tables, pinned,
};

/// Numbers that look like chance and are the same each time.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let number = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ number >> 31
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    pub fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// The probes there are.
pub const PROBES: [&str; 2] = ["alive", "ready"];

/// One load balancer, before it is written as a document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wish {
    pub pools: Vec<PoolWish>,
    pub rules: Vec<RuleWish>,
    pub basic: bool,
    /// Members are taken as up when all are found down.
    pub all_up: bool,
    /// Members' health by order.
    pub ordered: BTreeMap<IpAddr, &'static str>,
    /// Security rules of all frontends, in their order: whom they speak of, and whether they allow.
    pub security: Option<Vec<(String, bool)>>,
    /// What members weigh, where it is not one.
    pub weights: BTreeMap<IpAddr, u32>,
    /// Seconds for which members that leave keep their connections.
    pub drain: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PoolWish {
    pub name: &'static str,
    pub gateway: bool,
    pub members: Vec<IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RuleWish {
    pub frontend: IpAddr,
    pub port: u16,
    pub tcp: bool,
    pub pool: &'static str,
    pub backend_port: u16,
    pub distribution: &'static str,
    pub floating: bool,
    /// The probe that finds out who is up.
    pub probe: Option<&'static str>,
    /// Connections to a member that is down are reset.
    pub resets: bool,
    pub hairpin: bool,
    /// Both ends of a connection that was silent are reset.
    pub tcp_reset: bool,
    /// A connection that was silent is dropped.
    pub strict: bool,
    /// An inbound NAT rule whose range ends here.
    pub last: Option<u16>,
}

pub fn pool(name: &'static str, gateway: bool, members: &[&str]) -> PoolWish {
    PoolWish { name, gateway, members: members.iter().map(|member| ip(member)).collect() }
}

/// A TCP rule without floating IP, by `Default` distribution.
pub fn rule(frontend: &str, port: u16, pool: &'static str, backend_port: u16) -> RuleWish {
    RuleWish {
        frontend: ip(frontend),
        port,
        tcp: true,
        pool,
        backend_port,
        distribution: "Default",
        floating: false,
        probe: Some("alive"),
        resets: false,
        hairpin: false,
        tcp_reset: false,
        strict: false,
        last: None,
    }
}

impl RuleWish {
    pub fn udp(self) -> Self {
        Self { tcp: false, ..self }
    }

    pub fn floating(self) -> Self {
        Self { floating: true, ..self }
    }

    /// A range of ports up to this one, one for each member.
    pub fn up_to(self, last: u16) -> Self {
        Self { last: Some(last), probe: None, ..self }
    }

    pub fn resetting(self) -> Self {
        Self { tcp_reset: true, ..self }
    }

    pub fn strict(self) -> Self {
        Self { strict: true, ..self }
    }

    pub fn probed(self, probe: Option<&'static str>) -> Self {
        Self { probe, ..self }
    }

    pub fn by(self, distribution: &'static str) -> Self {
        Self { distribution, ..self }
    }
}

impl Wish {
    pub fn new(pools: &[PoolWish], rules: &[RuleWish]) -> Self {
        Self { pools: pools.to_vec(), rules: rules.to_vec(), ..Self::default() }
    }

    /// The document in the shape of the ARM resource.
    pub fn text(&self) -> String {
        let mut frontends: Vec<IpAddr> = self.rules.iter().map(|rule| rule.frontend).collect();
        frontends.sort();
        frontends.dedup();
        let list = |items: Vec<String>| items.join(",");
        let frontends = frontends.iter().map(|at| {
            let version = if at.is_ipv4() { "IPv4" } else { "IPv6" };
            format!(
                r#"{{"name":"{0}","properties":{{"privateIPAddress":"{at}","privateIPAddressVersion":"{version}",
                "privateIPAllocationMethod":"Static","subnet":{{"id":"/s/n"}}{1}}}}}"#,
                frontend_name(*at),
                if self.security.is_some() { GUARDED } else { "" }
            )
        });
        let pools = self.pools.iter().map(|pool| {
            let members = pool.members.iter().enumerate().map(|(number, address)| {
                let order = self.ordered.get(address).unwrap_or(&"None");
                let weight = self.weights.get(address).unwrap_or(&1);
                format!(
                    r#"{{"name":"m{number}","properties":{{"ipAddress":"{address}","adminState":"{order}",
                    "forebay":{{"weight":{weight}}}}}}}"#
                )
            });
            format!(
                r#"{{"name":"{}","properties":{{"loadBalancerBackendAddresses":[{}],"forebay":{{"returnPath":"{}"}},
                "drainPeriodInSeconds":{}}}}}"#,
                pool.name,
                list(members.collect()),
                if pool.gateway { "gateway" } else { "masquerade" },
                self.drain
            )
        });
        let all_down = if self.all_up { "AllProbedUp" } else { "AllProbedDown" };
        let probes = PROBES.iter().map(|name| {
            format!(
                r#"{{"name":"{name}","properties":{{"protocol":"Tcp","port":80,"noHealthyBackendsBehavior":"{all_down}"}}}}"#
            )
        });
        let ranges = self.rules.iter().enumerate().filter_map(|(number, rule)| {
            Some(format!(
                r#"{{"name":"r{number}","properties":{{"frontendIPConfiguration":{{"id":"frontendIPConfigurations/{}"}},
                "backendAddressPool":{{"id":"backendAddressPools/{}"}},"protocol":"{}","enableFloatingIP":{},
                "frontendPortRangeStart":{},"frontendPortRangeEnd":{},"backendPort":{},"enableTcpReset":{},
                "forebay":{{"hairpin":{},"dropForgotten":{}}}}}}}"#,
                frontend_name(rule.frontend),
                rule.pool,
                if rule.tcp { "Tcp" } else { "Udp" },
                rule.floating,
                rule.port,
                rule.last?,
                rule.backend_port,
                rule.tcp_reset,
                rule.hairpin,
                rule.strict
            ))
        });
        let balancing = self.rules.iter().enumerate().filter(|(_, rule)| rule.last.is_none());
        let rules = balancing.map(|(number, rule)| {
            let probe = rule.probe.map(|probe| format!(r#""probe":{{"id":"probes/{probe}"}},"#));
            format!(
                r#"{{"name":"r{number}","properties":{{
                "frontendIPConfiguration":{{"id":"frontendIPConfigurations/{}"}},
                "backendAddressPool":{{"id":"backendAddressPools/{}"}},
                "protocol":"{}","frontendPort":{},"backendPort":{},"loadDistribution":"{}","enableFloatingIP":{},
                {}"enableTcpReset":{},"forebay":{{"resetOnMemberDown":{},"hairpin":{},"dropForgotten":{}}}}}}}"#,
                frontend_name(rule.frontend),
                rule.pool,
                if rule.tcp { "Tcp" } else { "Udp" },
                rule.port,
                rule.backend_port,
                rule.distribution,
                rule.floating,
                probe.unwrap_or_default(),
                rule.tcp_reset,
                rule.resets,
                rule.hairpin,
                rule.strict
            )
        });
        let probes = if self.rules.is_empty() { Vec::new() } else { probes.collect() };
        format!(
            r#"{{"name":"b","sku":{{"name":"{}"}},"properties":{{"frontendIPConfigurations":[{}],"backendAddressPools":[{}],
            "loadBalancingRules":[{}],"inboundNatRules":[{}],"probes":[{}]}}}}"#,
            if self.basic { "Basic" } else { "Standard" },
            list(frontends.collect()),
            list(pools.collect()),
            list(rules.collect()),
            list(ranges.collect()),
            list(probes)
        )
    }

    pub fn check(&self) -> Result<Desired, Vec<Problem>> {
        self.after(&NatPorts::default())
    }

    /// The same, where members had these ports.
    pub fn after(&self, ports: &NatPorts) -> Result<Desired, Vec<Problem>> {
        let balancer = Source { name: "b.json".into(), text: self.text() };
        let group = self.security.as_ref().map(|rules| Source { name: "sg.json".into(), text: group(rules) });
        let sources: Vec<Source> = [Some(balancer), group].into_iter().flatten().collect();
        model::check_after(&sources, &ServiceTags::default(), ports)
    }

    pub fn desired(&self) -> Desired {
        self.check().unwrap_or_else(|problems| panic!("{problems:#?}\n{}", self.text()))
    }
}

const GROUP: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/networkSecurityGroups/sg";
const GUARDED: &str = r#","forebay":{"networkSecurityGroup":{"id":
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/networkSecurityGroups/sg"}}"#;

/// A security group, as the document that it is.
fn group(rules: &[(String, bool)]) -> String {
    let rules = rules.iter().enumerate().map(|(order, (prefix, allow))| {
        format!(
            r#"{{"name":"s{order}","properties":{{"priority":{},"direction":"Inbound","access":"{}","protocol":"*",
            "sourceAddressPrefix":"{prefix}"}}}}"#,
            100 + order,
            if *allow { "Allow" } else { "Deny" }
        )
    });
    let rules = rules.collect::<Vec<_>>().join(",");
    format!(
        r#"{{"name":"sg","id":"{GROUP}","type":"Microsoft.Network/networkSecurityGroups",
        "properties":{{"securityRules":[{rules}]}}}}"#
    )
}

fn frontend_name(address: IpAddr) -> String {
    let mut name = String::from("f");
    for character in address.to_string().chars() {
        let _ = if character.is_alphanumeric() { write!(name, "{character}") } else { write!(name, "-") };
    }
    name
}

pub fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}

pub const LINK: u32 = 3;
pub const OTHER_LINK: u32 = 67;
pub const CLIENT_MAC: Mac = Mac::new([2, 0xc, 0, 0, 0, 1]);

pub fn link_mac(link: u32) -> Mac {
    Mac::new([2, 0xb, 0, 0, 0, link as u8])
}

/// What a link is, by its index. Of two, the second carries less.
pub fn link(index: u32) -> Link {
    Link { mac: link_mac(index), mtu: mtu(index) }
}

fn mtu(link: u32) -> u16 {
    if link == OTHER_LINK { 1_400 } else { 1_500 }
}

/// The station of an address.
pub fn mac_of(address: IpAddr) -> Mac {
    let bytes = match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets()[12..].to_vec(),
    };
    Mac::new([2, if address.is_ipv4() { 4 } else { 6 }, bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// Two links, own addresses of both families, and every member of `wish` on a segment.
pub fn surroundings(members: impl IntoIterator<Item = IpAddr>) -> Surroundings {
    Surroundings {
        links: [LINK, OTHER_LINK].map(|index| (index, link(index))).into(),
        own_v4: Some("10.0.0.2".parse().unwrap()),
        own_v6: Some("fd00::2".parse().unwrap()),
        hops: members.into_iter().map(|member| (member, hop(member))).collect(),
        sizes: Sizes { flow_bits: 9, masquerade_bits: 10, rings: 16 },
        ..Surroundings::default()
    }
}

pub fn hop(member: IpAddr) -> Hop {
    Hop { link: LINK, source: link_mac(LINK), destination: mac_of(member), adjacent: true, mtu: mtu(LINK) }
}

/// Flags of TCP.
pub const SYN: u8 = 0x02;
pub const ACK: u8 = 0x10;
pub const SYN_ACK: u8 = 0x12;

/// A packet's ends; the protocol is TCP where there are flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Packet {
    pub from: (IpAddr, u16),
    pub to: (IpAddr, u16),
    pub flags: Option<u8>,
}

pub fn tcp(from: (&str, u16), to: (&str, u16), flags: u8) -> Packet {
    Packet { from: (ip(from.0), from.1), to: (ip(to.0), to.1), flags: Some(flags) }
}

pub fn udp(from: (&str, u16), to: (&str, u16)) -> Packet {
    Packet { from: (ip(from.0), from.1), to: (ip(to.0), to.1), flags: None }
}

impl Packet {
    pub fn with(self, flags: u8) -> Self {
        Self { flags: self.flags.map(|_| flags), ..self }
    }

    /// The frame from a client's station to the balancer's link.
    pub fn frame(self) -> Vec<u8> {
        self.between(CLIENT_MAC, link_mac(LINK))
    }

    pub fn between(self, from: Mac, to: Mac) -> Vec<u8> {
        let mut segment = Vec::new();
        segment.extend(self.from.1.to_be_bytes());
        segment.extend(self.to.1.to_be_bytes());
        match self.flags {
            Some(flags) => {
                segment.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 0x20, 0, 0, 0, 0, 0]);
                segment.extend(b"hello");
            }
            None => segment.extend([0, 13, 0, 0, b'h', b'e', b'l', b'l', b'o']),
        }
        let at = if self.flags.is_some() { 16 } else { 6 };
        let checksum = transport_checksum(self.from.0, self.to.0, self.protocol(), &segment);
        segment[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
        let mut frame = Vec::new();
        frame.extend(to.bytes());
        frame.extend(from.bytes());
        match (self.from.0, self.to.0) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend([8, 0, 0x45, 0]);
                frame.extend((20 + segment.len() as u16).to_be_bytes());
                frame.extend([0, 7, 0x40, 0, 64, self.protocol(), 0, 0]);
                frame.extend(source.octets());
                frame.extend(destination.octets());
                let checksum = internet_checksum(&frame[14..34]);
                frame[24..26].copy_from_slice(&checksum.to_be_bytes());
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                frame.extend((segment.len() as u16).to_be_bytes());
                frame.extend([self.protocol(), 64]);
                frame.extend(source.octets());
                frame.extend(destination.octets());
            }
            _ => panic!("{self:?} is of two families"),
        }
        frame.extend(segment);
        frame
    }

    pub fn protocol(self) -> u8 {
        if self.flags.is_some() { 6 } else { 17 }
    }

    /// The packet in a frame, which must have right checksums.
    pub fn read(frame: &[u8]) -> Self {
        let (from, to, protocol, segment) = if frame[12..14] == [8, 0] {
            assert_eq!(internet_checksum(&frame[14..34]), 0, "IPv4 header {frame:02x?}");
            let word = |at: usize| IpAddr::from(<[u8; 4]>::try_from(&frame[at..at + 4]).unwrap());
            (word(26), word(30), frame[23], &frame[34..])
        } else {
            let address = |at: usize| IpAddr::from(<[u8; 16]>::try_from(&frame[at..at + 16]).unwrap());
            (address(22), address(38), frame[20], &frame[54..])
        };
        assert_eq!(transport_checksum(from, to, protocol, segment), 0, "transport {frame:02x?}");
        let port = |at: usize| u16::from_be_bytes([segment[at], segment[at + 1]]);
        let flags = (protocol == 6).then(|| segment[13]);
        Self { from: (from, port(0)), to: (to, port(2)), flags }
    }
}

/// The Internet checksum of bytes, in full.
fn internet_checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn transport_checksum(from: IpAddr, to: IpAddr, protocol: u8, segment: &[u8]) -> u16 {
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

/// A data path with what stands around it, and its clock.
pub struct Lab {
    pub wish: Wish,
    pub health: Health,
    pub surroundings: Surroundings,
    pub replica: Replica,
    pub now: u32,
    compiler: Compiler,
    settling: Settling,
    ports: NatPorts,
}

impl Lab {
    /// With this in force.
    pub fn new(wish: Wish) -> Self {
        let members = wish.pools.iter().flat_map(|pool| pool.members.clone());
        Self::within(surroundings(members), wish)
    }

    pub fn within(surroundings: Surroundings, wish: Wish) -> Self {
        let replica = Replica::new(Tables::default(), Memory::new(surroundings.sizes));
        let mut lab = Self {
            wish,
            health: Health::default(),
            surroundings,
            replica,
            now: 1_000,
            compiler: Compiler::default(),
            settling: Settling::default(),
            ports: NatPorts::default(),
        };
        lab.apply();
        lab
    }

    /// What is wanted and seen now, compiled for the tables in force.
    pub fn compile(&mut self) -> Result<Tables, Full> {
        let desired =
            self.wish.after(&self.ports).unwrap_or_else(|why| panic!("{why:#?}\n{}", self.wish.text()));
        self.ports = desired.nat_ports().clone();
        self.surroundings.now = Tick(self.now);
        self.compiler.compile(&desired, &self.health, &self.surroundings, self.replica.tables())
    }

    /// Puts what is wanted and seen now in force; gives the steps.
    pub fn apply(&mut self) -> Vec<Change> {
        for member in self.wish.pools.iter().flat_map(|pool| &pool.members) {
            self.surroundings.hops.entry(*member).or_insert_with(|| hop(*member));
        }
        let wanted = self.compile().unwrap();
        self.go_to(&wanted)
    }

    fn go_to(&mut self, wanted: &Tables) -> Vec<Change> {
        let changes = self.replica.tables().changes_to(wanted);
        for change in &changes {
            self.replica.apply(change);
        }
        self.replica.tidy();
        assert_eq!(self.replica.tables(), wanted, "changes must lead to what is wanted");
        changes
    }

    /// A restart of the control plane: tables and memory stay, what the process knew is gone.
    pub fn restart(&mut self) {
        self.compiler = Compiler::default();
        self.settling = Settling::default();
    }

    /// One look at what is over. Gives whether the tables changed.
    pub fn settle(&mut self) -> bool {
        let pinned = pinned(self.replica.memory().flow_words(), Tick(self.now));
        let clock = self.surroundings.clock;
        let wanted = self.settling.step(self.replica.tables(), &pinned, clock, clock.tick * self.now);
        !self.go_to(&wanted).is_empty()
    }

    pub fn run(&self, frame: &mut Vec<u8>) -> Verdict {
        self.replica.run(frame, LINK, Tick(self.now))
    }

    /// Sends a packet, and gives it as it comes out, with the station that gets it.
    pub fn send(&self, packet: Packet) -> Result<(Packet, Mac), Drop> {
        let mut frame = packet.frame();
        match self.run(&mut frame) {
            Verdict::Drop(why) => Err(why),
            Verdict::Send(_, Sent::Forwarded | Sent::Returned) | Verdict::Route(_) => {
                Ok((Packet::read(&frame), station(&frame)))
            }
            other @ (Verdict::Pass(_) | Verdict::Send(..)) => panic!("{packet:?} ended as {other:?}"),
        }
    }

    /// The address of the member that gets a packet.
    pub fn member(&self, packet: Packet) -> Result<IpAddr, Drop> {
        let (_, station) = self.send(packet)?;
        let stations: BTreeMap<Mac, IpAddr> =
            self.surroundings.hops.iter().map(|(address, hop)| (hop.destination, *address)).collect();
        Ok(stations[&station])
    }

    /// The probe `alive` finds a member down.
    pub fn down(&mut self, member: &str) {
        self.health.find("b/alive", ip(member), false);
        self.apply();
    }

    /// The probe `alive` finds a member up.
    pub fn up(&mut self, member: &str) {
        self.health.find("b/alive", ip(member), true);
        self.apply();
    }
}

/// Where a frame goes.
pub fn station(frame: &[u8]) -> Mac {
    Mac::new(frame[..6].try_into().unwrap())
}

/// Documents, health and surroundings that change by chance.
#[derive(Clone, Debug)]
pub struct Chance {
    pub wish: Wish,
    pub health: Health,
    pub surroundings: Surroundings,
}

const FRONTENDS: [&str; 4] = ["10.0.1.1", "10.0.1.2", "fd00:1::1", "fd00:1::2"];
pub const MEMBERS: [&str; 11] = [
    "10.0.0.4",
    "10.0.0.5",
    "10.0.0.6",
    "10.0.0.7",
    "10.0.0.8",
    "10.0.1.2",
    "fd00::4",
    "fd00::5",
    "fd00::6",
    "fd00::7",
    "fd00:1::2",
];
const POOLS: [&str; 3] = ["api", "db", "web"];
const DISTRIBUTIONS: [&str; 3] = ["Default", "SourceIP", "SourceIPProtocol"];

impl Chance {
    pub fn new(dice: &mut Dice) -> Self {
        let members = MEMBERS.iter().map(|member| ip(member));
        let surroundings = Surroundings {
            sizes: Sizes { flow_bits: 4, masquerade_bits: 6, rings: 24 },
            ..surroundings(members)
        };
        let mut chance = Self { wish: Wish::default(), health: Health::default(), surroundings };
        for name in POOLS {
            let gateway = dice.one_in(2);
            let members: Vec<&str> = MEMBERS.into_iter().filter(|_| dice.one_in(2)).collect();
            chance.wish.pools.push(pool(name, gateway, &members));
        }
        for _ in 0..3 + dice.below(4) {
            chance.try_to(dice, add_rule);
        }
        chance
    }

    /// The same after `steps` edits, each of which leaves the document valid.
    pub fn changed(&self, dice: &mut Dice, steps: usize) -> Self {
        let mut next = self.clone();
        for _ in 0..steps {
            match dice.below(23) {
                0..=2 => next.try_to(dice, add_rule),
                3 => next.try_to(dice, |wish, dice| {
                    if !wish.rules.is_empty() {
                        wish.rules.remove(dice.below(wish.rules.len()));
                    }
                }),
                4..=8 => next.try_to(dice, |wish, dice| {
                    let pool = dice.below(wish.pools.len());
                    let member = ip(dice.pick(&MEMBERS));
                    let members = &mut wish.pools[pool].members;
                    match members.iter().position(|other| *other == member) {
                        Some(at) => drop(members.remove(at)),
                        None => members.push(member),
                    }
                }),
                9 => next.try_to(dice, |wish, dice| {
                    let pool = dice.below(wish.pools.len());
                    wish.pools[pool].gateway ^= true;
                }),
                10..=13 => next.try_to(dice, change_rule),
                20..=21 => next.try_to(dice, |wish, dice| {
                    wish.weights.insert(ip(dice.pick(&MEMBERS)), 1 + dice.below(5) as u32);
                }),
                22 => next.try_to(dice, |wish, dice| wish.drain = dice.pick(&[0, 60])),
                14..=16 => next.turn_health(dice),
                _ => next.turn_surroundings(dice),
            }
        }
        next
    }

    fn try_to(&mut self, dice: &mut Dice, edit: fn(&mut Wish, &mut Dice)) {
        for _ in 0..20 {
            let mut wish = self.wish.clone();
            edit(&mut wish, dice);
            if wish.check().is_ok() {
                self.wish = wish;
                return;
            }
        }
    }

    fn turn_health(&mut self, dice: &mut Dice) {
        for _ in 0..=dice.below(2) {
            let member = ip(dice.pick(&MEMBERS));
            if dice.one_in(4) {
                if self.health.avoided.remove(&member).is_none() {
                    self.health.avoided.insert(member, Hint::NoWay);
                }
                continue;
            }
            let probe = format!("b/{}", dice.pick(&PROBES));
            let was_down = self.health.is_down(&probe, member);
            self.health.find(&probe, member, was_down);
        }
    }

    fn turn_surroundings(&mut self, dice: &mut Dice) {
        let member = ip(dice.pick(&MEMBERS));
        match dice.below(7) {
            0 => {
                self.surroundings.own_v4 =
                    dice.pick(&[None, "10.0.0.2".parse().ok(), "10.0.0.3".parse().ok()])
            }
            1 => {
                self.surroundings.own_v6 = dice.pick(&[None, "fd00::2".parse().ok(), "fd01::3".parse().ok()])
            }
            2 => drop(self.surroundings.hops.remove(&member)),
            3 => {
                let routed = Hop { adjacent: false, destination: mac_of(ip("10.0.0.254")), ..hop(member) };
                self.surroundings.hops.insert(member, routed);
            }
            4 => {
                let (link, source) = (OTHER_LINK, link_mac(OTHER_LINK));
                let moved = Hop { link, source, mtu: mtu(link), ..hop(member) };
                self.surroundings.hops.insert(member, moved);
            }
            5 => drop(self.surroundings.hops.insert(member, hop(member))),
            _ => {
                if self.surroundings.links.remove(&OTHER_LINK).is_none() {
                    self.surroundings.links.insert(OTHER_LINK, link(OTHER_LINK));
                }
            }
        }
    }

    pub fn compile(&self, compiler: &mut Compiler, before: &Tables) -> Tables {
        compiler.compile(&self.wish.desired(), &self.health, &self.surroundings, before).unwrap()
    }
}

fn add_rule(wish: &mut Wish, dice: &mut Dice) {
    let port = dice.pick(&[80, 443]);
    let rule =
        rule(dice.pick(&FRONTENDS), port, dice.pick(&POOLS), dice.pick(&[port, 8_000, 8_001, 8_002, 8_003]));
    let rule = if dice.one_in(3) { rule.udp() } else { rule };
    let rule = if dice.one_in(3) { rule.floating() } else { rule };
    let rule = if dice.one_in(4) { rule.up_to(port + 5) } else { rule };
    wish.rules.push(rule.by(dice.pick(&DISTRIBUTIONS)));
}

fn change_rule(wish: &mut Wish, dice: &mut Dice) {
    if wish.rules.is_empty() {
        return;
    }
    let at = dice.below(wish.rules.len());
    let rule = &mut wish.rules[at];
    match dice.below(10) {
        8 => rule.tcp_reset ^= true,
        9 => rule.strict ^= true,
        6 => rule.probe = dice.pick(&[None, Some(PROBES[0]), Some(PROBES[1])]),
        7 if rule.probe.is_some() => rule.resets ^= true,
        7 => rule.hairpin ^= !rule.floating,
        0..=2 => rule.distribution = dice.pick(&DISTRIBUTIONS),
        3 => rule.pool = dice.pick(&POOLS),
        4 => rule.backend_port = dice.pick(&[rule.port, 8_000, 8_001, 8_002, 8_003]),
        _ => rule.floating ^= true,
    }
}

/// Packets of every kind that these wishes could concern.
pub fn packets(dice: &mut Dice, wishes: &[&Wish]) -> Vec<Packet> {
    let mut packets = Vec::new();
    for rule in wishes.iter().flat_map(|wish| &wish.rules) {
        for _ in 0..3 {
            let client = if rule.frontend.is_ipv4() { "192.0.2." } else { "2001:db8::" };
            let client = (ip(&format!("{client}{}", 1 + dice.below(9))), 40_000 + dice.below(2_000) as u16);
            let more = rule.last.map_or(0, |last| dice.below((last - rule.port).into()) as u16);
            let packet = Packet { from: client, to: (rule.frontend, rule.port + more), flags: None };
            packets.push(packet);
            packets.extend([SYN, ACK].map(|flags| Packet { flags: Some(flags), ..packet }));
            let answer =
                |from: IpAddr| Packet { from: (from, rule.backend_port), to: client, flags: Some(ACK) };
            packets.push(answer(rule.frontend));
            let pool = wishes.iter().flat_map(|wish| &wish.pools).find(|pool| pool.name == rule.pool);
            let members = pool.map(|pool| pool.members.clone()).unwrap_or_default();
            let of_family: Vec<IpAddr> =
                members.into_iter().filter(|member| member.is_ipv4() == rule.frontend.is_ipv4()).collect();
            if !of_family.is_empty() {
                let answer = answer(dice.pick(&of_family));
                packets.extend([answer, Packet { flags: None, ..answer }]);
            }
        }
    }
    packets
}

/// Who takes new flows of each rule, by slot; of a rule that leads to one member, that one.
pub fn owners(tables: &Tables) -> BTreeMap<(IpAddr, u8, u16), Vec<Option<IpAddr>>> {
    let owner = |number: u32| tables.members.get(&number).map(|row| row.address().into());
    let takers = |plan: Plan| match plan.direct {
        true => vec![owner(plan.ring.into())],
        false => tables.slots(plan.ring.into()).map(|slot| owner(slot.current())).collect(),
    };
    tables.rule_rows().into_iter().map(|(key, row)| (key, takers(row.plan()))).collect()
}
