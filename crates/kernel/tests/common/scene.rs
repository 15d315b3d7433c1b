//! Documents and surroundings that change at random, and are always valid.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use engine::{Clock, Health, Link, Sizes, Surroundings};
use model::{Desired, Document, Inventory, Limits, ResourceId, judge};
use plane::row::protocol::{SCTP, TCP, UDP};
use plane::row::{Hop, Mac};
use serde_json::{Value, json};

use crate::random::Random;

/// Interface indexes: 1 is `lo`. The third has its place in the table of links where the first one's is.
pub const LINKS: [u32; 3] = [1, 2, 65];
pub const PORTS: [u16; 4] = [53, 80, 443, 65_534];
const POOLS: usize = 7;
/// The members of this one and the next serve under rules for everything, of IPv4 and IPv6, and under no others.
const POOL_OF_ALL: usize = 4;
/// Ports of inbound NAT rules.
const NAT_PORTS: [u16; 2] = [50_000, 50_022];
/// Ports of ranges of inbound NAT rules: more than a pool has members.
const RANGE: [u16; 2] = [50_100, 50_131];
/// Under which a rule for everything is kept.
const ALL: u8 = 0;
const GROUPS: usize = 2;
const MEMBERS: u8 = 6;
const DISTRIBUTIONS: [&str; 3] = ["Default", "SourceIP", "SourceIPProtocol"];
/// Small enough to be full, and to have flows that meet in one place.
pub const SIZES: Sizes = Sizes { flow_bits: 6, masquerade_bits: 9, rings: 32 };

#[derive(Clone, Debug)]
pub struct Scene {
    pub frontends: BTreeSet<IpAddr>,
    pools: Vec<Pool>,
    rules: BTreeMap<(IpAddr, u8, u16), Rule>,
    nat: BTreeMap<(IpAddr, u8, u16), Nat>,
    ranges: BTreeMap<(IpAddr, u8), Range>,
    /// Frontends that do not answer echo requests.
    silent: BTreeSet<IpAddr>,
    /// Security groups: prefixes, and whether they are allowed. Which frontends they guard.
    groups: [Vec<(String, bool)>; GROUPS],
    guarded: BTreeMap<IpAddr, usize>,
    pub own_v4: Option<Ipv4Addr>,
    pub own_v6: Option<Ipv6Addr>,
    down: BTreeSet<(usize, IpAddr)>,
    hops: BTreeMap<IpAddr, Hop>,
    pub tick_shift: u8,
}

#[derive(Clone, Debug, Default)]
struct Pool {
    members: BTreeSet<IpAddr>,
    gateway: bool,
    /// Seconds for which members that leave keep their connections.
    drain: usize,
}

#[derive(Clone, Copy, Debug)]
struct Rule {
    pool: usize,
    floating: bool,
    /// Another port at the member, where the pool's way back allows it.
    elsewhere: bool,
    distribution: usize,
    idle: usize,
    /// The probe is called like a pool, most often like the rule's own.
    probe: usize,
    resets: bool,
    hairpin: bool,
    tcp_reset: bool,
    strict: bool,
}

/// An inbound NAT rule, which leads to one member.
#[derive(Clone, Copy, Debug)]
struct Nat {
    member: IpAddr,
    floating: bool,
    idle: usize,
}

/// An inbound NAT rule with a port for each member of a pool.
#[derive(Clone, Copy, Debug)]
struct Range {
    pool: usize,
    /// Where the pool's way back allows it.
    floating: bool,
    tcp_reset: bool,
}

impl Scene {
    pub fn new(random: &mut Random) -> Self {
        let mut scene = Self {
            frontends: frontends().into_iter().collect(),
            pools: vec![Pool::default(); POOLS],
            rules: BTreeMap::new(),
            nat: BTreeMap::new(),
            ranges: BTreeMap::new(),
            silent: BTreeSet::new(),
            groups: Default::default(),
            guarded: BTreeMap::new(),
            own_v4: Some(OWN_V4),
            own_v6: Some(OWN_V6),
            down: BTreeSet::new(),
            hops: BTreeMap::new(),
            tick_shift: 31,
        };
        for (number, pool) in scene.pools.iter_mut().enumerate() {
            pool.gateway = number % 2 == 0;
            if number + 1 < POOLS {
                for v4 in [true, false] {
                    let member = member(number, 1, v4);
                    pool.members.insert(member);
                    scene.hops.insert(member, hop(random));
                }
            }
        }
        for _ in 0..120 {
            scene.change(random);
        }
        scene
    }

    /// One change of what is wanted, or of what is found.
    pub fn change(&mut self, random: &mut Random) {
        let pool = random.below(POOLS);
        match random.below(31) {
            // The last pool stays empty.
            0..=4 if pool + 1 < POOLS => {
                let number = 1 + random.below(usize::from(MEMBERS)) as u8;
                let member = member(pool, number, random.chance(50));
                self.hops.remove(&member);
                if random.chance(85) {
                    self.hops.insert(member, hop(random));
                }
                // The first member of each family stays: rules want one.
                if number == 1 || random.chance(60) {
                    self.pools[pool].members.insert(member);
                } else {
                    self.pools[pool].members.remove(&member);
                }
            }
            5..=7 => {
                let of: Vec<IpAddr> = self.pools[pool].members.iter().copied().collect();
                if !of.is_empty() {
                    let found = (pool, random.pick(&of));
                    if !self.down.remove(&found) {
                        self.down.insert(found);
                    }
                }
            }
            8 if random.chance(50) => self.pools[pool].drain = random.pick(&[0, 60, 600]),
            8 => self.pools[pool].gateway ^= true,
            9 => self.own_v4 = random.chance(85).then_some(OWN_V4),
            10 => self.own_v6 = random.chance(85).then_some(OWN_V6),
            11 => {
                let frontend = random.pick(&frontends());
                if !self.frontends.remove(&frontend) || random.chance(70) {
                    self.frontends.insert(frontend);
                }
            }
            12..=13 => {
                let keys: Vec<_> = self.rules.keys().copied().collect();
                if !keys.is_empty()
                    && let Some(rule) = self.rules.get_mut(&random.pick(&keys))
                {
                    rule.distribution = random.below(3);
                }
            }
            14 => {
                let frontend = random.pick(&frontends());
                if !self.silent.remove(&frontend) {
                    self.silent.insert(frontend);
                }
            }
            15 => {
                let frontend = random.pick(&frontends());
                if random.chance(40) || self.guarded.remove(&frontend).is_none() {
                    self.guarded.insert(frontend, random.below(GROUPS));
                }
            }
            16 => {
                let rules = (0..random.below(20)).map(|_| security_rule(random));
                self.groups[random.below(GROUPS)] = rules.collect();
            }
            17..=19 => {
                let frontend = random.pick(&frontends_of_ports());
                let key = (frontend, random.pick(&[TCP, UDP, SCTP]), random.pick(&NAT_PORTS));
                if self.nat.remove(&key).is_none() || random.chance(70) {
                    // The last member of a pool is in no pool, most of the time.
                    let number = 1 + random.below(usize::from(MEMBERS)) as u8;
                    let member = member(random.below(POOL_OF_ALL), number, frontend.is_ipv4());
                    let nat = Nat { member, floating: random.chance(40), idle: 4 + random.below(97) };
                    self.nat.insert(key, nat);
                }
            }
            20..=22 => {
                let key = (random.pick(&frontends_of_ports()), random.pick(&[TCP, TCP, UDP, SCTP]));
                if self.ranges.remove(&key).is_none() || random.chance(70) {
                    let pool = if pool < POOL_OF_ALL { pool } else { 0 };
                    let range = Range { pool, floating: random.chance(60), tcp_reset: random.chance(40) };
                    self.ranges.insert(key, range);
                }
            }
            _ => {
                let of_all = random.chance(15);
                let (key, pool) = if of_all {
                    let frontend = random.pick(&frontends_of_all());
                    ((frontend, ALL, 0), POOL_OF_ALL + usize::from(frontend.is_ipv6()))
                } else {
                    let protocol = random.pick(&[TCP, TCP, UDP, SCTP]);
                    let key = (random.pick(&frontends_of_ports()), protocol, random.pick(&PORTS));
                    let taken = POOL_OF_ALL..POOL_OF_ALL + 2;
                    (key, if taken.contains(&pool) { 0 } else { pool })
                };
                if self.rules.remove(&key).is_none() || random.chance(85) {
                    let floating = random.chance(45);
                    let rule = Rule {
                        pool,
                        floating,
                        probe: if random.chance(80) { pool } else { random.below(POOLS) },
                        resets: random.chance(30),
                        hairpin: !floating && random.chance(40),
                        elsewhere: random.chance(50),
                        distribution: random.below(3),
                        idle: 4 + random.below(97),
                        tcp_reset: random.chance(40),
                        strict: random.chance(25),
                    };
                    self.rules.insert(key, rule);
                }
            }
        }
    }

    pub fn desired(&self) -> Desired {
        let inventory = Inventory::of(self.documents());
        let judgement =
            judge(&inventory, &Limits::default()).unwrap_or_else(|problems| panic!("{problems:#?}"));
        assert_eq!(judgement.shortfalls, [], "the scene is to be played whole");
        judgement.desired
    }

    pub fn health(&self) -> Health {
        let mut health = Health::default();
        self.down.iter().for_each(|(probe, member)| health.find(&format!("b/p{probe}"), *member, false));
        health
    }

    pub fn surroundings(&self) -> Surroundings {
        let mut clock = Clock::default();
        clock.shift = self.tick_shift;
        Surroundings {
            links: LINKS.map(|link| (link, Link { mac: mac_of_link(link), mtu: mtu(link) })).into(),
            own_v4: self.own_v4,
            own_v6: self.own_v6,
            hops: self.hops.clone(),
            sizes: SIZES,
            clock,
            now: plane::Tick::default(),
        }
    }

    /// Addresses, ports and protocols that rules take.
    pub fn called(&self) -> Vec<(IpAddr, u16, u8)> {
        let there = self.rules.keys().chain(self.nat.keys());
        let there = there.filter(|(frontend, ..)| self.frontends.contains(frontend));
        let there = there.flat_map(|(frontend, protocol, port)| some_of(*protocol, *port, *frontend));
        let of_ranges = self.ranges_there().flat_map(|((frontend, protocol), _)| {
            (RANGE[0]..RANGE[0] + u16::from(MEMBERS)).map(|port| (*frontend, port, *protocol))
        });
        there.chain(of_ranges).collect()
    }

    /// Addresses, ports and protocols that answers of gateway members come from.
    pub fn answers(&self) -> Vec<(IpAddr, u16, u8)> {
        let mut from = Vec::new();
        for ((frontend, protocol, port), rule) in
            self.rules.iter().filter(|(_, rule)| self.pools[rule.pool].gateway)
        {
            let at_member = self.backend_port(*frontend, *protocol, *port, rule);
            if rule.floating {
                from.extend(some_of(*protocol, at_member, *frontend));
            } else {
                let members = self.pools[rule.pool].members.iter();
                from.extend(members.flat_map(|member| some_of(*protocol, at_member, *member)));
            }
        }
        for ((frontend, protocol), range) in self.ranges_there() {
            let pool = &self.pools[range.pool];
            let members = pool.members.iter().filter(|_| pool.gateway && !range.floating);
            let frontend_too = (pool.gateway && range.floating).then_some(frontend);
            let port = port_of_range(*frontend, *protocol);
            from.extend(members.chain(frontend_too).map(|address| (*address, port, *protocol)));
        }
        from
    }

    /// The stations of members, and of the routers before them.
    pub fn stations(&self) -> Vec<Mac> {
        self.hops.values().map(|hop| hop.destination).collect()
    }

    pub fn members(&self) -> Vec<IpAddr> {
        self.pools.iter().flat_map(|pool| pool.members.iter().copied()).collect()
    }

    /// Unlike every other rule's, unless it is the frontend's.
    fn backend_port(&self, frontend: IpAddr, protocol: u8, port: u16, rule: &Rule) -> u16 {
        if protocol == ALL {
            return 0;
        }
        let at = |of: &[IpAddr]| of.iter().position(|other| *other == frontend).unwrap_or_default();
        let number =
            at(&frontends()) * 16 + PORTS.iter().position(|other| *other == port).unwrap_or_default() * 4;
        let number = (number + usize::from(protocol % 4)) as u16;
        match (rule.floating, rule.elsewhere && self.pools[rule.pool].gateway) {
            (true, false) => port,
            (true, true) => 9_000 + number,
            (false, _) => 8_000 + number,
        }
    }

    fn documents(&self) -> Vec<Arc<Document>> {
        let network = json!({
            "addressSpace": { "addressPrefixes": ["10.0.0.0/8", "fd00::/16"] },
            "subnets": [
                { "name": "front", "properties": { "addressPrefixes": ["10.0.0.0/24", "fd00::/64"] } },
                { "name": "back", "properties": { "addressPrefixes": ["10.1.0.0/16", "fd00:1::/64"] } },
            ],
        });
        let mut documents = vec![document("virtualNetworks/vn", network), self.balancer()];
        documents.extend(self.groups.iter().enumerate().map(|(number, rules)| {
            let rule = |(order, (prefix, allow)): (usize, &(String, bool))| {
                let access = if *allow { "Allow" } else { "Deny" };
                json!({ "name": format!("s{order}"), "properties": {
                    "priority": 100 + order, "direction": "Inbound", "access": access, "protocol": "*",
                    "sourceAddressPrefix": prefix,
                } })
            };
            let rules: Vec<Value> = rules.iter().enumerate().map(rule).collect();
            document(&format!("networkSecurityGroups/sg{number}"), json!({ "securityRules": rules }))
        }));
        let targets: BTreeSet<IpAddr> = self.nat_there().map(|(_, nat)| nat.member).collect();
        documents.extend(targets.into_iter().map(|member| {
            let of = self.nat_there().filter(|(_, nat)| nat.member == member);
            let rules: Vec<Value> = of
                .map(|(key, _)| to(&format!("loadBalancers/b/inboundNatRules/{}", rule_name(key))))
                .collect();
            let address = json!({
                "privateIPAddress": member, "privateIPAddressVersion": version(member),
                "privateIPAllocationMethod": "Static",
                "subnet": to("virtualNetworks/vn/subnets/back"), "loadBalancerInboundNatRules": rules,
            });
            let addresses = json!({ "ipConfigurations": [{ "name": "ip", "properties": address }] });
            document(&format!("networkInterfaces/{}", name(member)), addresses)
        }));
        documents
    }

    fn nat_there(&self) -> impl Iterator<Item = (&(IpAddr, u8, u16), &Nat)> {
        self.nat.iter().filter(|((frontend, ..), _)| self.frontends.contains(frontend))
    }

    fn ranges_there(&self) -> impl Iterator<Item = (&(IpAddr, u8), &Range)> {
        self.ranges.iter().filter(|((frontend, _), _)| self.frontends.contains(frontend))
    }

    fn balancer(&self) -> Arc<Document> {
        let own = |path: String| to(&format!("loadBalancers/b/{path}"));
        let frontend = |address: IpAddr| own(format!("frontendIPConfigurations/f{}", name(address)));
        let frontends = self.frontends.iter().map(|address| {
            let properties = json!({
                "privateIPAddress": address, "privateIPAllocationMethod": "Static",
                "privateIPAddressVersion": version(*address), "subnet": to("virtualNetworks/vn/subnets/front"),
                "forebay": { "echo": !self.silent.contains(address) },
            });
            let mut properties = properties;
            if let Some(group) = self.guarded.get(address) {
                let group = to(&format!("networkSecurityGroups/sg{group}"));
                properties["forebay"]["networkSecurityGroup"] = group;
            }
            json!({ "name": format!("f{}", name(*address)), "properties": properties })
        });
        let pools = self.pools.iter().enumerate().map(|(number, pool)| {
            let member = |address: &IpAddr| {
                json!({ "name": format!("m{}", name(*address)), "properties": { "ipAddress": address } })
            };
            let properties = json!({
                "loadBalancerBackendAddresses": pool.members.iter().map(member).collect::<Vec<_>>(),
                "forebay": { "returnPath": if pool.gateway { "gateway" } else { "masquerade" } },
                "drainPeriodInSeconds": pool.drain,
            });
            json!({ "name": format!("p{number}"), "properties": properties })
        });
        let of_frontends = self.rules.iter().filter(|((frontend, ..), _)| self.frontends.contains(frontend));
        let rules = of_frontends.map(|(key, rule)| {
            let (address, protocol, port) = *key;
            let properties = json!({
                "frontendIPConfiguration": frontend(address),
                "backendAddressPool": own(format!("backendAddressPools/p{}", rule.pool)),
                "protocol": word(protocol), "frontendPort": port,
                "backendPort": self.backend_port(address, protocol, port, rule),
                "enableFloatingIP": rule.floating, "loadDistribution": DISTRIBUTIONS[rule.distribution],
                "idleTimeoutInMinutes": rule.idle, "probe": own(format!("probes/p{}", rule.probe)),
                "enableTcpReset": rule.tcp_reset,
                "forebay": {
                    "resetOnMemberDown": rule.resets, "hairpin": rule.hairpin, "dropForgotten": rule.strict,
                },
            });
            json!({ "name": rule_name(key), "properties": properties })
        });
        let nat = self.nat_there().map(|(key, nat)| {
            let (address, protocol, port) = *key;
            // Unlike every other rule's at the member, unless it is the frontend's.
            let number = self.nat.keys().position(|other| other == key).unwrap_or_default() as u16;
            let properties = json!({
                "frontendIPConfiguration": frontend(address), "protocol": word(protocol),
                "frontendPort": port, "backendPort": if nat.floating { port } else { 2_000 + number },
                "enableFloatingIP": nat.floating, "idleTimeoutInMinutes": nat.idle,
                "enableTcpReset": nat.idle % 2 == 0,
            });
            json!({ "name": rule_name(key), "properties": properties })
        });
        let ranges = self.ranges_there().map(|((address, protocol), range)| {
            let properties = json!({
                "frontendIPConfiguration": frontend(*address), "protocol": word(*protocol),
                "backendAddressPool": own(format!("backendAddressPools/p{}", range.pool)),
                "frontendPortRangeStart": RANGE[0], "frontendPortRangeEnd": RANGE[1],
                "backendPort": port_of_range(*address, *protocol), "enableTcpReset": range.tcp_reset,
                "enableFloatingIP": range.floating && self.pools[range.pool].gateway,
            });
            json!({ "name": rule_name(&(*address, *protocol, RANGE[0])), "properties": properties })
        });
        let probe = |number: usize| json!({ "name": format!("p{number}"), "properties": { "protocol": "Tcp", "port": 80 } });
        let probes = if self.frontends.is_empty() { 0 } else { POOLS };
        document(
            "loadBalancers/b",
            json!({
                "frontendIPConfigurations": frontends.collect::<Vec<_>>(),
                "backendAddressPools": pools.collect::<Vec<_>>(),
                "loadBalancingRules": rules.collect::<Vec<_>>(),
                "inboundNatRules": nat.chain(ranges).collect::<Vec<_>>(),
                "probes": (0..probes).map(probe).collect::<Vec<_>>(),
            }),
        )
    }
}

fn id(path: &str) -> String {
    format!("/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/{path}")
}

fn to(path: &str) -> Value {
    json!({ "id": id(path) })
}

fn document(path: &str, properties: Value) -> Arc<Document> {
    let (kind, name) = path.split_once('/').unwrap();
    let kind = format!("Microsoft.Network/{kind}");
    let value = json!({ "name": name, "id": id(path), "type": kind, "properties": properties });
    let mut document = Document::read(&value, name).unwrap_or_else(|problems| panic!("{problems:#?}"));
    document.identify(&ResourceId::parse(&id(path)).unwrap().0);
    Arc::new(document)
}

/// About some of the clients.
fn security_rule(random: &mut Random) -> (String, bool) {
    let number = random.below(64);
    let prefix = match random.below(10) {
        0..=4 => format!("198.51.100.{}/{}", number & !3, 26 + random.below(5)),
        5..=8 => format!("2001:db8::{:x}/{}", number & !3, 120 + random.below(7)),
        _ => "*".to_owned(),
    };
    (prefix, random.chance(60))
}

fn rule_name((frontend, protocol, port): &(IpAddr, u8, u16)) -> String {
    format!("r{}-{protocol}-{port}", name(*frontend))
}

/// The members' port of a range: unlike every other rule's.
fn port_of_range(frontend: IpAddr, protocol: u8) -> u16 {
    let at = frontends().iter().position(|other| *other == frontend).unwrap_or_default();
    4_000 + 4 * at as u16 + u16::from(protocol % 4)
}

fn name(address: IpAddr) -> String {
    address.to_string().replace([':', '.'], "-")
}

fn version(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn word(protocol: u8) -> &'static str {
    match protocol {
        TCP => "Tcp",
        UDP => "Udp",
        SCTP => "Sctp",
        _ => "All",
    }
}

/// What a rule takes at an address; of one for everything, some.
fn some_of(protocol: u8, port: u16, address: IpAddr) -> Vec<(IpAddr, u16, u8)> {
    match protocol {
        ALL => [(22, TCP), (65_535, TCP), (53, UDP), (36_412, SCTP)]
            .map(|(port, protocol)| (address, port, protocol))
            .into(),
        _ => vec![(address, port, protocol)],
    }
}

const OWN_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const OWN_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);

/// Those that rules are for.
pub fn frontends() -> Vec<IpAddr> {
    [frontends_of_ports(), frontends_of_all()].concat()
}

/// A rule for everything leaves nothing to others.
fn frontends_of_all() -> Vec<IpAddr> {
    vec![Ipv4Addr::new(10, 0, 0, 104).into(), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x104).into()]
}

fn frontends_of_ports() -> Vec<IpAddr> {
    let v4 = (100..104).map(|last| Ipv4Addr::new(10, 0, 0, last).into());
    let v6 = (0x100..0x104).map(|last| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last).into());
    v4.chain(v6).collect()
}

pub fn mac_of_link(link: u32) -> Mac {
    Mac::new([2, 0, 0, 0, 1, link as u8])
}

/// The second link carries less than some packets are large, and of the third nobody knows.
fn mtu(link: u32) -> u16 {
    match link {
        1 => 1_500,
        2 => 600,
        _ => 0,
    }
}

fn member(pool: usize, number: u8, v4: bool) -> IpAddr {
    // A subnet keeps its first addresses for itself.
    let number = 10 + number;
    if v4 {
        Ipv4Addr::new(10, 1, pool as u8, number).into()
    } else {
        Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, pool as u16, u16::from(number)).into()
    }
}

fn hop(random: &mut Random) -> Hop {
    let link = random.pick(&LINKS);
    let destination = Mac::new([2, 0, 0, 0, 2, random.below(256) as u8]);
    Hop { link, source: mac_of_link(link), destination, adjacent: random.chance(80), mtu: mtu(link) }
}
