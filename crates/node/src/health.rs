//! Who is well: whom to ask, what the answers mean, and what becomes of that.
//!
//! ```text
//! Desired ─▶ rounds ─▶ Prober ─ heard ─▶ Ward ─ turns ─▶ engine::Health ─▶ compile
//!                                          └─▶ Vitals, Event ─▶ everybody who looks
//! ```

mod event;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use engine::health::{Hint, Pulse, Round, State, Turn, Ward};
use engine::{Health, Surroundings, Tables, in_force};
use model::{Desired, Member, Probe, Rule};
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::availability::Available;
use crate::probe::{Heard, ProbeError, Prober, Task};
use crate::reach::{Reach, Watcher};

pub use event::{Event, Events, Happening};
pub use view::{AvailabilityView, GroupView, HealthView, MemberView, TurnView};

/// What is known of everybody who is watched, at one moment.
#[derive(Clone, Debug)]
pub struct Vitals {
    /// All pulses.
    pub ward: Ward,
    /// What the tables are made of.
    pub health: Health,
    /// How available rules are to clients, where that is measured.
    pub available: Arc<Vec<Available>>,
    /// The moment, as pulses tell the time.
    pub now: Duration,
    /// The same moment, as people tell the time.
    pub at: SystemTime,
}

impl Default for Vitals {
    fn default() -> Self {
        Self {
            ward: Ward::default(),
            health: Health::default(),
            available: Arc::default(),
            now: Duration::ZERO,
            at: SystemTime::UNIX_EPOCH,
        }
    }
}

impl Vitals {
    /// When something was that a pulse knows. A clock that was set meanwhile does not matter: it is told from now on backwards.
    #[must_use]
    pub fn when(&self, at: Duration) -> SystemTime {
        let ago = self.now.saturating_sub(at);
        self.at.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// Everybody who is watched.
#[derive(Debug)]
pub(crate) struct Care {
    prober: Prober,
    ward: Ward,
    origin: Instant,
    /// When it was said last whom to ask. Results from before may answer another question.
    wanted: Instant,
    /// From which addresses members are asked.
    own: [Option<IpAddr>; 2],
    /// Who cannot be reached is avoided before a probe finds out.
    hints: bool,
    events: Events,
    /// Members that probes find up and new flows avoid, and why.
    avoided: BTreeMap<IpAddr, Hint>,
    /// Rules that nobody takes new flows of.
    deserted: BTreeSet<String>,
    /// Something was heard since it was told last.
    is_news: bool,
}

impl Care {
    /// Who left an attempt without an answer is told to `doubts`, where hints are wanted.
    pub(crate) fn start(hints: bool, doubts: mpsc::Sender<IpAddr>) -> Result<Self, ProbeError> {
        Ok(Self {
            prober: Prober::start(hints.then_some(doubts))?,
            ward: Ward::default(),
            origin: Instant::now(),
            wanted: Instant::now(),
            own: [None, None],
            hints,
            events: Events::default(),
            avoided: BTreeMap::new(),
            deserted: BTreeSet::new(),
            is_news: true,
        })
    }

    /// Watches the members of rules with a probe, and nobody else. Who takes flows in the tables in force goes on taking them until the
    /// probe knows better: after a restart, and where a rule gets a probe.
    pub(crate) fn want(&mut self, desired: &Desired, surroundings: &Surroundings, tables: &Tables) {
        let now = self.origin.elapsed();
        self.own = own(surroundings);
        self.ward.keep(rounds(desired), now);
        for (probe, member, state) in in_force(desired, tables) {
            self.ward.assume(probe, member, state, now);
        }
        self.prober.want(tasks(desired, self.own));
        self.wanted = Instant::now();
        self.is_news = true;
    }

    /// The balancer's own addresses may be others now.
    pub(crate) fn look_around(&mut self, desired: &Desired, surroundings: &Surroundings) {
        let own = own(surroundings);
        if own != self.own {
            self.own = own;
            self.prober.want(tasks(desired, own));
        }
    }

    /// Results, as soon as there are some. Nothing is lost when it is not waited for to the end.
    pub(crate) async fn heard(&mut self) -> Result<Vec<Heard>, ProbeError> {
        self.prober.heard().await
    }

    /// Takes results in; says whether somebody's state has turned, or what speaks against somebody.
    pub(crate) fn hear(&mut self, heard: Vec<Heard>) -> bool {
        self.is_news |= !heard.is_empty();
        let mut turned = false;
        let wanted = self.wanted;
        for Heard { probe, member, outcome, at } in heard.into_iter().filter(|heard| heard.at >= wanted) {
            let at = at.saturating_duration_since(self.origin);
            let hint = self.hint(&probe, member);
            if let Some(turn) = self.ward.hear(&probe, member, outcome, at) {
                turned = true;
                self.turned(&probe, member, &turn);
            }
            turned |= self.hint(&probe, member) != hint;
        }
        turned
    }

    fn hint(&self, probe: &str, member: IpAddr) -> Option<Hint> {
        self.ward.pulse(probe, member).filter(|_| self.hints).and_then(Pulse::hint)
    }

    fn turned(&mut self, probe: &str, member: IpAddr, turn: &Turn) {
        let caution = self.ward.pulse(probe, member).map_or(1, |pulse| pulse.caution(self.origin.elapsed()));
        let why = turn.outcome.to_string();
        let (probe, at) = (probe.to_owned(), SystemTime::now());
        let happening = match turn.to {
            State::Up => Happening::MemberUp { probe, member },
            State::Down | State::Unknown if caution > 1 => {
                Happening::Flapping { probe, member, why, caution }
            }
            State::Down | State::Unknown => Happening::MemberDown { probe, member, why },
        };
        self.tell(at, happening);
    }

    /// Says what happened, in the log and to whom wants events.
    fn tell(&mut self, at: SystemTime, happening: Happening) {
        if happening.is_good() {
            info!("{happening}");
        } else {
            warn!("{happening}");
        }
        self.events.add(at, happening);
    }

    /// What the tables are to be made of.
    pub(crate) fn health(&self, watcher: &Watcher) -> Health {
        self.health_by(watcher.reaches(), watcher.silent())
    }

    fn health_by(&self, reaches: &BTreeMap<IpAddr, Reach>, silent: &BTreeSet<IpAddr>) -> Health {
        let down = self.ward.down();
        if !self.hints {
            return Health { down, ..Health::default() };
        }
        let lost = |(address, reach): (&IpAddr, &Reach)| match reach {
            Reach::Resolved(_) => silent.contains(address).then_some((*address, Hint::Silent)),
            Reach::Unanswered { .. }
            | Reach::NoRoom { .. }
            | Reach::NoRoute
            | Reach::ElsewhereLink { .. }
            | Reach::ThisHost => Some((*address, Hint::NoWay)),
        };
        Health { down, avoided: reaches.iter().filter_map(lost).collect(), doubted: self.ward.hints() }
    }

    /// Says which members are avoided from now on though they are up, and which no more; and which rules have lost their last member that
    /// takes new flows, and which have one again.
    pub(crate) fn count(&mut self, desired: &Desired, health: &Health) {
        let nobody = |rule: &&Rule| {
            let (members, probe) = (health.of_rule(desired, rule), desired.probe_of(rule));
            !members.is_empty()
                && members.iter().all(|(member, takes)| !takes && self.is_known(probe, member))
        };
        let probed = desired.rules().iter().filter(|rule| rule.probe().is_some());
        let deserted: BTreeSet<String> = probed.filter(nobody).map(|rule| rule.name().to_owned()).collect();
        let lost = deserted.difference(&self.deserted).map(|rule| Happening::NobodyUp { rule: rule.clone() });
        let again =
            self.deserted.difference(&deserted).map(|rule| Happening::SomebodyUp { rule: rule.clone() });
        let hints = self.up_and_avoided(health);
        let (at, mut happened) = (SystemTime::now(), self.avoidance(&hints));
        happened.extend(lost.chain(again));
        self.avoided = hints;
        happened.into_iter().for_each(|happening| self.tell(at, happening));
        self.deserted = deserted;
    }

    /// Members that a probe finds up, and what speaks against them.
    fn up_and_avoided(&self, health: &Health) -> BTreeMap<IpAddr, Hint> {
        let up =
            self.ward.pulses().filter(|(_, _, pulse)| pulse.state() == State::Up && pulse.last().is_some());
        up.filter_map(|(probe, member, _)| Some((member, health.hint(probe, member)?))).collect()
    }

    /// What has become another with these hints. Who was avoided and is down since has lost nothing more.
    fn avoidance(&self, hints: &BTreeMap<IpAddr, Hint>) -> Vec<Happening> {
        if hints.is_empty() && self.avoided.is_empty() {
            return Vec::new();
        }
        let up = self.ward.pulses().filter(|(_, _, pulse)| pulse.state() == State::Up);
        let up: BTreeSet<IpAddr> = up.map(|(_, member, _)| member).collect();
        let begun = hints.iter().filter(|(member, _)| !self.avoided.contains_key(member));
        let begun = begun.map(|(member, hint)| Happening::Avoided { member: *member, why: hint.to_string() });
        let over = self.avoided.keys().filter(|member| !hints.contains_key(member) && up.contains(member));
        begun.chain(over.map(|member| Happening::AvoidedNoMore { member: *member })).collect()
    }

    /// Whether anything was heard of a member. A start is no alarm.
    fn is_known(&self, probe: Option<&Probe>, member: &Member) -> bool {
        let pulse = probe.and_then(|probe| self.ward.pulse(probe.name(), member.address()));
        pulse.is_some_and(|pulse| pulse.state() != State::Unknown)
    }

    /// Whether something was heard since this was asked last.
    pub(crate) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.is_news)
    }

    /// Something else than a probe has changed who takes new flows, and that is news too.
    pub(crate) const fn make_news(&mut self) {
        self.is_news = true;
    }

    /// Everything that is known.
    pub(crate) fn vitals(&self, health: Health, available: Arc<Vec<Available>>) -> Vitals {
        let (now, at) = (self.origin.elapsed(), SystemTime::now());
        Vitals { ward: self.ward.clone(), health, available, now, at }
    }

    /// What happened lately.
    pub(crate) fn events(&self) -> Events {
        self.events.clone()
    }
}

fn own(surroundings: &Surroundings) -> [Option<IpAddr>; 2] {
    [surroundings.own_v4.map(IpAddr::from), surroundings.own_v6.map(IpAddr::from)]
}

/// Whom each probe asks: a member once, however many rules lead to it (PROBE-5).
fn asked(desired: &Desired) -> BTreeMap<&str, (&Probe, BTreeSet<IpAddr>)> {
    let mut asked: BTreeMap<&str, (&Probe, BTreeSet<IpAddr>)> = BTreeMap::new();
    for rule in desired.rules() {
        let Some(probe) = desired.probe_of(rule) else { continue };
        let (_, addresses) = asked.entry(probe.name()).or_insert_with(|| (probe, BTreeSet::new()));
        addresses.extend(desired.members_of(rule).map(Member::address));
    }
    asked
}

fn rounds(desired: &Desired) -> BTreeMap<String, Round> {
    let round = |(name, (probe, members)): (&str, (&Probe, BTreeSet<IpAddr>))| {
        let round =
            Round { ask: probe.ask().clone(), port: probe.port(), threshold: probe.threshold(), members };
        (name.to_owned(), round)
    };
    asked(desired).into_iter().map(round).collect()
}

fn tasks(desired: &Desired, [v4, v6]: [Option<IpAddr>; 2]) -> Vec<Task> {
    let of_probe = |(name, (probe, members)): (&str, (&Probe, BTreeSet<IpAddr>))| {
        let name: Arc<str> = name.into();
        let task = |member: IpAddr| Task {
            probe: Arc::clone(&name),
            ask: probe.ask().clone(),
            port: probe.port().get(),
            member,
            source: if member.is_ipv4() { v4 } else { v6 },
            interval: probe.interval(),
            timeout: probe.timeout(),
        };
        members.into_iter().map(task).collect::<Vec<_>>()
    };
    asked(desired).into_iter().flat_map(of_probe).collect()
}

#[cfg(test)]
mod tests;
