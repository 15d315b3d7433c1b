//! Health as it is shown, and written beside the pins for those who look later.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use engine::health::{Pulse, State};
use model::{AdminState, Desired, Member, PoolIndex, Probe, ProbeIndex, Rule};
use serde::{Deserialize, Serialize};

use super::Vitals;
use crate::availability::Available;
use crate::stamp::rfc3339;

/// What is known of the members of rules that have a probe. Times are RFC 3339, in UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthView {
    /// When this was so.
    pub at: String,
    /// By pool, address family and probe.
    pub groups: Vec<GroupView>,
    /// How available rules are to clients: of those that were called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub availability: Vec<AvailabilityView>,
}

/// How available a rule is to clients: what the balancer's own calls to its frontend came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AvailabilityView {
    /// `balancer/rule`.
    pub rule: String,
    /// What clients call: address and port.
    pub frontend: SocketAddr,
    /// The last calls, a minute's unless the interval is another than usual.
    pub last_calls: u8,
    /// Those of them that were answered.
    pub last_answers: u8,
    /// All calls since the process started.
    pub calls: u64,
    /// Those of them that were answered.
    pub answers: u64,
}

/// The members of a pool, as one probe sees them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupView {
    /// `balancer/pool`.
    pub pool: String,
    /// `balancer/probe`.
    pub probe: String,
    /// What is asked: `Tcp 8080`, `Http 8080 /alive`.
    pub asks: String,
    /// The rules that lead here.
    pub rules: Vec<String>,
    /// By address.
    pub members: Vec<MemberView>,
}

/// A member, as one probe sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberView {
    /// Its name in the pool.
    pub member: String,
    /// Its address.
    pub address: IpAddr,
    /// What its share of new flows is beside those of the others, while it takes any.
    #[serde(default = "one")]
    pub weight: u32,
    /// `up`, `down` or `unknown`: what the probe found.
    pub state: String,
    /// Since when.
    pub since: String,
    /// Whether it takes new flows.
    pub takes_new_flows: bool,
    /// Why that is not what the probe found, where it is not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub because: String,
    /// The newest result in words; empty before the first.
    pub last: String,
    /// When it came.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_at: String,
    /// How many results like it there were in a row.
    pub in_a_row: u32,
    /// The turns it took, newest first: at most 16.
    pub history: Vec<TurnView>,
}

/// A change of state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TurnView {
    /// When.
    pub at: String,
    /// What it was.
    pub from: String,
    /// What it became.
    pub to: String,
    /// The result that decided.
    pub because: String,
}

/// What members weighed before there were weights.
const fn one() -> u32 {
    1
}

impl HealthView {
    /// As it is for what is wanted.
    #[must_use]
    pub fn of(desired: &Desired, vitals: &Vitals) -> Self {
        let mut groups: BTreeMap<(PoolIndex, ProbeIndex, bool), Vec<&Rule>> = BTreeMap::new();
        for rule in desired.rules() {
            if let Some(probe) = rule.probe() {
                groups.entry((rule.pool(), probe, rule.frontend().is_ipv4())).or_default().push(rule);
            }
        }
        let groups = groups.into_values().filter_map(|rules| group(desired, vitals, &rules));
        Self {
            at: rfc3339(vitals.at),
            groups: groups.collect(),
            availability: vitals.available.iter().map(AvailabilityView::of).collect(),
        }
    }

    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let unfinished = path.with_extension("new");
        fs::write(&unfinished, serde_json::to_vec(self)?)?;
        fs::rename(unfinished, path)
    }

    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(path)?)?)
    }
}

impl AvailabilityView {
    fn of(available: &Available) -> Self {
        let [last_answers, last_calls] = available.lately;
        let Available { rule, frontend, calls, answers, .. } = available.clone();
        Self { rule, frontend, last_calls, last_answers, calls, answers }
    }
}

impl MemberView {
    /// As it is; whether it takes new flows is known by all members together.
    #[must_use]
    pub fn of(vitals: &Vitals, probe: &Probe, member: &Member, takes_new_flows: bool) -> Self {
        let unknown = Pulse::new(vitals.now);
        let pulse = vitals.ward.pulse(probe.name(), member.address()).unwrap_or(&unknown);
        let when = |at| rfc3339(vitals.when(at));
        let last = pulse.last();
        let turn = |turn: &engine::health::Turn| TurnView {
            at: when(turn.at),
            from: turn.from.to_string(),
            to: turn.to.to_string(),
            because: turn.outcome.to_string(),
        };
        Self {
            member: member.name().to_owned(),
            address: member.address(),
            weight: member.weight().get(),
            state: pulse.state().to_string(),
            since: when(pulse.since()),
            takes_new_flows,
            because: because(vitals, probe, member, pulse.state(), takes_new_flows),
            last: last.map_or_else(String::new, |(outcome, _)| outcome.to_string()),
            last_at: last.map_or_else(String::new, |(_, at)| when(at)),
            in_a_row: pulse.streak(),
            history: pulse.history().map(turn).collect(),
        }
    }
}

fn group(desired: &Desired, vitals: &Vitals, rules: &[&Rule]) -> Option<GroupView> {
    let rule = rules.first()?;
    let probe = desired.probe_of(rule)?;
    let members = vitals.health.of_rule(desired, rule).into_iter();
    let members = members.map(|(member, takes)| MemberView::of(vitals, probe, member, takes));
    Some(GroupView {
        pool: desired.pool(rule.pool()).name().to_owned(),
        probe: probe.name().to_owned(),
        asks: probe.asks(),
        members: members.collect(),
        rules: rules.iter().map(|rule| rule.name().to_owned()).collect(),
    })
}

/// Why a member takes new flows or takes none, where that does not follow from what the probe found.
fn because(vitals: &Vitals, probe: &Probe, member: &Member, state: State, takes: bool) -> String {
    let words = match (member.admin(), state == State::Up, takes) {
        (AdminState::Up, false, true) => "up by order",
        (AdminState::Down, _, false) => "down by order",
        (AdminState::None, false, true) => "all are down, which counts as up",
        (AdminState::None, true, false) => {
            let hint = vitals.health.hint(probe.name(), member.address());
            return hint.map_or_else(String::new, |hint| hint.to_string());
        }
        _ => "",
    };
    words.to_owned()
}
