//! Addresses that became free a moment ago, and are given to nobody else yet: neighbours and clients still remember them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use crate::store::{StoreError, Stored};

use super::HOLD_OFF;

/// Where they are kept in the store. No resource has such a key.
pub(super) const KEY: &str = "resting addresses";
/// Addresses that rest at one time; beyond that the longest rested is given out early.
const MAX_RESTING: usize = 4_096;

/// Each with the second since 1970 at which it may be given out again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Resting(BTreeMap<IpAddr, u64>);

impl Resting {
    pub(super) fn read(stored: &Stored) -> Result<Self, StoreError> {
        serde_json::from_str(&stored.value)
            .map(Self)
            .map_err(|cause| StoreError::Record { key: stored.key.clone(), cause: cause.into() })
    }

    /// To be written when it differs from what was.
    pub(super) fn stored(&self, before: &Self) -> Option<Stored> {
        let value = serde_json::to_string(&self.0).ok()?;
        (self != before).then(|| Stored { key: KEY.to_owned(), value: value.into() })
    }

    /// Lets go of those that rested long enough. Where the clock was set back meanwhile nobody rests longer than from now on.
    pub(super) fn wake(&mut self, now: SystemTime) {
        let (now, latest) = (seconds(now), seconds(now + HOLD_OFF));
        self.0.retain(|_, until| *until > now);
        self.0.values_mut().for_each(|until| *until = latest.min(*until));
    }

    /// With these as well.
    pub(super) fn after(&self, released: &BTreeSet<IpAddr>, now: SystemTime) -> Self {
        let mut resting = self.0.clone();
        let until = seconds(now + HOLD_OFF);
        resting.extend(released.iter().map(|address| (*address, until)));
        while resting.len() > MAX_RESTING {
            let oldest = resting.iter().min_by_key(|(_, until)| **until).map(|(address, _)| *address);
            match oldest {
                Some(address) => resting.remove(&address),
                None => break,
            };
        }
        Self(resting)
    }

    /// How many of them are within a range.
    pub(super) fn count(&self, (first, last): (IpAddr, IpAddr), now: SystemTime) -> usize {
        let now = seconds(now);
        self.0.range(first..=last).filter(|(_, until)| **until > now).count()
    }

    pub(super) fn addresses(&self) -> BTreeSet<IpAddr> {
        self.0.keys().copied().collect()
    }
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}
