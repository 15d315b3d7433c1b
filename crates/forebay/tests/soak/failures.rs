//! Which member fails when, how, and for how long: drawn from a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime};

use crate::hosts::{Hosts, MEMBERS};
use crate::ledger::{GRACE, Ledger};

/// At most so many fail at one time.
const AT_A_TIME: usize = 2;
/// A failure is looked on for so long at least after it must have been found out.
const LOOKED_ON: u64 = 1_000;
/// How often it is asked who is up.
const ASK: Duration = Duration::from_secs(1);

/// How a member fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Killed,
    Stopped,
    Unplugged,
    /// It answers its probe with status 500, and serves.
    Failing,
    /// It is taken out of the document.
    Removed,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Killed, Self::Stopped, Self::Unplugged, Self::Failing, Self::Removed];

    /// Do its connections end with it?
    pub const fn ends_connections(self) -> bool {
        matches!(self, Self::Killed | Self::Removed)
    }
}

/// Those under way, and those that were.
#[derive(Debug)]
pub struct Failures {
    chance: Chance,
    longest: u64,
    next: Instant,
    failing: BTreeMap<usize, (Kind, Instant)>,
    up: BTreeSet<usize>,
    asked: Instant,
    /// As of when it is known who was found down.
    known: String,
    done: BTreeMap<Kind, usize>,
    /// Members that were well and yet taken for down: the machine was too busy to answer probes.
    alarms: Vec<(usize, Instant)>,
}

impl Failures {
    pub fn new(hosts: &Hosts, chance: Chance, is_long: bool) -> Self {
        let (now, known) = (Instant::now(), hosts.health().at);
        // Less than the idle time, so that a connection that is silent for as long as its member is away is not forgotten.
        let longest = if is_long { 6_000 } else { 1_500 };
        let up = (0..MEMBERS).collect();
        let (failing, done, alarms) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Self { chance, longest, next: now, failing, up, asked: now, known, done, alarms }
    }

    /// Mends who has failed for long enough, and lets another one fail if it is time.
    pub fn look(&mut self, hosts: &mut Hosts, ledger: &Ledger, more: bool) {
        let now = Instant::now();
        let due: Vec<(usize, Kind)> = self
            .failing
            .iter()
            .filter(|(_, (_, until))| now >= *until)
            .map(|(number, (kind, _))| (*number, *kind))
            .collect();
        if !due.is_empty() || self.asked.elapsed() >= ASK {
            // Before they are mended: that they were found down is no alarm.
            self.ask(hosts, ledger);
        }
        for (number, kind) in due {
            hosts.mend(number, kind);
            ledger.mended(number);
            self.failing.remove(&number);
        }
        if !more || now < self.next || self.failing.len() >= AT_A_TIME {
            return;
        }
        let well: Vec<usize> =
            self.up.iter().copied().filter(|number| !self.failing.contains_key(number)).collect();
        // Half of them stay.
        if well.len() <= MEMBERS / 2 {
            return;
        }
        let (number, kind) =
            (well[self.chance.below(well.len() as u64) as usize], Kind::ALL[self.chance.below(5) as usize]);
        let time = GRACE.as_millis() as u64 + LOOKED_ON + self.chance.below(self.longest);
        ledger.fails(number, kind);
        hosts.fail(number, kind);
        *self.done.entry(kind).or_default() += 1;
        self.failing.insert(number, (kind, Instant::now() + Duration::from_millis(time)));
        self.up.remove(&number);
        self.next = Instant::now() + Duration::from_millis(500 + self.chance.below(3_000));
    }

    /// Looks who is down, and who was since it was looked last.
    pub fn ask(&mut self, hosts: &Hosts, ledger: &Ledger) {
        let health = hosts.health();
        let now = Instant::now();
        // Times of one form: the later one is the greater text.
        let fell = health.falls.iter().filter(|(at, _)| *at >= self.known).map(|(_, number)| *number);
        let down: BTreeSet<usize> = self.up.difference(&health.up).copied().chain(fell).collect();
        for number in down.into_iter().filter(|number| !self.failing.contains_key(number)) {
            self.alarms.push((number, now));
            ledger.alarm();
        }
        self.up = health.up;
        self.known = health.at;
        self.asked = now;
    }

    /// Is nobody failing, and everybody up?
    pub fn are_over(&self, hosts: &Hosts) -> bool {
        self.failing.is_empty() && hosts.up().len() == MEMBERS
    }

    pub fn alarms(&self) -> &[(usize, Instant)] {
        &self.alarms
    }

    pub fn table(&self) -> String {
        let all: usize = self.done.values().sum();
        let mut text = format!("| failures | {all} |\n|---|---|\n");
        for (kind, number) in &self.done {
            let words = match kind {
                Kind::Killed => "processes killed",
                Kind::Stopped => "processes stopped",
                Kind::Unplugged => "links down",
                Kind::Failing => "probes answered with 500",
                Kind::Removed => "members removed and added",
            };
            let _ = writeln!(text, "| {words} | {number} |");
        }
        text
    }
}

/// Numbers that are as good as random and the same for the same seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One that nobody can tell beforehand.
    pub fn any() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(now.subsec_nanos().into())
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}
