//! Established connections while their pool changes: each is told a member by its first packet, and every later packet must go there
//! unless that member is gone. Real frames through the loaded program; `FOREBAY_FLOWS` says how many connections, `FOREBAY_SEED` which
//! changes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;
#[allow(dead_code, reason = "the other numbers are other tests'")]
#[path = "common/random.rs"]
mod random;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use common::{World, in_a_world};
use engine::{Change, Changes, Compiler, Health, Settling, Sizes, Surroundings, Tables};
use forebay_kernel::{Kernel, Options, clock};
use model::{Desired, Source};
use plane::row::{Hop, Mac};
use random::Random;

const SEED: u64 = 1;
/// What a test run has the time for; docs/performance.md has the figures of a million.
const FLOWS: u32 = 40_000;
const MEMBERS: u16 = 32;
/// So long that every change is over.
const LONG: Duration = Duration::from_secs(7_200);

/// What happens to a pool. Each is done to one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Add,
    Remove,
    /// `adminState` Down: no new flows, and those there are go on (FLOW-4).
    Drain,
    Undrain,
    Reweight,
    FallIll,
    Recover,
}
use Event::{Add, Drain, FallIll, Recover, Remove, Reweight, Undrain};

#[test]
fn no_change_breaks_a_connection_and_few_are_remembered() {
    // DIST-2, DIST-6, FLOW-1, FLOW-3, FLOW-4
    in_a_world(|world| {
        let mut town = Town::new(world);
        let stories: [&[Event]; 11] = [
            &[Add],
            &[Remove],
            &[Drain],
            &[Reweight],
            &[FallIll],
            &[FallIll, Recover],
            &[Drain, Undrain],
            &[Add, Remove],
            &[Reweight, Reweight],
            &[Add, Add],
            &[FallIll, Add],
        ];
        println!(
            "{:<24} {:>9} {:>9} {:>9} {:>9}",
            "changes in one window", "flows", "remembered", "gone", "broken"
        );
        for events in stories {
            town.settle(true);
            town.begin();
            assert_eq!(town.remembered(), 0, "in steady state nothing needs to be remembered");
            let mut gone = 0;
            for event in events {
                town.happen(*event);
                let broken = town.check();
                gone += broken.0;
                assert_eq!(broken.1, 0, "{event:?} of {events:?} broke connections");
            }
            let remembered = town.remembered();
            println!(
                "{:<24} {:>9} {remembered:>9} {gone:>9} {:>9}",
                format!("{events:?}"),
                town.flows.len(),
                0
            );
            assert!(remembered * 10 <= town.flows.len(), "{events:?}: {remembered} are remembered");
            // The window is over, and those that are remembered live on.
            town.settle(false);
            assert_eq!(town.check().1, 0, "the end of {events:?} broke connections");
        }
    });
}

#[test]
fn no_sequence_of_changes_breaks_a_connection() {
    // DIST-2: whatever follows whatever, within a window or after it.
    in_a_world(|world| {
        let mut random = Random::new(number("FOREBAY_SEED", SEED));
        let mut town = Town::new(world);
        let flows = flows();
        town.begin_more(flows / 2);
        let mut gone = 0;
        for step in 0..24 {
            let mut told = String::new();
            for _ in 0..=random.below(3) {
                let event = random.pick(&[Add, Remove, Drain, Undrain, Reweight, Reweight, FallIll, Recover]);
                let member = town.happen_somewhere(event, &mut random);
                write!(told, "{event:?} {member} ").unwrap();
            }
            let (left, broken) = town.check();
            gone += left;
            assert_eq!(broken, 0, "step {step}: {told}");
            if random.chance(30) {
                town.settle(false);
                assert_eq!(town.check().1, 0, "step {step}: {told}and the window is over");
            }
            // Others begin meanwhile, by slots that have a history.
            town.begin_more(flows / 24);
        }
        println!("{} connections lived through 24 steps, {gone} ended with their members", town.flows.len());
    });
}

fn flows() -> u32 {
    number("FOREBAY_FLOWS", FLOWS.into()) as u32
}

/// Room for four times as many flows as there are: in a long sequence of changes nobody ends, and most are remembered at last. FLOW-6 says
/// what is lost where there is less.
fn sizes() -> Sizes {
    Sizes { flow_bits: (flows() / 2).next_power_of_two().ilog2() as u8, masquerade_bits: 8, rings: 8 }
}

fn number(name: &str, otherwise: u64) -> u64 {
    env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// What a document says of a member.
#[derive(Clone, Copy, Debug)]
struct Standing {
    weight: u32,
    drained: bool,
}

/// A pool, its connections, and the loaded program between them.
struct Town {
    kernel: Kernel,
    compiler: Compiler,
    settling: Settling,
    members: BTreeMap<u16, Standing>,
    down: BTreeSet<u16>,
    next: u16,
    time: Duration,
    /// Connections by number, with their members.
    flows: Vec<(u32, u16)>,
    first: u32,
}

impl Town {
    fn new(world: &World) -> Self {
        let kernel = Kernel::open(&Options { place: world.place("disruption"), sizes: sizes() }).unwrap();
        let standing = Standing { weight: 1, drained: false };
        let mut town = Self {
            kernel,
            compiler: Compiler::default(),
            settling: Settling::default(),
            members: (1..=MEMBERS).map(|member| (member, standing)).collect(),
            down: BTreeSet::new(),
            next: MEMBERS + 1,
            time: Duration::ZERO,
            flows: Vec::new(),
            first: 0,
        };
        town.apply();
        town
    }

    /// New connections in the place of all others.
    fn begin(&mut self) {
        self.flows.clear();
        self.begin_more(flows());
    }

    fn begin_more(&mut self, flows: u32) {
        let numbers = self.first..self.first + flows;
        self.first = numbers.end;
        let new: Vec<(u32, u16)> = numbers
            .map(|flow| (flow, self.send(flow, SYN).expect("a new connection finds a member")))
            .collect();
        for (flow, member) in &new {
            assert_eq!(self.send(*flow, ACK), Some(*member), "the second packet of connection {flow}");
        }
        self.flows.extend(new);
    }

    /// A packet of every connection: how many went with their member, and how many went elsewhere though theirs is there.
    fn check(&mut self) -> (usize, usize) {
        let flows = std::mem::take(&mut self.flows);
        let (there, gone): (Vec<_>, Vec<_>) =
            flows.into_iter().partition(|(_, member)| self.members.contains_key(member));
        let broken = there.iter().filter(|(flow, member)| self.send(*flow, ACK) != Some(*member)).count();
        self.flows = there;
        (gone.len(), broken)
    }

    fn remembered(&self) -> usize {
        self.kernel.flow_words().filter(|word| *word != 0).count()
    }

    /// Who takes a packet of a connection.
    fn send(&mut self, flow: u32, flags: u8) -> Option<u16> {
        const REDIRECT: u32 = 4;
        const TX: u32 = 3;
        let (action, out) = self.kernel.run(&packet(flow, flags), 1).unwrap();
        matches!(action, REDIRECT | TX).then(|| u16::from_be_bytes([out[4], out[5]]))
    }

    fn happen(&mut self, event: Event) -> u16 {
        self.happen_somewhere(event, &mut Random::new(u64::from(self.next)))
    }

    /// To one of those it can happen to; the pool keeps half of its members, at least.
    fn happen_somewhere(&mut self, event: Event, random: &mut Random) -> u16 {
        let all: Vec<u16> = self.members.keys().copied().collect();
        let of = |wanted: &dyn Fn(u16) -> bool| {
            let of: Vec<u16> = all.iter().copied().filter(|member| wanted(*member)).collect();
            if of.is_empty() { all.clone() } else { of }
        };
        let well = |member: u16| !self.down.contains(&member) && !self.members[&member].drained;
        let enough = all.iter().filter(|member| well(**member)).count() > usize::from(MEMBERS) / 2;
        let member = match event {
            Add => self.next,
            Undrain => random.pick(&of(&|member| self.members[&member].drained)),
            Recover => random.pick(&of(&|member| self.down.contains(&member))),
            Remove | Drain | Reweight | FallIll => random.pick(&of(&well)),
        };
        match event {
            Add => {
                self.members.insert(member, Standing { weight: 1, drained: false });
                self.next += 1;
            }
            Remove if enough => {
                self.members.remove(&member);
                self.down.remove(&member);
            }
            Drain if enough => self.members.get_mut(&member).unwrap().drained = true,
            FallIll if enough => {
                self.down.insert(member);
            }
            Remove | Drain | FallIll => {}
            Undrain => self.members.get_mut(&member).unwrap().drained = false,
            Reweight => {
                let standing = self.members.get_mut(&member).unwrap();
                standing.weight = if standing.weight == 1 { 2 } else { 1 };
            }
            Recover => {
                self.down.remove(&member);
            }
        }
        self.apply();
        member
    }

    fn apply(&mut self) {
        let before = self.kernel.dump().unwrap();
        let mut health = Health::default();
        self.down.iter().for_each(|member| health.find("b/alive", address(*member), false));
        let wanted = self.compiler.compile(&self.desired(), &health, &self.surroundings(), &before).unwrap();
        self.kernel.apply(&before.changes_to(&wanted)).unwrap();
        self.time += Duration::from_secs(1);
        self.step();
    }

    /// Time passes until every change is over; where connections end as well, and everybody is as at first, nothing is remembered.
    fn settle(&mut self, all_end: bool) {
        if all_end {
            let standing = Standing { weight: 1, drained: false };
            self.members = (1..=MEMBERS).map(|member| (member, standing)).collect();
            self.down.clear();
            self.apply();
            let forget: Changes =
                self.kernel.dump().unwrap().members.keys().map(|it| Change::Forget { member: *it }).collect();
            self.kernel.apply(&forget).unwrap();
        }
        for _ in 0..8 {
            self.time += LONG;
            self.step();
        }
        assert!(!all_end || self.kernel.dump().unwrap().is_steady());
    }

    fn step(&mut self) {
        let before = self.kernel.dump().unwrap();
        let pinned = engine::pinned(self.kernel.flow_words(), self.kernel.now().unwrap());
        let after: Tables = self.settling.step(&before, &pinned, clock(), self.time);
        self.kernel.apply(&before.changes_to(&after)).unwrap();
    }

    fn desired(&self) -> Desired {
        let members = self.members.iter().map(|(member, standing)| {
            format!(
                r#"{{"name":"m{member}","properties":{{"ipAddress":"{}","adminState":"{}","forebay":{{"weight":{}}}}}}}"#,
                address(*member),
                if standing.drained { "Down" } else { "None" },
                standing.weight
            )
        });
        let rule = |name: &str, frontend: &str, port: u16, floating: bool| {
            format!(
                r#"{{"name":"{name}","properties":{{"frontendIPConfiguration":{{"id":"frontendIPConfigurations/{frontend}"}},
                "backendAddressPool":{{"id":"backendAddressPools/web"}},"probe":{{"id":"probes/alive"}},"protocol":"Tcp",
                "frontendPort":80,"backendPort":{port},"enableFloatingIP":{floating}}}}}"#
            )
        };
        let frontend = |name: &str, address: &str| {
            format!(
                r#"{{"name":"{name}","properties":{{"privateIPAddress":"{address}","privateIPAllocationMethod":"Static",
                "subnet":{{"id":"/subscriptions/s/n"}}}}}}"#
            )
        };
        let text = format!(
            r#"{{"name":"b","sku":{{"name":"Standard"}},"properties":{{"frontendIPConfigurations":[{},{}],
            "backendAddressPools":[{{"name":"web","properties":{{"loadBalancerBackendAddresses":[{}],
            "forebay":{{"returnPath":"gateway"}}}}}}],"loadBalancingRules":[{},{}],
            "probes":[{{"name":"alive","properties":{{"protocol":"Tcp","port":80}}}}]}}}}"#,
            frontend("kept", "10.0.0.100"),
            frontend("replaced", "10.0.0.101"),
            members.collect::<Vec<_>>().join(","),
            rule("kept", "kept", 80, true),
            rule("replaced", "replaced", 8_080, false),
        );
        model::check(&[Source { name: "b.json".into(), text }])
            .unwrap_or_else(|problems| panic!("{problems:#?}"))
    }

    fn surroundings(&self) -> Surroundings {
        let hop = |member: u16| {
            let [high, low] = member.to_be_bytes();
            Hop {
                link: 1,
                source: LINK,
                destination: Mac::new([2, 0, 0, 2, high, low]),
                adjacent: true,
                mtu: 1_500,
            }
        };
        Surroundings {
            links: [(1, engine::Link { mac: LINK, mtu: 1_500 })].into(),
            own_v4: Some([10, 0, 0, 1].into()),
            hops: self.members.keys().map(|member| (address(*member), hop(*member))).collect(),
            sizes: sizes(),
            clock: clock(),
            ..Surroundings::default()
        }
    }
}

const LINK: Mac = Mac::new([2, 0, 0, 0, 0, 1]);
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

fn address(member: u16) -> IpAddr {
    let [high, low] = member.to_be_bytes();
    Ipv4Addr::new(10, 1, high, low).into()
}

/// Every second connection is to the frontend without floating IP. Its checksums are nobody's business here.
fn packet(flow: u32, flags: u8) -> Vec<u8> {
    let [_, high, middle, low] = (flow >> 14).to_be_bytes();
    let port = 1_024 + (flow & 0x3fff) as u16;
    let mut frame = [&LINK.bytes()[..], &[2, 0, 0, 0, 3, 1, 8, 0]].concat();
    frame.extend([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 20 + high, middle, low, 9]);
    frame.extend([10, 0, 0, 100 + (flow & 1) as u8]);
    frame.extend(port.to_be_bytes());
    frame.extend([0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    frame
}
