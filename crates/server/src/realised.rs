//! What has become of what is wanted. The data path says it of itself ([`Realised`]); each resource, and each child,
//! shows its part of it ([`States`]). That something is accepted and that it is realised are two things (API-4).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use node::health::{Events, Vitals};
use node::inspect::Stats;
use node::{MemberSeen, Observed, Outcome};

use crate::Snapshot;
use crate::store::Revision;

pub use counters::{Counted, Counter};
pub use state::{ConfigurationState, DipEndpointState, Info, Source, Status, VipEndpointState};
pub use states::States;

mod counters;
mod state;
mod states;
#[cfg(test)]
mod tests;

/// What the data path says of itself.
#[derive(Clone, Debug)]
pub struct Realised {
    /// The newest revision that was taken up, whether or not it could be done.
    pub revision: Revision,
    /// The newest revision that could be done: what is in force.
    pub done: Revision,
    /// What became of the newest one.
    pub outcome: Outcome,
    /// Since when.
    pub since: SystemTime,
    /// How the members of all pools are reached, by address.
    pub members: BTreeMap<IpAddr, MemberSeen>,
    /// What is known of members' health.
    pub vitals: Arc<Vitals>,
    /// What happened to members and rules lately.
    pub events: Arc<Events>,
    /// What was counted, when it was last read.
    pub counted: Option<Counted>,
}

impl Default for Realised {
    fn default() -> Self {
        Self {
            revision: 0,
            done: 0,
            outcome: Outcome::NotYet,
            since: SystemTime::UNIX_EPOCH,
            members: BTreeMap::new(),
            vitals: Arc::default(),
            events: Arc::default(),
            counted: None,
        }
    }
}

impl Realised {
    /// Takes up what a balancer host says of itself.
    pub fn observe(&mut self, observed: &Observed) {
        self.revision = observed.revision;
        if observed.outcome == Outcome::Done {
            self.done = observed.revision;
        }
        self.outcome = observed.outcome.clone();
        self.since = observed.since;
        self.members = observed.members.clone();
        self.vitals = Arc::clone(&observed.vitals);
        self.events = Arc::clone(&observed.events);
    }

    /// Takes up what was counted until now, told by the clock of people, and by one that nobody sets.
    pub fn count(&mut self, stats: Stats, at: SystemTime, read: Instant) {
        self.counted = Some(Counted::after(self.counted.take(), Arc::new(stats), at, read));
    }

    /// What has become of everything together.
    #[must_use]
    pub fn overall(&self, wanted: &Snapshot) -> ConfigurationState {
        let away = self.members.values().filter(|member| !member.ready).count();
        let short = wanted.shortfalls.len();
        let (status, message) = match &self.outcome {
            Outcome::NotYet => (Status::Uninitialized, "the data path does not run yet".to_owned()),
            Outcome::Failed(reason) => (
                Status::Failure,
                format!(
                    "revision {} could not be realised, and revision {} is in force: {reason}",
                    self.revision, self.done
                ),
            ),
            Outcome::Done if self.revision < wanted.revision => {
                (Status::InProgress, format!("revision {} is being taken up", wanted.revision))
            }
            Outcome::Done if away + short > 0 => (
                Status::Warning,
                format!("in force, but {away} members are not reached, and {short} things are not done yet"),
            ),
            Outcome::Done => (Status::Success, "all of it is in force".to_owned()),
        };
        let code = if status == Status::Failure { FAILED } else { status.as_str() };
        let info = Info { source: Source::SoftwareLoadBalancerManager, code: code.to_owned(), message };
        ConfigurationState { detailed_info: vec![info], ..ConfigurationState::new(status, self.since) }
    }

    /// What has become of something that is wanted as it is since a revision.
    fn of_revision(&self, wanted: Revision) -> ConfigurationState {
        match &self.outcome {
            _ if wanted <= self.done => ConfigurationState::new(Status::Success, self.since),
            Outcome::Failed(reason) if wanted <= self.revision => {
                let message = format!("{reason}; what was in force before still is");
                let info =
                    Info { source: Source::SoftwareLoadBalancerManager, code: FAILED.to_owned(), message };
                ConfigurationState {
                    detailed_info: vec![info],
                    ..ConfigurationState::new(Status::Failure, self.since)
                }
            }
            Outcome::NotYet | Outcome::Done | Outcome::Failed(_) => {
                ConfigurationState::new(Status::InProgress, self.since)
            }
        }
    }
}

/// The balancer host could not do it.
const FAILED: &str = "PolicyConfigurationFailureOnMux";
/// The balancer host does not know how frames reach a member.
const UNREACHED: &str = "HostUnreachable";
/// A probe finds a member down.
const PROBE_FAILED: &str = "HealthProbeFailed";
/// A probe has heard nothing of a member yet.
const NOT_PROBED: &str = "HealthProbePending";
