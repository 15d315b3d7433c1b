//! Who takes new flows: what probes found, what was ordered, and what holds when everybody is down.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use model::{AdminState, Member, NoHealthyBackendsBehavior, Probe};

/// What is seen of members' health. Who is not named is well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The members that each probe, by its name, finds down.
    pub down: BTreeMap<String, BTreeSet<IpAddr>>,
    /// Addresses that cannot be reached just now, though no probe has said so yet: new flows avoid them where they can.
    pub avoided: BTreeSet<IpAddr>,
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

    /// Which of these members take new flows of rules with this probe, in their order.
    #[must_use]
    pub fn standing(&self, members: &[&Member], probe: Option<&Probe>) -> Vec<bool> {
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
        let is_avoided =
            |member: &Member| member.admin() != AdminState::Up && self.avoided.contains(&member.address());
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

#[cfg(test)]
mod tests;
