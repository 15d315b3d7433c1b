//! What happened to members and rules, for people and programs that want to hear of it.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

/// How many events are kept for those who look later.
const KEPT: usize = 1_024;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Events are numbered from 1 on, without gaps, since the process started.
    pub number: u64,
    /// When.
    pub at: SystemTime,
    /// What.
    pub happening: Happening,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A probe found a member up.
    MemberUp {
        /// The probe.
        probe: String,
        /// The member's address.
        member: IpAddr,
    },
    /// A probe found a member down.
    MemberDown {
        /// The probe.
        probe: String,
        /// The member's address.
        member: IpAddr,
        /// The last result.
        why: String,
    },
    /// A probe found a member down again that was down several times lately.
    Flapping {
        /// The probe.
        probe: String,
        /// The member's address.
        member: IpAddr,
        /// The last result.
        why: String,
        /// By how much its threshold is multiplied before it is taken as up.
        caution: u32,
    },
    /// New flows avoid a member that a probe finds up, where another one can take them.
    Avoided {
        /// The member's address.
        member: IpAddr,
        /// What speaks against it.
        why: String,
    },
    /// Nothing speaks against a member any more that a probe finds up.
    AvoidedNoMore {
        /// The member's address.
        member: IpAddr,
    },
    /// Nobody takes new flows of a rule any more.
    NobodyUp {
        /// The rule.
        rule: String,
    },
    /// Somebody takes new flows of a rule again.
    SomebodyUp {
        /// The rule.
        rule: String,
    },
}

impl Happening {
    /// Whether nobody needs to look.
    pub(crate) const fn is_good(&self) -> bool {
        match self {
            Self::MemberUp { .. } | Self::AvoidedNoMore { .. } | Self::SomebodyUp { .. } => true,
            Self::MemberDown { .. }
            | Self::Flapping { .. }
            | Self::Avoided { .. }
            | Self::NobodyUp { .. } => false,
        }
    }

    /// What happened, in one word for programs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::MemberUp { .. } => "memberUp",
            Self::MemberDown { .. } => "memberDown",
            Self::Flapping { .. } => "memberFlapping",
            Self::Avoided { .. } => "memberAvoided",
            Self::AvoidedNoMore { .. } => "memberAvoidedNoMore",
            Self::NobodyUp { .. } => "noHealthyMembers",
            Self::SomebodyUp { .. } => "healthyMembersAgain",
        }
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MemberUp { probe, member } => write!(f, "member {member} is up for probe {probe}"),
            Self::MemberDown { probe, member, why } => {
                write!(f, "member {member} is down for probe {probe}: {why}")
            }
            Self::Flapping { probe, member, why, caution } => write!(
                f,
                "member {member} is down for probe {probe}, again: {why}; it flaps, and needs {caution} times as many good \
                 results to come up"
            ),
            Self::Avoided { member, why } => {
                write!(f, "new flows avoid member {member} where another one can take them: {why}")
            }
            Self::AvoidedNoMore { member } => write!(f, "new flows avoid member {member} no more"),
            Self::NobodyUp { rule } => write!(f, "rule {rule} has no healthy member: new flows are dropped"),
            Self::SomebodyUp { rule } => write!(f, "rule {rule} has a healthy member again"),
        }
    }
}

/// What happened lately: the last 1,024 events.
#[derive(Clone, Debug, Default)]
pub struct Events {
    last: u64,
    kept: VecDeque<Arc<Event>>,
}

impl Events {
    /// Something happened.
    pub fn add(&mut self, at: SystemTime, happening: Happening) {
        self.last += 1;
        self.kept.truncate(KEPT - 1);
        self.kept.push_front(Arc::new(Event { number: self.last, at, happening }));
    }

    /// The number of the newest event; 0 before the first.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// Those after the event of this number, as far as they are kept, oldest first.
    pub fn after(&self, number: u64) -> impl Iterator<Item = &Arc<Event>> {
        self.kept.iter().rev().filter(move |event| event.number > number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_events_are_kept_and_told_in_their_order() {
        let mut events = Events::default();
        assert_eq!((events.last(), events.after(0).count()), (0, 0));
        for number in 0..2_000 {
            events.add(SystemTime::UNIX_EPOCH, Happening::NobodyUp { rule: number.to_string() });
        }
        assert_eq!(events.last(), 2_000);
        let numbers: Vec<u64> = events.after(1_997).map(|event| event.number).collect();
        assert_eq!(numbers, [1_998, 1_999, 2_000]);
        assert_eq!(events.after(0).count(), KEPT);
    }
}
