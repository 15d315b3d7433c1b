//! Members that have left a pool that drains (FLOW-3): they take no new flows, and keep their connections until their time is over.
//!
//! A member that had a port of a range (NAT-1) has lost it, and the next who comes may have it at once. Whose it was the tables in force
//! tell: the rule of the port, as long as nobody else has it, and else the way back of the member's answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use model::{Desired, NatRange, Pool, Rule};
use plane::Tick;
use plane::row::{Address, Key, protocol};

use super::{identity, protocol_number};
use crate::surroundings::Surroundings;
use crate::tables::Tables;

/// A member that has left.
pub(super) struct Gone {
    pub(super) pool: u64,
    pub(super) address: IpAddr,
    /// When its time is over.
    pub(super) until: Tick,
}

pub(super) struct Leaving {
    gone: Vec<Gone>,
    /// The rules of ports that led to them.
    ports: Vec<Rule>,
}

impl Leaving {
    /// Those that the tables in force have, and the documents have not any more.
    pub(super) fn of(desired: &Desired, surroundings: &Surroundings, before: &Tables) -> Self {
        let drains = |pool: &&Pool| !pool.drain().is_zero();
        let pools: BTreeMap<u64, &Pool> =
            desired.pools().iter().filter(drains).map(|pool| (identity(pool.name()), pool)).collect();
        if pools.is_empty() {
            return Self { gone: Vec::new(), ports: Vec::new() };
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
        let gone: Vec<Gone> = gone.collect();
        let ports = ports(desired, &gone, surroundings, before);
        Self { gone, ports }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Gone> {
        self.gone.iter()
    }

    /// Those that a rule led to which chooses among members.
    pub(super) fn of_rule(&self, desired: &Desired, rule: &Rule) -> impl Iterator<Item = &Gone> {
        // Most of the time nobody leaves, and this is asked for every rule.
        let chooses = !self.gone.is_empty() && !desired.is_direct(rule);
        let pool = chooses.then(|| identity(desired.pool(rule.pool()).name()));
        let v4 = rule.frontend().is_ipv4();
        self.gone.iter().filter(move |gone| pool == Some(gone.pool) && gone.address.is_ipv4() == v4)
    }

    /// The rules of ports that led to one of them alone, whoever has the port now.
    pub(super) fn ports(&self) -> &[Rule] {
        &self.ports
    }

    /// Those of them that nobody has now.
    pub(super) fn rules(&self, desired: &Desired) -> impl Iterator<Item = &Rule> {
        let place = |rule: &Rule| (rule.protocol(), rule.frontend_port());
        self.ports.iter().filter(move |gone| {
            let rules = desired.rules_at(gone.frontend());
            rules.binary_search_by_key(&place(gone), place).is_err()
        })
    }
}

/// The ports of ranges that led to members that are gone. What is told by the rules comes last: it is the newest.
fn ports(desired: &Desired, gone: &[Gone], surroundings: &Surroundings, before: &Tables) -> Vec<Rule> {
    let is_tcp = |range: &&NatRange| protocol_number(range.rule().protocol()) == protocol::TCP;
    let ranges: Vec<(u64, &NatRange)> = desired
        .nat_ranges()
        .iter()
        .filter(is_tcp)
        .map(|range| (identity(desired.pool(range.rule().pool()).name()), range))
        .collect();
    if gone.is_empty() || ranges.is_empty() {
        return Vec::new();
    }
    let mut known: BTreeMap<Address, Vec<&Gone>> = BTreeMap::new();
    for one in gone {
        let station = surroundings.hops.get(&one.address).map(|hop| Address::of_station(hop.destination));
        for at in [Some(one.address.into()), station].into_iter().flatten() {
            known.entry(at).or_default().push(one);
        }
    }
    let numbers = before.numbers();
    let is_tcp = |key: &Key| key.protocol() == protocol::TCP;
    let by_returns = before.returns.values().flat_map(|row| {
        let from = row.key().filter(is_tcp).map(|key| key.station().unwrap_or(key.number()));
        let who = from.and_then(|from| known.get(numbers.get(&from)?));
        who.into_iter().flatten().map(|gone| (row.frontend(), row.port(), *gone))
    });
    let by_rules = before.rules.values().filter(|row| row.plan().direct).filter_map(|row| {
        let key = row.key().filter(is_tcp)?;
        let member = before.members.get(&u32::from(row.plan().ring))?;
        let who = known.get(&member.address())?.iter().find(|gone| gone.pool == member.pool())?;
        Some((*numbers.get(&key.number())?, key.port(), *who))
    });
    let rule = |(frontend, port, gone): (Address, u16, &Gone)| {
        let is_here = |pool: u64, range: &NatRange| {
            pool == gone.pool && range.rule().frontend() == IpAddr::from(frontend)
        };
        let mut here = ranges.iter().filter(|(pool, range)| is_here(*pool, range));
        here.find_map(|(_, range)| range.rule_of(port, gone.address))
    };
    by_returns.chain(by_rules).filter_map(rule).collect()
}
