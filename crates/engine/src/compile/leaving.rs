//! Members that have left a pool that drains (FLOW-3): they take no new flows, and keep their connections until their time is over.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use model::{Desired, Pool, Rule};
use plane::Tick;

use super::identity;
use crate::surroundings::Surroundings;
use crate::tables::Tables;

/// A member that has left.
pub(super) struct Gone {
    pub(super) pool: u64,
    pub(super) address: IpAddr,
    /// When its time is over.
    pub(super) until: Tick,
}

pub(super) struct Leaving(Vec<Gone>);

impl Leaving {
    /// Those that the tables in force have, and the documents have not any more.
    pub(super) fn of(desired: &Desired, surroundings: &Surroundings, before: &Tables) -> Self {
        let drains = |pool: &&Pool| !pool.drain().is_zero();
        let pools: BTreeMap<u64, &Pool> =
            desired.pools().iter().filter(drains).map(|pool| (identity(pool.name()), pool)).collect();
        if pools.is_empty() {
            return Self(Vec::new());
        }
        let frontends: BTreeSet<IpAddr> = desired.frontends().iter().map(|it| it.address()).collect();
        let gone = before.members.values().filter(|row| row.is_live()).filter_map(|row| {
            let address = IpAddr::from(row.address());
            let pool = pools.get(&row.pool())?;
            // Its address may serve as another one's now.
            if frontends.contains(&address)
                || pool.members().binary_search_by_key(&address, |member| member.address()).is_ok()
            {
                return None;
            }
            let begins = || surroundings.now.0.wrapping_add(surroundings.clock.span(pool.drain()));
            let until = Tick(row.leaves_at().unwrap_or_else(begins));
            (!until.has_come(surroundings.now)).then_some(Gone { pool: row.pool(), address, until })
        });
        Self(gone.collect())
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Gone> {
        self.0.iter()
    }

    /// Those that a rule led to.
    pub(super) fn of_rule(&self, desired: &Desired, rule: &Rule) -> impl Iterator<Item = &Gone> {
        let (pool, v4) = (identity(desired.pool(rule.pool()).name()), rule.frontend().is_ipv4());
        self.0.iter().filter(move |gone| gone.pool == pool && gone.address.is_ipv4() == v4)
    }
}
