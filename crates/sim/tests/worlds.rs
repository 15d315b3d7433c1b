//! Worlds in which everything happens at once, each from its seed: members come and go, the control plane is killed in the middle of
//! its changes and starts again, distributions change, frames are lost.
//!
//! What must hold in each: a flow whose member is there is answered by it and by nobody else (DIST-2, DIST-8, FLOW-1, FLOW-7); the
//! client hears the address that it called (FIP-3); checksums are right; nothing for a frontend reaches the balancer host (RULE-2).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use forebay_sim::{Broken, Chance, Rule, Session, Town, Transport};

const SEEDS: u64 = 50;
const STEPS: usize = 20;
/// Sessions that are silent for longer may be forgotten (FLOW-5).
const IDLE: Duration = Duration::from_secs(240);
const POOLS: [&str; 3] = ["web", "plain", "routed"];
const TRANSPORTS: [Transport; 2] = [Transport::Tcp, Transport::Udp];
const DISTRIBUTIONS: [&str; 3] = ["Default", "SourceIP", "SourceIPProtocol"];

// DIST-2, DIST-8, FIP-3, FLOW-1, FLOW-7, RULE-2
#[test]
fn no_flow_of_a_living_member_breaks_in_the_first_half_of_the_worlds() {
    check(0..SEEDS / 2);
}

// DIST-2, DIST-8, FIP-3, FLOW-1, FLOW-7, RULE-2
#[test]
fn no_flow_of_a_living_member_breaks_in_the_second_half_of_the_worlds() {
    check(SEEDS / 2..SEEDS);
}

// DIST-7
#[test]
fn the_same_seed_gives_the_same_world() {
    let play = |seed| {
        let mut life = Life::new(seed);
        (0..STEPS).for_each(|_| life.step());
        let simulation = &life.town.simulation;
        let served: Vec<_> = life.sessions.keys().map(|session| simulation.served(*session)).collect();
        format!("{:?} {} {served:?}", simulation.now(), simulation.seen().tables())
    };
    assert_eq!(play(7), play(7));
    assert_ne!(play(7), play(8));
}

fn check(seeds: Range<u64>) {
    let (mut answered, worlds) = (0, seeds.end - seeds.start);
    for seed in seeds {
        let mut life = Life::new(seed);
        for _ in 0..STEPS {
            life.step();
        }
        life.end();
        let faults: Vec<String> = life.town.simulation.faults().iter().map(ToString::to_string).collect();
        assert!(faults.is_empty(), "seed {seed}:\n{faults:#?}\n{}", life.story());
        answered += life.answered;
    }
    assert!(answered as u64 > 50 * worlds, "hardly anything happened: {answered} answers in {worlds} worlds");
}

struct Life {
    seed: u64,
    chance: Chance,
    town: Town,
    /// The pools of this world.
    pools: Vec<&'static str>,
    /// Every session, and since when it has its member.
    sessions: BTreeMap<Session, Kept>,
    /// Hosts without power.
    silent: BTreeSet<IpAddr>,
    down: BTreeSet<(&'static str, IpAddr)>,
    next_port: u16,
    answered: usize,
    /// The control plane was killed in the middle of its changes: rows may be closed until it is back.
    torn: bool,
    said: Vec<String>,
}

#[derive(Clone, Debug)]
struct Kept {
    transport: Transport,
    pool: &'static str,
    member: IpAddr,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed ^ 0x5eed);
        let mut town = Town::new(seed);
        for frontend in [frontend(true, 1), frontend(false, 1)] {
            town.frontend(frontend).unwrap();
        }
        let missing = chance.below(POOLS.len() as u64) as usize;
        let pools: Vec<&'static str> =
            POOLS.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, pool)| *pool).collect();
        for pool in pools.iter().copied() {
            let members: Vec<IpAddr> = [true, false]
                .iter()
                .flat_map(|v4| (0..2 + chance.below(3)).map(|n| member(pool, *v4, n)))
                .collect();
            town.pool(pool, &members, pool == "routed").unwrap();
            for (v4, transport) in ends() {
                let rule = Rule {
                    pool: pool.to_owned(),
                    port: port(pool) + 1_000 * u16::from(pool != "web"),
                    floating: pool == "web",
                    distribution: (*chance.pick(&DISTRIBUTIONS).unwrap()).to_owned(),
                    idle: 4,
                };
                town.rule(called(pool, v4), transport, rule).unwrap();
            }
        }
        town.simulation.lose([0, 0, 5, 20][chance.below(4) as usize]);
        Self {
            seed,
            chance,
            town,
            pools,
            sessions: BTreeMap::new(),
            silent: BTreeSet::new(),
            down: BTreeSet::new(),
            next_port: 10_000,
            answered: 0,
            torn: false,
            said: Vec::new(),
        }
    }

    fn step(&mut self) {
        match self.chance.below(20) {
            0..=5 => (0..8).for_each(|_| self.open()),
            6..=9 => self.ask_some(),
            10..=12 => self.change_pool(),
            13 => self.change_distribution(),
            14 => self.change_power(),
            15 => self.change_health(),
            16 => self.kill(),
            17 => self.start(),
            _ => {
                let time = Duration::from_secs(self.chance.below(150));
                self.say(format!("{time:?} pass"));
                self.town.simulation.pass(time);
            }
        }
    }

    /// Everything is mended, and everybody asked.
    fn end(&mut self) {
        self.start();
        for host in std::mem::take(&mut self.silent) {
            self.town.silence(host, false);
        }
        self.town.simulation.lose(0);
        let all: Vec<Session> = self.sessions.keys().copied().collect();
        all.into_iter().for_each(|session| self.ask(session));
    }

    fn open(&mut self) {
        let pool = *self.chance.pick(&self.pools).unwrap();
        let (v4, transport) = *self.chance.pick(&ends().collect::<Vec<_>>()).unwrap();
        let client = client(v4, self.chance.below(20));
        self.next_port += 1;
        let from = SocketAddr::new(client, self.next_port);
        let Ok(session) = self.town.open(from, called(pool, v4), transport) else {
            return self.say(format!("{from} did not reach {pool}"));
        };
        let Ok(answer) = self.town.simulation.ask(session) else {
            self.town.simulation.forget(session);
            return self.say(format!("{from} was not answered by {pool}"));
        };
        assert_eq!(answer.instance, called(pool, v4).ip().to_string());
        let member = answer.member.parse().unwrap();
        self.say(format!("{session:?} {transport} {from} -> {pool}: {member}"));
        self.answered += 1;
        let is_new_to_it = self.down.contains(&(pool, member)) && self.town.simulation.is_running();
        assert!(!is_new_to_it, "seed {}: {member} is down\n{}", self.seed, self.story());
        self.sessions.insert(session, Kept { transport, pool, member });
    }

    fn ask_some(&mut self) {
        let all: Vec<Session> = self.sessions.keys().copied().collect();
        for _ in 0..10 {
            if let Some(session) = self.chance.pick(&all).copied() {
                self.ask(session);
            }
        }
    }

    fn ask(&mut self, session: Session) {
        let Some(kept) = self.sessions.get(&session).cloned() else { return };
        let rested = self.town.simulation.idle(session) > IDLE;
        let asked = self.town.simulation.ask(session);
        let is_there = self.town.members(kept.pool).contains(&kept.member);
        // A UDP session leaves a member that is found down (FLOW-1).
        let moves = kept.transport == Transport::Udp && self.down.contains(&(kept.pool, kept.member));
        if rested || moves || !is_there || self.silent.contains(&kept.member) {
            self.say(format!("{session:?} of {} ends: {asked:?}", kept.member));
            self.town.simulation.forget(session);
            self.sessions.remove(&session);
            return;
        }
        match asked {
            Ok(answer) => {
                let member: IpAddr = answer.member.parse().unwrap();
                self.answered += 1;
                if member != kept.member {
                    self.say(format!("{session:?} of {} was answered by {member}", kept.member));
                    self.town.simulation.accuse(session, &kept.member.to_string(), &answer.member);
                }
                let served = self.town.simulation.served(session);
                assert_eq!(served.len(), 1, "seed {}: {served:?}\n{}", self.seed, self.story());
            }
            Err(Broken::Silence) if self.torn => self.say(format!("{session:?} waits for the control plane")),
            Err(broken) => {
                panic!("seed {}: {session:?} of {}: {broken}\n{}", self.seed, kept.member, self.story())
            }
        }
    }

    fn change_pool(&mut self) {
        let pool = *self.chance.pick(&self.pools).unwrap();
        let joins = self.chance.below(2) == 0;
        let v4 = self.chance.below(2) == 0;
        let there = self.town.members(pool);
        let of_family: Vec<IpAddr> = there.iter().copied().filter(|it| it.is_ipv4() == v4).collect();
        let other = if joins { Some(member(pool, v4, self.chance.below(8))) } else { None };
        let Some(member) = other.or_else(|| self.chance.pick(&of_family).copied()) else { return };
        if !joins && of_family.len() == 1 {
            return;
        }
        let planned = self.town.write(pool, member, joins).unwrap();
        self.say(format!("{member} {} {pool}: {planned} changes", if joins { "joins" } else { "leaves" }));
        if !joins {
            // What it had is over, even if it comes back at once.
            self.sessions.retain(|_, kept| (kept.pool, kept.member) != (pool, member));
            if self.down.remove(&(pool, member)) {
                self.town.find(pool, member, true);
            }
        }
        self.apply(planned);
    }

    /// Applies what is planned: at once, in pieces with traffic in between, or in part.
    fn apply(&mut self, planned: usize) {
        if !self.town.simulation.is_running() {
            return;
        }
        match self.chance.below(3) {
            0 => {}
            1 => {
                let some = self.chance.below(planned as u64 + 1) as usize;
                self.town.simulation.apply_changes(some);
                self.torn = true;
                self.ask_some();
                self.torn = false;
            }
            _ => {
                let some = self.chance.below(planned as u64 + 1) as usize;
                self.town.simulation.apply_changes(some);
                self.say(format!("killed after {some} changes"));
                self.town.simulation.kill();
                self.torn = true;
                self.ask_some();
                return;
            }
        }
        self.town.simulation.apply_changes(usize::MAX);
    }

    fn change_distribution(&mut self) {
        if !self.town.simulation.is_running() {
            return;
        }
        let pool = *self.chance.pick(&self.pools).unwrap();
        let by = *self.chance.pick(&DISTRIBUTIONS).unwrap();
        let (v4, transport) = *self.chance.pick(&ends().collect::<Vec<_>>()).unwrap();
        self.say(format!("{pool} {transport} by {by}"));
        self.town.distribute(called(pool, v4), transport, by).unwrap();
    }

    fn change_power(&mut self) {
        let pool = *self.chance.pick(&self.pools).unwrap();
        if let Some(back) = self.silent.pop_first() {
            self.say(format!("{back} is back"));
            self.town.silence(back, false);
        } else if let Some(member) = self.chance.pick(&self.town.members(pool)).copied() {
            self.say(format!("{member} goes silent"));
            self.town.silence(member, true);
            self.silent.insert(member);
        }
    }

    fn change_health(&mut self) {
        if !self.town.simulation.is_running() {
            return;
        }
        let pool = *self.chance.pick(&self.pools).unwrap();
        let Some(member) = self.chance.pick(&self.town.members(pool)).copied() else { return };
        let up = self.down.remove(&(pool, member));
        if !up {
            self.down.insert((pool, member));
        }
        self.say(format!("{member} of {pool} is found {}", if up { "up" } else { "down" }));
        self.town.find(pool, member, up);
    }

    fn kill(&mut self) {
        self.say("kill".to_owned());
        self.town.simulation.kill();
    }

    fn start(&mut self) {
        if self.town.simulation.is_running() {
            return;
        }
        let planned = self.town.simulation.start().unwrap();
        self.say(format!("start: {planned} changes"));
        self.town.simulation.apply_changes(usize::MAX);
        self.torn = false;
        // Sessions that began with a member whose leaving was not finished are over now.
        let there = POOLS.map(|pool| (pool, self.town.members(pool)));
        let is_there = |kept: &Kept| {
            there.iter().any(|(pool, members)| *pool == kept.pool && members.contains(&kept.member))
        };
        self.sessions.retain(|_, kept| is_there(kept));
        assert_eq!(self.town.simulation.start(), Ok(0), "seed {}\n{}", self.seed, self.story());
    }

    fn say(&mut self, what: String) {
        self.said.push(format!("{:>10.3?} {what}", self.town.simulation.now().as_secs_f64()));
    }

    fn story(&self) -> String {
        format!("{}\n{}", self.said.join("\n"), self.town.simulation.seen().tables())
    }
}

fn ends() -> impl Iterator<Item = (bool, Transport)> {
    [true, false].into_iter().flat_map(|v4| TRANSPORTS.map(|transport| (v4, transport)))
}

fn port(pool: &str) -> u16 {
    80 + POOLS.iter().position(|it| *it == pool).unwrap() as u16
}

fn called(pool: &str, v4: bool) -> SocketAddr {
    SocketAddr::new(frontend(v4, 1), port(pool))
}

fn frontend(v4: bool, number: u64) -> IpAddr {
    if v4 { ip(&format!("203.0.113.{number}")) } else { ip(&format!("2001:db8:f::{number:x}")) }
}

/// Pools have members of their own, so that a host that is silent is so for one pool.
fn member(pool: &str, v4: bool, number: u64) -> IpAddr {
    let number = 10 + 20 * POOLS.iter().position(|it| *it == pool).unwrap() as u64 + number;
    // Where frames are rewritten, members may be behind a router; the gateway's cannot.
    match (v4, pool == "plain" && number.is_multiple_of(2)) {
        (true, false) => ip(&format!("10.0.0.{number}")),
        (true, true) => ip(&format!("10.0.1.{number}")),
        (false, false) => ip(&format!("2001:db8:a::{number:x}")),
        (false, true) => ip(&format!("2001:db8:b::{number:x}")),
    }
}

fn client(v4: bool, number: u64) -> IpAddr {
    let number = number + 10;
    if v4 { ip(&format!("198.51.100.{number}")) } else { ip(&format!("2001:db8:c::{number:x}")) }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
