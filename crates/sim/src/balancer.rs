//! The balancer as it is: the engine decides, the pipeline forwards. Nothing of it is simulated but the memory it runs in.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use engine::{
    Change, Clock, Compiler, Full, Health, Link, Memory, Replica, Settling, Sizes, Surroundings, Tables,
};
use model::{Desired, Problem};
use plane::row::{Address, Hop};
use plane::{Reason, Remembered, Tick, Verdict};

use crate::host::Host;

/// Memories of a size that a small world can fill.
const SIZES: Sizes = Sizes { flow_bits: 10, masquerade_bits: 12, rings: 16 };

/// Data plane and control plane of a host.
#[derive(Debug)]
pub(crate) struct Balancer {
    replica: Replica,
    /// `None` while it is killed.
    control: Option<Control>,
    /// The documents on disk.
    desired: Desired,
    health: Health,
    surroundings: Surroundings,
    now: Duration,
    verdicts: BTreeMap<Reason, u64>,
    /// Addresses that are frontends before and after what is being applied.
    frontends: BTreeSet<IpAddr>,
}

/// The control plane: what is lost when it is killed.
#[derive(Debug, Default)]
struct Control {
    compiler: Compiler,
    settling: Settling,
    planned: VecDeque<Change>,
    /// What the tables were made of.
    made_of: Option<(Desired, Health, Surroundings)>,
    /// Nothing changes by itself.
    steady: bool,
}

/// Why a change is not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The documents have problems.
    Invalid(Vec<Problem>),
    /// A table has no room.
    Full(Full),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(full) => full.fmt(f),
            Self::Invalid(problems) => {
                let problems =
                    problems.iter().map(|it| format!("{} at {}: {}", it.code, it.path, it.message));
                f.write_str(&problems.collect::<Vec<_>>().join("; "))
            }
        }
    }
}

impl Balancer {
    pub(crate) fn new(links: BTreeMap<u32, Link>, own: &[IpAddr]) -> Self {
        let mut surroundings =
            Surroundings { links, sizes: SIZES, clock: Clock::default(), ..Surroundings::default() };
        for address in own {
            match address {
                IpAddr::V4(address) => surroundings.own_v4 = Some(*address),
                IpAddr::V6(address) => surroundings.own_v6 = Some(*address),
            }
        }
        Self {
            replica: Replica::new(Tables::default(), Memory::new(SIZES)),
            control: Some(Control::default()),
            desired: Desired::default(),
            health: Health::default(),
            surroundings,
            now: Duration::ZERO,
            verdicts: BTreeMap::new(),
            frontends: BTreeSet::new(),
        }
    }

    pub(crate) fn run(&mut self, frame: &mut Vec<u8>, link: u32, now: Duration) -> Verdict {
        self.now = now;
        let verdict = self.replica.run(frame, link, self.tick());
        *self.verdicts.entry(verdict.reason()).or_default() += 1;
        verdict
    }

    pub(crate) fn answers_for(&self, address: IpAddr) -> bool {
        self.frontends.contains(&address)
    }

    pub(crate) fn members(&self) -> BTreeSet<IpAddr> {
        let members = self.desired.pools().iter().flat_map(|pool| pool.members());
        members.map(|member| member.address()).collect()
    }

    /// Takes over what the host's stack knows: how frames reach the members.
    pub(crate) fn look_around(&mut self, host: &Host, members: &BTreeSet<IpAddr>, now: Duration) {
        self.now = now;
        let hop = |to: IpAddr| {
            let (link, next) = host.way(to)?;
            let source = host.link(link)?.mac;
            Some(Hop { link, source, destination: host.neighbour(next)?, adjacent: next == to, mtu: 0 })
        };
        let hops = members.iter().filter_map(|to| Some((*to, hop(*to)?))).collect();
        self.surroundings.hops = hops;
        self.surroundings.links = host.ports();
    }

    pub(crate) fn want(&mut self, desired: Desired) -> Result<usize, Refused> {
        let before = std::mem::replace(&mut self.desired, desired);
        let planned = self.plan();
        if planned.is_err() {
            self.desired = before;
        }
        planned
    }

    pub(crate) fn find(&mut self, probe: &str, member: IpAddr, up: bool) {
        self.health.find(probe, member, up);
    }

    pub(crate) fn is_running(&self) -> bool {
        self.control.is_some()
    }

    pub(crate) fn kill(&mut self) {
        self.control = None;
    }

    pub(crate) fn start(&mut self) -> Result<usize, Refused> {
        // What a start finds is a dump: rows that are not published do not count.
        self.replica.tidy();
        self.control = Some(Control::default());
        self.plan()
    }

    /// Plans the way from the tables in force to those that are wanted.
    fn plan(&mut self) -> Result<usize, Refused> {
        let Some(control) = &mut self.control else { return Ok(0) };
        let before = self.replica.tables().clone().tidied();
        let wanted = control.compiler.compile(&self.desired, &self.health, &self.surroundings, &before);
        let changes = before.changes_to(&wanted.map_err(Refused::Full)?);
        control.made_of = Some((self.desired.clone(), self.health.clone(), self.surroundings.clone()));
        control.planned = changes.into();
        control.steady = false;
        let wanted: BTreeSet<IpAddr> = self.desired.frontends().iter().map(|it| it.address()).collect();
        self.frontends = self.frontends.intersection(&wanted).copied().collect();
        Ok(control.planned.len())
    }

    pub(crate) fn apply(&mut self, at_most: usize) -> usize {
        let Some(control) = &mut self.control else { return 0 };
        let changes = control.planned.drain(..at_most.min(control.planned.len()));
        let applied = changes.map(|change| self.replica.apply(&change)).count();
        if control.planned.is_empty() {
            self.frontends = self.desired.frontends().iter().map(|it| it.address()).collect();
        }
        applied
    }

    /// What the control plane does from time to time: members become reachable, changes settle.
    pub(crate) fn look(&mut self) {
        let Some(control) = &self.control else { return };
        if !control.planned.is_empty() {
            return;
        }
        let made_of = control.made_of.as_ref().map(|(desired, health, around)| (desired, health, around));
        if made_of.is_some() && made_of != Some((&self.desired, &self.health, &self.surroundings)) {
            // No room is a matter of documents; what is observed always fits.
            let _ = self.plan();
            self.apply(usize::MAX);
        }
        self.settle();
    }

    fn settle(&mut self) {
        let now = self.tick();
        let Some(control) = self.control.as_mut().filter(|control| !control.steady) else { return };
        let before = self.replica.tables().clone().tidied();
        let pinned = engine::pinned(self.replica.memory().flow_words(), now);
        let after = control.settling.step(&before, &pinned, self.surroundings.clock, self.now);
        let changes = before.changes_to(&after);
        control.steady = changes.is_empty() && is_steady(&before);
        for change in &changes {
            self.replica.apply(change);
        }
    }

    pub(crate) fn counted(&self, reason: Reason) -> u64 {
        self.verdicts.get(&reason).copied().unwrap_or_default()
    }

    fn tick(&self) -> Tick {
        tick(self.surroundings.clock, self.now)
    }
}

fn tick(clock: Clock, now: Duration) -> Tick {
    Tick((now.as_nanos() / clock.tick.as_nanos().max(1)) as u32)
}

fn is_steady(tables: &Tables) -> bool {
    let plans = || tables.rules.values().map(|row| row.plan());
    plans().all(|plan| plan.former == plan.distribution)
        && tables.rings.keys().all(|ring| tables.slots(*ring).all(|slot| slot.is_steady()))
}

/// What a balancer shows: its tables and what it counts.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub(crate) balancer: Option<&'a Balancer>,
    pub(crate) now: Duration,
}

impl<'a> Seen<'a> {
    /// The tables in force, as a dump shows them.
    pub fn tables(&self) -> Tables {
        self.balancer.map(|it| it.replica.tables().clone().tidied()).unwrap_or_default()
    }

    /// The data plane itself.
    pub fn replica(&self) -> Option<&'a Replica> {
        self.balancer.map(|it| &it.replica)
    }

    /// Whether nothing changes by itself any more: every slot is steady.
    pub fn is_steady(&self) -> bool {
        is_steady(&self.tables())
    }

    /// How many flows are remembered because of a change, and how many because all of their rule are.
    pub fn remembered(&self) -> (usize, usize) {
        let Some(balancer) = self.balancer else { return (0, 0) };
        let now = tick(balancer.surroundings.clock, self.now);
        let words = balancer.replica.memory().flow_words();
        let pinned: Vec<bool> =
            words.filter_map(|word| Remembered::of(word, now)).map(Remembered::is_pinned).collect();
        let because = pinned.iter().filter(|pinned| **pinned).count();
        (because, pinned.len() - because)
    }

    /// Packets to a frontend that no rule took.
    pub fn unmatched(&self, frontend: IpAddr) -> u64 {
        let Some(balancer) = self.balancer else { return 0 };
        let row = self.tables().address_rows().get(&Address::from(frontend)).copied();
        let counts = balancer.replica.unmatched_counts();
        row.and_then(|row| counts.get(&row.number()).copied()).unwrap_or_default()
    }

    /// Members in force with their address and what was counted for them.
    pub fn members(&self) -> Vec<(IpAddr, engine::Counts)> {
        let Some(balancer) = self.balancer else { return Vec::new() };
        let counts = balancer.replica.member_counts();
        let members = balancer.replica.tables().members.iter().filter(|(_, row)| row.is_live());
        members
            .map(|(number, row)| (row.address().into(), counts.get(number).copied().unwrap_or_default()))
            .collect()
    }
}
