//! What has become of intent: which revision is in force, and how members are reached. Observations flow up from here.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use crate::health::{Events, Vitals};
use crate::reach::Reach;

/// What a balancer host says of itself.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The newest revision that was taken up, whether or not it could be realised.
    pub revision: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// Since when.
    pub since: SystemTime,
    /// The members' addresses, of all pools.
    pub members: BTreeMap<IpAddr, MemberSeen>,
    /// What is known of members' health.
    pub vitals: Arc<Vitals>,
    /// What happened to members and rules lately.
    pub events: Arc<Events>,
}

/// What became of what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The data path does not run yet.
    NotYet,
    /// The data path does it.
    Done,
    /// It could not be done, for this reason; what was in force before still is.
    Failed(String),
}

/// How frames reach a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberSeen {
    /// Whether they do.
    pub ready: bool,
    /// How, or why not.
    pub words: String,
    /// Since when it is so.
    pub since: SystemTime,
}

impl Default for Observed {
    fn default() -> Self {
        Self {
            revision: 0,
            outcome: Outcome::NotYet,
            since: SystemTime::UNIX_EPOCH,
            members: BTreeMap::new(),
            vitals: Arc::default(),
            events: Arc::default(),
        }
    }
}

impl Observed {
    /// Revision `revision` was taken up.
    pub(crate) fn take_up(&mut self, revision: u64, outcome: Outcome, now: SystemTime) {
        *self = Self { revision, outcome, since: now, ..std::mem::take(self) };
    }

    /// Takes over how members are reached; says whether anything is new. What did not change keeps its time.
    pub(crate) fn see(&mut self, reaches: &BTreeMap<IpAddr, Reach>, now: SystemTime) -> bool {
        let before = std::mem::take(&mut self.members);
        let one = |(address, reach): (&IpAddr, &Reach)| {
            let words = reach.to_string();
            let since = match before.get(address) {
                Some(former) if former.words == words => former.since,
                Some(_) | None => now,
            };
            (*address, MemberSeen { ready: matches!(reach, Reach::Resolved(_)), words, since })
        };
        self.members = reaches.iter().map(one).collect();
        self.members != before
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_did_not_change_keeps_its_time() {
        let member: IpAddr = [10, 0, 0, 4].into();
        let (first, later) = (SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + Duration::from_secs(9));
        let mut observed = Observed::default();
        let away = BTreeMap::from([(member, Reach::NoRoute)]);
        assert!(observed.see(&away, first));
        assert!(!observed.see(&away, later));
        assert_eq!(observed.members[&member].since, first);
        assert!(observed.see(&BTreeMap::from([(member, Reach::ThisHost)]), later));
        assert_eq!((observed.members[&member].since, observed.members[&member].ready), (later, false));
        assert!(observed.see(&BTreeMap::new(), later));
        assert_eq!(observed.members.len(), 0);
    }
}
