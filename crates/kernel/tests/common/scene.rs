//! Documents and surroundings that change at random, and are always valid.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use engine::{Clock, Health, Sizes, Surroundings};
use model::{Desired, Source};
use plane::row::{Hop, Mac, protocol};

use crate::random::Random;

/// Interface indexes: 1 is `lo`. The third has its place in the table of links where the first one's is.
pub const LINKS: [u32; 3] = [1, 2, 65];
pub const PORTS: [u16; 4] = [53, 80, 443, 65_534];
const POOLS: usize = 5;
const MEMBERS: u8 = 6;
const DISTRIBUTIONS: [&str; 3] = ["Default", "SourceIP", "SourceIPProtocol"];
/// Small enough to be full, and to have flows that meet in one place.
pub const SIZES: Sizes = Sizes { flow_bits: 6, masquerade_bits: 9, rings: 32 };

#[derive(Clone, Debug)]
pub struct Scene {
    pub frontends: BTreeSet<IpAddr>,
    pools: Vec<Pool>,
    rules: BTreeMap<(IpAddr, bool, u16), Rule>,
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
}

impl Scene {
    pub fn new(random: &mut Random) -> Self {
        let mut scene = Self {
            frontends: frontends().into_iter().collect(),
            pools: vec![Pool::default(); POOLS],
            rules: BTreeMap::new(),
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
        match random.below(20) {
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
            _ => {
                let key = (random.pick(&frontends()), random.chance(40), random.pick(&PORTS));
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
                    };
                    self.rules.insert(key, rule);
                }
            }
        }
    }

    pub fn desired(&self) -> Desired {
        let text = self.document();
        model::check(&[Source { name: "scene.json".into(), text }])
            .unwrap_or_else(|problems| panic!("{problems:#?}"))
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
            links: LINKS.iter().map(|link| (*link, mac_of_link(*link))).collect(),
            own_v4: self.own_v4,
            own_v6: self.own_v6,
            hops: self.hops.clone(),
            sizes: SIZES,
            clock,
        }
    }

    /// Addresses, ports and protocols of rules.
    pub fn called(&self) -> Vec<(IpAddr, u16, u8)> {
        let there = self.rules.keys().filter(|(frontend, ..)| self.frontends.contains(frontend));
        there.map(|(frontend, udp, port)| (*frontend, *port, protocol(*udp))).collect()
    }

    /// Addresses, ports and protocols that answers of gateway members come from.
    pub fn answers(&self) -> Vec<(IpAddr, u16, u8)> {
        let mut from = Vec::new();
        for ((frontend, udp, port), rule) in
            self.rules.iter().filter(|(_, rule)| self.pools[rule.pool].gateway)
        {
            let at_member = self.backend_port(*frontend, *udp, *port, rule);
            if rule.floating {
                from.push((*frontend, at_member, protocol(*udp)));
            } else {
                let members = self.pools[rule.pool].members.iter();
                from.extend(members.map(|member| (*member, at_member, protocol(*udp))));
            }
        }
        from
    }

    pub fn members(&self) -> Vec<IpAddr> {
        self.pools.iter().flat_map(|pool| pool.members.iter().copied()).collect()
    }

    /// Unlike every other rule's, unless it is the frontend's.
    fn backend_port(&self, frontend: IpAddr, udp: bool, port: u16, rule: &Rule) -> u16 {
        let at = |of: &[IpAddr]| of.iter().position(|other| *other == frontend).unwrap_or_default();
        let number =
            at(&frontends()) * 8 + PORTS.iter().position(|other| *other == port).unwrap_or_default() * 2;
        let number = (number + usize::from(udp)) as u16;
        match (rule.floating, rule.elsewhere && self.pools[rule.pool].gateway) {
            (true, false) => port,
            (true, true) => 9_000 + number,
            (false, _) => 8_000 + number,
        }
    }

    fn document(&self) -> String {
        let name = |address: &IpAddr| address.to_string().replace([':', '.'], "-");
        let frontends = self.frontends.iter().map(|address| {
            let version = if address.is_ipv4() { 4 } else { 6 };
            format!(
                r#"{{"name": "f{}", "properties": {{"privateIPAddress": "{address}", "privateIPAllocationMethod": "Static",
                "privateIPAddressVersion": "IPv{version}", "subnet": {{"id": "/subscriptions/s/n"}}}}}}"#,
                name(address)
            )
        });
        let pools = self.pools.iter().enumerate().map(|(number, pool)| {
            let member = |address: &IpAddr| {
                format!(r#"{{"name": "m{}", "properties": {{"ipAddress": "{address}"}}}}"#, name(address))
            };
            format!(
                r#"{{"name": "p{number}", "properties": {{"loadBalancerBackendAddresses": [{}],
                "forebay": {{"returnPath": "{}"}}}}}}"#,
                list(pool.members.iter().map(member)),
                if pool.gateway { "gateway" } else { "masquerade" }
            )
        });
        let of_frontends = self.rules.iter().filter(|((frontend, ..), _)| self.frontends.contains(frontend));
        let rules = of_frontends.map(|((frontend, udp, port), rule)| {
            let protocol = if *udp { "Udp" } else { "Tcp" };
            format!(
                r#"{{"name": "r{}-{protocol}-{port}", "properties": {{
                "frontendIPConfiguration": {{"id": "frontendIPConfigurations/f{}"}},
                "backendAddressPool": {{"id": "backendAddressPools/p{}"}}, "protocol": "{protocol}",
                "frontendPort": {port}, "backendPort": {}, "enableFloatingIP": {}, "loadDistribution": "{}",
                "idleTimeoutInMinutes": {}, "probe": {{"id": "probes/p{}"}},
                "forebay": {{"resetOnMemberDown": {}, "hairpin": {}}}}}}}"#,
                name(frontend),
                name(frontend),
                rule.pool,
                self.backend_port(*frontend, *udp, *port, rule),
                rule.floating,
                DISTRIBUTIONS[rule.distribution],
                rule.idle,
                rule.probe,
                rule.resets,
                rule.hairpin
            )
        });
        let probe = |number: usize| {
            format!(r#"{{"name": "p{number}", "properties": {{"protocol": "Tcp", "port": 80}}}}"#)
        };
        let probes = if self.frontends.is_empty() { 0 } else { POOLS };
        format!(
            r#"{{"name": "b", "properties": {{"frontendIPConfigurations": [{}], "backendAddressPools": [{}],
            "loadBalancingRules": [{}], "probes": [{}]}}}}"#,
            list(frontends),
            list(pools),
            list(rules),
            list((0..probes).map(probe))
        )
    }
}

const OWN_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const OWN_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);

pub fn frontends() -> Vec<IpAddr> {
    let v4 = (100..104).map(|last| Ipv4Addr::new(10, 0, 0, last).into());
    let v6 = (0x100..0x104).map(|last| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last).into());
    v4.chain(v6).collect()
}

pub fn mac_of_link(link: u32) -> Mac {
    Mac::new([2, 0, 0, 0, 1, link as u8])
}

fn protocol(udp: bool) -> u8 {
    if udp { protocol::UDP } else { protocol::TCP }
}

fn member(pool: usize, number: u8, v4: bool) -> IpAddr {
    if v4 {
        Ipv4Addr::new(10, 1, pool as u8, number).into()
    } else {
        Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, pool as u16, u16::from(number)).into()
    }
}

fn hop(random: &mut Random) -> Hop {
    let link = random.pick(&LINKS);
    let destination = Mac::new([2, 0, 0, 0, 2, random.below(256) as u8]);
    Hop { link, source: mac_of_link(link), destination, adjacent: random.chance(80) }
}

fn list(of: impl Iterator<Item = String>) -> String {
    of.collect::<Vec<_>>().join(", ")
}
