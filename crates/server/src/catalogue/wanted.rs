//! Since when each frontend is wanted to do what it does: what is newer than the data path is on its way.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use model::{Desired, Pool, PoolIndex, Rule};

use crate::store::Revision;

/// By frontend address; and the frontends by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    since: Arc<BTreeMap<IpAddr, Revision>>,
    /// Positions among the frontends, sorted by name.
    by_name: Arc<Vec<usize>>,
}

impl Wanted {
    /// All of it since one revision.
    pub(super) fn since(desired: &Desired, revision: Revision) -> Self {
        let since = desired.frontends().iter().map(|frontend| (frontend.address(), revision)).collect();
        Self { since: Arc::new(since), by_name: by_name(desired) }
    }

    /// After a change: what is wanted as before keeps its revision.
    pub(super) fn then(&self, before: &Desired, after: &Desired, revision: Revision) -> Self {
        let pools = same_pools(before, after);
        let same =
            |one: &Rule, other: &Rule| pools[other.pool().index()] == Some(one.pool()) && is_same(one, other);
        let since = after.frontends().iter().map(|frontend| {
            let address = frontend.address();
            let (one, other) = (before.rules_at(address), after.rules_at(address));
            let is_same =
                one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other));
            let former = self.since.get(&address).filter(|_| is_same);
            (address, former.copied().unwrap_or(revision))
        });
        Self { since: Arc::new(since.collect()), by_name: by_name(after) }
    }

    pub(super) fn of(&self, frontend: IpAddr) -> Revision {
        self.since.get(&frontend).copied().unwrap_or_default()
    }

    pub(super) fn named(&self, desired: &Desired, name: &str) -> Option<IpAddr> {
        let frontends = desired.frontends();
        let at = self.by_name.binary_search_by(|at| frontends[*at].name().cmp(name)).ok()?;
        Some(frontends[self.by_name[at]].address())
    }
}

fn by_name(desired: &Desired) -> Arc<Vec<usize>> {
    let frontends = desired.frontends();
    let mut positions: Vec<usize> = (0..frontends.len()).collect();
    positions.sort_by(|one, other| frontends[*one].name().cmp(frontends[*other].name()));
    Arc::new(positions)
}

/// For each pool after, where it was before if it was the same.
fn same_pools(before: &Desired, after: &Desired) -> Vec<Option<PoolIndex>> {
    let one = |pool: &Pool| before.pool_named(pool.name()).filter(|at| before.pool(*at) == pool);
    after.pools().iter().map(one).collect()
}

/// Whether two rules are the same but for their pools, which are counted anew each time.
fn is_same(one: &Rule, other: &Rule) -> bool {
    let parts = |rule: &Rule| {
        let ports = (rule.frontend_port(), rule.backend_port());
        (rule.protocol(), ports, rule.distribution(), rule.floating(), rule.idle())
    };
    one.name() == other.name() && parts(one) == parts(other)
}
