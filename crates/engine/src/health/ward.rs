//! All members that are watched, by probe.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use model::{Ask, Port};

use super::{Hint, Outcome, Pulse, State, Turn};

/// Whom a probe asks, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// What they are asked.
    pub ask: Ask,
    /// At which port of theirs.
    pub port: Port,
    /// How many equal results in a row change a state: 1 to 100.
    pub threshold: u32,
    /// Who.
    pub members: BTreeSet<IpAddr>,
}

/// The members that are watched: one pulse for each probe and member (PROBE-5).
#[derive(Clone, Debug, Default)]
pub struct Ward {
    watches: BTreeMap<String, Watch>,
}

/// One probe's members.
#[derive(Clone, Debug)]
struct Watch {
    ask: Ask,
    port: Port,
    threshold: u32,
    pulses: BTreeMap<IpAddr, Pulse>,
}

impl Ward {
    /// Watches these, by the probe's name, and nobody else. Who is new is unknown, who is gone is forgotten. Where something else is
    /// asked, or at another port, states stay and the results so far count no more; another threshold counts them as they are.
    pub fn keep(&mut self, wanted: BTreeMap<String, Round>, now: Duration) {
        let mut before = std::mem::take(&mut self.watches);
        self.watches = wanted
            .into_iter()
            .map(|(probe, round)| {
                let watch = Watch::of(round, before.remove(&probe), now);
                (probe, watch)
            })
            .collect();
    }

    /// Takes over what an earlier process thought of a member. Does nothing for one that is not watched, or of which something is known.
    pub fn assume(&mut self, probe: &str, member: IpAddr, state: State, now: Duration) {
        let pulse = self.watches.get_mut(probe).and_then(|watch| watch.pulses.get_mut(&member));
        if let Some(pulse) = pulse.filter(|pulse| pulse.state() == State::Unknown) {
            *pulse = Pulse::assumed(state, now);
        }
    }

    /// Takes a result in; gives the turn if it decided one. A result of somebody who is not watched says nothing.
    pub fn hear(&mut self, probe: &str, member: IpAddr, outcome: Outcome, now: Duration) -> Option<Turn> {
        let watch = self.watches.get_mut(probe)?;
        watch.pulses.get_mut(&member)?.hear(outcome, now, watch.threshold)
    }

    /// Who takes no new flows, by probe: those that are down, and those of which nothing is known yet. Every probe is there.
    #[must_use]
    pub fn down(&self) -> BTreeMap<String, BTreeSet<IpAddr>> {
        self.watches.iter().map(|(probe, watch)| (probe.clone(), watch.down())).collect()
    }

    /// What speaks against members that are up, by probe. Only probes with such members are there.
    #[must_use]
    pub fn hints(&self) -> BTreeMap<String, BTreeMap<IpAddr, Hint>> {
        let hints = self.watches.iter().map(|(probe, watch)| (probe.clone(), watch.hints()));
        hints.filter(|(_, hints)| !hints.is_empty()).collect()
    }

    /// One member as one probe sees it.
    #[must_use]
    pub fn pulse(&self, probe: &str, member: IpAddr) -> Option<&Pulse> {
        self.watches.get(probe)?.pulses.get(&member)
    }

    /// Everybody who is watched, by probe and address.
    pub fn pulses(&self) -> impl Iterator<Item = (&str, IpAddr, &Pulse)> {
        self.watches.iter().flat_map(|(probe, watch)| {
            watch.pulses.iter().map(|(member, pulse)| (probe.as_str(), *member, pulse))
        })
    }
}

impl Watch {
    fn of(Round { ask, port, threshold, members }: Round, before: Option<Self>, now: Duration) -> Self {
        let anew = before.as_ref().is_some_and(|before| (&before.ask, before.port) != (&ask, port));
        let mut before = before.map(|before| before.pulses).unwrap_or_default();
        let pulse = |member: IpAddr| {
            let mut pulse = before.remove(&member).unwrap_or_else(|| Pulse::new(now));
            if anew {
                pulse.start_anew();
            }
            (member, pulse)
        };
        Self { ask, port, threshold, pulses: members.into_iter().map(pulse).collect() }
    }

    fn hints(&self) -> BTreeMap<IpAddr, Hint> {
        self.pulses.iter().filter_map(|(member, pulse)| Some((*member, pulse.hint()?))).collect()
    }

    fn down(&self) -> BTreeSet<IpAddr> {
        let takes_none = |(member, pulse): (&IpAddr, &Pulse)| (pulse.state() != State::Up).then_some(*member);
        self.pulses.iter().filter_map(takes_none).collect()
    }
}
