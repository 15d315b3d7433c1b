//! Who takes new flows: what probes found, what was ordered, and what holds when everybody is down.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use model::{AdminState, Desired, Member, NoHealthyBackendsBehavior, Probe, Rule};
use plane::row::{RuleRow, View};

use crate::compile::{protocol_number, view_of};
use crate::health::{Hint, State};
use crate::tables::Tables;

/// What is seen of members' health. Who is not named is well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The members that each probe, by its name, finds down.
    pub down: BTreeMap<String, BTreeSet<IpAddr>>,
    /// What speaks against addresses, whatever probes say of them: new flows avoid them where they can.
    pub avoided: BTreeMap<IpAddr, Hint>,
    /// What speaks against members in the eyes of one probe, by its name: new flows of its rules avoid them where they can. Another probe
    /// may ask at another port, and hear otherwise.
    pub doubted: BTreeMap<String, BTreeMap<IpAddr, Hint>>,
}

impl Health {
    /// A probe finds a member down or up.
    pub fn find(&mut self, probe: &str, member: IpAddr, up: bool) {
        if !up {
            self.down.entry(probe.to_owned()).or_default().insert(member);
        } else if let Some(down) = self.down.get_mut(probe) {
            down.remove(&member);
        }
    }

    /// Whether a probe finds a member down.
    #[must_use]
    pub fn is_down(&self, probe: &str, member: IpAddr) -> bool {
        self.down.get(probe).is_some_and(|down| down.contains(&member))
    }

    /// What speaks against new flows to a member for rules with this probe, beside what the probe finds.
    #[must_use]
    pub fn hint(&self, probe: &str, member: IpAddr) -> Option<Hint> {
        let doubted = || self.doubted.get(probe).and_then(|doubted| doubted.get(&member));
        self.avoided.get(&member).or_else(doubted).copied()
    }

    /// The members that a rule leads to, by address, and whether each takes new flows of it.
    #[must_use]
    pub fn of_rule<'a>(&self, desired: &'a Desired, rule: &Rule) -> Vec<(&'a Member, bool)> {
        let members: Vec<&Member> = desired.members_of(rule).collect();
        let standing = self.standing(&members, desired.probe_of(rule));
        members.into_iter().zip(standing).collect()
    }

    /// Which of these members take new flows of rules with this probe, in their order.
    fn standing(&self, members: &[&Member], probe: Option<&Probe>) -> Vec<bool> {
        // PROBE-4, and health by order is for rules with a probe only.
        let Some(probe) = probe else { return vec![true; members.len()] };
        let down = self.down.get(probe.name());
        let is_well = |member: &Member| down.is_none_or(|down| !down.contains(&member.address()));
        let up = |member: &&Member| match member.admin() {
            // FLOW-4
            AdminState::Up => true,
            AdminState::Down => false,
            AdminState::None => is_well(member),
        };
        let found: Vec<bool> = members.iter().map(up).collect();
        let is_avoided = |member: &Member| {
            member.admin() != AdminState::Up && self.hint(probe.name(), member.address()).is_some()
        };
        let cautious: Vec<bool> =
            members.iter().zip(&found).map(|(member, up)| *up && !is_avoided(member)).collect();
        // FLOW-2
        match (probe.all_down(), cautious.contains(&true), found.contains(&true)) {
            (_, true, _) => cautious,
            (_, false, true) => found,
            (NoHealthyBackendsBehavior::AllProbedDown, false, false) => found,
            (NoHealthyBackendsBehavior::AllProbedUp, false, false) => {
                members.iter().map(|member| member.admin() != AdminState::Down).collect()
            }
        }
    }
}

/// What the tables in force take the members of probed rules for: by the ring of the rule's view, or else by the one that the rule has
/// had so far. What was ordered says nothing of what a probe would find.
#[must_use]
pub fn in_force<'a>(desired: &'a Desired, tables: &Tables) -> Vec<(&'a str, IpAddr, State)> {
    let mut rows = tables.rule_rows();
    rows.retain(|_, row| row.ring() != 0);
    let by_view: BTreeMap<(View, bool), &RuleRow> =
        rows.iter().map(|((frontend, ..), row)| ((row.view(), frontend.is_ipv4()), row)).collect();
    let numbers: BTreeMap<(u64, IpAddr), u32> =
        tables.members.iter().map(|(number, row)| ((row.pool(), row.address().into()), *number)).collect();

    let mut known = Vec::new();
    let mut done = BTreeSet::new();
    for rule in desired.rules() {
        let Some(probe) = desired.probe_of(rule) else { continue };
        let (view, v4) = (view_of(desired, rule), rule.frontend().is_ipv4());
        let place = (rule.frontend(), protocol_number(rule.protocol()), rule.frontend_port());
        let own = || rows.get(&place).filter(|row| row.view().pool == view.pool);
        let Some(row) = by_view.get(&(view, v4)).copied().or_else(own) else { continue };
        if !done.insert((view, v4)) {
            continue;
        }
        let ring = row.ring();
        for member in desired.members_of(rule).filter(|member| member.admin() == AdminState::None) {
            if let Some(number) = numbers.get(&(view.pool, member.address())) {
                let state = if tables.is_down(ring, *number) { State::Down } else { State::Up };
                known.push((probe.name(), member.address(), state));
            }
        }
    }
    known
}

#[cfg(test)]
mod tests;
